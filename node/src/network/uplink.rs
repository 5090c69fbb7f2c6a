//! What the way out lacks. A cluster comes up without one, so nobody waits for it; `hale status` and the doctor say it.

use crate::config::uplink::{UplinkConfig, overlapped};
use crate::fault::Result;
use crate::host::{Command, ip};
use crate::kubernetes::context::Node;

use super::networkd::outside;
use super::relay;

/// File in which systemd-resolved(8) lists the name servers that it asks.
pub(crate) const SERVERS: &str = "/run/systemd/resolve/resolv.conf";

/// Returns what the way out lacks, each with what to do; `None` if there is to be none.
pub fn lacks(node: &Node) -> Result<Option<Vec<String>>> {
    let Some(uplink) = &node.config.uplink else { return Ok(None) };
    let card = uplink.interface.get_ref();
    let device = node.host.path(&format!("/sys/class/net/{card}"));
    if !device.exists() {
        return Ok(Some(vec![format!("there is no interface {card}: ip -br link shows which there are")]));
    }
    if !std::fs::read_to_string(device.join("carrier")).is_ok_and(|text| text.trim() == "1") {
        return Ok(Some(vec![format!("{card} has no carrier: is its cable plugged in?")]));
    }
    let mut lacks = addresses(node, uplink)?;
    if lacks.is_empty() {
        lacks.extend(route(node, uplink)?);
        lacks.extend(names(node));
    }
    Ok(Some(lacks))
}

fn addresses(node: &Node, uplink: &UplinkConfig) -> Result<Vec<String>> {
    let name = outside(uplink);
    let found = ip::networks(node.host, name)?;
    let overlaps = found.iter().filter_map(|own| {
        let (of, net) = overlapped(*own, &node.role.cluster)?;
        Some(format!("{name} got {own}, which overlaps {of} {net}: nothing beyond it can be reached"))
    });
    let mut lacks: Vec<String> = overlaps.collect();
    let missing = uplink.addresses.iter().filter(|own| !found.contains(own.get_ref()));
    lacks.extend(
        missing.map(|own| format!("{name} does not have {}: networkctl status {name}", own.get_ref())),
    );
    if uplink.addresses.is_empty() && found.is_empty() {
        lacks.push(format!("no DHCP server answers on {name}: journalctl -u systemd-networkd"));
    }
    Ok(lacks)
}

fn route(node: &Node, uplink: &UplinkConfig) -> Result<Option<String>> {
    let name = outside(uplink);
    let arguments = ["-4", "route", "show", "default", "dev", name];
    let found = node.host.run(&Command::new("/sbin/ip", &arguments))?;
    Ok(found.stdout.trim().is_empty().then(|| format!("{name} has no gateway: networkctl status {name}")))
}

fn names(node: &Node) -> Option<String> {
    if !relay::is_here(node) {
        return None;
    }
    let text = std::fs::read_to_string(node.host.path(SERVERS)).unwrap_or_default();
    let is_named = text.lines().any(|line| line.starts_with("nameserver "));
    (!is_named).then(|| "it names no name server: name some in uplink.nameservers".to_owned())
}
