//! Floor 0, values: what every other floor speaks in. No I/O.

pub mod digest;
pub mod epoch;
pub mod fault;
pub mod json;
pub mod name;
pub mod url;

pub use digest::Digest;
pub use epoch::Epoch;
pub use fault::{Class, Fault, Place, Result};
pub use url::Url;
