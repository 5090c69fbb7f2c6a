//! A lock's inputs as things to fetch.

use std::collections::BTreeMap;

use super::{FetchRequest, ImageRef, Locations};
use crate::base::digest::Checksum;
use crate::base::{Fault, Result, Url};
use crate::lock::{Lock, LockedFile, LockedInput, LockedOrigin, LockedPackage, LockedSource, LockedSuite};
use crate::plan::StepId;

/// All that a lock names. `mirrors` gives the archives that have a suite, in the order in which they
/// are to be asked; pool paths lie below them.
pub fn wanted(lock: &Lock, mirrors: &dyn Fn(&LockedSuite) -> Result<Vec<Url>>) -> Result<Vec<FetchRequest>> {
    let inputs = lock.inputs.values().map(|input| wanted_input(lock, input));
    let packages = lock.packages.values().map(|package| {
        let suite = lock.suites.get(&package.suite);
        let suite = suite.ok_or_else(|| Fault::bug(format!("the lock has no suite {}", package.suite)))?;
        wanted_package(lock, package, &mirrors(suite)?)
    });
    let sources = lock.sources.values().flat_map(|source| source.file.iter().map(move |file| (source, file)));
    let sources = sources.map(|(source, file)| {
        let suite = lock.suites.get(&source.suite);
        let suite = suite.ok_or_else(|| Fault::bug(format!("the lock has no suite {}", source.suite)))?;
        wanted_source(lock, source, file, &mirrors(suite)?)
    });
    let inputs = inputs.filter_map(Result::transpose);
    inputs.chain(packages).chain(sources).collect()
}

/// One file of a source package. Its name says which package it is of, because several may be of one.
fn wanted_source(
    lock: &Lock,
    source: &LockedSource,
    file: &LockedFile,
    archives: &[Url],
) -> Result<FetchRequest> {
    let urls = archives.iter().map(|url| url.join(&escaped(file.path.as_str()))).collect::<Result<_>>()?;
    Ok(FetchRequest {
        name: format!("{} {} ({})", source.name, source.version, file.path.file_name()),
        source: Locations::Urls(urls),
        size: Some(file.size),
        checksum: Some(Checksum::Sha256(file.sha256)),
        help: format!(
            "name an archive that still has it (cargo xtask fetch --snapshot URL), or make the lock anew: cargo \
             xtask lock {}",
            lock.line
        ),
    })
}

/// Nothing for a component that is compiled: what it is compiled from is wanted by itself.
fn wanted_input(lock: &Lock, input: &LockedInput) -> Result<Option<FetchRequest>> {
    let (source, size, checksum) = match &input.from {
        LockedOrigin::Download { url, checksum, size } => {
            (Locations::Urls(vec![Url::new(url)?]), *size, Some(*checksum))
        }
        LockedOrigin::Image { registry, repository, digest } => {
            let registry = Url::new(format!("https://{registry}"))?;
            let image = ImageRef::new(registry, repository, lock.arch)?;
            (Locations::Image(image), None, Some(Checksum::Sha256(*digest)))
        }
        LockedOrigin::SourcePackage { .. } => return Ok(None),
        LockedOrigin::Provided => (Locations::Provided, None, None),
        LockedOrigin::Supplied { digest, size, .. } => {
            (Locations::Provided, Some(*size), Some(Checksum::Sha256(*digest)))
        }
    };
    let help = format!("cargo xtask input add {} PATH --version {}", input.component, input.version);
    let name = format!("{} {}", input.component, input.version);
    Ok(Some(FetchRequest { name, source, size, checksum, help }))
}

fn wanted_package(lock: &Lock, package: &LockedPackage, archives: &[Url]) -> Result<FetchRequest> {
    let urls: Vec<Url> =
        archives.iter().map(|url| url.join(&escaped(package.path.as_str()))).collect::<Result<_>>()?;
    Ok(FetchRequest {
        name: format!("{} {}", package.name, package.version),
        source: Locations::Urls(urls),
        size: Some(package.size),
        checksum: Some(Checksum::Sha256(package.sha256)),
        help: format!(
            "name an archive that still has it (cargo xtask fetch --snapshot URL), or take the version that \
             there is now: cargo xtask lock {} --update {}",
            lock.line, package.name
        ),
    })
}

/// The names of a lock's inputs, by the steps that they are.
pub fn names(lock: &Lock) -> Result<BTreeMap<StepId, String>> {
    let inputs = wanted(lock, &|_| Ok(Vec::new()))?.into_iter();
    let pinned = inputs.filter_map(|input| Some((input.checksum?, input.name)));
    pinned.map(|(checksum, name)| Ok((StepId::of_input(checksum)?, name))).collect()
}

/// A pool path in a URL: versions may hold `+` and `~`, which stay, and nothing else of note.
fn escaped(path: &str) -> String {
    path.replace('%', "%25").replace('?', "%3F").replace('#', "%23")
}

/// A mirror's address for a suite: `{time}` stands for the moment of the suite's Release, in the form
/// that snapshot archives use (`20251115T102030Z`).
pub fn mirror_at(template: &str, suite: &LockedSuite) -> Result<Url> {
    let time: String = suite.date.rfc3339().chars().filter(|c| !matches!(c, '-' | ':')).collect();
    Url::new(template.replace("{time}", &time))
}
