//! Names that stand in a site, checked where they are made.

use std::fmt;
use std::str::FromStr;

use node::config::registries::RegistryHost;

use crate::base::digest::serde_as_text;
use crate::base::{Fault, Result};

/// A network interface's name: at most 15 bytes, no `/`, white space or `:`, not `.` or `..`
/// (Linux, `dev_valid_name`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bridge(String);

/// A DNS domain (RFC 1123 labels).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Domain(String);

/// A user's name, as useradd(8) takes it on Debian without questions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UserName(String);

/// A Linux capability without `CAP_` (capabilities(7)).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability(String);

/// What an image's name begins with: a registry's host, its port, and a path there if it is not all of it; `*` for any
/// (containers-policy.json(5), docker scopes).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageSource(String);

/// The capabilities of Linux 6.1 (include/uapi/linux/capability.h).
const CAPABILITIES: &[&str] = &[
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

macro_rules! checked_text {
    ($type:ident, $what:literal, $rule:literal, $check:expr) => {
        impl FromStr for $type {
            type Err = Fault;
            fn from_str(text: &str) -> Result<Self> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    return Ok(Self(text.to_owned()));
                }
                let shown: String = text.chars().take(80).collect();
                Err(Fault::user(concat!("not a ", $what)).expected_found($rule, format!("{shown:?}")))
            }
        }

        impl $type {
            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

checked_text!(Bridge, "bridge name", "1 to 15 of a-z A-Z 0-9 . _ - with a letter first", |text| text.len()
    <= 15
    && text.starts_with(|c: char| c.is_ascii_alphabetic())
    && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)));
checked_text!(Domain, "DNS domain", "labels of a-z 0-9 - joined by dots, at most 253 bytes", |text| text
    .len()
    <= 253
    && text.split('.').all(is_label));
checked_text!(UserName, "user name", "1 to 31 of a-z 0-9 - _ with a letter first", |text| text.len() <= 31
    && text.starts_with(|c: char| c.is_ascii_lowercase())
    && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c)));
checked_text!(
    Capability,
    "capability",
    "a name of capabilities(7) without `CAP_`, such as NET_BIND_SERVICE",
    |text| CAPABILITIES.contains(&text)
);

checked_text!(
    ImageSource,
    "registry",
    "a host with a port or a path behind it, such as registry.example.org/team, or `*` for any",
    is_image_source
);

fn is_image_source(text: &str) -> bool {
    let (host, path) = text.split_once('/').map_or((text, None), |(host, path)| (host, Some(path)));
    let is_part = |part: &str| {
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.chars().all(known)
    };
    text == "*"
        || host.parse::<RegistryHost>().is_ok() && path.is_none_or(|path| path.split('/').all(is_part))
}

pub(super) fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= 63
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

serde_as_text!(Bridge, Domain, UserName, Capability, ImageSource);
