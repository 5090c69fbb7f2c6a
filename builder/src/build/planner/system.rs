//! A role's whole system: the plan from locked packages and the role's own to a disk that boots.
//!
//! ```text
//! Debian's .debs --root--> tree --install (hale, hale-common, hale-ROLE, components, hale-machine)--> tree
//! tree, boot tools --disk--> raw --converted--> qcow2, raw.zst
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::inputs::{inputs, steps, tools};
use super::{BuildTarget, bundle, components, packing};
use crate::base::name::{Arch, PackageName};
use crate::base::{Fault, Result};
use crate::formats::debian::relation::{self, Clause, Relation};
use crate::formats::debian::version::Version;
use crate::lock::pins::RoleVersions;
use crate::overlay::role_package;
use crate::plan::{ConvertedStep, DebStep, DiskFormat, DiskStep, InstallStep, Plan, RootStep, Step, StepId};
use crate::store::Store;

/// The group of packages that make a root tree a machine of its own.
const MACHINE: &str = "machine";

/// The group of packages that make a disk boot.
pub const BOOT: &str = "boot";

/// The group of packages that disks and virtual machines are tried with.
pub const TOOLS: &str = "tools";

/// A role's system, planned.
#[derive(Debug)]
pub struct DiskPlan {
    /// The steps; the disk is the one goal.
    pub plan: Plan,
    /// The raw disk.
    pub disk: StepId,
    /// The root tree that is on it.
    pub root: StepId,
    /// How many packages are Debian's.
    pub debian: usize,
    /// How many are of ours.
    pub own: usize,
    /// Packages of the role that cannot be installed, and the dependencies that nothing here meets.
    pub left_out: LeftOut,
}

/// Packages, and what each lacks.
pub type LeftOut = BTreeMap<PackageName, Vec<String>>;

/// A package of ours that may be installed.
struct OwnPackage {
    version: Version,
    deb: StepId,
    needs: Vec<Clause>,
}

/// Plans a role's disk. Debian's packages must have been fetched.
pub fn plan(target: &BuildTarget, store: &Store) -> Result<DiskPlan> {
    let role_packages = bundle::plan(target, store)?;
    let (recipe, lock) = (&role_packages.recipe, &role_packages.lock);
    let role = recipe.role(target.role.as_str())?;
    let mut plan = Plan::new();
    let files = target.project.files()?;
    plan.absorb(components::plan(files, recipe, lock, store)?.plan)?;
    plan.absorb(role_packages.plan.clone())?;
    let machine = role_package::machine(files, recipe, role, Some(lock))?;
    packing::pack(&mut plan, &machine, lock.epoch, store)?;

    let wanted = [MACHINE, role.name.as_str()];
    let wanted = wanted.into_iter().chain(role.groups.iter().map(|group| group.as_str()));
    let debian = inputs(&mut plan, lock, store, &wanted.collect::<Vec<_>>())?;
    let versions = debian.iter().map(|(package, _)| (package.name.clone(), package.version.clone()));
    let versions = versions.collect::<BTreeMap<_, _>>();
    let pinned = RoleVersions::new(recipe, role, Some(lock))?.packages;
    let named: BTreeMap<_, _> = role_packages.packages.iter().cloned().collect();
    let mut own = own_packages(&plan, &named, lock.arch)?;
    // Components of other roles stay out.
    own.retain(|name, _| pinned.contains_key(name) || named.contains_key(name) || *name == machine.name);
    let (own, left_out) = installable(own, versions.clone());

    let mut held: BTreeSet<PackageName> =
        pinned.into_keys().filter(|name| versions.contains_key(name)).collect();
    held.extend(own.keys().cloned());
    let (count, own_count, epoch) = (debian.len(), own.len(), lock.epoch);
    let owner = recipe.site.users.first_id;
    let root = plan.add("root", RootStep { packages: steps(debian), epoch })?;
    let root = plan.add("install", InstallStep { root, packages: own, held, owner, epoch })?;
    let tools = tools(&mut plan, lock, store, BOOT)?;
    let arguments = recipe.line.kernel_arguments.clone();
    let disk = plan.add("disk", DiskStep { root, tools, arguments, epoch })?;
    plan.want(disk);
    Ok(DiskPlan { plan, disk, root, debian: count, own: own_count, left_out })
}

impl DiskPlan {
    /// Wants the disk in another form too.
    pub fn convert(&mut self, format: DiskFormat) -> Result<StepId> {
        if format == DiskFormat::Raw {
            return Ok(self.disk);
        }
        let label = format!("disk {}", format.extension());
        let step = self.plan.add(label, ConvertedStep { disk: self.disk, format })?;
        self.plan.want(step);
        Ok(step)
    }
}

/// The plan's packages. Those that are packed of a tree say what they need; a program of ours is linked
/// into one file and needs nothing.
fn own_packages(
    plan: &Plan,
    programs: &BTreeMap<PackageName, Version>,
    arch: Arch,
) -> Result<BTreeMap<PackageName, OwnPackage>> {
    let mut own = BTreeMap::new();
    for (deb, planned) in plan.iter() {
        match &planned.step {
            Step::Deb(DebStep { package, .. }) => {
                let field = |name: &str| package.control.get(name).map(String::as_str).unwrap_or_default();
                let mut needs = Vec::new();
                for name in ["Pre-Depends", "Depends"] {
                    needs.extend(relation::parse(field(name), arch)?);
                }
                let version = field("Version").parse()?;
                own.insert(PackageName::new(field("Package"))?, OwnPackage { version, deb, needs });
            }
            Step::Program(_) => {
                let named = programs.iter().find(|(name, _)| planned.label == format!("deb {name}"));
                let (name, version) =
                    named.ok_or_else(|| Fault::bug(format!("{} is no package", planned.label)))?;
                own.insert(name.clone(), OwnPackage { version: version.clone(), deb, needs: Vec::new() });
            }
            _ => {}
        }
    }
    Ok(own)
}

/// Leaves out packages with unmet dependencies, then those that needed them, until the rest stands.
fn installable(
    mut own: BTreeMap<PackageName, OwnPackage>,
    mut versions: BTreeMap<PackageName, Version>,
) -> (BTreeMap<PackageName, StepId>, LeftOut) {
    let mut left_out = LeftOut::new();
    versions.extend(own.iter().map(|(name, package)| (name.clone(), package.version.clone())));
    loop {
        let met = |clause: &Clause| {
            clause.iter().any(|r| versions.get(&r.name).is_some_and(|version| r.allows(version)))
        };
        let lacks = |package: &OwnPackage| -> Vec<String> {
            package.needs.iter().filter(|clause| !met(clause)).map(describe).collect()
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

fn describe(clause: &Clause) -> String {
    clause.iter().map(Relation::to_string).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Digest;

    fn name(text: &str) -> PackageName {
        PackageName::new(text).unwrap()
    }

    #[test]
    fn what_cannot_be_installed_is_left_out_with_all_that_needs_it() {
        let own = |(package, depends): (&str, &str)| {
            let needs = relation::parse(depends, Arch::Amd64).unwrap();
            let deb = StepId(Digest::of(package));
            (name(package), OwnPackage { version: "1".parse().unwrap(), deb, needs })
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
