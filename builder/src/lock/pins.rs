//! The versions that are pinned on one role's machines: each component's version, each package's version.

use std::collections::BTreeMap;

use super::{Lock, LockedOrigin};
use crate::base::name::{ComponentName, PackageName};
use crate::base::{Fault, Result};
use crate::formats::debian::version::Version;
use crate::recipe::Recipe;
use crate::recipe::component::{Origin, Product};
use crate::recipe::role::Role;

/// Versions on one role's machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleVersions {
    /// Upstream's (or Debian's) version of every component of the line.
    pub versions: BTreeMap<ComponentName, Version>,
    /// The package that each component of the line is, if it is one, and that package's version.
    pub parts: BTreeMap<ComponentName, (PackageName, Version)>,
    /// The packages that the role's components are, by name; the role packages depend on exactly these.
    pub packages: BTreeMap<PackageName, Version>,
    /// The version of the role packages themselves.
    pub own: Version,
}

impl RoleVersions {
    /// Takes the versions that the lock found; refuses those that a rule of the line refuses. Without a lock, which
    /// is good enough for lint, Debian's packages stand at the least version that the line takes.
    pub fn new(recipe: &Recipe, role: &Role, lock: Option<&Lock>) -> Result<Self> {
        let mut versions = BTreeMap::new();
        for (name, pin) in &recipe.line.pins {
            let version = match lock {
                Some(lock) => lock.version_of(recipe, name)?,
                None => pin.version(),
            };
            versions.insert(name.clone(), version.clone());
        }
        recipe.line.check(&versions)?;
        let mut parts = BTreeMap::new();
        for (name, component) in &recipe.components {
            let part = match (&component.from, &component.becomes) {
                (Origin::Debian { package }, Product::AsIs) => (package.clone(), versions[name].clone()),
                (_, Product::Deb(package)) => (package.name.clone(), own_version(recipe, lock, name)?),
                _ => continue,
            };
            parts.insert(name.clone(), part);
        }
        let mut packages: BTreeMap<_, _> =
            role.components.iter().filter_map(|name| parts.get(name).cloned()).collect();
        if let Some(package) = recipe.images_package(role)? {
            packages.insert(package, images_version(recipe, role, lock)?);
        }
        Ok(Self { versions, parts, packages, own: recipe.line.package_version()? })
    }
}

/// Returns the version of the `.deb` of ours that a component becomes: `1.17+hale1`, and `1.17+hale1+local` when its
/// bytes were handed over.
pub fn own_version(recipe: &Recipe, lock: Option<&Lock>, component: &ComponentName) -> Result<Version> {
    let input = lock.and_then(|lock| lock.inputs.get(component));
    let pin = recipe.line.pins.get(component);
    let pin = pin.ok_or_else(|| Fault::bug(format!("no pin for `{component}`")))?;
    let version = input.map_or(pin.version(), |input| &input.version);
    let local = if input.is_some_and(|input| matches!(input.from, LockedOrigin::Supplied { .. })) {
        "+local"
    } else {
        ""
    };
    Version::new(&format!("{version}+hale{}{local}", recipe.line.revision))
}

/// Returns the version of the package with a role's images; `+local` when one of them was handed over.
pub fn images_version(recipe: &Recipe, role: &Role, lock: Option<&Lock>) -> Result<Version> {
    let own = recipe.line.package_version()?;
    let mut images = recipe.images(role).filter_map(|image| lock?.inputs.get(&image.name));
    match images.any(|input| matches!(input.from, LockedOrigin::Supplied { .. })) {
        true => Version::new(&format!("{own}+local")),
        false => Ok(own),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Digest, Epoch};
    use crate::lock::LockedInput;
    use crate::overlay::role_package::role_packages;
    use crate::recipe::shipped;

    /// A lock in which the operator handed `name` over.
    fn handed_over(recipe: &Recipe, name: &str, version: &str) -> Lock {
        let mut inputs = Lock::inputs_of(recipe).unwrap();
        let mut add = |name: &str, version: Version, from: LockedOrigin| {
            let component = ComponentName::new(name).unwrap();
            inputs.insert(component.clone(), LockedInput { component, version, from });
        };
        // Debian's two, which a lock without packages does not have.
        for name in ["conmon", "etcd"] {
            add(name, recipe.line.pins[name].version().clone(), LockedOrigin::Provided);
        }
        let from = LockedOrigin::Supplied { file: format!("{name}.deb"), digest: Digest::of(name), size: 1 };
        add(name, Version::new(version).unwrap(), from);
        Lock {
            line: recipe.line.name.clone(),
            arch: recipe.line.arch,
            recipe: recipe.lock_digest().unwrap(),
            epoch: Epoch::new(0).unwrap(),
            suites: BTreeMap::new(),
            inputs,
            packages: BTreeMap::new(),
            sources: BTreeMap::new(),
        }
    }

    #[test]
    fn what_was_handed_over_is_marked_and_judged_by_its_own_version() {
        let recipe = shipped::recipe();
        let role = recipe.role("master").unwrap();
        let lock = handed_over(&recipe, "cri-o", "1.17.5");
        let pinned = RoleVersions::new(&recipe, role, Some(&lock)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(pinned.packages["cri-o"].as_str(), "1.17.5+hale1+local");
        assert_eq!(pinned.packages["crun"].as_str(), "1.17+hale1");
        assert_eq!(recipe.line.apparmor_profile(&pinned.versions), "crio-default-1.17.5");
        // What lies on the node follows.
        for (cri_o, profile, shim) in [("1.17.5", "1.17.5", "true"), ("1.18.4", "1.18.4", "false")] {
            let lock = handed_over(&recipe, "cri-o", cri_o);
            let packages =
                role_packages(&shipped::files(), &recipe, role, Some(&lock), &BTreeMap::new()).unwrap();
            let texts = packages.iter().flat_map(|package| &package.rendered.texts);
            let text = |of: &str| texts.clone().find(|(path, ..)| path.as_str() == of).unwrap().2.as_str();
            let crio = text("etc/crio/crio.conf.d/10-hale.conf");
            assert!(crio.contains(&format!("apparmor_profile = \"crio-default-{profile}\"")), "{crio}");
            let role = text("usr/lib/hale/role.toml");
            assert!(role.contains(&format!("shim = {shim}")), "{role}");
        }
        let old = handed_over(&recipe, "kubelet", "1.17.4");
        let fault = RoleVersions::new(&recipe, role, Some(&old)).unwrap_err();
        assert!(fault.to_string().contains("rule `old-kubernetes`"), "{fault}");
    }
}
