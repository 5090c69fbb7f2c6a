//! How things look to a person. The one place that touches the terminal.

pub(crate) mod changes;
pub(crate) mod fault;
pub(crate) mod progress;
pub(crate) mod table;
