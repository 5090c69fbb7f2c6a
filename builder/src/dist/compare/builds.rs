//! Two builds of one checkout: the first step whose text or bytes are not the same.

use std::fmt;

use super::bytes::{self, Difference};
use crate::base::Result;
use crate::base::tree::{Contents, Union};
use crate::build::steps;
use crate::plan::why;
use crate::plan::{LabelledStep, Output, Plan, StepId};
use crate::store::Store;

/// One build to compare: what was planned, and the store it was made in.
pub struct BuildRecord<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The store that has its outputs.
    pub store: &'a Store,
}

/// The first step whose inputs or output differ between two builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The step's label.
    pub step: String,
    /// Its id in the first build.
    pub id: StepId,
    /// The difference.
    pub how: DivergenceKind,
}

/// The difference of two builds of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DivergenceKind {
    /// Its inputs differ: reading the checkout gave something else.
    Text(String),
    /// The same went in, other bytes came out.
    Bytes(Difference),
    /// One build has an output that the other has not.
    Missing,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step `{}` ({}): ", self.step, &self.id.to_string()[..12])?;
        match &self.how {
            DivergenceKind::Text(change) => write!(f, "was given other inputs: {change}"),
            DivergenceKind::Bytes(difference) => write!(f, "made other bytes: {difference}"),
            DivergenceKind::Missing => f.write_str("was made in one build only"),
        }
    }
}

/// Counts the outputs that agree, or returns the first step, inputs before what needs them, that does not.
pub fn compare(
    left: &BuildRecord<'_>,
    right: &BuildRecord<'_>,
) -> Result<std::result::Result<usize, Divergence>> {
    let mut agree = 0;
    for (id, planned) in left.plan.iter() {
        let part = |how| Divergence { step: planned.label.clone(), id, how };
        if right.plan.get(&id).is_none() {
            let change = text_change(left, right, &planned.label);
            return Ok(Err(part(DivergenceKind::Text(change))));
        }
        if let Some(divergence) = intermediates(left, right, planned)? {
            return Ok(Err(divergence));
        }
        match (left.store.output(&id)?, right.store.output(&id)?) {
            (Some(a), Some(b)) => match differ((&a, left.store), (&b, right.store))? {
                Some(difference) => return Ok(Err(part(DivergenceKind::Bytes(difference)))),
                None => agree += 1,
            },
            // What no goal needed was made in neither.
            (None, None) => {}
            _ if left.plan.goals().any(|goal| goal == id) => return Ok(Err(part(DivergenceKind::Missing))),
            _ => {}
        }
    }
    Ok(Ok(agree))
}

/// Returns the first intermediate of a step that both builds made, and made differently: the step's inputs agree.
fn intermediates(
    left: &BuildRecord<'_>,
    right: &BuildRecord<'_>,
    planned: &LabelledStep,
) -> Result<Option<Divergence>> {
    for intermediate in steps::intermediates(left.store, &planned.step)?.unwrap_or_default() {
        let id = intermediate.id()?;
        let (Some(a), Some(b)) = (left.store.output(&id)?, right.store.output(&id)?) else { continue };
        if let Some(difference) = differ((&a, left.store), (&b, right.store))? {
            let step = format!("{}, {}", planned.label, intermediate.kind());
            return Ok(Some(Divergence { step, id, how: DivergenceKind::Bytes(difference) }));
        }
    }
    Ok(None)
}

fn differ(left: (&Output, &Store), right: (&Output, &Store)) -> Result<Option<Difference>> {
    let (a, b): (&dyn Contents, &dyn Contents) = (left.1, right.1);
    bytes::outputs((left.0, a), (right.0, b))
}

fn text_change(left: &BuildRecord<'_>, right: &BuildRecord<'_>, label: &str) -> String {
    let both = Union(left.store, right.store);
    let chain = why::why(left.plan, right.plan, label, &both).unwrap_or_default();
    chain.last().map_or_else(|| format!("the other build has no step called {label}"), ToString::to_string)
}
