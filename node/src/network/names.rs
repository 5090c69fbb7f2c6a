//! Names: the machine's own, those of the nodes that it knows, and who answers for all others.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::Path;

use crate::config::DnsLabel;
use crate::config::node::Bridge;
use crate::fault::{Fault, Result};
use crate::host::{Command, files};
use crate::kubernetes::api::Member;
use crate::kubernetes::context::Node;
use crate::kubernetes::paths::RESOLVER;

use super::relay;

/// The machine's name (hostname(5)).
const HOST_NAME: &str = "/etc/hostname";
/// Names of machines (hosts(5)). A link to it is `/etc/hosts`, which no unit of ours has to be able to change then.
pub const HOSTS: &str = "/etc/hale/hosts";
const LINK: &str = "/etc/hosts";
const SCRATCH: &str = "/etc/.hosts.hale";
/// What every machine has (Debian's netbase).
const STOCK: &str = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n\
    ff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n";
/// First line of a file that hale may write again.
const MARK: &str = "# Written by hale.\n";

/// Writes the name servers of a machine that names none. They are the gateway, which answers for names everywhere, or
/// those of node.toml; on the master itself the gateway asks these.
pub(super) fn resolver(node: &Node) -> Result<()> {
    let path = node.host.path(RESOLVER);
    let is_there = std::fs::symlink_metadata(&path).is_ok();
    let is_idle_link = is_idle_link(node, &path);
    if is_there && !is_idle_link && !std::fs::read_to_string(&path).is_ok_and(|text| text.starts_with(MARK)) {
        return Ok(());
    }
    let given = &node.config.network.nameservers;
    let is_gateway = given.is_empty() || relay::is_here(node);
    let servers = if is_gateway { std::slice::from_ref(&node.role.cluster.gateway) } else { given };
    let servers: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    let text = format!("{MARK}{servers}");
    if is_idle_link {
        return files::write(node.host, RESOLVER, text.as_bytes(), 0o644);
    }
    files::put(node.host, RESOLVER, Some(&text)).map(drop)
}

/// Returns whether the file is systemd-resolved's link, as its package makes it, to a server that does not answer: it
/// does not run, or serves the cluster's machines alone.
fn is_idle_link(node: &Node, path: &Path) -> bool {
    let is_resolveds =
        std::fs::read_link(path).is_ok_and(|to| to.to_string_lossy().contains("run/systemd/resolve/"));
    is_resolveds && (relay::is_here(node) || !path.exists())
}

/// Gives the machine the node's name, and the name its address.
pub(super) fn own(node: &Node) -> Result<()> {
    let name = format!("{}\n", node.name);
    if files::put(node.host, HOST_NAME, Some(&name))? {
        // Where no D-Bus is, it is the machine's name from its next start on.
        let _ =
            node.host.run(&Command::new("/usr/bin/hostnamectl", &["--transient", "hostname", &node.name]))?;
    }
    let text = files::read(node.host, HOSTS)?.unwrap_or_default();
    write_hosts(node, known(node, &text))?;
    link_hosts(node)
}

/// Writes the nodes that the cluster has, on a master that hale made the network of.
pub fn of_members(node: &Node, members: &[Member]) -> Result<()> {
    if !node.role.is_master() || node.config.network.bridge == Bridge::Use {
        return Ok(());
    }
    let named = members.iter().filter_map(|member| {
        let name: DnsLabel = member.name.parse().ok().filter(|_| member.name != "localhost")?;
        let address = member.addresses.iter().find(|address| node.role.cluster.subnet.contains(*address))?;
        Some((*address, name))
    });
    write_hosts(node, named.collect())
}

/// Returns the other machines of a text that was written earlier.
fn known(node: &Node, text: &str) -> BTreeMap<Ipv4Addr, DnsLabel> {
    let entry = |line: &str| {
        let (address, name) = line.split_once(' ')?;
        Some((address.parse().ok()?, name.parse().ok()?))
    };
    let is_other = |(address, name): &(Ipv4Addr, DnsLabel)| {
        node.role.cluster.subnet.contains(address) && name.as_str() != node.name
    };
    text.lines().filter_map(entry).filter(is_other).collect()
}

fn write_hosts(node: &Node, mut names: BTreeMap<Ipv4Addr, DnsLabel>) -> Result<()> {
    names.insert(node.address()?, node.name.parse()?);
    let mut text = format!("{MARK}{STOCK}");
    for (address, name) in names {
        let _ = writeln!(text, "{address} {}", name.as_str());
    }
    files::put(node.host, HOSTS, Some(&text)).map(drop)
}

/// Puts the link in place of a file that names no machine, as Debian's netbase makes it; leaves any other.
fn link_hosts(node: &Node) -> Result<()> {
    let link = node.host.path(LINK);
    let is_link = std::fs::symlink_metadata(&link).is_ok_and(|found| found.is_symlink());
    if is_link || std::fs::read_to_string(&link).is_ok_and(|text| names_a_machine(&text)) {
        return Ok(());
    }
    let scratch = node.host.path(SCRATCH);
    node.host.before_change(&link)?;
    let _ = std::fs::remove_file(&scratch);
    let made = std::os::unix::fs::symlink("hale/hosts", &scratch);
    made.and_then(|()| node.host.rename(&scratch, &link)).map_err(|e| Fault::io("link", &link, e))?;
    files::sync(&node.host.path("/etc"))
}

fn names_a_machine(text: &str) -> bool {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let mut names = lines.flat_map(|line| line.split_whitespace().skip(1));
    names.any(|name| name != "localhost" && !name.starts_with("ip6-"))
}
