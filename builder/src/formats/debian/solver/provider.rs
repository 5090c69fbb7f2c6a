//! The universe as the solver asks for it. Only what it asks for is parsed.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{self, Display};

use resolvo::utils::{Pool, VersionSet};
use resolvo::{
    Candidates, Condition, ConditionId, Dependencies, DependencyProvider, HintDependenciesAvailable,
    Interner, KnownDependencies, NameId, Requirement, SolvableId, SolverCache, StringId, VersionSetId,
    VersionSetUnionId,
};

use super::universe::Universe;
use crate::base::Fault;
use crate::base::name::PackageName;
use crate::formats::debian::relation::{Clause, Relation};
use crate::formats::debian::version::Version;

/// Versions of one package that will do, and how the relation called them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Allowed {
    packages: Vec<usize>,
    said: String,
}

impl VersionSet for Allowed {
    type V = Candidate;
}

/// One version of one package.
#[derive(Clone, Debug)]
struct Candidate {
    package: usize,
    version: String,
}

impl Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.version)
    }
}

pub(super) struct Provider<'a> {
    universe: &'a Universe,
    keep: &'a BTreeMap<PackageName, Version>,
    pool: Pool<Allowed, String>,
    /// The candidates of the names that were asked for, highest version first.
    candidates: RefCell<BTreeMap<String, Vec<SolvableId>>>,
    /// The first thing that went wrong on the way; it stops the solver.
    fault: RefCell<Option<Fault>>,
}

impl<'a> Provider<'a> {
    pub(super) fn new(universe: &'a Universe, keep: &'a BTreeMap<PackageName, Version>) -> Self {
        let (candidates, fault) = (RefCell::default(), RefCell::default());
        Self { universe, keep, pool: Pool::new(), candidates, fault }
    }

    pub(super) fn package_index(&self, id: SolvableId) -> usize {
        self.pool.resolve_solvable(id).record.package
    }

    /// Turns a clause into version sets, in the order of preference. `asking` does not satisfy itself.
    pub(super) fn requirement(&self, clause: &Clause, asking: Option<usize>) -> Requirement {
        let mut sets: Vec<VersionSetId> = Vec::new();
        for relation in clause {
            let mut by_name: Vec<(&PackageName, Vec<usize>)> = Vec::new();
            for index in self.universe.candidates(relation) {
                let name = &self.universe.packages[index].name;
                match by_name.iter_mut().find(|(other, _)| *other == name) {
                    Some((_, packages)) => packages.push(index),
                    None => by_name.push((name, vec![index])),
                }
            }
            if by_name.is_empty() {
                by_name.push((&relation.name, Vec::new()));
            }
            sets.extend(by_name.into_iter().map(|(name, packages)| self.set(name, packages, relation)));
        }
        match sets.as_slice() {
            [only] => (*only).into(),
            [first, others @ ..] => self.pool.intern_version_set_union(*first, others.iter().copied()).into(),
            // A clause for another architecture: no package has this name, so nobody satisfies it.
            [] => {
                let said =
                    asking.map_or(String::new(), |index| self.universe.packages[index].name.to_string());
                let name = self.pool.intern_package_name("(another architecture)".to_owned());
                self.pool.intern_version_set(name, Allowed { packages: Vec::new(), said }).into()
            }
        }
    }

    /// What a conflict leaves of each package that it names or that provides what it names. A package
    /// does not conflict with itself (Debian Policy 7.4).
    fn constraints(&self, relation: &Relation, asking: usize) -> Vec<VersionSetId> {
        let mut excluded: BTreeMap<&PackageName, Vec<usize>> = BTreeMap::new();
        for index in self.universe.candidates(relation) {
            excluded.entry(&self.universe.packages[index].name).or_default().push(index);
        }
        excluded.remove(&self.universe.packages[asking].name);
        let left = |(name, excluded): (&PackageName, Vec<usize>)| {
            let all = self.universe.by_name[name].iter().copied();
            self.set(name, all.filter(|index| !excluded.contains(index)).collect(), relation)
        };
        excluded.into_iter().map(left).collect()
    }

    fn set(&self, name: &PackageName, packages: Vec<usize>, relation: &Relation) -> VersionSetId {
        let said = match &relation.version {
            _ if relation.name != *name => format!("(as {relation})"),
            Some((test, version)) => format!("{} {version}", test.as_str()),
            None => String::new(),
        };
        let name = self.pool.intern_package_name(name.to_string());
        self.pool.intern_version_set(name, Allowed { packages, said })
    }

