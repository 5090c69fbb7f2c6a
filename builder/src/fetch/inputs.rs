//! A lock's inputs as things to fetch, and those that the operator hands over.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use super::{Image, Source, Wanted};
use crate::base::digest::Checksum;
use crate::base::name::{ComponentName, LineName};
use crate::base::{Fault, Result, Url};
use crate::formats::debian::version::Version;
use crate::host::atomic::write_whole;
use crate::host::checkout::Project;
use crate::lock::{From, Local, Lock, LockedFile, LockedInput, LockedPackage, LockedSource, LockedSuite};
use crate::plan::{Output, Step, StepId};
use crate::store::Store;

/// All that a lock names. `mirrors` gives the archives that have a suite, in the order in which they
/// are to be asked; pool paths lie below them.
pub fn wanted(lock: &Lock, mirrors: &dyn Fn(&LockedSuite) -> Result<Vec<Url>>) -> Result<Vec<Wanted>> {
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
fn wanted_source(lock: &Lock, source: &LockedSource, file: &LockedFile, archives: &[Url]) -> Result<Wanted> {
    let urls = archives.iter().map(|url| url.join(&escaped(file.path.as_str()))).collect::<Result<_>>()?;
    Ok(Wanted {
        name: format!("{} {} ({})", source.name, source.version, file.path.file_name()),
        source: Source::Urls(urls),
        size: Some(file.size),
        checksum: Some(Checksum::Sha256(file.sha256)),
        mend: format!(
            "name an archive that still has it (cargo xtask fetch --snapshot URL), or make the lock anew: cargo \
             xtask lock {}",
            lock.line
        ),
    })
}

/// Nothing for a component that is compiled: what it is compiled from is wanted by itself.
fn wanted_input(lock: &Lock, input: &LockedInput) -> Result<Option<Wanted>> {
    let (source, size, checksum) = match &input.from {
        From::Url { url, checksum, size } => (Source::Urls(vec![Url::new(url)?]), *size, Some(*checksum)),
        From::Image { registry, repository, digest } => {
            let registry = Url::new(format!("https://{registry}"))?;
            let image = Image::new(registry, repository, lock.arch)?;
            (Source::Image(image), None, Some(Checksum::Sha256(*digest)))
        }
        From::Source { .. } => return Ok(None),
        From::Provided => (Source::Provided, None, None),
        From::Added { digest, size, .. } => (Source::Provided, Some(*size), Some(Checksum::Sha256(*digest))),
    };
    let mend = format!("cargo xtask input add {} PATH --version {}", input.component, input.version);
    let name = format!("{} {}", input.component, input.version);
    Ok(Some(Wanted { name, source, size, checksum, mend }))
}

fn wanted_package(lock: &Lock, package: &LockedPackage, archives: &[Url]) -> Result<Wanted> {
    let urls: Vec<Url> =
        archives.iter().map(|url| url.join(&escaped(package.path.as_str()))).collect::<Result<_>>()?;
    Ok(Wanted {
        name: format!("{} {}", package.name, package.version),
        source: Source::Urls(urls),
        size: Some(package.size),
        checksum: Some(Checksum::Sha256(package.sha256)),
        mend: format!(
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
    pinned.map(|(checksum, name)| Ok((Step::Input { checksum }.id()?, name))).collect()
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

/// Takes in the file at `path` for a component, in place of what is pinned, for this checkout alone.
pub fn add(
    project: &Project,
    store: &Store,
    line: &LineName,
    component: &ComponentName,
    version: &Version,
    path: &Path,
) -> Result<LockedInput> {
    let recipe = project.recipe(line)?;
    if !recipe.line.pins.contains_key(component) {
        let known: Vec<&str> = recipe.line.pins.keys().map(ComponentName::as_str).collect();
        return Err(Fault::user(format!("line {line} has no component `{component}`"))
            .versus(format!("one of {}", known.join(", ")), component));
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let found = path.metadata().map_err(|e| unreadable(path).because(e))?;
    if !found.is_file() || found.len() == 0 || name.is_empty() {
        return Err(unreadable(path).versus("a file with something in it", "none"));
    }
    let file = File::open(path).map_err(|e| unreadable(path).because(e))?;
    let (digest, size) = store.put(file)?;
    let step = Step::Input { checksum: Checksum::Sha256(digest) }.id()?;
    store.record(&step, &Output::Blob { content: digest, size })?;
    let from = From::Added { file: name.to_owned(), digest, size };
    let input = LockedInput { component: component.clone(), version: version.clone(), from };
    let _alone = alone(project, line)?;
    let mut local = project.local(line)?;
    local.inputs.insert(component.clone(), input.clone());
    save(project, store, line, &local)?;
    Ok(input)
}

/// Goes back to what is pinned.
pub fn remove(project: &Project, store: &Store, line: &LineName, component: &ComponentName) -> Result<()> {
    let _alone = alone(project, line)?;
    let mut local = project.local(line)?;
    if local.inputs.remove(component).is_none() {
        let what = format!("nothing was handed over for `{component}` in line {line}");
        return Err(Fault::user(what).mend("cargo xtask input list"));
    }
    save(project, store, line, &local)
}

/// Waits until no other process changes what the checkout was handed over, and keeps it so. The folder is what is
/// locked: a file would lie there for ever.
fn alone(project: &Project, line: &LineName) -> Result<File> {
    let path = project.local_lock_path(line);
    let folder = path.parent().unwrap_or(project.root());
    let opened = File::open(folder).map_err(|e| Fault::io("open", folder, e))?;
    opened.lock().map_err(|e| Fault::io("lock", folder, e))?;
    Ok(opened)
}

/// Writes the local lock, and makes gc keep what it names.
fn save(project: &Project, store: &Store, line: &LineName, local: &Local) -> Result<()> {
    let path = project.local_lock_path(line);
    let outputs: Vec<Output> = local.inputs.values().filter_map(added).collect();
    store.add_root(&absolute(&path)?, &outputs)?;
    if local.inputs.is_empty() {
        return std::fs::remove_file(&path).map_err(|e| Fault::io("remove", &path, e));
    }
    let text = local.to_text()?;
    write_whole(&path, 0o644, |file| std::io::Write::write_all(file, text.as_bytes()))
}

/// What the store holds of a handed over input.
fn added(input: &LockedInput) -> Option<Output> {
    match input.from {
        From::Added { digest, size, .. } => Some(Output::Blob { content: digest, size }),
        _ => None,
    }
}

fn absolute(path: &Path) -> Result<std::path::PathBuf> {
    std::path::absolute(path).map_err(|e| Fault::io("find", path, e))
}

fn unreadable(path: &Path) -> Fault {
    Fault::user(format!("cannot take in {}", path.display()))
}
