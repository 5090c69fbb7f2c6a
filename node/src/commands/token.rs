//! `hale token`: a join file for a new node, ready to be put into its `node.toml`.

use std::fmt::Write;

use crate::config::{AddressRange, DnsLabel, Secret, Timestamp};
use crate::fault::{Fault, Result};
use crate::host::virtio_port::VirtioPort;
use crate::host::{Command, files, openssl};
use crate::kubernetes::context::Node;
use crate::kubernetes::invitation::Invitation;
use crate::kubernetes::{api, kube_proxy, paths};
use crate::renew;
use crate::text::base64;

/// Maximum lifetime of a token, in hours.
pub const LONGEST: u16 = 72;
/// Default lifetime of a token, in hours.
pub const HOURS: u16 = 1;

/// The node that a token is for, and its lifetime.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Name of the node; `None` for any one that the cluster does not know yet.
    pub name: Option<DnsLabel>,
    /// The range that its pods must have.
    pub pods: Option<AddressRange>,
    /// Lifetime of the token, in hours.
    pub hours: u16,
}

impl Guest {
    /// Any new node, for the default lifetime.
    pub const ANY: Self = Self { name: None, pods: None, hours: HOURS };

    fn check(&self, node: &Node, taken: &[(String, AddressRange)]) -> Result<()> {
        if self.hours == 0 || self.hours > LONGEST {
            // kubeadm takes 0 for a token that never ends.
            let what = format!("a token is good for 1 to {LONGEST} hours, not {}", self.hours);
            return Err(Fault::input(what).help("make another one when the node is there"));
        }
        let own = self.name.as_ref().map(DnsLabel::as_str);
        if own == Some(&node.name) {
            return Err(
                Fault::input(format!("{} is this master", node.name)).help("give the new node's name")
            );
        }
        let Some(pods) = self.pods else { return Ok(()) };
        let cluster = &node.role.cluster;
        pods.check_within(cluster.subnet, &[cluster.gateway, cluster.advertise_address])?;
        match taken.iter().find(|(name, range)| own != Some(name.as_str()) && range.overlaps(&pods)) {
            None => Ok(()),
            Some((name, range)) => {
                Err(Fault::input(format!("pod range {pods} overlaps {range} of node {name}"))
                    .help("choose a free range"))
            }
        }
    }
}

/// Makes a token for one node and returns its join file; starts the approver.
pub fn token(node: &Node, guest: &Guest, with_proxy: bool) -> Result<Secret> {
    if !node.role.is_master() {
        return Err(Fault::input("this is no master").help("run `hale token` on the master"));
    }
    let taken = api::ranges(node)?;
    guest.check(node, &taken)?;
    let ttl = format!("{}h", guest.hours);
    let words = Invitation { name: guest.name.clone(), pods: guest.pods, taken: false }.to_string();
    let arguments = ["--kubeconfig", paths::ADMIN, "token", "create", "--ttl", &ttl, "--description", &words];
    let made = node.host.run_checked(&Command::new(&node.role.programs.kubeadm, &arguments).secret())?;
    renew::start_approver(node)?;
    let now = node.host.now();
    let mut text = String::from("[join]\n");
    let _ = writeln!(text, "endpoint = \"{}:6443\"", node.role.cluster.advertise_address);
    let _ = writeln!(text, "token = \"{}\"", made.trim());
    let _ = writeln!(text, "ca-pins = [\"{}\"]", pin(node)?);
    let _ = writeln!(text, "issued = {}", Timestamp::from_seconds(now)?);
    let _ = writeln!(text, "expires = {}", Timestamp::from_seconds(now + i64::from(guest.hours) * 3600)?);
    let others = taken.iter().filter(|(name, _)| guest.name.as_ref().is_none_or(|own| own.as_str() != name));
    let taken: Vec<String> = others.map(|(_, range)| format!("\"{range}\"")).collect();
    let _ = writeln!(text, "taken = [{}]", taken.join(", "));
    if with_proxy {
        let _ = write!(text, "\n[kube-proxy]\nkubeconfig = '''\n{}'''\n", kube_proxy::credentials(node)?);
    }
    Ok(Secret::from(text))
}

/// Virtio-serial port by which the host of a virtual machine gets a join file.
const PORT: &str = "/dev/virtio-ports/org.hale.join";

/// Sends a join file to the port, on a master that has one; returns whether it did.
pub fn hand_out(node: &Node) -> Result<bool> {
    let port = VirtioPort::open(node.host, PORT).filter(|_| node.role.is_master());
    let Some(mut port) = port else { return Ok(false) };
    port.put(node.host, token(node, &Guest::ANY, false)?.expose());
    Ok(true)
}

