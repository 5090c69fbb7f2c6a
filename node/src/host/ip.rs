//! Addresses of interfaces, by ip(8).

use std::net::Ipv4Addr;

use crate::fault::Result;

use super::{Command, Host};

/// Returns the IPv4 addresses of an interface; none if there is no such interface.
pub fn addresses(host: &dyn Host, interface: &str) -> Result<Vec<Ipv4Addr>> {
    let output = host.run(&Command::new("/sbin/ip", &["-o", "-4", "addr", "show", "dev", interface]))?;
    let addresses = output.stdout.split_whitespace().filter_map(|word| word.split_once('/'));
    Ok(addresses.filter_map(|(address, _)| address.parse().ok()).collect())
}
