//! The bridge and the way out, by systemd-networkd: the bridge itself, its address, and the interfaces that node.toml
//! names. No other interface is matched by anything here.

use std::fmt::Write;
use std::time::Duration;

use crate::config::uplink::UplinkConfig;
use crate::fault::Result;
use crate::host::systemd::systemctl;
use crate::host::{files, ip};
use crate::kubernetes::context::Node;
use crate::kubernetes::retry::wait_until;

/// The bridge as a device.
pub const BRIDGE_DEVICE: &str = "/etc/systemd/network/10-hale-bridge.netdev";
/// The bridge's address.
pub const BRIDGE: &str = "/etc/systemd/network/10-hale-bridge.network";
/// The interface that is put into the bridge.
pub const PORT: &str = "/etc/systemd/network/10-hale-port.network";
/// The way out as a device, where it is a tagged network.
pub const UPLINK_DEVICE: &str = "/etc/systemd/network/10-hale-uplink.netdev";
/// The way out.
pub const UPLINK: &str = "/etc/systemd/network/10-hale-uplink.network";
/// The card below a tagged network.
pub const UPLINK_CARD: &str = "/etc/systemd/network/10-hale-uplink-card.network";

/// Name of a tagged network's interface.
const TAGGED: &str = "hale-uplink";

/// Maximum wait for the address of a new bridge.
const LIMIT: Duration = Duration::from_secs(60);

/// Makes bridge and uplink, and waits for the bridge's address; not for the uplink's, without which a cluster comes up
/// as well.
pub fn make(node: &Node) -> Result<()> {
    let mut changed = false;
    for (path, text) in texts(node)? {
        changed |= files::put(node.host, path, text.as_deref())?;
    }
    let (bridge, own) = (node.role.cluster.bridge.as_str(), node.address()?);
    let is_up = || Ok(ip::addresses(node.host, bridge)?.contains(&own));
    if !changed && is_up()? {
        return Ok(());
    }
    systemctl(node.host, &["enable", "systemd-networkd.service"])?;
    systemctl(node.host, &["restart", "systemd-networkd.service"])?;
    wait_until(node, &format!("{bridge} does not get {own}"), LIMIT, &is_up)
}

/// Returns the name of the interface that leads outside: the card, or the tagged network on it.
pub fn outside(uplink: &UplinkConfig) -> &str {
    if uplink.vlan.is_some() { TAGGED } else { uplink.interface.get_ref().as_str() }
}

/// Returns every file with its text; none for what there is not to be.
pub(super) fn texts(node: &Node) -> Result<[(&'static str, Option<String>); 6]> {
    let uplink = node.config.uplink.as_ref();
    let bridge = &node.role.cluster.bridge;
    let port = node.config.network.interface.as_ref().map(|interface| {
        let name = interface.get_ref();
        format!("[Match]\nName={name}\n\n[Network]\nBridge={bridge}\nLinkLocalAddressing=no\n")
    });
    let tagged = uplink.and_then(|uplink| Some((uplink, uplink.vlan?)));
    let device = tagged.map(|(_, id)| format!("[NetDev]\nName={TAGGED}\nKind=vlan\n\n[VLAN]\nId={id}\n"));
    let card = tagged.map(|(uplink, _)| {
        let name = uplink.interface.get_ref();
        format!(
            "[Match]\nName={name}\n\n[Link]\nRequiredForOnline=no\n\n\
             [Network]\nVLAN={TAGGED}\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
        )
    });
    Ok([
        (BRIDGE_DEVICE, Some(format!("[NetDev]\nName={bridge}\nKind=bridge\n"))),
        (BRIDGE, Some(bridge_text(node)?)),
        (PORT, port),
        (UPLINK_DEVICE, device),
        (UPLINK, uplink.map(uplink_text)),
        (UPLINK_CARD, card),
    ])
}

fn bridge_text(node: &Node) -> Result<String> {
    let (cluster, network) = (&node.role.cluster, &node.config.network);
    let (bridge, own, prefix) = (&cluster.bridge, node.address()?, cluster.subnet.prefix_len());
    // Pods come and go; the bridge keeps its address even while nothing is plugged in, and is then as much
    // online as it can be (systemd.network(5)): who waits for the network at boot must not wait for a pod.
    let mut text = format!(
        "[Match]\nName={bridge}\n\n[Link]\nRequiredForOnline=no-carrier\n\n\
         [Network]\nAddress={own}/{prefix}\nConfigureWithoutCarrier=yes\nLinkLocalAddressing=no\n"
    );
    if own != cluster.gateway {
        let _ = writeln!(text, "Gateway={}", cluster.gateway);
    }
    for server in &network.nameservers {
        let _ = writeln!(text, "DNS={server}");
    }
    for server in &network.time_servers {
        let _ = writeln!(text, "NTP={server}");
    }
    if own == cluster.gateway {
        // netfilter translates a service's address only once there is a route to it: the one that leads outside
        // may be missing, and is none for what no service has.
        let _ = write!(text, "\n[Route]\nDestination={}\nScope=link\n", cluster.service_subnet);
    }
    Ok(text)
}

/// Nothing that starts with the machine waits for the way out. Of a DHCP server are taken an address, a gateway, name
/// and time servers: never a route, which could lead the cluster's own packets outside, and never a name.
fn uplink_text(uplink: &UplinkConfig) -> String {
    let name = outside(uplink);
    let mut text = format!("[Match]\nName={name}\n\n[Link]\nRequiredForOnline=no\n");
    if let Some(mtu) = uplink.mtu {
        let _ = writeln!(text, "MTUBytes={mtu}");
    }
    text += "\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n";
    for address in &uplink.addresses {
        let _ = writeln!(text, "Address={}", address.get_ref());
    }
    if let Some(gateway) = &uplink.gateway {
        let _ = writeln!(text, "Gateway={}", gateway.get_ref());
    }
    for server in &uplink.nameservers {
        let _ = writeln!(text, "DNS={}", server.get_ref());
    }
    if uplink.addresses.is_empty() {
        text += "DHCP=ipv4\n\n[DHCPv4]\nSendHostname=no\nUseGateway=yes\nUseHostname=no\n";
        text += "UseRoutes=no\nRoutesToDNS=no\nRoutesToNTP=no\n";
    }
    text
}
