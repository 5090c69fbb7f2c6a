//! One attempt to get pinned bytes: what they must be, what was got, and what a failure means for the next.

use crate::base::digest::Checksum;
use crate::base::{Fault, Url};
use crate::plan::Output;

/// What bytes must be.
#[derive(Clone, Copy)]
pub(super) struct PinnedBytes<'a> {
    pub(super) checksum: &'a Checksum,
    pub(super) size: Option<u64>,
}

/// What a fetch brought.
pub(super) struct Download {
    pub(super) outputs: Vec<Output>,
    pub(super) bytes: u64,
    pub(super) from: Url,
    pub(super) refused: Vec<Fault>,
}

/// What came of asking one place.
pub(super) type Attempt<T> = std::result::Result<T, Failure>;

/// Why one place did not serve.
pub(super) enum Failure {
    /// The next try may do better.
    Retry(Fault),
    /// This place will not do; another may.
    NextMirror(Fault),
    /// No place will help.
    Abort(Fault),
}

impl Failure {
    pub(super) fn fault(self) -> Fault {
        match self {
            Self::Retry(fault) | Self::NextMirror(fault) | Self::Abort(fault) => fault,
        }
    }
}
