//! What the integration tests share.

pub mod forms;
pub mod server;
pub mod tools;
