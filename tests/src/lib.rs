//! What the integration tests share.

pub mod apt;
pub mod checkout;
pub mod checks;
pub mod cli;
pub mod fixtures;
pub mod forms;
pub mod hale;
pub mod loops;
pub mod powercut;
pub mod runner;
pub mod secrets;
pub mod server;
pub mod stores;
pub mod system;
pub mod times;
pub mod tools;
pub mod vm;