/// Returns the digest of the cluster CA's public key: SHA-256 of its SubjectPublicKeyInfo, by openssl(1).
fn pin(node: &Node) -> Result<String> {
    files::need(node.host, paths::CA)?;
    let full = node.host.argument(paths::CA);
    let key = node.host.run_checked(&openssl::command(&["x509", "-noout", "-pubkey", "-in", &full]))?;
    let der = base64::of_pem(&key).ok_or_else(|| Fault::machine("openssl printed no public key"))?;
    use sha2::Digest;
    let digest = sha2::Sha256::digest(der);
    Ok(format!("sha256:{}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::attempt;
    use crate::config::node::NodeConfig;
    use crate::config::role::RoleConfig;
    use crate::host::Host;
    use crate::testing::fake::FakeHost;

    #[test]
    fn who_holds_the_port_of_a_master_is_told_how_to_join() {
        let text = include_str!("../../examples/role.toml");
        for kind in ["master", "node"] {
            let role = RoleConfig::parse(&text.replacen("role = \"master\"", &format!("role = {kind:?}"), 1))
                .unwrap();
            let host = FakeHost::of(&role, "10.0.3.1");
            attempt(&host, &RoleConfig::parse(text).unwrap(), &mut |_| {}).unwrap();
            let config = NodeConfig::default();
            let node = Node::new(&host, &role, &config).unwrap();
            assert!(!hand_out(&node).unwrap());
            assert!(
                !host.commands.borrow().join("\n").contains("token create"),
                "a token that nobody asked for"
            );
            host.make(PORT, "");
            assert_eq!(hand_out(&node).unwrap(), kind == "master");
            let join_file = std::fs::read_to_string(host.path(PORT)).unwrap();
            let is_whole = join_file.starts_with("[join]\n")
                && join_file.ends_with("]\n")
                && join_file.contains("expires = 2026-11-22T13:00:0");
            assert_eq!(is_whole, kind == "master", "{join_file}");
        }
    }

    #[test]
    fn what_is_printed_is_what_a_node_reads() {
        let text = include_str!("../../examples/role.toml");
        let master = RoleConfig::parse(text).unwrap();
        let host = FakeHost::of(&master, "10.0.3.1");
        attempt(&host, &master, &mut |_| {}).unwrap();
        host.state.borrow_mut().objects.insert("range seed 10.0.3.16-10.0.3.60".into());
        let config = NodeConfig::default();
        let node = Node::new(&host, &master, &config).unwrap();
        let printed = token(&node, &Guest::ANY, true).unwrap();
        let whole = format!("[network]\npods = \"10.0.3.61-10.0.3.70\"\n{}", printed.expose());
        let worker = RoleConfig::parse(&text.replace("role = \"master\"", "role = \"node\"")).unwrap();
        let read = NodeConfig::parse("node.toml", &whole, &worker).unwrap();
        assert!(read.missing(&worker).is_none() && read.kube_proxy.is_some());
        let clash = whole.replace("10.0.3.61-", "10.0.3.60-");
        assert!(NodeConfig::parse("node.toml", &clash, &worker).is_err());
        assert!(!host.commands.borrow().join("\n").contains("abcdef.0123456789abcdef"));
    }

    #[test]
    fn a_token_is_for_one_node_and_a_short_time() {
        let role = RoleConfig::parse(include_str!("../../examples/role.toml")).unwrap();
        let host = FakeHost::of(&role, "10.0.3.1");
        attempt(&host, &role, &mut |_| {}).unwrap();
        host.state.borrow_mut().objects.insert("range node-9 10.0.3.90-10.0.3.99".into());
        let config = NodeConfig::default();
        let node = Node::new(&host, &role, &config).unwrap();
        let ask = |name: &str, pods: &str, hours: u16| {
            let guest = Guest { name: name.parse().ok(), pods: pods.parse().ok(), hours };
            token(&node, &guest, false).map(|secret| secret.expose().to_owned()).map_err(|f| f.to_string())
        };
        let refused = |name: &str, pods: &str, hours: u16, expect: &str| {
            let message = ask(name, pods, hours).unwrap_err();
            assert!(message.contains(expect), "{message}");
            assert!(host.state.borrow().invitations.is_empty(), "{message}");
        };
        refused("node-1", "", 0, "1 to 72 hours, not 0");
        refused("node-1", "", 73, "1 to 72 hours, not 73");
        refused("seed", "", 1, "seed is this master");
        refused("node-1", "10.0.3.99-10.0.3.120", 1, "overlaps 10.0.3.90-10.0.3.99 of node node-9");
        refused("node-1", "10.0.3.1-10.0.3.5", 1, "contains 10.0.3.1, which is not free");
        refused("node-1", "10.0.4.1-10.0.4.5", 1, "leaves subnet");
        let join_file = ask("node-9", "10.0.3.90-10.0.3.99", 72).unwrap();
        assert!(
            join_file.contains("expires = 2026-11-25T12:") && !join_file.contains("10.0.3.90"),
            "its own: {join_file}"
        );
        let words: Vec<_> = host.state.borrow().invitations.values().cloned().collect();
        assert_eq!(words, ["hale: invites node-9 with pods 10.0.3.90-10.0.3.99"]);
        assert!(
            host.commands.borrow().iter().any(|command| command.ends_with("--no-block hale-approve.service"))
        );
    }
}
