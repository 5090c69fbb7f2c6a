//! Addresses of interfaces, by ip(8).

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::fault::Result;

use super::{Command, Host};

/// Returns the IPv4 addresses of an interface, each with its prefix; none if there is no such interface.
pub fn networks(host: &dyn Host, interface: &str) -> Result<Vec<Ipv4Net>> {
    let output = host.run(&Command::new("/sbin/ip", &["-o", "-4", "addr", "show", "dev", interface]))?;
    Ok(output.stdout.split_whitespace().filter_map(|word| word.parse().ok()).collect())
}

/// Returns the IPv4 addresses of an interface; none if there is no such interface.
pub fn addresses(host: &dyn Host, interface: &str) -> Result<Vec<Ipv4Addr>> {
    Ok(networks(host, interface)?.iter().map(Ipv4Net::addr).collect())
}
