//! Locked packages of Debian's as inputs of a plan.

use std::collections::BTreeMap;

use crate::base::digest::Checksum;
use crate::base::name::PackageName;
use crate::base::{Fault, Result};
use crate::lock::{Lock, LockedPackage};
use crate::plan::{InputStep, Plan, StepId, ToolsStep};
use crate::store::Store;

/// Adds the tree of a group's packages that are run from the store; the packages must have been fetched.
pub fn tools(plan: &mut Plan, lock: &Lock, store: &Store, group: &str) -> Result<StepId> {
    let packages = packages(plan, lock, store, &[group])?;
    plan.add(format!("tools {group}"), ToolsStep { packages })
}

/// Adds the packages of some groups as inputs, by name; they must have been fetched.
pub fn packages(
    plan: &mut Plan,
    lock: &Lock,
    store: &Store,
    groups: &[&str],
) -> Result<BTreeMap<PackageName, StepId>> {
    Ok(steps(inputs(plan, lock, store, groups)?))
}

/// Adds the packages that some groups want as inputs; refuses those that are not in the store.
pub(crate) fn inputs<'a>(
    plan: &mut Plan,
    lock: &'a Lock,
    store: &Store,
    groups: &[&str],
) -> Result<Vec<(&'a LockedPackage, StepId)>> {
    let (mut inputs, mut absent) = (Vec::new(), Vec::new());
    for package in wanted(lock, groups) {
        let step = InputStep { checksum: Checksum::Sha256(package.sha256) };
        let id = plan.add(format!("input {}_{}", package.name, package.arch), step)?;
        if store.output(&id)?.is_none() {
            absent.push(package.name.as_str());
        }
        inputs.push((package, id));
    }
    if absent.is_empty() {
        return Ok(inputs);
    }
    let what = format!("Debian packages that are not fetched: {}", absent.join(", "));
    Err(Fault::user(what).help(format!("cargo xtask fetch {}", lock.line)))
}

/// Returns whether all packages that a group wants are in the store.
pub(crate) fn are_fetched(lock: &Lock, store: &Store, group: &str) -> Result<bool> {
    for package in wanted(lock, &[group]) {
        if store.output(&StepId::of_input(Checksum::Sha256(package.sha256))?)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn wanted<'a>(lock: &'a Lock, groups: &[&str]) -> impl Iterator<Item = &'a LockedPackage> {
    let wanted = |p: &&LockedPackage| p.wanted_by.iter().any(|group| groups.contains(&group.as_str()));
    lock.packages.values().filter(wanted)
}

pub(crate) fn steps(packages: Vec<(&LockedPackage, StepId)>) -> BTreeMap<PackageName, StepId> {
    packages.into_iter().map(|(package, id)| (package.name.clone(), id)).collect()
}
