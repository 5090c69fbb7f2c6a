//! Values: what every other folder speaks in. No I/O.

pub mod digest;
pub mod epoch;
pub mod fault;
pub mod json;
pub mod name;
pub mod progress;
pub mod text;
pub mod tree;
pub mod url;

pub use digest::Digest;
pub use epoch::Epoch;
pub use fault::{Class, Fault, Place, Result};
pub use url::Url;