    fn dependencies(&self, solvable: SolvableId) -> Result<KnownDependencies, Fault> {
        let index = self.package_index(solvable);
        let package = &self.universe.packages[index];
        let depends = self.universe.clauses(package, &package.depends)?;
        let conflicts = self.universe.clauses(package, &package.conflicts)?;
        Ok(KnownDependencies {
            requirements: depends.iter().map(|clause| self.requirement(clause, Some(index)).into()).collect(),
            constrains: conflicts.iter().flatten().flat_map(|other| self.constraints(other, index)).collect(),
        })
    }
}

impl Interner for Provider<'_> {
    type NameId = NameId;
    type SolvableId = SolvableId;

    fn display_solvable(&self, solvable: SolvableId) -> impl Display + '_ {
        let solvable = self.pool.resolve_solvable(solvable);
        format!("{} {}", self.pool.resolve_package_name(solvable.name), solvable.record)
    }

    fn display_merged_solvables(&self, solvables: &[SolvableId]) -> impl Display + '_ {
        let versions = solvables.iter().map(|id| self.pool.resolve_solvable(*id).record.version.as_str());
        let versions: Vec<&str> = versions.collect();
        let name = solvables
            .first()
            .map_or("", |id| self.pool.resolve_package_name(self.pool.resolve_solvable(*id).name).as_str());
        format!("{name} {}", versions.join(" | "))
    }

    fn display_name(&self, name: NameId) -> impl Display + '_ {
        self.pool.resolve_package_name(name).as_str()
    }

    fn display_version_set(&self, set: VersionSetId) -> impl Display + '_ {
        self.pool.resolve_version_set(set).said.as_str()
    }

    fn display_string(&self, string: StringId) -> impl Display + '_ {
        self.pool.resolve_string(string)
    }

    fn version_set_name(&self, set: VersionSetId) -> NameId {
        self.pool.resolve_version_set_package_name(set)
    }

    fn solvable_name(&self, solvable: SolvableId) -> NameId {
        self.pool.resolve_solvable(solvable).name
    }

    fn version_sets_in_union(&self, union: VersionSetUnionId) -> impl Iterator<Item = VersionSetId> {
        self.pool.resolve_version_set_union(union)
    }

    fn resolve_condition(&self, condition: ConditionId) -> Condition {
        self.pool.resolve_condition(condition).clone()
    }
}

impl DependencyProvider for Provider<'_> {
    async fn filter_candidates(
        &self,
        candidates: &[SolvableId],
        set: VersionSetId,
        inverse: bool,
    ) -> Vec<SolvableId> {
        let allowed = &self.pool.resolve_version_set(set).packages;
        let fits = |id: &SolvableId| allowed.contains(&self.package_index(*id)) != inverse;
        candidates.iter().copied().filter(fits).collect()
    }

    async fn get_candidates(&self, name: NameId) -> Option<Candidates<SolvableId>> {
        let text = self.pool.resolve_package_name(name);
        let indices = self.universe.by_name.get(text.as_str())?;
        let mut known = self.candidates.borrow_mut();
        let candidates = known.entry(text.clone()).or_insert_with(|| {
            let intern = |index: &usize| {
                let version = self.universe.packages[*index].version.to_string();
                self.pool.intern_solvable(name, Candidate { package: *index, version })
            };
            indices.iter().map(intern).collect()
        });
        let keep = self.keep.get(text.as_str());
        let is_kept = |id: &&SolvableId| {
            keep.is_some_and(|version| *version == self.universe.packages[self.package_index(**id)].version)
        };
        Some(Candidates {
            favored: candidates.iter().find(is_kept).copied(),
            candidates: candidates.clone(),
            hint_dependencies_available: HintDependenciesAvailable::None,
            ..Candidates::default()
        })
    }

    async fn sort_candidates(&self, _: &SolverCache<Self>, solvables: &mut [SolvableId]) {
        // Made in the order of versions, highest first; ids of one name grow in that order.
        solvables.sort_by_key(|id| {
            let index = self.package_index(*id);
            let name = &self.universe.packages[index].name;
            self.universe.by_name[name].iter().position(|other| *other == index)
        });
    }

    async fn get_dependencies(&self, solvable: SolvableId) -> Dependencies {
        match self.dependencies(solvable) {
            Ok(known) => Dependencies::Known(known),
            Err(fault) => {
                let why = self.pool.intern_string(fault.to_string());
                self.fault.borrow_mut().get_or_insert(fault);
                Dependencies::Unknown(why)
            }
        }
    }

    fn should_cancel_with_value(&self) -> Option<Box<dyn Any>> {
        self.fault.borrow().clone().map(|fault| Box::new(fault) as Box<dyn Any>)
    }
}
