//! The interface that all kinds of step share.

use std::collections::BTreeSet;

use crate::plan::id::StepId;
use crate::plan::intermediate::IntermediateKind;

/// One kind of step: its fields, in canonical JSON, are its text.
pub(super) trait StepKind {
    /// Returns the number of the form of the step's output. It rises when the same text gives other bytes than before.
    fn format(&self) -> u32 {
        1
    }

    /// Returns the steps whose outputs it needs.
    fn inputs(&self) -> BTreeSet<StepId>;

    /// Returns what it makes on its way and keeps.
    fn intermediates(&self) -> Option<IntermediateKind> {
        None
    }
}
