//! A plan: the steps of a build as a DAG, each identified by what goes into it.
//!
//! A step's id is the digest of its canonical text, in which its inputs stand by their ids. So a
//! change reaches exactly the steps below it, and the same text never runs twice.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::base::{Fault, Result, json};

pub mod bill;
mod id;
pub mod intermediate;
mod step;
pub mod why;

pub use id::{Output, StepId};
pub use step::{
    BundleStep, ClosureStep, CompileStep, ConvertedStep, DebMetadata, DebStep, DiskFormat, DiskStep,
    FilesStep, ImageStep, InputStep, InstallStep, LayerSpec, Mapping, PayloadStep, PreloadStep, Preloaded,
    ProgramStep, RootStep, Step, ToolsStep, UnpackStep,
};

/// A step and its label: `deb hale-master`. Labels are unique within a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelledStep {
    /// The name that people give it.
    pub label: String,
    /// The step.
    pub step: Step,
}

/// Steps by id; every input of a step is a step of the plan, added before it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    steps: BTreeMap<StepId, LabelledStep>,
    /// Ids in the order in which they were added: inputs before what needs them.
    order: Vec<StepId>,
    goals: BTreeSet<StepId>,
}

impl Plan {
    /// Makes an empty plan.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a step whose inputs are in the plan. The same step twice is one step.
    pub fn add(&mut self, label: impl Into<String>, step: impl Into<Step>) -> Result<StepId> {
        let step = step.into();
        let id = step.id()?;
        let label = label.into();
        if let Some(missing) = step.inputs().into_iter().find(|input| !self.steps.contains_key(input)) {
            return Err(Fault::bug(format!("{label} needs step {missing}, which is not in the plan")));
        }
        if self.steps.contains_key(&id) {
            return Ok(id);
        }
        if self.steps.values().any(|other| other.label == label) {
            return Err(Fault::bug(format!("two steps are called {label}")));
        }
        self.steps.insert(id, LabelledStep { label, step });
        self.order.push(id);
        Ok(id)
    }

    /// Adds another plan's steps, and wants nothing of it.
    pub fn absorb(&mut self, other: Plan) -> Result<()> {
        for id in other.order {
            if let Some(planned) = other.steps.get(&id) {
                self.add(planned.label.clone(), planned.step.clone())?;
            }
        }
        Ok(())
    }

    /// Marks a step as wanted for itself.
    pub fn want(&mut self, id: StepId) {
        self.goals.insert(id);
    }

    /// Returns a step by id.
    pub fn get(&self, id: &StepId) -> Option<&LabelledStep> {
        self.steps.get(id)
    }

    /// Returns the steps in an order in which inputs come first.
    pub fn iter(&self) -> impl Iterator<Item = (StepId, &LabelledStep)> {
        self.order.iter().filter_map(|id| Some((*id, self.steps.get(id)?)))
    }

    /// Returns the steps that are wanted for themselves.
    pub fn goals(&self) -> impl Iterator<Item = StepId> + '_ {
        self.goals.iter().copied()
    }

    /// Finds a step by its whole label or by the first digits of its id.
    pub fn find(&self, name: &str) -> Result<(StepId, &LabelledStep)> {
        let hex = |id: &StepId| name.len() >= 6 && id.to_string().starts_with(name);
        let mut found = self.iter().filter(|(id, planned)| planned.label == name || hex(id));
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => {
                let labels: Vec<_> = self.iter().map(|(_, planned)| planned.label.as_str()).collect();
                Err(Fault::user(format!("no step is called {name}")).expected_found(labels.join(", "), name))
            }
            _ => Err(Fault::user(format!("several steps' ids begin with {name}")).help("give more digits")),
        }
    }

    /// Counts the steps.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Returns whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Writes the canonical text, from which [`Plan::from_json`] reads the plan again.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        json::canonical(self)
    }

    /// Reads [`Plan::to_json`]'s form.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|e| Fault::integrity("not a plan").cause(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Digest;

    fn files(text: &str) -> FilesStep {
        FilesStep { tree: Digest::of(text) }
    }

    #[test]
    fn ids_follow_inputs() {
        let mut plan = Plan::new();
        let a = plan.add("files a", files("a")).unwrap();
        assert_eq!(plan.add("files a again", files("a")).unwrap(), a);
        assert!(plan.add("files a", files("b")).is_err(), "a label is taken");
        let lonely = UnpackStep { deb: StepId(Digest::of("nowhere")) };
        assert!(plan.add("unpack", lonely).is_err(), "an input is not in the plan");
        let again = Plan::from_json(&plan.to_json().unwrap()).unwrap();
        assert_eq!(again, plan);
        assert_eq!(plan.find("files a").unwrap().0, a);
        assert_eq!(plan.find(&a.to_string()[..8]).unwrap().0, a);
        assert!(plan.find("files z").is_err());
    }
}
