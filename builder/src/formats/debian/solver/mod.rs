//! Which packages have to be there, in which versions, so that what is wanted works.
//!
//! Virtual packages and version tests are resolved before the solver sees them: to it, a requirement is
//! a list of candidates, and a conflict is a list of candidates that are left. It knows nothing of
//! Debian. Recommends are not followed. As with apt, the highest version is tried first, and of
//! alternatives the one that stands first.

mod provider;
mod universe;

use std::collections::{BTreeMap, BTreeSet};

use resolvo::{Problem, Solver, UnsolvableOrCancelled};

use crate::base::name::PackageName;
use crate::base::{Fault, Result};
use crate::formats::debian::index::packages::IndexEntry;
use crate::formats::debian::relation::{Clause, Relation};
use crate::formats::debian::version::Version;

use provider::Provider;
pub use universe::Universe;

/// What a solution is to hold.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Clauses, each of which must be satisfied.
    pub clauses: Vec<Clause>,
    /// Whether every package with `Essential: yes` is wanted too: a system needs them, a set of
    /// packages to add to one does not.
    pub essential: bool,
    /// Versions to stay with where that is possible.
    pub keep: BTreeMap<PackageName, Version>,
}

impl Universe {
    /// Finds the packages of a smallest sensible solution, sorted by name, or the reason why there is none.
    pub fn solve(&self, wanted: &Request) -> Result<Vec<&IndexEntry>> {
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
                return Err(Fault::user("these packages cannot be installed together").cause(why.trim_end()));
            }
            Err(UnsolvableOrCancelled::Cancelled(why)) => {
                return Err(why
                    .downcast()
                    .map_or_else(|_| Fault::bug("the solver was stopped"), |fault| *fault));
            }
        };
        let chosen: BTreeSet<usize> =
            solution.into_iter().map(|id| solver.provider().package_index(id)).collect();
        let mut packages: Vec<&IndexEntry> = chosen.into_iter().map(|index| &self.packages[index]).collect();
        packages.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(packages)
    }
}

#[cfg(test)]
mod tests;
