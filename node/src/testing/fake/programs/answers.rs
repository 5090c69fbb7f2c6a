//! How programs end.

use crate::host::CommandOutput;
use crate::testing::fake::machine::FakeHost;

pub(super) fn ok(stdout: &str) -> CommandOutput {
    CommandOutput { code: Some(0), stdout: stdout.into(), stderr: String::new() }
}

pub(super) fn failed(stderr: &str) -> CommandOutput {
    CommandOutput { code: Some(1), stdout: String::new(), stderr: stderr.into() }
}

/// Whether a unit runs.
pub(super) fn is_active(fake: &FakeHost, unit: &str) -> bool {
    fake.state.borrow().active.contains(unit)
}
