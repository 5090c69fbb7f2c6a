//! `/etc/hale/node.toml`: what differs between two nodes of one role, and the secrets of joining.
//!
//! The same file, under the same name, stands at the top of a disk labelled `HALE-SEED`
//! (`host/seed/`). Secrets are read once: after their use the file is written again without them.
//! Examples that a test parses: `node/examples/node.toml`, `node/examples/master.toml`.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::fault::{Class, Fault, Result, parse_toml};

use super::access::AccessConfig;
use super::apt::AptSource;
use super::registries::{self, RegistryConfig};
use super::role::RoleConfig;
use super::uplink::{Port, TimeServer, UplinkConfig};
use super::values::secrets::{CaPin, Pem, Secret, Token};
use super::values::timestamp::Timestamp;
use super::values::{AddressRange, DnsLabel, Endpoint, Interface};

/// The whole file. Every key is optional; [`NodeConfig::check`] says which ones a role cannot do without.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NodeConfig {
    /// The node's name; the machine's host name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<DnsLabel>,
    /// The node's place in the cluster's network.
    #[serde(default)]
    pub network: NetworkConfig,
    /// The master's way out; without it the machine has none that hale made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink: Option<UplinkConfig>,
    /// Who may enter the machine; nobody when absent. Of a disk of ours alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<AccessConfig>,
    /// Where apt finds Debian's packages; the role's sources when absent. Of a disk of ours alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apt: Option<Vec<AptSource>>,
    /// What a node needs to join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<JoinConfig>,
    /// A given cluster CA, on a master; without one, the master makes its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CaPair>,
    /// The credentials of a node's own kube-proxy, where the role wants one on every node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kube_proxy: Option<KubeProxyCredentials>,
    /// Registries that are to be asked in a way of their own; another is asked as its name says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub registry: Vec<RegistryConfig>,
}

/// A node's place in the cluster's network.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NetworkConfig {
    /// Whether the role's bridge is made.
    #[serde(default)]
    pub bridge: Bridge,
    /// The interface to put into the bridge, when hale makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<Spanned<Interface>>,
    /// This node's address on the bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Spanned<Ipv4Addr>>,
    /// The addresses of this node's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<Spanned<AddressRange>>,
    /// Name servers for a machine that names none of its own, and for the bridge's network when hale makes it; the
    /// gateway when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<Ipv4Addr>,
    /// Time servers, when hale makes the bridge; those that DHCP names, or else Debian's, when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub time_servers: Vec<TimeServer>,
    /// Ports that the packet filter opens towards the bridge besides the role's: those of pods with the host's network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<Port>,
}

/// Whether the role's bridge is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bridge {
    /// The bridge is there; nothing is touched.
    #[default]
    Use,
    /// The bridge is made, with systemd-networkd.
    Make,
}

/// What a node needs to join; `hale token` prints it on the master.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct JoinConfig {
    /// The API server, `address:port`.
    pub endpoint: Endpoint,
    /// The bootstrap token: a secret, absent once it was used.
    #[serde(default, skip_serializing)]
    pub token: Option<Token>,
    /// Digests of the public keys of cluster CAs to trust; a CA that is none of them is refused.
    pub ca_pins: Vec<CaPin>,
    /// Time at which the token was made: a clock that shows an earlier one is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued: Option<Timestamp>,
    /// Time at which the token expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Ranges of other nodes' pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken: Vec<AddressRange>,
}

/// A given cluster CA, PEM.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CaPair {
    /// Its certificate.
    pub certificate: Pem,
    /// Its private key: a secret, absent once it was used.
    #[serde(default, skip_serializing)]
    pub key: Option<Pem>,
}

/// A client certificate of `system:kube-proxy` and the CA to trust, PEM.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KubeProxyCredentials {
    /// The kubeconfig: a secret, absent once it was used.
    #[serde(default, skip_serializing)]
    pub kubeconfig: Option<Secret>,
}

/// First line of a file whose secrets were wiped.
const WIPED: &str = "# Secrets were wiped by hale after their use.\n";

/// Tables and keys that hold secrets.
const SECRETS: [(&str, &str); 4] =
    [("join", "token"), ("ca", "key"), ("kube-proxy", "kubeconfig"), ("login", "password")];

