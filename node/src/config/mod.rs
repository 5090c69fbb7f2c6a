pub mod access;
pub mod apt;
pub mod nocloud;
pub mod node;
pub mod registries;
pub mod role;
mod secrets;
pub mod shim;
mod timestamp;
pub mod uplink;
mod values;

pub use secrets::{CaPin, Pem, Secret, Token};
pub use timestamp::Timestamp;
pub use values::{AddressRange, Capability, DnsLabel, Endpoint, Interface, Minor, Version};
