//! From bundles and fetched packages to `dist/repo`: finds what there is, and publishes it signed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::export::export;
use crate::base::name::{Arch, GroupName, RoleName};
use crate::base::tree::{Contents, Kind, Tree};
use crate::base::{Digest, Fault, Result};
use crate::formats::debian::deb::{UnpackLimits, UnpackedDeb};
use crate::formats::debian::relation::{self, Relation, Test};
use crate::formats::openpgp::SigningKey;
use crate::lock::{Lock, LockedPackage};
use crate::pack::package::repository::{RepositoryPackage, Suite, repository};
use crate::store::Store;

/// The folder of the packages of `cargo xtask build components`, beside the roles' folders.
pub const COMPONENTS: &str = "components";

/// The packages that a repository can be made of.
#[derive(Debug, Default)]
pub struct RepositoryContents {
    /// Packages that are here; their bytes are in the store.
    pub offers: Vec<RepositoryPackage>,
    /// Locked packages that are not here, and what the packages here depend on in one version that is not
    /// here, as `NAME VERSION`; sorted. None of it is in the repository.
    pub missing: BTreeSet<String>,
}

/// The packages that the plans made, as the store has them: only these may be signed.
#[derive(Debug, Default)]
pub struct Bundles {
    /// The bundles of roles.
    pub roles: Vec<Tree>,
    /// The packages of components, if any was made.
    pub components: Option<Tree>,
}

/// Finds the packages of the bundles, and the lock's Debian packages that the roles want. No bundle of a role at all
/// is a fault.
pub fn gather(
    store: &Store,
    bundles: &Bundles,
    roles: &BTreeSet<RoleName>,
    lock: &Lock,
) -> Result<RepositoryContents> {
    let mut gathered = RepositoryContents::default();
    if bundles.roles.is_empty() {
        let what = format!("no bundle of a role of line {} as it is now", lock.line);
        return Err(Fault::user(what).help("cargo xtask build all"));
    }
    for bundle in bundles.roles.iter().chain(&bundles.components) {
        gathered.add(store, bundle)?;
    }
    let names: BTreeSet<_> = roles.iter().map(RoleName::as_str).collect();
    let wanted = |group: &GroupName| names.contains(group.as_str());
    for package in lock.packages.values().filter(|package| package.wanted_by.iter().any(wanted)) {
        match locked(store, package)? {
            Some(offer) => gathered.offers.push(offer),
            None => drop(gathered.missing.insert(format!("{} {}", package.name, package.version))),
        }
    }
    gathered.note_missing(lock.arch)?;
    Ok(gathered)
}

impl RepositoryContents {
    /// Refuses a package in `dist/<role>/` or `dist/components/` that is none of those: what a person sees there
    /// is what they think is signed.
    pub fn check_dist(&self, dist: &Path, roles: &BTreeSet<RoleName>) -> Result<()> {
        for folder in roles.iter().map(RoleName::as_str).chain([COMPONENTS]) {
            for path in debs_in(&dist.join(folder))? {
                let mut file = File::open(&path).map_err(|e| Fault::io("open", &path, e))?;
                let (content, _) = Digest::of_reader(&mut file).map_err(|e| Fault::io("read", &path, e))?;
                if !self.offers.iter().any(|offer| offer.content == content) {
                    let what = format!("{} is not what this checkout makes", path.display());
                    return Err(Fault::user(what).help(format!(
                        "move it out of the folder, or make that anew: cargo xtask build {folder}"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Offers the packages of a bundle.
    fn add(&mut self, store: &Store, bundle: &Tree) -> Result<()> {
        for (path, node) in bundle.iter() {
            if let Kind::File { content, size } = node.kind
                && path.parent().is_none()
                && path.as_str().ends_with(".deb")
            {
                self.offers.push(offer(store, path.as_str(), content, size)?);
            }
        }
        Ok(())
    }

    /// Notes each exact version that an offered package depends on and that is not offered.
    fn note_missing(&mut self, arch: Arch) -> Result<()> {
        let mut offered = BTreeSet::new();
        for offer in &self.offers {
            offered.insert(format!("{} {}", offer.control.need("Package")?, offer.control.need("Version")?));
        }
        for offer in &self.offers {
            for clause in relation::parse(offer.control.get("Depends").unwrap_or_default(), arch)? {
                // Another version will not do, and no other package.
                if let [Relation { name, version: Some((Test::Equal, version)) }] = &clause[..] {
                    let wanted = format!("{name} {version}");
                    if !offered.contains(&wanted) {
                        self.missing.insert(wanted);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Publishes what was gathered at `to`, in the place of the last repository there.
pub fn publish(
    store: &Store,
    suite: &Suite,
    gathered: RepositoryContents,
    key: &SigningKey,
    to: &Path,
) -> Result<Tree> {
    let (tree, documents) = repository(suite, gathered.offers, key)?;
    store.put_all(&documents)?;
    export(store, &tree, to)?;
    Ok(tree)
}

/// Lists the `.deb`s of a folder, by name; a folder that is not there has none.
pub(crate) fn debs_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect()),
    };
    let mut paths: Vec<PathBuf> = entries.map_err(|e| Fault::io("list", folder, e))?;
    paths.retain(|path| path.extension().is_some_and(|end| end == "deb"));
    paths.sort();
    Ok(paths)
}

fn offer(store: &Store, name: &str, content: Digest, size: u64) -> Result<RepositoryPackage> {
    let control = UnpackedDeb::read_control(name, store.open(&content)?, UnpackLimits::for_size(size))?;
    Ok(RepositoryPackage { control, content, size })
}

/// A package of the lock's, if it was fetched; one that says that it is another is refused.
fn locked(store: &Store, package: &LockedPackage) -> Result<Option<RepositoryPackage>> {
    if !store.contains(&package.sha256) {
        return Ok(None);
    }
    let offer = offer(store, package.path.file_name(), package.sha256, package.size)?;
    let arch: Arch = offer.control.need("Architecture")?.parse()?;
    let found = (offer.control.need("Package")?, offer.control.need("Version")?, arch);
    if found == (package.name.as_str(), package.version.as_str(), package.arch) {
        return Ok(Some(offer));
    }
    let (name, version, arch) = found;
    Err(Fault::integrity(format!("{} is not what the lock says", package.path.file_name())).expected_found(
        format!("{} {} {}", package.name, package.version, package.arch),
        format!("{name} {version} {arch}"),
    ))
}