/// Returns whether a text holds a secret, in whichever way TOML lets a key be written; for text that is no TOML,
/// whether one of its lines looks like one.
pub fn holds_secret(text: &str) -> bool {
    let looks_so = |line: &str| {
        let key = line.split('=').next().unwrap_or_default().trim();
        SECRETS.iter().any(|(_, secret)| *secret == key)
    };
    match text.parse::<toml::Table>() {
        Ok(top) => {
            let registries = top.get("registry").and_then(toml::Value::as_array).into_iter().flatten();
            let tables = registries.filter_map(toml::Value::as_table).chain([&top]);
            let has = |of: &toml::Table, table, key| of.get(table).is_some_and(|of| of.get(key).is_some());
            tables.into_iter().any(|of| SECRETS.iter().any(|(table, key)| has(of, *table, *key)))
        }
        Err(_) => text.lines().any(looks_so),
    }
}

impl NodeConfig {
    /// Path of the file.
    pub const PATH: &str = "/etc/hale/node.toml";
    /// Maximum size of the file, in bytes.
    pub const LIMIT: u64 = 64 * 1024;

    /// Parses the file's text and checks it against the role.
    pub fn parse(file: &str, text: &str, role: &RoleConfig) -> Result<Self> {
        let config: Self = parse_toml(file, text)?;
        config.check_network(file, text, role)?;
        config.check_secrets(file, role)?;
        config.check_uplink(file, text, role)?;
        registries::check(&config.registry).map_err(|fault| fault.context(file))?;
        config.access.iter().try_for_each(|access| access.check(file, text, &role.user))?;
        Ok(config)
    }

    /// Returns the file's text without its secrets.
    pub fn wiped(&self) -> Result<String> {
        let text =
            toml::to_string(self).map_err(|e| Fault::machine(format!("cannot write node.toml: {e}")))?;
        Ok(format!("{WIPED}{text}"))
    }

    /// Returns the addresses of this node's pods.
    pub fn pods(&self, role: &RoleConfig) -> AddressRange {
        self.network.pods.as_ref().map_or(role.cluster.pods, |range| *range.get_ref())
    }

    /// Returns a fault that names a key that the role needs and the file lacks, with what to do; `None` if there is
    /// none.
    pub fn missing(&self, role: &RoleConfig) -> Option<Fault> {
        let missing = |key: &str, how: &str| {
            let what = format!("{} has no {key}", Self::PATH);
            Some(Fault::new(Class::Missing, what).help(how))
        };
        if role.is_master() {
            return match &self.ca {
                Some(CaPair { key: None, .. }) => {
                    missing("ca.key", "give the CA's private key, or leave [ca] out")
                }
                _ => None,
            };
        }
        match &self.join {
            None => missing("[join]", "put there what `hale token` prints on the master"),
            Some(JoinConfig { token: None, .. }) => {
                missing("join.token", "run `hale token` on the master for a new one")
            }
            Some(_) if self.network.pods.is_none() => {
                missing("network.pods", "give this node a range of its own in the cluster's subnet")
            }
            Some(_) => None,
        }
    }

    fn check_network(&self, file: &str, text: &str, role: &RoleConfig) -> Result<()> {
        let network = &self.network;
        let cluster = &role.cluster;
        let mut reserved = vec![cluster.gateway, cluster.advertise_address];
        if let Some(address) = &network.address {
            let own = *address.get_ref();
            let fault = |what: String| Err(Fault::input(what).at(file, text, address.span()));
            if !cluster.subnet.contains(&own) {
                return fault(format!("address {own} is outside subnet {}", cluster.subnet));
            }
            if role.is_master() && own != cluster.advertise_address {
                return fault(format!(
                    "address {own} is not the role's advertise-address {}",
                    cluster.advertise_address
                ));
            }
            if !role.is_master() && reserved.contains(&own) {
                return fault(format!("address {own} is the master's"));
            }
            reserved.push(own);
        }
        if let Some(pods) = &network.pods {
            let range = pods.get_ref();
            range.check_within(cluster.subnet, &reserved).map_err(|f| f.at(file, text, pods.span()))?;
            let taken = self.join.iter().flat_map(|join| &join.taken).find(|taken| taken.overlaps(range));
            if let Some(taken) = taken {
                let fault =
                    Fault::input(format!("pod range {range} overlaps {taken}, which another node has"));
                return Err(fault.at(file, text, pods.span()).help("choose a free range"));
            }
        }
        match (network.bridge, &network.interface, &network.address) {
            (Bridge::Use, Some(interface), _) => {
                let fault = Fault::input("interface is for bridge = \"make\" alone");
                Err(fault.at(file, text, interface.span()))
            }
            (Bridge::Use, None, _) if !(network.open.is_empty() && network.time_servers.is_empty()) => {
                Err(Fault::input(format!("{file}: open and time-servers are for bridge = \"make\" alone")))
            }
            (Bridge::Make, _, None) if !role.is_master() => {
                Err(Fault::input(format!("{file}: bridge = \"make\" needs network.address")))
            }
            _ => Ok(()),
        }
    }

