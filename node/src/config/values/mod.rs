//! The values that `role.toml` and `node.toml` are made of.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Result};

pub(super) mod secrets;
pub(super) mod timestamp;

/// Gives a type the text form of its `FromStr` and `Display` in documents.
macro_rules! serde_as_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = $crate::fault::Fault;
            fn try_from(text: String) -> $crate::fault::Result<Self> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    };
}
pub(crate) use serde_as_text;

/// A Kubernetes version that `hale` knows how to bootstrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    minor: Minor,
    patch: u16,
}

/// A minor release of Kubernetes 1; what differs between them stands in `kubernetes/kubeadm/dialect.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Minor {
    /// 1.17
    V17 = 17,
    /// 1.20
    V20 = 20,
}

impl Version {
    /// Returns the minor release.
    pub fn minor(self) -> Minor {
        self.minor
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}.{}", self.minor as u8, self.patch)
    }
}

impl FromStr for Version {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        let wrong =
            || Fault::input(format!("{text:?} is no Kubernetes version of 1.17 or 1.20, such as 1.17.17"));
        let (minor, patch) =
            text.strip_prefix("1.").and_then(|rest| rest.split_once('.')).ok_or_else(wrong)?;
        let minor = match minor {
            "17" => Minor::V17,
            "20" => Minor::V20,
            _ => return Err(wrong()),
        };
        let version = Self { minor, patch: patch.parse().map_err(|_| wrong())? };
        if version.to_string() == text { Ok(version) } else { Err(wrong()) }
    }
}

serde_as_text!(Version);

/// A range of addresses, both ends included: `10.0.3.16-10.0.3.60`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AddressRange {
    /// The first address.
    pub first: Ipv4Addr,
    /// The last address.
    pub last: Ipv4Addr,
}

impl AddressRange {
    /// Returns whether the two ranges have an address in common.
    pub fn overlaps(&self, other: &AddressRange) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Returns whether the address is in the range.
    pub fn contains(&self, address: &Ipv4Addr) -> bool {
        (self.first..=self.last).contains(address)
    }

    /// Returns the number of addresses.
    pub fn count(&self) -> usize {
        (u32::from(self.first)..=u32::from(self.last)).count()
    }

    /// Refuses a range that leaves the subnet, takes its network or broadcast address, or one of `taken`.
    pub fn check_within(&self, subnet: Ipv4Net, taken: &[Ipv4Addr]) -> Result<()> {
        if !subnet.contains(&self.first) || !subnet.contains(&self.last) {
            return Err(Fault::input(format!("pod range {self} leaves subnet {subnet}")));
        }
        let edges = [subnet.network(), subnet.broadcast()];
        match edges.iter().chain(taken).find(|address| self.contains(address)) {
            None => Ok(()),
            Some(address) => {
                Err(Fault::input(format!("pod range {self} contains {address}, which is not free")))
            }
        }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for AddressRange {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        let ends = text.split_once('-').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        match ends {
            Some((first, last)) if first <= last => Ok(Self { first, last }),
            _ => Err(Fault::input(format!("{text:?} is no range of addresses such as 10.0.3.16-10.0.3.60"))),
        }
    }
}

serde_as_text!(AddressRange);

/// A network interface's name: 1 to 15 bytes, no blank, `/`, or leading dot (the kernel's `dev_valid_name`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Interface(String);

impl Interface {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Interface {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if (1..=15).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with('.') {
            return Ok(Self(text.to_owned()));
        }
        Err(Fault::input(format!("{text:?} is no interface name")))
    }
}

serde_as_text!(Interface);

/// A Linux capability by name, without `CAP_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Capability(u8);

/// By number: capabilities(7), `linux/capability.h`.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

impl Capability {
    /// Returns its bit in `/proc/PID/status`.
    pub fn bit(self) -> u64 {
        1 << self.0
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CAPABILITIES[usize::from(self.0)])
    }
}

impl FromStr for Capability {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        let number = CAPABILITIES.iter().position(|name| *name == text).and_then(|n| u8::try_from(n).ok());
        number
            .map(Self)
            .ok_or_else(|| Fault::input(format!("{text:?} is no capability such as NET_BIND_SERVICE")))
    }
}

serde_as_text!(Capability);

/// An RFC 1123 label in lower case: a valid name of a node, a host and a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DnsLabel(String);

impl DnsLabel {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DnsLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DnsLabel {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let fits = (1..=63).contains(&text.len()) && text.bytes().all(inner);
        if fits && !text.starts_with('-') && !text.ends_with('-') {
            return Ok(Self(text.to_owned()));
        }
        Err(Fault::input(format!("{text:?} is no node name: 1 to 63 of a-z, 0-9 and inner hyphens")))
    }
}

serde_as_text!(DnsLabel);

/// `host:port`; the host is an IPv4 address or a DNS name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint {
    host: String,
    port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromStr for Endpoint {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Fault::input(format!("{text:?} is no endpoint such as 10.0.3.1:6443"));
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().map_err(|_| wrong())?;
        let numeric = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let fits = if numeric {
            host.parse::<Ipv4Addr>().is_ok()
        } else {
            host.len() <= 253 && host.split('.').all(|label| label.parse::<DnsLabel>().is_ok())
        };
        if fits && port != 0 { Ok(Self { host: host.to_owned(), port }) } else { Err(wrong()) }
    }
}

serde_as_text!(Endpoint);
