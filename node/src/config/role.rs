//! `/usr/lib/hale/role.toml`: what kind of node this is. The builder writes it, `hale` obeys it.
//!
//! Nothing here is secret and nothing differs between two nodes of one role; what does is in
//! [`/etc/hale/node.toml`](crate::config::node). An example that a test parses: `node/examples/role.toml`.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Result, parse_toml};

use super::apt::AptSource;
use super::shim;
use super::values::{AddressRange, Capability, Interface, Version};

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RoleConfig {
    /// What the node does in the cluster.
    pub role: RoleKind,
    /// The release line of its components, such as `1.17`.
    pub line: String,
    /// The version of kubelet, kubeadm and the control plane.
    pub kubernetes: Version,
    /// Where apt finds Debian's packages, unless node.toml says it; nowhere when empty.
    #[serde(default)]
    pub apt: Vec<AptSource>,
    /// The cluster's own values.
    pub cluster: ClusterConfig,
    /// The user that containers' root is on the host.
    pub user: UserConfig,
    /// How CRI-O runs containers.
    pub runtime: RuntimeConfig,
    /// Names of the control plane's images.
    pub images: ImagesConfig,
    /// The host's kube-proxy.
    pub kube_proxy: KubeProxyConfig,
    /// Paths of the pinned programs.
    #[serde(default)]
    pub programs: ProgramPaths,
    /// Sockets that may listen; no others may.
    pub sockets: Vec<AllowedSocket>,
    /// Packages that must keep their versions.
    pub packages: Vec<PinnedPackage>,
}

/// What a node does in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoleKind {
    /// The single control plane, which is the network's gateway too.
    Master,
    /// A worker.
    Node,
}

/// The cluster's own values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    try_from = "ClusterConfigText",
    into = "ClusterConfigText"
)]
pub struct ClusterConfig {
    /// The bridge that pods and the node share.
    pub bridge: Interface,
    /// The network behind the bridge.
    pub subnet: Ipv4Net,
    /// The default route of pods: the master.
    pub gateway: Ipv4Addr,
    /// The addresses that this node's pods get when `node.toml` names none.
    pub pods: AddressRange,
    /// The subnet of Services' addresses.
    pub service_subnet: Ipv4Net,
    /// The domain of Services' names.
    pub dns_domain: String,
    /// The address of the API server.
    pub advertise_address: Ipv4Addr,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ClusterConfigText {
    bridge: Interface,
    subnet: Ipv4Net,
    gateway: Ipv4Addr,
    pods: AddressRange,
    service_subnet: Ipv4Net,
    dns_domain: String,
    advertise_address: Ipv4Addr,
}

impl TryFrom<ClusterConfigText> for ClusterConfig {
    type Error = Fault;
    fn try_from(c: ClusterConfigText) -> Result<Self> {
        if c.subnet.trunc() != c.subnet || c.service_subnet.trunc() != c.service_subnet {
            return Err(Fault::input("a subnet has bits set behind its prefix"));
        }
        for (name, address) in [("gateway", c.gateway), ("advertise-address", c.advertise_address)] {
            if !c.subnet.contains(&address) {
                return Err(Fault::input(format!("{name} {address} is outside subnet {}", c.subnet)));
            }
        }
        if c.subnet.contains(&c.service_subnet) || c.service_subnet.contains(&c.subnet) {
            return Err(Fault::input(format!(
                "service-subnet {} and subnet {} overlap",
                c.service_subnet, c.subnet
            )));
        }
        c.pods.check_within(c.subnet, &[c.gateway, c.advertise_address])?;
        let ClusterConfigText {
            bridge,
            subnet,
            gateway,
            pods,
            service_subnet,
            dns_domain,
            advertise_address,
        } = c;
        Ok(Self { bridge, subnet, gateway, pods, service_subnet, dns_domain, advertise_address })
    }
}

impl From<ClusterConfig> for ClusterConfigText {
    fn from(c: ClusterConfig) -> Self {
        let ClusterConfig { bridge, subnet, gateway, pods, service_subnet, dns_domain, advertise_address } =
            c;
        Self { bridge, subnet, gateway, pods, service_subnet, dns_domain, advertise_address }
    }
}

impl ClusterConfig {
    /// Returns the address of the cluster's DNS: the tenth of the service subnet, as kubeadm chooses it.
    pub fn dns_address(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.service_subnet.network()).wrapping_add(10))
    }

    /// Returns the API server's service address: the first of the service subnet.
    pub fn api_service_address(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.service_subnet.network()).wrapping_add(1))
    }
}

/// The host's user that containers' root is mapped to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct UserConfig {
    /// Name of the user and its group.
    pub name: String,
    /// Id of the user and its group: the first of the mapped ids.
    pub first_id: u32,
    /// Number of mapped ids.
    pub ids: u32,
    /// Id that static pods run as, in no other pod's map; the next id is etcd's.
    pub control_plane_id: u32,
}

impl UserConfig {
    /// Returns the id that etcd runs as.
    pub fn etcd_id(&self) -> u32 {
        self.control_plane_id + 1
    }
}