    fn check_uplink(&self, file: &str, text: &str, role: &RoleConfig) -> Result<()> {
        let Some(uplink) = &self.uplink else { return Ok(()) };
        let fault = |what: &str| Fault::input(what).at(file, text, uplink.interface.span());
        if !role.is_master() {
            return Err(fault("[uplink] is for the master; a node goes outside through it"));
        }
        if self.network.bridge == Bridge::Use {
            return Err(fault("[uplink] is for bridge = \"make\" alone")
                .help("with \"use\" the machine's network is its owner's, the way out too"));
        }
        let port = self.network.interface.as_ref().map(Spanned::get_ref);
        uplink.check(file, text, &role.cluster, port)
    }

    fn check_secrets(&self, file: &str, role: &RoleConfig) -> Result<()> {
        let wrong = |what: &str| Err(Fault::input(format!("{file}: {what}")));
        if role.is_master() && self.join.is_some() {
            return wrong("[join] is for a node; this is the master");
        }
        if !role.is_master() && self.ca.is_some() {
            return wrong("[ca] is for the master; a node must never have the cluster CA's key");
        }
        if self.join.as_ref().is_some_and(|join| join.ca_pins.is_empty()) {
            return wrong("join.ca-pins is empty: without a pin a node would trust any API server");
        }
        let ca_fits = |ca: &CaPair| {
            ca.certificate.holds("CERTIFICATE") && ca.key.iter().all(|key| key.holds("PRIVATE KEY"))
        };
        if !self.ca.iter().all(ca_fits) {
            return wrong("[ca] wants PEM of a certificate and of a private key");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MASTER: &str = include_str!("../../examples/master.toml");
    const NODE: &str = include_str!("../../examples/node.toml");

    fn role(kind: &str) -> RoleConfig {
        let text = include_str!("../../examples/role.toml");
        RoleConfig::parse(&text.replacen("role = \"master\"", &format!("role = {kind:?}"), 1)).unwrap()
    }

    #[test]
    fn the_examples_are_whole() {
        for (kind, text) in [("master", MASTER), ("node", NODE), ("master", "")] {
            let config = NodeConfig::parse("node.toml", text, &role(kind)).unwrap();
            assert!(config.missing(&role(kind)).is_none(), "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_said_with_what_to_do() {
        let check = |kind: &str, text: &str, expect: &str| {
            let role = role(kind);
            let fault = NodeConfig::parse("node.toml", text, &role).unwrap().missing(&role).unwrap();
            assert!(fault.to_string().contains(expect) && fault.class() == Class::Missing, "{fault}");
        };
        let without = |key: &str| NODE.lines().filter(|l| !l.starts_with(key)).collect::<Vec<_>>().join("\n");
        check("node", "", "no [join]; put there what `hale token` prints");
        check("node", &without("token"), "no join.token");
        check("node", &without("pods"), "no network.pods");
        let ca = MASTER.split("key = ").next().unwrap();
        check("master", ca, "no ca.key");
    }

    #[test]
    fn a_wrong_file_is_refused_at_its_line() {
        let check = |kind: &str, text: &str, from: &str, to: &str, expect: &str| {
            assert!(text.contains(from), "{from}");
            let message = NodeConfig::parse("node.toml", &text.replacen(from, to, 1), &role(kind))
                .unwrap_err()
                .to_string();
            assert!(message.contains(expect), "{message}");
        };
        check("node", NODE, "name =", "nome =", "node.toml:2: unknown field `nome`");
        check("node", NODE, "\"10.0.3.2\"", "\"10.0.3.256\"", "node.toml:");
        check(
            "node",
            NODE,
            "\"10.0.3.2\"",
            "\"10.0.4.2\"",
            "node.toml:9: address 10.0.4.2 is outside subnet",
        );
        check("node", NODE, "\"10.0.3.2\"", "\"10.0.3.1\"", "is the master's");
        check("node", NODE, "10.0.3.61-", "10.0.3.2-", "which is not free");
        check("node", NODE, "10.0.3.61-10.0.3.100", "10.0.3.61-10.0.4.100", "node.toml:10: pod range");
        check("node", NODE, "10.0.3.61-", "10.0.3.60-", "overlaps 10.0.3.16-10.0.3.60");
        check("node", NODE, "bridge = \"make\"", "bridge = \"use\"", "for bridge = \"make\" alone");
        check("node", NODE, "10.0.3.1:6443", "10.0.3.1", "no endpoint");
        check("node", NODE, "10.0.3.1:6443", "10.0.3.300:6443", "no endpoint");
        check("node", NODE, "sha256:", "sha512:", "not a pin");
        check("node", NODE, "ca-pins = [", "ca-pins = [] # ", "would trust any API server");
        check("node", NODE, "abcdef.", "ABCDEF.", "not a bootstrap token");
        check("node", NODE, "node-1", "Node_1", "no node name");
        check("node", NODE, "10:00:00Z", "10:00:00+08:00", "no moment");
        check("master", NODE, "\"10.0.3.2\"", "\"10.0.3.1\"", "this is the master");
        let other = MASTER.replace("[network]\n", "[network]\naddress = \"10.0.3.2\"\n");
        check("node", &other, "An example", "One", "must never have the cluster CA's key");
        let registry = "[[registry]]\nname = \"registry.lan:5000\"\n";
        let with = |text: &str| format!("{MASTER}\n{registry}{text}\n");
        check("master", &with(""), "registry.lan", "https://registry.lan", "is no registry's host");
        check("master", &with(registry), "An", "An", "registry registry.lan:5000: it is there twice");
        check("master", &with("[registry.login]\nuser = \"a:b\""), "An", "An", "login.user must not");
        check("master", &with("ca = \"secret\""), "An", "An", "not PEM text");
        let key = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----";
        check("master", &with(&format!("ca = \"\"\"{key}\"\"\"")), "An", "An", "ca wants certificates");
        check("master", MASTER, "BEGIN RSA PRIVATE", "BEGIN CERT", "PEM");
        check("master", MASTER, "BEGIN CERTIFICATE", "BEGIN PUBLIC KEY", "PEM");
    }

    #[test]
    fn no_secret_is_shown_or_written_back() {
        for (kind, text, secret) in [("master", MASTER, "RSA PRIVATE"), ("node", NODE, "0123456789abcdef")] {
            let config = NodeConfig::parse("node.toml", text, &role(kind)).unwrap();
            assert!(text.contains(secret) && !format!("{config:?}").contains(secret));
            let wiped = config.wiped().unwrap();
            assert!(!wiped.contains(secret), "{wiped}");
            assert!(
                NodeConfig::parse("node.toml", &wiped, &role(kind)).unwrap().missing(&role(kind)).is_some()
            );
        }
        let message =
            NodeConfig::parse("node.toml", &NODE.replace("abcdef.", "abcdef-"), &role("node")).unwrap_err();
        assert!(!message.to_string().contains("0123456789abcdef"), "{message}");
    }

    /// A secret is one however its key is written; of a file that is no TOML each line counts.
    #[test]
    fn a_secret_is_seen_in_every_spelling() {
        let check = |text: &str, expect: bool| assert_eq!(holds_secret(text), expect, "{text}");
        for text in [
            "[join]\ntoken = 'x'",
            "[join]\n\"token\" = 'x'",
            "join.token = 'x'",
            "join = { ca-pins = [], token = 'x' }",
            "['ca']\n  key='x'",
            "[kube-proxy]\nkubeconfig = \"\"\"\nx\"\"\"",
            "[join\ntoken = 'x'",
            "[[registry]]\n[registry.login]\npassword = 'x'",
            "registry = [{}, { login = { user = 'u', password = 'x' } }]",
        ] {
            check(text, true);
        }
        check("[join]\ntaken = ['token = x']\n# token = x", false);
        check("name = \"\"\"\ntoken = 'x'\"\"\"", false);
        check("", false);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            crate::testing::fuzz::node_config(&text);
        }

        /// The example with some of its lines doubled, dropped, cut short or spoilt.
        #[test]
        fn a_spoilt_file_is_refused_or_read_without_a_secret_left_over(
            spoils in prop::collection::vec((0..NODE.lines().count(), 0usize..4, 0usize..30, "\\PC"), 0..5)
        ) {
            let mut lines: Vec<String> = NODE.lines().map(str::to_owned).collect();
            for (at, how, column, by) in spoils {
                let at = at.min(lines.len() - 1);
                let column = lines[at].char_indices().nth(column).map_or(lines[at].len(), |(index, _)| index);
                match how {
                    0 => lines.push(lines[at].clone()),
                    1 => lines[at].clear(),
                    2 => lines[at].truncate(column),
                    _ => lines[at].insert_str(column, &by),
                }
            }
            crate::testing::fuzz::node_config(&lines.join("\n"));
        }
    }
}
