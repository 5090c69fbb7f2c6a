pub mod node;
pub mod role;
mod secrets;
pub mod shim;
mod timestamp;
mod values;

pub use secrets::{Pem, Pin, Secret, Token};
pub use timestamp::Moment;
pub use values::{Capability, Endpoint, Interface, Minor, Name, Range, Version};
