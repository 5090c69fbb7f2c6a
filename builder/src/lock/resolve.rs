//! From what a recipe wants and what the archive offers to a lock, and what changed by it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Lock, LockedPackage, LockedSource, LockedSuite};
use crate::base::name::{GroupName, PackageName, SuiteName};
use crate::base::{Fault, Result};
use crate::formats::debian::index::packages::IndexEntry;
use crate::formats::debian::index::sources::SourcePackage;
use crate::formats::debian::relation::{self, Clause};
use crate::formats::debian::solver::{Request, Universe};
use crate::formats::debian::version::Version;
use crate::recipe::Recipe;
use crate::recipe::source_build;

/// The packages that the suites of a line offer.
#[derive(Debug)]
pub struct ArchiveSnapshot {
    /// The suites, as the lock names them.
    pub suites: BTreeMap<SuiteName, LockedSuite>,
    /// Their packages.
    pub packages: Vec<IndexEntry>,
    /// Source packages that were asked for.
    pub sources: Vec<SourcePackage>,
}

/// The versions that may move.
#[derive(Clone, Debug)]
pub enum UpdatePolicy<'a> {
    /// All, to the newest.
    All,
    /// One package; the others stay where they are as long as the archive has that version and the
    /// moved package allows it.
    One(&'a Lock, &'a PackageName),
}

/// Makes the lock: everything that roles and groups want, in versions that fit together.
///
/// One solution holds for all of them, so that any of them may share a machine; each then gets the part
/// of it that it needs. A group that no role draws in is a root tree of its own (the machine's, the
/// tools'), and gets Debian's essential packages too.
pub fn resolve(recipe: &Recipe, snapshot: ArchiveSnapshot, policy: UpdatePolicy<'_>) -> Result<Lock> {
    let arch = recipe.line.arch;
    let epoch = snapshot.suites.values().map(|suite| suite.date).max();
    let epoch = epoch.ok_or_else(|| Fault::user("a line without suites has no lock"))?;
    let parse = |text: &String| relation::parse(text, arch).map_err(|fault| user(&fault));
    let mut wanted: BTreeMap<GroupName, Vec<Clause>> = BTreeMap::new();
    for (name, relations) in recipe.wanted()? {
        let clauses: Vec<_> = relations.iter().map(parse).collect::<Result<_>>()?;
        wanted.insert(name, clauses.into_iter().flatten().collect());
    }
    let keep = kept(&policy)?;
    let sources = sources(recipe, &snapshot.sources)?;
    let all = Request { clauses: wanted.values().flatten().cloned().collect(), essential: true, keep };
    let universe = Universe::new(snapshot.packages, arch)?;
    let together: Vec<IndexEntry> = universe.solve(&all)?.into_iter().cloned().collect();
    let part = Universe::new(together, arch)?;
    let mut packages = BTreeMap::new();
    for (name, clauses) in wanted {
        let essential = is_root_tree(recipe, &name);
        for package in part.solve(&Request { clauses, essential, keep: BTreeMap::new() })? {
            let key = (package.name.clone(), package.arch);
            packages.entry(key).or_insert_with(|| locked(package)).wanted_by.insert(name.clone());
        }
    }
    Ok(Lock {
        line: recipe.line.name.clone(),
        arch,
        recipe: recipe.lock_digest()?,
        epoch,
        suites: snapshot.suites,
        inputs: Lock::inputs_of(recipe)?,
        packages,
        sources,
    })
}

/// The newest of each source package that the recipe compiles from.
fn sources(recipe: &Recipe, offered: &[SourcePackage]) -> Result<BTreeMap<PackageName, LockedSource>> {
    let mut sources = BTreeMap::new();
    for name in recipe.sources.keys() {
        let newest =
            offered.iter().filter(|source| source.name == *name).max_by_key(|source| &source.version);
        let newest = newest.ok_or_else(|| {
            Fault::user(format!("no suite of line {} has a source package `{name}`", recipe.line.name))
        })?;
        recipe.check_source(name, &newest.version)?;
        sources.insert(name.clone(), LockedSource::from(newest));
    }
    Ok(sources)
}

fn kept(policy: &UpdatePolicy<'_>) -> Result<BTreeMap<PackageName, Version>> {
    let UpdatePolicy::One(lock, package) = policy else { return Ok(BTreeMap::new()) };
    if !lock.packages.keys().any(|(name, _)| name == *package) {
        let fault = Fault::user(format!("the lock has no package `{package}`"));
        return Err(fault.help(format!("cargo xtask lock {}", lock.line)));
    }
    let others = lock.packages.values().filter(|locked| locked.name != **package);
    Ok(others.map(|locked| (locked.name.clone(), locked.version.clone())).collect())
}

fn is_root_tree(recipe: &Recipe, name: &GroupName) -> bool {
    let builds =
        recipe.sources.keys().any(|source| source_build::group(source).is_ok_and(|group| group == *name));
    builds
        || recipe.groups.contains_key(name) && !recipe.roles.values().any(|role| role.groups.contains(name))
}

fn locked(package: &IndexEntry) -> LockedPackage {
    LockedPackage {
        name: package.name.clone(),
        version: package.version.clone(),
        arch: package.arch,
        suite: package.suite.clone(),
        path: package.path.clone(),
        size: package.size,
        sha256: package.digest,
        wanted_by: BTreeSet::new(),
    }
}

fn user(fault: &Fault) -> Fault {
    Fault::user("a relation in the recipes cannot be read").cause(fault)
}
