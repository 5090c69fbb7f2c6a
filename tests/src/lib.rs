//! What the integration tests share.

pub mod forms;
pub mod powercut;
pub mod server;
pub mod tools;
pub mod vm;
