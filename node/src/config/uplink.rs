//! `[uplink]` of node.toml: the master's way out. The cluster's machines reach the outside through it, and nobody
//! reaches them.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::fault::{Fault, Result};

use super::role::{ClusterConfig, Protocol};
use super::values::{Interface, serde_as_text};

/// The master's interface towards the outside.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct UplinkConfig {
    /// The interface; none of the cluster's network.
    pub interface: Spanned<Interface>,
    /// Its addresses, each with the length of its network's prefix; DHCP gives it one when there are none here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Spanned<Ipv4Net>>,
    /// The next router, where the addresses stand here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Spanned<Ipv4Addr>>,
    /// Name servers out there, besides those that DHCP names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<Spanned<Ipv4Addr>>,
    /// Largest packet, in bytes; the interface's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Mtu>,
    /// The tagged network that the way out is; untagged when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<VlanId>,
}

impl UplinkConfig {
    /// Refuses what cannot be the way out of this cluster. `port` is the interface that is put into the bridge.
    pub(super) fn check(
        &self,
        file: &str,
        text: &str,
        cluster: &ClusterConfig,
        port: Option<&Interface>,
    ) -> Result<()> {
        let interface = self.interface.get_ref();
        if *interface == cluster.bridge || Some(interface) == port {
            let what = format!("uplink.interface {interface} is the cluster's own network");
            let fault = Fault::input(what).at(file, text, self.interface.span());
            return Err(fault.help("name the card that leads outside: ip -br link"));
        }
        for address in &self.addresses {
            check_address(*address.get_ref(), cluster)
                .map_err(|fault| fault.at(file, text, address.span()))?;
        }
        let inside = self.nameservers.iter().find(|server| cluster.subnet.contains(server.get_ref()));
        if let Some(server) = inside {
            let what = format!("uplink.nameservers {} is not outside", server.get_ref());
            let fault = Fault::input(what).at(file, text, server.span());
            return Err(fault.help("name one of the cluster's own network in network.nameservers"));
        }
        self.check_gateway(file, text)
    }

    fn check_gateway(&self, file: &str, text: &str) -> Result<()> {
        let (Some(gateway), [first, ..]) = (&self.gateway, &self.addresses[..]) else {
            return match (&self.gateway, self.addresses.first()) {
                (Some(gateway), None) => {
                    let fault = Fault::input("uplink.gateway is for uplink.addresses; DHCP brings its own");
                    Err(fault.at(file, text, gateway.span()))
                }
                (None, Some(address)) => {
                    let fault = Fault::input("uplink.addresses lead nowhere without uplink.gateway");
                    Err(fault.at(file, text, address.span()))
                }
                _ => Ok(()),
            };
        };
        let router = *gateway.get_ref();
        let is_near = self.addresses.iter().any(|own| own.get_ref().contains(&router));
        let is_own = self.addresses.iter().any(|own| own.get_ref().addr() == router);
        if is_near && !is_own {
            return Ok(());
        }
        let what =
            if is_own { "this machine itself".to_owned() } else { format!("outside {}", first.get_ref()) };
        Err(Fault::input(format!("uplink.gateway {router} is {what}")).at(file, text, gateway.span()))
    }
}

/// Refuses an address that no machine can have, or whose network the cluster uses.
fn check_address(address: Ipv4Net, cluster: &ClusterConfig) -> Result<()> {
    // RFC 3021: a network of two addresses has no other ones.
    let is_edge = address.prefix_len() < 31
        && (address.addr() == address.network() || address.addr() == address.broadcast());
    if is_edge
        || address.addr().is_loopback()
        || address.addr().is_multicast()
        || address.addr().is_unspecified()
    {
        return Err(Fault::input(format!("{address} is no address of a machine")));
    }
    match overlapped(address, cluster) {
        None => Ok(()),
        Some((name, of)) => Err(Fault::input(format!("{address} overlaps {name} {of}"))
            .help("the cluster's network and the one outside must differ: change recipes/site.toml, or the uplink's")),
    }
}

/// Returns the cluster's network that a network outside overlaps, with its name.
pub fn overlapped(outside: Ipv4Net, cluster: &ClusterConfig) -> Option<(&'static str, Ipv4Net)> {
    let own = [("the cluster's subnet", cluster.subnet), ("service-subnet", cluster.service_subnet)];
    own.into_iter().find(|(_, of)| of.contains(&outside.network()) || outside.contains(&of.network()))
}

/// Defines a number within bounds.
macro_rules! bounded {
    ($name:ident, $about:literal, $first:literal..=$last:literal, $what:literal) => {
        #[doc = $about]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "i64", into = "i64")]
        pub struct $name(u16);

        impl TryFrom<i64> for $name {
            type Error = Fault;
            fn try_from(number: i64) -> Result<Self> {
                let fits = u16::try_from(number).ok().filter(|number| ($first..=$last).contains(number));
                fits.map(Self)
                    .ok_or_else(|| Fault::input(format!("{number} is no {}, {} to {}", $what, $first, $last)))
            }
        }

        impl From<$name> for i64 {
            fn from(value: $name) -> i64 {
                value.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

bounded!(
    Mtu,
    "Largest packet of an interface, in bytes: every host takes 576 (RFC 791, 3.1), jumbo frames have some 9000.",
    576..=9216,
    "size of packets"
);
bounded!(VlanId, "A tagged network's number: 0 and 4095 are reserved (IEEE 802.1Q, 9.6).", 1..=4094, "VLAN");

/// A port of a machine: `8080/tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Port {
    /// The transport.
    pub protocol: Protocol,
    /// The number; not 0.
    pub number: u16,
}

impl FromStr for Port {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.split_once('/').and_then(|(number, protocol)| {
            let protocol = match protocol {
                "tcp" => Protocol::Tcp,
                "udp" => Protocol::Udp,
                _ => return None,
            };
            Some(Self { protocol, number: number.parse().ok().filter(|number| *number != 0)? })
        });
        parsed.ok_or_else(|| Fault::input(format!("{text:?} is no port such as 8080/tcp")))
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        write!(f, "{}/{protocol}", self.number)
    }
}

serde_as_text!(Port);

/// A time server, by name or address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeServer(String);

impl FromStr for TimeServer {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        // RFC 1123, 2.1.
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if text.len() <= 253 && text.split('.').all(is_label) {
            return Ok(Self(text.to_owned()));
        }
        Err(Fault::input(format!("{text:?} is no name or address of a time server")))
    }
}

impl fmt::Display for TimeServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(TimeServer);
