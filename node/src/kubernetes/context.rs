//! The node at work: its role, its configuration, its host.

use std::net::Ipv4Addr;

use zeroize::Zeroizing;

use crate::config::node::{NodeConfig, holds_secret};
use crate::config::role::RoleConfig;
use crate::config::{DnsLabel, Secret};
use crate::fault::{Class, Fault, Result};
use crate::host::{Command, Host, files, ip, seed};

use super::paths;

/// Label by which a node claims a range of addresses for its pods.
pub const PODS_LABEL: &str = "hale/pods";
/// Label by which the master gives it. No node can set it on itself (admission plugin NodeRestriction),
/// so what it says is what the master has judged.
pub const GIVEN_LABEL: &str = "node-restriction.kubernetes.io/hale-pods";
/// A token that kubeadm must be given and that ends at once; kept, so that a second run asks for the same.
const FIRST_TOKEN: &str = "/var/lib/hale/first-token";

/// A node, and everything that a phase needs to know of it.
pub struct Node<'a> {
    /// The machine.
    pub host: &'a dyn Host,
    /// What all nodes of its role have in common, `role.toml`.
    pub role: &'a RoleConfig,
    /// What is its own, `node.toml`.
    pub config: &'a NodeConfig,
    /// Name in the cluster.
    pub name: String,
    /// Called with the reason before each retry.
    pub on_wait: &'a dyn Fn(&Fault),
}

impl<'a> Node<'a> {
    /// Makes a node of the name in its configuration, or else the machine's.
    pub fn new(host: &'a dyn Host, role: &'a RoleConfig, config: &'a NodeConfig) -> Result<Self> {
        let name = match &config.name {
            Some(name) => name.as_str().to_owned(),
            None => host_name(host)?,
        };
        Ok(Self { host, role, config, name, on_wait: &|_| {} })
    }

    /// Returns its address on the bridge.
    pub fn address(&self) -> Result<Ipv4Addr> {
        address(self.host, self.role, self.config)
    }

    /// Returns the token of `InitConfiguration`; makes it at the first call.
    pub fn first_token(&self) -> Result<String> {
        if let Some(token) = files::read(self.host, FIRST_TOKEN)? {
            return Ok(token);
        }
        let mut bytes = [0u8; 64];
        let random = std::fs::File::open("/dev/urandom");
        let filled = random.and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes));
        filled.map_err(|e| Fault::io("read", "/dev/urandom", e))?;
        // 252 is the largest multiple of 36 in a byte; above it some digits would come more often.
        let even = bytes.into_iter().filter(|byte| *byte < 252);
        let digit = |byte: u8| char::from(b"abcdefghijklmnopqrstuvwxyz0123456789"[usize::from(byte % 36)]);
        let text: String = even.map(digit).take(22).collect();
        let token = Secret::from(format!("{}.{}", &text[..6], &text[6..]));
        files::write(self.host, FIRST_TOKEN, token.expose().as_bytes(), 0o600)?;
        Ok(token.expose().to_owned())
    }

    /// Rewrites node.toml without its secrets, if it has any; the seed that it came from first.
    pub fn wipe(&self) -> Result<()> {
        match files::read(self.host, NodeConfig::PATH)? {
            Some(text) if holds_secret(&text) => {
                let wiped = self.config.wiped()?;
                seed::wipe(self.host, &wiped)?;
                files::overwrite(self.host, NodeConfig::PATH, wiped.as_bytes())
            }
            _ => Ok(()),
        }
    }

    /// Makes a command of kubectl with the administrator's kubeconfig, or on a node with the kubelet's.
    pub fn kubectl(&self, arguments: &[&str]) -> Command {
        let kubeconfig = if self.role.is_master() { paths::ADMIN } else { paths::KUBELET };
        self.kubectl_as(kubeconfig, arguments)
    }

    /// Makes a command of kubectl with this kubeconfig.
    pub fn kubectl_as(&self, kubeconfig: &str, arguments: &[&str]) -> Command {
        let all = [&["--kubeconfig", kubeconfig, "--request-timeout=60s"], arguments].concat();
        Command::new(&self.role.programs.kubectl, &all).minutes(3)
    }

    /// Makes a command of crictl that is connected to CRI-O.
    pub fn crictl(&self, arguments: &[&str]) -> Command {
        let endpoint = format!("unix://{}", paths::CRI_SOCKET);
        let all = [&["--runtime-endpoint", endpoint.as_str()], arguments].concat();
        Command::new(&self.role.programs.crictl, &all)
    }
}

/// Returns a node's address on the bridge: the master's is the role's; a node's is configured or found.
pub fn address(host: &dyn Host, role: &RoleConfig, config: &NodeConfig) -> Result<Ipv4Addr> {
    if role.is_master() {
        return Ok(role.cluster.advertise_address);
    }
    if let Some(address) = &config.network.address {
        return Ok(*address.get_ref());
    }
    let bridge = role.cluster.bridge.as_str();
    let addresses = ip::addresses(host, bridge)?;
    let own = addresses.into_iter().find(|address| role.cluster.subnet.contains(address));
    own.ok_or_else(|| {
        let what = format!("{bridge} has no address in {}", role.cluster.subnet);
        Fault::new(Class::Missing, what)
            .help("give the bridge one, or set network.address and bridge = \"make\"")
    })
}

/// Reads `node.toml`, which nobody but root may read; returns an empty one if there is none.
pub fn load_config(host: &dyn Host, role: &RoleConfig) -> Result<NodeConfig> {
    let path = host.path(NodeConfig::PATH);
    let Some(text) = files::read_limited(&path, NodeConfig::LIMIT)? else { return Ok(NodeConfig::default()) };
    let text = Zeroizing::new(text);
    files::check_private(host, NodeConfig::PATH)?;
    NodeConfig::parse(NodeConfig::PATH, &text, role)
}

/// Reads the machine's name, which must be valid for a node.
fn host_name(host: &dyn Host) -> Result<String> {
    let text = files::read(host, "/etc/hostname")?.unwrap_or_default();
    let name: DnsLabel = text.trim().parse().map_err(|fault: Fault| {
        fault.context("/etc/hostname").help(format!("set name in {}, or the host name", NodeConfig::PATH))
    })?;
    Ok(name.as_str().to_owned())
}
