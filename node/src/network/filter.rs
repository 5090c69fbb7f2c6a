//! The packet filter: a table of nftables that is the cluster's own. What it drops is dropped, whatever kube-proxy's
//! rules or anybody's say: a packet passes if every table lets it (nft(8), "chains").
//!
//! Outside is every interface but the bridge. From there nothing comes in by itself, over IPv4 or IPv6, to the machine
//! or to what is behind it, by whichever address; SSH alone does where node.toml says so. From the bridge come in what
//! may listen there by the role's table, and pings. Only the master lets packets out, with its own address.

use std::collections::BTreeSet;

use crate::config::access::{SSH_PORT, SshListen};
use crate::config::role::{BindScope, Protocol};
use crate::fault::Result;
use crate::host::files;
use crate::host::systemd::{is_active, systemctl};
use crate::kubernetes::context::Node;

/// Its rules.
pub const PATH: &str = "/etc/hale/filter.nft";
/// The unit that loads them. Where it is enabled, systemd-networkd does not start without it.
pub const UNIT: &str = "hale-filter.service";
/// nft(8)'s arguments that list the rules as they are in effect; they are written in the same words.
pub const LIST: [&str; 5] = ["--stateless", "list", "table", "inet", "hale"];
/// Replaces the table in one step.
const HEAD: &str = "table inet hale\ndelete table inet hale\n";
/// The table, with names for what differs, and what ends a line that a node has not.
const TABLE: &str = include_str!("filter.nft");
const MASTER: &str = " # the master alone";

/// Returns the text of [`PATH`].
pub fn text(node: &Node) -> String {
    format!("{HEAD}{}", table(node))
}

/// Returns the table as nft(8) lists it, but for where it breaks lines.
pub fn table(node: &Node) -> String {
    let cluster = &node.role.cluster;
    let ssh = node.config.access.as_ref().filter(|access| access.has_ssh());
    let outside = ssh.filter(|access| access.ssh_listen == SshListen::Every).map(|_| SSH_PORT);
    // As nft lists them.
    let mut networks = [cluster.subnet, cluster.service_subnet];
    networks.sort();
    let values = [
        ("$bridge", cluster.bridge.to_string()),
        ("$subnet", cluster.subnet.to_string()),
        ("$cluster", format!("{}, {}", networks[0], networks[1])),
        (
            "$lan_tcp",
            list(&listening(node, Protocol::Tcp).into_iter().chain(ssh.map(|_| SSH_PORT)).collect()),
        ),
        ("$lan_udp", list(&listening(node, Protocol::Udp))),
        ("$outside_tcp", list(&outside.into_iter().collect())),
    ];
    let fill =
        |line: &str| values.iter().fold(format!("{line}\n"), |line, (name, value)| line.replace(name, value));
    let is_said = |line: &&str| !line.trim_start().starts_with('#');
    let ours = |line| match str::strip_suffix(line, MASTER) {
        Some(line) => node.role.is_master().then_some(line),
        None => Some(line),
    };
    let lines = TABLE.lines().filter(is_said).filter_map(ours).map(fill);
    // Of an empty set nothing is listed.
    lines.filter(|line| !line.contains("{  }")).collect()
}

/// Returns the ports that the bridge's side may reach: what may listen beyond loopback by the role's table, and what
/// node.toml opens.
fn listening(node: &Node, protocol: Protocol) -> BTreeSet<u16> {
    let sockets = node.role.sockets.iter();
    let near = sockets.filter(|socket| socket.protocol == protocol && socket.bind != BindScope::Loopback);
    let opened = node.config.network.open.iter().filter(|port| port.protocol == protocol);
    near.filter_map(|socket| socket.port).chain(opened.map(|port| port.number)).collect()
}

fn list(ports: &BTreeSet<u16>) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

/// Loads the rules anew where there are some of ours that are not as node.toml says now. At most boots they are.
pub fn refresh(node: &Node) -> Result<()> {
    match files::read(node.host, PATH)? {
        Some(old) if old != text(node) => load(node),
        _ => Ok(()),
    }
}

/// Loads the rules, now and at every start before the network is up.
pub(super) fn load(node: &Node) -> Result<()> {
    let changed = files::put(node.host, PATH, Some(&text(node)))?;
    systemctl(node.host, &["enable", UNIT])?;
    if changed || !is_active(node.host, UNIT)? {
        // A restart would take systemd-networkd along.
        systemctl(node.host, &["reload-or-restart", UNIT])?;
    }
    Ok(())
}
