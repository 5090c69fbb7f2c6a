//! All packages that can be had, found by name and by what they provide.

use std::collections::BTreeMap;

use crate::base::name::{Arch, PackageName};
use crate::base::{Fault, Result};
use crate::formats::debian::index::packages::{IndexEntry, Priority};
use crate::formats::debian::relation::{self, Clause, Relation};
use crate::formats::debian::version::Version;

/// All packages that can be had, of all suites together.
#[derive(Debug)]
pub struct Universe {
    arch: Arch,
    pub(super) packages: Vec<IndexEntry>,
    /// Indices of `packages`, highest version first.
    pub(super) by_name: BTreeMap<PackageName, Vec<usize>>,
    /// Who provides a name, and in which version, most wanted first.
    providers: Providers,
}

/// By name: the indices of packages that provide it, each with the version it provides.
type Providers = BTreeMap<PackageName, Vec<(usize, Option<Version>)>>;

impl Universe {
    /// Takes the packages of all indices. The same package in the same version may stand in several,
    /// but with the same bytes.
    pub fn new(packages: Vec<IndexEntry>, arch: Arch) -> Result<Self> {
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

    /// Returns all versions of a package, highest first.
    pub fn versions(&self, name: &str) -> impl Iterator<Item = &IndexEntry> {
        self.by_name.get(name).into_iter().flatten().map(|index| &self.packages[*index])
    }

    /// Finds what satisfies a relation: the package of that name, then those that provide it. An unversioned
    /// `Provides` does not satisfy a version test (Debian Policy 7.5).
    pub(super) fn candidates(&self, relation: &Relation) -> Vec<usize> {
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

    /// Orders the providers of a name as apt does: essential ones, then by priority, then by name.
    pub(super) fn rank(&self, index: usize) -> (bool, Priority, &PackageName) {
        let package = &self.packages[index];
        (!package.essential, package.priority, &package.name)
    }

    pub(super) fn newer(&self, left: usize, right: usize) -> std::cmp::Ordering {
        self.packages[right].version.cmp(&self.packages[left].version)
    }

    pub(super) fn clauses(&self, package: &IndexEntry, text: &str) -> Result<Vec<Clause>> {
        let clauses = relation::parse(text, self.arch);
        clauses.map_err(|fault| fault.context(format!("{} {}", package.name, package.version)))
    }
}

/// Puts a further version of a package in its place.
fn add_version(packages: &[IndexEntry], versions: &mut Vec<usize>, index: usize) -> Result<()> {
    let new = &packages[index];
    let at = versions.partition_point(|other| packages[*other].version > new.version);
    if let Some(other) = versions.get(at).map(|other| &packages[*other]) {
        if other.version == new.version && other.digest == new.digest {
            return Ok(());
        }
        if other.version.as_str() == new.version.as_str() {
            return Err(Fault::integrity(format!("two files for {} {}", new.name, new.version))
                .expected_found(other.digest, new.digest));
        }
    }
    versions.insert(at, index);
    Ok(())
}
