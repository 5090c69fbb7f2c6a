//! Which packages have to be there, in which versions, so that what is wanted works.
//!
//! Virtual packages and version tests are resolved before the solver sees them: to it, a requirement is
//! a list of candidates, and a conflict is a list of candidates that are left. It knows nothing of
//! Debian. Recommends are not followed. As with apt, the highest version is tried first, and of
//! alternatives the one that stands first.

mod provider;

use std::collections::{BTreeMap, BTreeSet};

use resolvo::{Problem, Solver, UnsolvableOrCancelled};

use super::relation::{self, Clause, Relation};
use crate::base::name::{Arch, PackageName};
use crate::base::{Fault, Result};
use crate::formats::debian::index::packages::Package;
use provider::Provider;

use super::version::Version;

/// All packages that can be had, of all suites together.
#[derive(Debug)]
pub struct Universe {
    arch: Arch,
    packages: Vec<Package>,
    /// Indices of `packages`, highest version first.
    by_name: BTreeMap<PackageName, Vec<usize>>,
    /// Who provides a name, and in which version, most wanted first.
    providers: Providers,
}

/// By name: the indices of packages that provide it, each with the version it provides.
type Providers = BTreeMap<PackageName, Vec<(usize, Option<Version>)>>;

/// What a solution is to hold.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Clauses, each of which must be satisfied.
    pub clauses: Vec<Clause>,
    /// Whether every package with `Essential: yes` is wanted too: a system needs them, a set of
    /// packages to add to one does not.
    pub essential: bool,
    /// Versions to stay with where that is possible.
    pub keep: BTreeMap<PackageName, Version>,
}

impl Universe {
    /// Takes the packages of all indices. The same package in the same version may stand in several,
    /// but with the same bytes.
    pub fn new(packages: Vec<Package>, arch: Arch) -> Result<Self> {
        let mut by_name: BTreeMap<PackageName, Vec<usize>> = BTreeMap::new();
        for (index, package) in packages.iter().enumerate() {
            match by_name.get_mut(package.name.as_str()) {
                Some(versions) => add_version(&packages, versions, index)?,
                None => drop(by_name.insert(package.name.clone(), vec![index])),
            }
        }
        let mut universe = Self { arch, packages, by_name, providers: BTreeMap::new() };
        universe.providers = universe.find_providers()?;
        Ok(universe)
    }

    /// All versions of a package, highest first.
    pub fn versions(&self, name: &str) -> impl Iterator<Item = &Package> {
        self.by_name.get(name).into_iter().flatten().map(|index| &self.packages[*index])
    }

    /// The packages of a smallest sensible solution, sorted by name; or the reason why there is none.
    pub fn solve(&self, wanted: &Wanted) -> Result<Vec<&Package>> {
        let mut clauses = wanted.clauses.clone();
        if wanted.essential {
            let essential = self.by_name.values().map(|versions| &self.packages[versions[0]]);
            let essential = essential.filter(|package| package.essential);
            clauses.extend(essential.map(|package| vec![Relation::any(package.name.clone())]));
        }
        let provider = Provider::new(self, &wanted.keep);
        let requirements = clauses.iter().map(|clause| provider.requirement(clause, None).into()).collect();
        let mut solver = Solver::new(provider);
        let solution = match solver.solve(Problem::new().requirements(requirements)) {
            Ok(solution) => solution,
            Err(UnsolvableOrCancelled::Unsolvable(conflict)) => {
                let why = conflict.display_user_friendly(&solver).to_string();
                return Err(
                    Fault::user("these packages cannot be installed together").because(why.trim_end())
                );
            }
            Err(UnsolvableOrCancelled::Cancelled(why)) => {
                return Err(why
                    .downcast()
                    .map_or_else(|_| Fault::bug("the solver was stopped"), |fault| *fault));
            }
        };
        let chosen: BTreeSet<usize> =
            solution.into_iter().map(|id| solver.provider().package_index(id)).collect();
        let mut packages: Vec<&Package> = chosen.into_iter().map(|index| &self.packages[index]).collect();
        packages.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(packages)
    }

    /// Who satisfies a relation: the package of that name, then those that provide it. An unversioned
    /// `Provides` does not satisfy a version test (Debian Policy 7.5).
    fn candidates(&self, relation: &Relation) -> Vec<usize> {
        let real = self.by_name.get(relation.name.as_str()).into_iter().flatten().copied();
        let real = real.filter(|index| relation.allows(&self.packages[*index].version));
        let provides = |(_, version): &&(usize, Option<Version>)| match version {
            Some(version) => relation.allows(version),
            None => relation.version.is_none(),
        };
        let providers = self.providers.get(relation.name.as_str()).into_iter().flatten().filter(provides);
        let virtual_ones = providers.map(|(index, _)| *index);
        let virtual_ones = virtual_ones.filter(|index| self.packages[*index].name != relation.name);
        real.chain(virtual_ones).collect()
    }

    fn find_providers(&self) -> Result<Providers> {
        let mut providers = Providers::new();
        for (index, package) in
            self.packages.iter().enumerate().filter(|(_, package)| !package.provides.is_empty())
        {
            for relation in self.clauses(package, &package.provides)?.into_iter().flatten() {
                let version = relation.version.map(|(_, version)| version);
                providers.entry(relation.name).or_default().push((index, version));
            }
        }
        for list in providers.values_mut() {
            list.sort_by(|(left, _), (right, _)| {
                self.rank(*left).cmp(&self.rank(*right)).then(self.newer(*left, *right))
            });
        }
        Ok(providers)
    }

    /// How apt orders those who provide a name: essential ones, then by priority, then by name.
    fn rank(&self, index: usize) -> (bool, crate::formats::debian::index::packages::Priority, &PackageName) {
        let package = &self.packages[index];
        (!package.essential, package.priority, &package.name)
    }

    fn newer(&self, left: usize, right: usize) -> std::cmp::Ordering {
        self.packages[right].version.cmp(&self.packages[left].version)
    }

    fn clauses(&self, package: &Package, text: &str) -> Result<Vec<Clause>> {
        let clauses = relation::parse(text, self.arch);
        clauses.map_err(|fault| fault.within(format!("{} {}", package.name, package.version)))
    }
}

/// Puts a further version of a package in its place.
fn add_version(packages: &[Package], versions: &mut Vec<usize>, index: usize) -> Result<()> {
    let new = &packages[index];
    let at = versions.partition_point(|other| packages[*other].version > new.version);
    if let Some(other) = versions.get(at).map(|other| &packages[*other]) {
        if other.version == new.version && other.digest == new.digest {
            return Ok(());
        }
        if other.version.as_str() == new.version.as_str() {
            return Err(Fault::integrity(format!("two files for {} {}", new.name, new.version))
                .versus(other.digest, new.digest));
        }
    }
    versions.insert(at, index);
    Ok(())
}

#[cfg(test)]
mod tests;
