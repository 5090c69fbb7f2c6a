//! The bridge, by systemd-networkd, when node.toml says so: the bridge itself, its address, and the one
//! interface that is named. No other interface is matched by anything here.

use std::fmt::Write;
use std::time::Duration;

use crate::fault::Result;
use crate::host::systemd::systemctl;
use crate::host::{files, ip};
use crate::kubernetes::context::Node;
use crate::kubernetes::retry::wait_until;

/// The files that hale makes; `hale reset` removes them.
pub const FILES: [&str; 3] = [
    "/etc/systemd/network/10-hale-bridge.netdev",
    "/etc/systemd/network/10-hale-bridge.network",
    "/etc/systemd/network/10-hale-port.network",
];

/// Maximum wait for the address of a new bridge.
const LIMIT: Duration = Duration::from_secs(60);

/// File of name servers. Without it the kubelet starts no pod.
pub const RESOLVER: &str = "/etc/resolv.conf";

/// Writes the name servers of node.toml, or else the gateway, on a machine that names none.
pub fn name_servers(node: &Node) -> Result<()> {
    if files::read(node.host, RESOLVER)?.is_some() {
        return Ok(());
    }
    let given = &node.config.network.nameservers;
    let servers = if given.is_empty() { std::slice::from_ref(&node.role.cluster.gateway) } else { given };
    let text: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    files::write(node.host, RESOLVER, text.as_bytes(), 0o644)
}

/// Makes the bridge, with systemd-networkd, and waits for its address.
pub fn make(node: &Node) -> Result<()> {
    let mut changed = false;
    for (path, text) in FILES.iter().zip(texts(node)?) {
        let Some(text) = text else { continue };
        if files::read(node.host, path)?.as_deref() != Some(&text) {
            files::write(node.host, path, text.as_bytes(), 0o644)?;
            changed = true;
        }
    }
    let (bridge, own) = (node.role.cluster.bridge.as_str(), node.address()?);
    if !changed && ip::addresses(node.host, bridge)?.contains(&own) {
        return Ok(());
    }
    systemctl(node.host, &["enable", "systemd-networkd.service"])?;
    systemctl(node.host, &["restart", "systemd-networkd.service"])?;
    let up = || Ok(ip::addresses(node.host, bridge)?.contains(&own));
    wait_until(node, &format!("{bridge} does not get {own}"), LIMIT, &up)
}

/// Returns the texts of [`FILES`]; none for the third without an interface.
fn texts(node: &Node) -> Result<[Option<String>; 3]> {
    let (cluster, network) = (&node.role.cluster, &node.config.network);
    let bridge = &cluster.bridge;
    let device = format!("[NetDev]\nName={bridge}\nKind=bridge\n");
    let (own, prefix) = (node.address()?, cluster.subnet.prefix_len());
    // Pods come and go; the bridge keeps its address even while nothing is plugged in, and is then as much
    // online as it can be (systemd.network(5)): who waits for the network at boot must not wait for a pod.
    let mut address = format!(
        "[Match]\nName={bridge}\n\n[Link]\nRequiredForOnline=no-carrier\n\n\
         [Network]\nAddress={own}/{prefix}\nConfigureWithoutCarrier=yes\nLinkLocalAddressing=no\n"
    );
    if own != cluster.gateway {
        let _ = writeln!(address, "Gateway={}", cluster.gateway);
    }
    for server in &network.nameservers {
        let _ = writeln!(address, "DNS={server}");
    }
    if own == cluster.gateway {
        // netfilter translates a service's address only once there is a route to it, and a gateway that is cut
        // off from the outside has no other.
        let _ = write!(address, "\n[Route]\nDestination={}\nScope=link\n", cluster.service_subnet);
    }
    let port = network.interface.as_ref().map(|interface| {
        let name = interface.get_ref();
        format!("[Match]\nName={name}\n\n[Network]\nBridge={bridge}\nLinkLocalAddressing=no\n")
    });
    Ok([Some(device), Some(address), port])
}
