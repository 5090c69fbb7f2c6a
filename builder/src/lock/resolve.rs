//! From what a recipe wants and what the archive offers to a lock, and what changed by it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Lock, LockedPackage, LockedSource, LockedSuite};
use crate::base::name::{GroupName, PackageName, SuiteName};
use crate::base::{Digest, Fault, Result};
use crate::formats::debian::index::packages::Package;
use crate::formats::debian::index::sources::SourcePackage;
use crate::formats::debian::relation::{self, Clause};
use crate::formats::debian::solver::{Universe, Wanted};
use crate::formats::debian::version::Version;
use crate::recipe::Recipe;
use crate::recipe::source_build;

/// What the suites of a line offer.
#[derive(Debug)]
pub struct Offer {
    /// The suites, as the lock names them.
    pub suites: BTreeMap<SuiteName, LockedSuite>,
    /// Their packages.
    pub packages: Vec<Package>,
    /// Source packages that were asked for.
    pub sources: Vec<SourcePackage>,
}

/// Which versions may move.
#[derive(Clone, Debug)]
pub enum Moving<'a> {
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
pub fn resolve(recipe: &Recipe, offer: Offer, moving: Moving<'_>) -> Result<Lock> {
    let arch = recipe.line.arch;
    let epoch = offer.suites.values().map(|suite| suite.date).max();
    let epoch = epoch.ok_or_else(|| Fault::user("a line without suites has no lock"))?;
    let parse = |text: &String| relation::parse(text, arch).map_err(|fault| user(&fault));
    let mut wanted: BTreeMap<GroupName, Vec<Clause>> = BTreeMap::new();
    for (name, relations) in recipe.wanted()? {
        let clauses: Vec<_> = relations.iter().map(parse).collect::<Result<_>>()?;
        wanted.insert(name, clauses.into_iter().flatten().collect());
    }
    let keep = kept(&moving)?;
    let sources = sources(recipe, &offer.sources)?;
    let all = Wanted { clauses: wanted.values().flatten().cloned().collect(), essential: true, keep };
    let universe = Universe::new(offer.packages, arch)?;
    let together: Vec<Package> = universe.solve(&all)?.into_iter().cloned().collect();
    let part = Universe::new(together, arch)?;
    let mut packages = BTreeMap::new();
    for (name, clauses) in wanted {
        let essential = is_root_tree(recipe, &name);
        for package in part.solve(&Wanted { clauses, essential, keep: BTreeMap::new() })? {
            let key = (package.name.clone(), package.arch);
            packages.entry(key).or_insert_with(|| locked(package)).wanted_by.insert(name.clone());
        }
    }
    Ok(Lock {
        line: recipe.line.name.clone(),
        arch,
        recipe: recipe.lock_digest()?,
        epoch,
        suites: offer.suites,
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

fn kept(moving: &Moving<'_>) -> Result<BTreeMap<PackageName, Version>> {
    let Moving::One(lock, package) = moving else { return Ok(BTreeMap::new()) };
    if !lock.packages.keys().any(|(name, _)| name == *package) {
        let fault = Fault::user(format!("the lock has no package `{package}`"));
        return Err(fault.mend(format!("cargo xtask lock {}", lock.line)));
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

fn locked(package: &Package) -> LockedPackage {
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
    Fault::user("a relation in the recipes cannot be read").because(fault)
}

/// One line of the difference between two locks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// A suite, component or package.
    pub name: String,
    /// What it was; none when it is new.
    pub before: Option<String>,
    /// What it is; none when it is gone.
    pub after: Option<String>,
    /// Who wants it; empty for a suite.
    #[serde(rename = "for")]
    pub wanted_by: BTreeSet<GroupName>,
}

/// What differs between two locks, sorted by kind and name: suites, then inputs, packages, source packages.
pub fn changes(before: Option<&Lock>, after: &Lock) -> Vec<Change> {
    let before_rows = before.map(rows).unwrap_or_default();
    let after_rows = rows(after);
    let keys: BTreeSet<_> = before_rows.keys().chain(after_rows.keys()).collect();
    let change = |key: &(u8, String)| {
        let (was, is) = (before_rows.get(key), after_rows.get(key));
        let wanted_by = is.or(was).map(|row| row.wanted_by.clone()).unwrap_or_default();
        let differs = was.map(|row| (&row.text, row.identity)) != is.map(|row| (&row.text, row.identity));
        let text = |row: Option<&Row>| row.map(|row| row.text.clone());
        differs.then(|| Change { name: key.1.clone(), before: text(was), after: text(is), wanted_by })
    };
    keys.into_iter().filter_map(change).collect()
}

struct Row {
    text: String,
    /// What may differ though the text is the same.
    identity: Option<Digest>,
    wanted_by: BTreeSet<GroupName>,
}

fn rows(lock: &Lock) -> BTreeMap<(u8, String), Row> {
    let suites = lock.suites.values().map(|suite| {
        let row = Row { text: suite.date.rfc3339(), identity: None, wanted_by: BTreeSet::new() };
        ((0, suite.name.to_string()), row)
    });
    let inputs = lock.inputs.values().map(|input| {
        let row = Row { text: input.version.to_string(), identity: None, wanted_by: BTreeSet::new() };
        ((1, input.component.to_string()), row)
    });
    let packages = lock.packages.values().map(|package| {
        let text = package.version.to_string();
        let row = Row { text, identity: Some(package.sha256), wanted_by: package.wanted_by.clone() };
        ((2, package.name.to_string()), row)
    });
    let sources = lock.sources.values().map(|source| {
        let row = Row { text: source.version.to_string(), identity: None, wanted_by: BTreeSet::new() };
        ((3, source.name.to_string()), row)
    });
    suites.chain(inputs).chain(packages).chain(sources).collect()
}

/// The changes as a table for people; empty when there are none.
pub fn table(changes: &[Change]) -> String {
    if changes.is_empty() {
        return String::new();
    }
    let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let mut rows = vec![["", "was", "is", "for"].map(str::to_owned)];
    rows.extend(changes.iter().map(|change| {
        let names: Vec<&str> = change.wanted_by.iter().map(GroupName::as_str).collect();
        [change.name.clone(), dash(&change.before), dash(&change.after), names.join(" ")]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let line = |[name, was, is, wanted_by]: &[String; 4]| {
        let [a, b, c] = widths;
        format!("{name:a$}  {was:b$}  {is:c$}  {wanted_by}").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}
