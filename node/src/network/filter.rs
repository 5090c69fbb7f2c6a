//! The packet filter: a table of nftables that is the cluster's own. What it drops is dropped, whatever kube-proxy's
//! rules or anybody's say: a packet passes if every table lets it (nft(8), "chains").
//!
//! Outside is every interface but the bridge. From there nothing comes in by itself, over IPv4 or IPv6, to the machine
//! or to what is behind it, by whichever address; SSH alone does where node.toml says so. From the bridge come in what
//! may listen there by the role's table, and pings. Only the master lets packets out, with its own address.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::config::role::{BindScope, Protocol};
use crate::fault::Result;
use crate::host::systemd::{is_active, systemctl};
use crate::kubernetes::context::Node;

use super::put;

/// Its rules.
pub const PATH: &str = "/etc/hale/filter.nft";
/// The unit that loads them. Where it is enabled, systemd-networkd does not start without it.
pub const UNIT: &str = "hale-filter.service";
/// nft(8)'s arguments that list the rules as they are in effect; they are written in the same words.
pub const LIST: [&str; 5] = ["--stateless", "list", "table", "inet", "hale"];
/// Replaces the table in one step.
const HEAD: &str = "table inet hale\ndelete table inet hale\n";

/// Returns the text of [`PATH`].
pub fn text(node: &Node) -> String {
    format!("{HEAD}{}", table(node))
}

/// Returns the table as nft(8) lists it, but for where it breaks lines.
pub fn table(node: &Node) -> String {
    let cluster = &node.role.cluster;
    let (bridge, subnet, services) = (&cluster.bridge, cluster.subnet, cluster.service_subnet);
    let mut text = format!(
        "table inet hale {{\n\tset cluster {{\n\t\ttype ipv4_addr\n\t\tflags interval\n\
         \t\telements = {{ {subnet}, {services} }}\n\t}}\n\n"
    );
    let ssh = node.config.uplink.as_ref().is_some_and(|uplink| uplink.ssh);
    ports(&mut text, "lan_tcp", &listening(node, Protocol::Tcp));
    ports(&mut text, "lan_udp", &listening(node, Protocol::Udp));
    ports(&mut text, "outside_tcp", &ssh.then_some(22).into_iter().collect());
    // kube-proxy has 127.0.0.0/8 routed like any other network (`route_localnet`).
    chain(
        &mut text,
        "prerouting",
        "filter",
        "raw",
        "accept",
        &[
            "iif \"lo\" accept",
            "ip saddr 127.0.0.0/8 drop",
            "ip daddr 127.0.0.0/8 drop",
            &format!("iifname \"{bridge}\" accept"),
            "ip saddr @cluster drop",
            "ip daddr @cluster drop",
        ],
    );
    chain(
        &mut text,
        "input",
        "filter",
        "filter",
        "drop",
        &[
            "iif \"lo\" accept",
            "ct state established,related accept",
            &format!("iifname != \"{bridge}\" meta nfproto ipv4 tcp dport @outside_tcp accept"),
            &format!("iifname != \"{bridge}\" drop"),
            "tcp dport @lan_tcp accept",
            "udp dport @lan_udp accept",
            "icmp type echo-request accept",
            "meta l4proto tcp reject with tcp reset",
            "reject",
        ],
    );
    let mut forward = vec![
        "ct state established,related accept".to_owned(),
        format!("iifname \"{bridge}\" oifname \"{bridge}\" accept"),
    ];
    let out = format!("oifname != \"{bridge}\" ip saddr {subnet} ip daddr != @cluster");
    if node.role.is_master() {
        forward.push(format!("iifname \"{bridge}\" {out} accept"));
    }
    let forward: Vec<&str> = forward.iter().map(String::as_str).collect();
    chain(&mut text, "forward", "filter", "filter", "drop", &forward);
    chain(
        &mut text,
        "output",
        "filter",
        "filter",
        "accept",
        &["oif \"lo\" accept", &format!("oifname != \"{bridge}\" ip daddr @cluster drop")],
    );
    if node.role.is_master() {
        chain(&mut text, "postrouting", "nat", "srcnat", "accept", &[&format!("{out} masquerade")]);
    }
    text.truncate(text.trim_end().len());
    text + "\n}\n"
}

/// Returns the ports that the bridge's side may reach: what may listen beyond loopback by the role's table, and what
/// node.toml opens.
fn listening(node: &Node, protocol: Protocol) -> BTreeSet<u16> {
    let sockets = node.role.sockets.iter();
    let near = sockets.filter(|socket| socket.protocol == protocol && socket.bind != BindScope::Loopback);
    let opened = node.config.network.open.iter().filter(|port| port.protocol == protocol);
    near.filter_map(|socket| socket.port).chain(opened.map(|port| port.number)).collect()
}

fn ports(text: &mut String, name: &str, ports: &BTreeSet<u16>) {
    let _ = write!(text, "\tset {name} {{\n\t\ttype inet_service\n\t\tflags interval\n");
    if !ports.is_empty() {
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        let _ = writeln!(text, "\t\telements = {{ {} }}", ports.join(", "));
    }
    *text += "\t}\n\n";
}

fn chain(text: &mut String, hook: &str, kind: &str, priority: &str, policy: &str, rules: &[&str]) {
    let _ = writeln!(text, "\tchain {hook} {{");
    let _ = writeln!(text, "\t\ttype {kind} hook {hook} priority {priority}; policy {policy};");
    for rule in rules {
        let _ = writeln!(text, "\t\t{rule}");
    }
    *text += "\t}\n\n";
}

/// Loads the rules, now and at every start before the network is up.
pub(super) fn load(node: &Node) -> Result<()> {
    let changed = put(node, PATH, Some(&text(node)))?;
    systemctl(node.host, &["enable", UNIT])?;
    if changed || !is_active(node.host, UNIT)? {
        // A restart would take systemd-networkd along.
        systemctl(node.host, &["reload-or-restart", UNIT])?;
    }
    Ok(())
}
