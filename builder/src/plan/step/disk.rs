//! `disk`: a disk that boots.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::kind::StepKind;
use crate::base::Epoch;
use crate::plan::id::StepId;
use crate::plan::intermediate::IntermediateKind;

/// A root tree as a disk that boots, raw. Its identities come from the step's own id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskStep {
    /// The root.
    pub root: StepId,
    /// The tools that make it boot.
    pub tools: StepId,
    /// The kernel's arguments besides `root=`, in order.
    pub arguments: Vec<String>,
    /// Every file's time.
    pub epoch: Epoch,
}

impl StepKind for DiskStep {
    /// Compressed by libzstd since 2; its command line leaves the root's state to the initramfs since 3; its initramfs
    /// has drivers that are compressed one by one since 4.
    fn format(&self) -> u32 {
        4
    }

    fn inputs(&self) -> BTreeSet<StepId> {
        [self.root, self.tools].into()
    }

    fn intermediates(&self) -> Option<IntermediateKind> {
        Some(IntermediateKind::Initramfs)
    }
}
