//! The site: the cluster's own values, `recipes/site.toml`.
//!
//! Raw TOML goes in, a [`Site`] that makes sense comes out: every range inside its network, nothing
//! overlapping, every id where a user namespace may have it.

mod name;
mod users;

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::Ipv4Net;
use node::config::apt::AptSource;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::base::digest::serde_as_text;
use crate::base::name::LineName;
use crate::base::text::SourceText;
use crate::base::{Fault, Result};

use name::is_label;
pub use name::{Bridge, Capability, Domain, ImageSource, UserName};
use users::RawUsers;
pub use users::Users;

/// Everything that is this cluster's and no other's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Site {
    /// The line of its machines, unless a verb is told another.
    pub line: LineName,
    /// The network that machines and pods share.
    pub network: Network,
    /// The address range of each machine's pods, by the machine's name; no two overlap.
    pub pods: BTreeMap<String, Range>,
    /// The host ids that containers run as.
    pub users: Users,
    /// Settings of every container.
    pub containers: Containers,
    /// Settings of the host.
    pub host: Host,
    /// Where apt on a machine finds Debian's packages; nowhere when empty.
    pub apt: Vec<AptSource>,
}

/// The machines' network, and the cluster's own on top of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Network {
    /// The existing bridge that pods are plugged into.
    pub bridge: Bridge,
    /// The network behind the bridge.
    pub subnet: Ipv4Net,
    /// The way out; the master itself when it is the gateway.
    pub gateway: Ipv4Addr,
    /// The address that the API server announces.
    pub advertise_address: Ipv4Addr,
    /// Virtual addresses of services.
    pub service_subnet: Ipv4Net,
    /// The cluster's DNS domain.
    pub dns_domain: Domain,
}

/// Settings of every container, whatever its pod asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Containers {
    /// The most processes a container may have.
    pub pids_limit: u32,
    /// The capabilities a container starts with, inside its user namespace.
    pub capabilities: Vec<Capability>,
    /// Where images may be pulled from, in order; those that a line preloads are there in any case.
    pub registries: Vec<ImageSource>,
}

/// Settings of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Whether machines may have swap on.
    pub swap: bool,
}

/// Addresses from the first to the last, both included: `10.0.3.16-10.0.3.60`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// The first address.
    pub first: Ipv4Addr,
    /// The last address.
    pub last: Ipv4Addr,
}

impl FromStr for Range {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Fault::user("not an address range")
                .expected_found("`FIRST-LAST`, such as 10.0.3.16-10.0.3.60", format!("{text:?}"))
        };
        let (first, last) = text.split_once('-').ok_or_else(wrong)?;
        let address = |text: &str| text.parse::<Ipv4Addr>().map_err(|_| wrong());
        let range = Self { first: address(first)?, last: address(last)? };
        if range.first > range.last { Err(wrong()) } else { Ok(range) }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl Range {
    /// Returns whether an address lies in it.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address)
    }

    /// Returns whether two ranges share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

