//! `[[registry]]` of `node.toml`: where images come from, beside the preloaded ones.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Result};

use super::values::secrets::{Pem, Secret};
use super::values::{DnsLabel, serde_as_text};

/// A registry.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RegistryConfig {
    /// The host that names of its images begin with.
    pub name: RegistryHost,
    /// Hosts that are asked before it, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<RegistryHost>,
    /// Certificates to trust for it and its mirrors, beside the machine's own; PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<Pem>,
    /// Who asks it; nobody in particular when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<LoginConfig>,
}

/// Who asks a registry.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LoginConfig {
    /// Name of the user, without a colon (RFC 7617, section 2).
    pub user: String,
    /// The password: a secret, absent once it was used.
    #[serde(default, skip_serializing)]
    pub password: Option<Secret>,
}

impl RegistryConfig {
    /// Returns the registry's host and its mirrors'.
    pub fn hosts(&self) -> impl Iterator<Item = &RegistryHost> {
        std::iter::once(&self.name).chain(&self.mirrors)
    }
}

/// Refuses registries that are named twice, trust what is no certificate, or whose user could not be told from the
/// password.
pub(super) fn check(registries: &[RegistryConfig]) -> Result<()> {
    for (index, registry) in registries.iter().enumerate() {
        let wrong = |what: &str| Err(Fault::input(format!("registry {}: {what}", registry.name)));
        if registries[..index].iter().any(|other| other.name == registry.name) {
            return wrong("it is there twice");
        }
        if registry.ca.as_ref().is_some_and(|ca| !ca.holds("CERTIFICATE")) {
            return wrong("ca wants certificates in PEM, and no key");
        }
        if registry.login.as_ref().is_some_and(|login| login.user.is_empty() || login.user.contains(':')) {
            return wrong("login.user must not be empty or contain a colon");
        }
    }
    Ok(())
}

/// Host of a registry, with a port if it is not 443: `registry.example.org:5000`, such as an image's name begins with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RegistryHost(String);

impl RegistryHost {
    /// Returns the host and its port.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RegistryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RegistryHost {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
        let is_port =
            |port: &str| port.parse().is_ok_and(|number: u16| number > 0 && number.to_string() == port);
        let is_name = host.split('.').all(|label| label.parse::<DnsLabel>().is_ok()) && !is_numbers(host);
        // A name without a dot or a port is the first part of a path on another registry.
        let is_host = host.contains('.') || port.is_some() || host == "localhost";
        if (is_name || host.parse::<Ipv4Addr>().is_ok()) && is_host && port.is_none_or(is_port) {
            return Ok(Self(text.to_owned()));
        }
        let what = format!("{text:?} is no registry's host such as registry.example.org or 10.0.3.9:5000");
        Err(Fault::input(what).help("leave out https:// and what comes after the host"))
    }
}

/// Returns whether all labels are numbers, as an address's are.
fn is_numbers(host: &str) -> bool {
    host.split('.').all(|label| label.bytes().all(|b| b.is_ascii_digit()))
}

serde_as_text!(RegistryHost);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_what_an_image_name_begins_with() {
        for text in ["registry.example.org", "10.0.3.9:5000", "registry:5000", "localhost", "a-b.c:1"] {
            assert_eq!(text.parse::<RegistryHost>().unwrap().as_str(), text);
        }
        for text in [
            "",
            "registry",
            "https://registry.example.org",
            "registry.example.org/",
            "registry.example.org/team",
            "Registry.example.org",
            "registry.example.org:0",
            "registry.example.org:65536",
            "registry.example.org:05",
            "registry.example.org:",
            "10.0.3.256:5000",
            "10.0.3:5000",
            "../etc:5000",
            "a..b",
            "[::1]:5000",
        ] {
            assert!(text.parse::<RegistryHost>().is_err(), "{text}");
        }
    }
}
