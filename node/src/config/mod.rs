pub mod access;
pub mod apt;
pub mod nocloud;
pub mod node;
pub mod registries;
pub mod role;
pub mod shim;
pub mod uplink;
mod values;

pub use values::secrets::{CaPin, Pem, Secret, Token};
pub use values::timestamp::Timestamp;
pub use values::{AddressRange, Capability, DnsLabel, Endpoint, Interface, Minor, Version};