/// How CRI-O runs containers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RuntimeConfig {
    /// CRI-O's version.
    pub crio: String,
    /// The AppArmor profile that every container runs under.
    pub apparmor_profile: String,
    /// The only capabilities that a container may have in effect, without `CAP_`.
    pub capabilities: Vec<Capability>,
    /// Maximum number of processes in a container.
    pub pids_limit: u32,
    /// Whether CRI-O calls the shim instead of crun itself.
    pub shim: bool,
}

/// Names of the control plane's images. kubeadm takes tags; their digests stand in the lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ImagesConfig {
    /// The registry and path before every name, such as `registry.k8s.io`.
    pub repository: String,
    /// etcd's tag.
    pub etcd: String,
    /// CoreDNS's tag: the one that this kubeadm's Corefile was written for.
    pub coredns: String,
    /// Full reference of the pause image: `registry.k8s.io/pause:3.1`.
    pub pause: String,
}

/// The host's kube-proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KubeProxyConfig {
    /// Whether it runs on this node: on the gateway, or on all.
    pub here: bool,
}

/// Paths of the pinned programs that `hale` runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ProgramPaths {
    /// kubeadm.
    pub kubeadm: PathBuf,
    /// kubectl.
    pub kubectl: PathBuf,
    /// crictl.
    pub crictl: PathBuf,
}

impl Default for ProgramPaths {
    fn default() -> Self {
        let at = |name: &str| PathBuf::from(format!("/usr/bin/{name}"));
        Self { kubeadm: at("kubeadm"), kubectl: at("kubectl"), crictl: at("crictl") }
    }
}

/// A socket that may listen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AllowedSocket {
    /// Name of the program's file, cut to 15 bytes as `/proc/PID/comm` is.
    pub program: String,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Addresses that it may be bound to.
    pub bind: BindScope,
    /// The port; absent where the program takes a random one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// The transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Addresses that a socket may be bound to. Each variant includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BindScope {
    /// 127.0.0.0/8 and ::1 alone.
    Loopback,
    /// An address of the cluster's subnet.
    Subnet,
    /// Every address of the machine.
    Every,
}

/// A package that must keep its version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PinnedPackage {
    /// Its name.
    pub name: String,
    /// Full Debian version.
    pub version: String,
}

impl RoleConfig {
    /// Path of the file.
    pub const PATH: &str = "/usr/lib/hale/role.toml";

    /// Parses the file's text.
    pub fn parse(text: &str) -> Result<Self> {
        let role: Self = parse_toml(Self::PATH, text)?;
        let user = &role.user;
        shim::check_ids(user.first_id, user.ids, user.control_plane_id)
            .map_err(|fault| fault.context("user"))?;
        Ok(role)
    }

    /// Returns the names of the pinned packages.
    pub fn package_names(&self) -> Vec<&str> {
        self.packages.iter().map(|package| package.name.as_str()).collect()
    }

    /// Returns whether this is the master.
    pub fn is_master(&self) -> bool {
        self.role == RoleKind::Master
    }

    /// Returns the mask of the capabilities that a container may have, as `/proc/PID/status` has it.
    pub fn capability_mask(&self) -> u64 {
        self.runtime.capabilities.iter().fold(0, |mask, capability| mask | capability.bit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../examples/role.toml");

    #[test]
    fn the_example_is_read_and_written_back() {
        let role = RoleConfig::parse(EXAMPLE).unwrap();
        assert_eq!(role.capability_mask(), 0x400);
        assert_eq!(role.cluster.dns_address().to_string(), "10.96.0.10");
        assert_eq!(role.cluster.api_service_address().to_string(), "10.96.0.1");
        let again = RoleConfig::parse(&toml::to_string(&role).unwrap()).unwrap();
        assert_eq!(again, role);
    }

    #[test]
    fn a_wrong_file_is_refused_with_its_line() {
        let check = |from: &str, to: &str, expect: &str| {
            assert!(EXAMPLE.contains(from), "{from}");
            let message = RoleConfig::parse(&EXAMPLE.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(message.starts_with(RoleConfig::PATH) && message.contains(expect), "{message}");
        };
        check("line = ", "lines = ", "unknown field `lines`");
        check("\"1.17.17\"", "\"1.18.1\"", "1.17 or 1.20");
        check("\"1.17.17\"", "\"1.17.017\"", "1.17 or 1.20");
        check("10.0.3.16-", "10.0.4.16-", "no range");
        check("10.0.3.16-10.0.3.60", "10.0.3.16-10.0.4.60", "leaves subnet");
        check("10.0.3.16-", "10.0.3.1-", "not free");
        check("gateway = \"10.0.3.1\"", "gateway = \"10.0.2.1\"", "outside subnet");
        check("10.96.0.0/12", "10.0.0.0/12", "overlap");
        check("NET_BIND_SERVICE", "net_bind_service", "no capability");
        check("lxcbr0", "a/b", "interface name");
        check("bind = \"loopback\"", "bind = \"local\"", "unknown variant");
    }
}