serde_as_text!(Range);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSite {
    line: LineName,
    network: RawNetwork,
    pods: Spanned<BTreeMap<Spanned<String>, Spanned<Range>>>,
    users: RawUsers,
    containers: RawContainers,
    host: RawHost,
    #[serde(default)]
    apt: Vec<AptSource>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawNetwork {
    bridge: Bridge,
    subnet: Spanned<Ipv4Net>,
    gateway: Spanned<Ipv4Addr>,
    advertise_address: Spanned<Ipv4Addr>,
    service_subnet: Spanned<Ipv4Net>,
    dns_domain: Domain,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawContainers {
    pids_limit: Spanned<u32>,
    capabilities: Vec<Spanned<Capability>>,
    registries: Vec<Spanned<ImageSource>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHost {
    swap: bool,
}

impl Site {
    /// Reads `recipes/site.toml`.
    pub fn parse(text: SourceText<'_>) -> Result<Self> {
        let raw: RawSite = text.toml()?;
        let network = network(text, raw.network)?;
        let pods = pods(text, &network, &raw.pods)?;
        let containers = containers(text, raw.containers)?;
        Ok(Self {
            line: raw.line,
            network,
            pods,
            users: users::parse(text, raw.users)?,
            containers,
            host: Host { swap: raw.host.swap },
            apt: raw.apt,
        })
    }
}

fn network(text: SourceText<'_>, raw: RawNetwork) -> Result<Network> {
    for net in [&raw.subnet, &raw.service_subnet] {
        let (found, right) = (net.get_ref(), net.get_ref().trunc());
        if *found != right {
            let fault = text.fault(net.span(), "a network with host bits set");
            return Err(fault.expected_found(right, found).help(format!("write \"{right}\"")));
        }
    }
    let (subnet, services) = (*raw.subnet.get_ref(), *raw.service_subnet.get_ref());
    if !(8..=29).contains(&subnet.prefix_len()) {
        let fault = text.fault(raw.subnet.span(), "a network that cannot hold machines and pods");
        return Err(fault.expected_found("a prefix from /8 to /29", subnet));
    }
    // kube-apiserver 1.17 refuses more than 20 host bits; kubeadm needs the tenth address for DNS.
    if !(12..=28).contains(&services.prefix_len()) {
        let fault =
            text.fault(raw.service_subnet.span(), "a service subnet of a size that the API server refuses");
        return Err(fault.expected_found("a prefix from /12 to /28", services));
    }
    if subnet.contains(&services) || services.contains(&subnet) {
        let fault =
            text.fault(raw.service_subnet.span(), "the service subnet overlaps the machines' network");
        return Err(fault.expected_found(format!("addresses outside {subnet}"), services));
    }
    for address in [&raw.gateway, &raw.advertise_address] {
        if !is_host(&subnet, *address.get_ref()) {
            let fault = text.fault(address.span(), "not the address of a machine in the network");
            return Err(fault.expected_found(hosts_of(&subnet), address.get_ref()));
        }
    }
    Ok(Network {
        bridge: raw.bridge,
        subnet,
        gateway: raw.gateway.into_inner(),
        advertise_address: raw.advertise_address.into_inner(),
        service_subnet: services,
        dns_domain: raw.dns_domain,
    })
}

fn is_host(subnet: &Ipv4Net, address: Ipv4Addr) -> bool {
    subnet.contains(&address) && address != subnet.network() && address != subnet.broadcast()
}

fn hosts_of(subnet: &Ipv4Net) -> String {
    let first = Ipv4Addr::from(u32::from(subnet.network()) + 1);
    let last = Ipv4Addr::from(u32::from(subnet.broadcast()) - 1);
    format!("an address from {first} to {last}")
}

fn pods(
    text: SourceText<'_>,
    network: &Network,
    raw: &Spanned<BTreeMap<Spanned<String>, Spanned<Range>>>,
) -> Result<BTreeMap<String, Range>> {
    let mut seen: Vec<(&str, &Spanned<Range>)> = Vec::new();
    if raw.get_ref().is_empty() {
        return Err(text
            .fault(raw.span(), "no pod range")
            .expected_found("a range for each machine", "none"));
    }
    for (name, spanned) in raw.get_ref() {
        let range = spanned.get_ref();
        if !is_label(name.get_ref()) {
            let fault = text.fault(name.span(), "not a machine's name");
            return Err(fault.expected_found("1 to 63 of a-z 0-9 -", format!("{:?}", name.get_ref())));
        }
        if !(is_host(&network.subnet, range.first) && is_host(&network.subnet, range.last)) {
            let fault = text.fault(spanned.span(), "a pod range that leaves the network");
            return Err(fault.expected_found(hosts_of(&network.subnet), range));
        }
        for (what, address) in [("gateway", network.gateway), ("API server", network.advertise_address)] {
            if range.contains(address) {
                let fault =
                    text.fault(spanned.span(), format!("a pod range that takes the {what}'s address"));
                return Err(fault.expected_found(format!("a range without {address}"), range));
            }
        }
        if let Some((other, taken)) = seen.iter().find(|(_, taken)| taken.get_ref().overlaps(range)) {
            let fault = text.fault(spanned.span(), "two machines' pod ranges overlap");
            return Err(fault.expected_found(format!("nothing of {} (`{other}`)", taken.get_ref()), range));
        }
        seen.push((name.get_ref(), spanned));
    }
    Ok(seen.into_iter().map(|(name, range)| (name.to_owned(), *range.get_ref())).collect())
}

fn containers(text: SourceText<'_>, raw: RawContainers) -> Result<Containers> {
    let limit = *raw.pids_limit.get_ref();
    // pid_max of 64-bit Linux; below 16 not even the control plane's Go programs start.
    if !(16..=4_194_304).contains(&limit) {
        let fault = text.fault(raw.pids_limit.span(), "a process limit that no container can live with");
        return Err(fault.expected_found("16 to 4194304", limit));
    }
    let capabilities = set(text, raw.capabilities)?;
    Ok(Containers { pids_limit: limit, capabilities, registries: set(text, raw.registries)? })
}

/// Sorts values of which none may be there twice.
fn set<T: Ord + fmt::Display>(text: SourceText<'_>, raw: Vec<Spanned<T>>) -> Result<Vec<T>> {
    let mut values: Vec<T> = Vec::new();
    for value in raw {
        if values.contains(value.get_ref()) {
            return Err(text.fault(value.span(), format!("`{}` twice", value.get_ref())));
        }
        values.push(value.into_inner());
    }
    values.sort();
    Ok(values)
}

#[cfg(test)]
mod tests;
