//! From bundles and fetched packages to `dist/repo`: finds what there is, and publishes it signed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::base::name::{Arch, GroupName, RoleName};
use crate::base::{Digest, Fault, Result};
use crate::debian::deb::{Deb, Limits};
use crate::debian::relation::{self, Relation, Test};
use crate::export::export;
use crate::lock::{Lock, LockedPackage};
use crate::openpgp::SigningKey;
use crate::pack::apt::{Offer, Suite, repository};
use crate::store::Store;
use crate::tree::{Contents, Tree};

/// Where `cargo xtask build components` puts its packages, beside the roles' folders.
pub const COMPONENTS: &str = "components";

/// What a repository can be made of.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Packages that are here; their bytes are in the store.
    pub offers: Vec<Offer>,
    /// Locked packages that are not here, and what the packages here depend on in one version that is not
    /// here, as `NAME VERSION`; sorted. None of it is in the repository.
    pub missing: BTreeSet<String>,
}

/// Finds the packages of the bundles in `dist/<role>/` and `dist/components/`, and the lock's Debian packages
/// that the roles want. No bundle of a role at all is a fault.
pub fn gather(store: &Store, dist: &Path, roles: &BTreeSet<RoleName>, lock: &Lock) -> Result<Gathered> {
    let mut gathered = Gathered::default();
    for role in roles {
        gathered.add(store, &dist.join(role.as_str()))?;
    }
    if gathered.offers.is_empty() {
        return Err(
            Fault::user(format!("no bundle of a role in {}", dist.display())).mend("cargo xtask build all")
        );
    }
    gathered.add(store, &dist.join(COMPONENTS))?;
    let names: BTreeSet<_> = roles.iter().map(RoleName::as_str).collect();
    let wanted = |group: &GroupName| names.contains(group.as_str());
    for package in lock.packages.values().filter(|package| package.wanted_by.iter().any(wanted)) {
        match locked(store, package)? {
            Some(offer) => gathered.offers.push(offer),
            None => drop(gathered.missing.insert(format!("{} {}", package.name, package.version))),
        }
    }
    gathered.miss(lock.arch)?;
    Ok(gathered)
}

impl Gathered {
    /// Takes the packages of a folder into the store and offers them.
    fn add(&mut self, store: &Store, folder: &Path) -> Result<()> {
        for path in debs_in(folder)? {
            let file = File::open(&path).map_err(|e| Fault::io("open", &path, e))?;
            let (content, size) = store.put(file)?;
            self.offers.push(offer(store, &path.display().to_string(), content, size)?);
        }
        Ok(())
    }

    /// Notes each exact version that an offered package depends on and that is not offered.
    fn miss(&mut self, arch: Arch) -> Result<()> {
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
    gathered: Gathered,
    key: &SigningKey,
    to: &Path,
) -> Result<Tree> {
    let (tree, documents) = repository(suite, gathered.offers, key)?;
    store.put_all(&documents)?;
    export(store, &tree, to)?;
    Ok(tree)
}

/// The `.deb`s of a folder, by name; a folder that is not there has none.
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

fn offer(store: &Store, name: &str, content: Digest, size: u64) -> Result<Offer> {
    let control = Deb::read_control(name, store.open(&content)?, Limits::for_size(size))?;
    Ok(Offer { control, content, size })
}

/// A package of the lock's, if it was fetched; one that says that it is another is refused.
fn locked(store: &Store, package: &LockedPackage) -> Result<Option<Offer>> {
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
    Err(Fault::integrity(format!("{} is not what the lock says", package.path.file_name())).versus(
        format!("{} {} {}", package.name, package.version, package.arch),
        format!("{name} {version} {arch}"),
    ))
}
