pub mod node;
pub mod role;
mod secrets;
pub mod shim;
mod timestamp;
mod values;

pub use secrets::{Endpoint, Name, Pem, Pin, Secret, Token};
pub use timestamp::Moment;
pub use values::{Capability, Interface, Minor, Range, Version};
