//! The machine's network, when node.toml says `bridge = "make"`: names, packet filter, the bridge and the way out by
//! systemd-networkd, and on the master the name server of the cluster's machines.
//!
//! With `bridge = "use"` all of it is the machine owner's; `hale` then writes name servers where there are none, and
//! nothing else. What it expects: the role's bridge with this machine's address, a default route on nodes by way of the
//! master, and a packet filter that keeps the outside out.

use crate::config::node::Bridge;
use crate::fault::Result;
use crate::kubernetes::context::Node;

pub mod filter;
pub mod names;
pub mod networkd;
pub mod registries;
pub mod relay;
pub mod uplink;

/// Files that hale makes, and `hale reset` removes.
pub const FILES: [&str; 8] = [
    networkd::BRIDGE_DEVICE,
    networkd::BRIDGE,
    networkd::PORT,
    networkd::UPLINK_DEVICE,
    networkd::UPLINK,
    networkd::UPLINK_CARD,
    relay::PATH,
    filter::PATH,
];

/// Makes the network as node.toml says. The filter comes first: no interface is up without it.
pub fn apply(node: &Node) -> Result<()> {
    names::resolver(node)?;
    if node.config.network.bridge == Bridge::Use {
        return Ok(());
    }
    names::own(node)?;
    filter::load(node)?;
    networkd::make(node)?;
    relay::start(node)
}

#[cfg(test)]
mod tests;
