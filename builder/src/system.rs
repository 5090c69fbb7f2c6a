//! A role's whole system: the root tree of its machines, from Debian's packages as locked, with the role's
//! own packages and its components' on top.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

use crate::base::name::{Arch, PackageName};
use crate::base::{Digest, Fault, Result};
use crate::debian::control::Paragraph;
use crate::debian::deb::{Deb, Limits};
use crate::debian::relation::{self, Clause, Relation};
use crate::debian::version::Version;
use crate::lock::Lock;
use crate::repository::debs_in;
use crate::role::Role;
use crate::root::{Builder, unpack_all};
use crate::store::Store;

/// The group of packages that make a root tree a machine of its own.
const MACHINE: &str = "machine";

/// Where `cargo xtask build components` puts its packages, below dist.
const COMPONENTS: &str = "components";

/// What a system is made of.
#[derive(Debug)]
pub struct System {
    debian: Vec<Digest>,
    own: BTreeMap<PackageName, Digest>,
    /// Packages of the role that cannot be installed, and the dependencies that nothing here meets.
    pub left_out: BTreeMap<PackageName, Vec<String>>,
}

/// A package of ours that may be installed.
struct Own {
    version: Version,
    deb: Digest,
    needs: Vec<Clause>,
}

impl System {
    /// Finds the packages: Debian's in the store, all of which must be there, ours in `dist`.
    pub fn gather(store: &Store, dist: &Path, role: &Role, lock: &Lock) -> Result<Self> {
        let mut groups: BTreeSet<&str> = role.groups.iter().map(|group| group.as_str()).collect();
        groups.extend([MACHINE, role.name.as_str()]);
        let wanted = lock.packages.values();
        let wanted: Vec<_> =
            wanted.filter(|p| p.wanted_by.iter().any(|group| groups.contains(group.as_str()))).collect();
        let absent: Vec<&str> =
            wanted.iter().filter(|p| !store.contains(&p.sha256)).map(|p| p.name.as_str()).collect();
        if !absent.is_empty() {
            let what = format!("Debian packages that are not fetched: {}", absent.join(", "));
            return Err(Fault::user(what).mend(format!("cargo xtask fetch {}", lock.line)));
        }
        let versions = wanted.iter().map(|p| (p.name.clone(), p.version.clone())).collect();
        let (own, left_out) = installable(read(store, dist, role, lock.arch)?, versions);
        Ok(Self { debian: wanted.iter().map(|package| package.sha256).collect(), own, left_out })
    }

    /// Installs the packages; gives the root's tree.
    pub fn root(&self, builder: &Builder<'_>) -> Result<Digest> {
        let root = builder.assemble(&unpack_all(builder.store, &self.debian)?)?;
        if self.own.is_empty() { Ok(root) } else { builder.install(&root, &self.own) }
    }

    /// How many packages there are, Debian's and ours.
    pub fn len(&self) -> (usize, usize) {
        (self.debian.len(), self.own.len())
    }
}

/// The packages of the role and of components in `dist`; their bytes go to the store.
fn read(store: &Store, dist: &Path, role: &Role, arch: Arch) -> Result<BTreeMap<PackageName, Own>> {
    let debs = debs_in(&dist.join(role.name.as_str()))?;
    if debs.is_empty() {
        let what = format!("no bundle of {} in {}", role.name, dist.display());
        return Err(Fault::user(what).mend(format!("cargo xtask build {}", role.name)));
    }
    let mut own = BTreeMap::new();
    for path in debs.into_iter().chain(debs_in(&dist.join(COMPONENTS))?) {
        let open = || File::open(&path).map_err(|e| Fault::io("open", &path, e));
        let (deb, size) = store.put(open()?)?;
        let control = Deb::read_control(&path.display().to_string(), open()?, Limits::for_size(size))?;
        let package = Own { version: control.need("Version")?.parse()?, deb, needs: needs(&control, arch)? };
        own.insert(PackageName::new(control.need("Package")?)?, package);
    }
    Ok(own)
}

fn needs(control: &Paragraph, arch: Arch) -> Result<Vec<Clause>> {
    let mut needs = Vec::new();
    for field in ["Pre-Depends", "Depends"] {
        needs.extend(relation::parse(control.get(field).unwrap_or_default(), arch)?);
    }
    Ok(needs)
}

type LeftOut = BTreeMap<PackageName, Vec<String>>;

/// Leaves out packages with unmet dependencies, then those that needed them, until the rest stands.
fn installable(
    mut own: BTreeMap<PackageName, Own>,
    mut versions: BTreeMap<PackageName, Version>,
) -> (BTreeMap<PackageName, Digest>, LeftOut) {
    let mut left_out = LeftOut::new();
    versions.extend(own.iter().map(|(name, package)| (name.clone(), package.version.clone())));
    loop {
        let met = |clause: &Clause| {
            clause.iter().any(|r| versions.get(&r.name).is_some_and(|version| r.allows(version)))
        };
        let lacks = |package: &Own| -> Vec<String> {
            package.needs.iter().filter(|clause| !met(clause)).map(told).collect()
        };
        let out: LeftOut = own.iter().map(|(name, package)| (name.clone(), lacks(package))).collect();
        let out: LeftOut = out.into_iter().filter(|(_, lacks)| !lacks.is_empty()).collect();
        if out.is_empty() {
            break;
        }
        for name in out.keys() {
            own.remove(name);
            versions.remove(name);
        }
        left_out.extend(out);
    }
    (own.into_iter().map(|(name, package)| (name, package.deb)).collect(), left_out)
}

fn told(clause: &Clause) -> String {
    clause.iter().map(Relation::to_string).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> PackageName {
        PackageName::new(text).unwrap()
    }

    #[test]
    fn what_cannot_be_installed_is_left_out_with_all_that_needs_it() {
        let own = |(package, depends): (&str, &str)| {
            let needs = relation::parse(depends, Arch::Amd64).unwrap();
            (name(package), Own { version: "1".parse().unwrap(), deb: Digest::of(package), needs })
        };
        let packages = [
            ("hale", ""),
            ("hale-common", "hale, systemd (>= 250), kubelet (= 1.17.17-1)"),
            ("hale-master", "hale-common, none | systemd"),
            ("more", "hale (= 1), none | systemd"),
        ];
        let debian = BTreeMap::from([(name("systemd"), "252".parse().unwrap())]);
        let (own, left_out) = installable(packages.into_iter().map(own).collect(), debian);
        assert_eq!(own.keys().map(PackageName::as_str).collect::<Vec<_>>(), ["hale", "more"]);
        let expected = [("hale-common", "kubelet (= 1.17.17-1)"), ("hale-master", "hale-common")];
        let expected = expected.map(|(package, lacks)| (name(package), vec![lacks.to_owned()]));
        assert_eq!(left_out, BTreeMap::from(expected));
    }
}
