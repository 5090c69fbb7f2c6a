pub mod issue;
pub mod progress;
pub mod reset;
pub mod status;
pub mod token;
pub mod volume;
