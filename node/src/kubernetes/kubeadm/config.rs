//! Configuration for kubeadm, as JSON, which is YAML; the kubelet's and kube-proxy's are packaged files.
//!
//! `kubeadm.k8s.io/v1beta2` is the one API version that 1.17 and 1.20 share. All of these programs drop unknown
//! fields with only a warning, so the builder's lint checks the packaged files, and a test against a real
//! kubeadm checks what is written here.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::config::node::JoinConfig;
use crate::fault::{Class, Fault, Result};
use crate::host::files;
use crate::kubernetes::context::{Node, PODS_LABEL};
use crate::kubernetes::paths;

use super::{api_server, manifest};

/// Path of the kubelet's packaged configuration: what is the same on every node.
pub const KUBELET: &str = "/usr/lib/hale/kubelet.yaml";
/// Path of kube-proxy's packaged configuration.
pub const KUBE_PROXY: &str = "/usr/lib/hale/kube-proxy.yaml";
/// kubeadm's own limit for the control plane to come up: slow machines are slow.
const TIMEOUT: &str = "20m0s";

/// A component's command-line options.
type Extra = BTreeMap<&'static str, String>;

fn extra<const N: usize>(options: [(&'static str, &str); N]) -> Extra {
    options.into_iter().map(|(name, value)| (name, value.to_owned())).collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Registration {
    name: String,
    cri_socket: &'static str,
    kubelet_extra_args: Extra,
    ignore_preflight_errors: Vec<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Init {
    api_version: &'static str,
    kind: &'static str,
    bootstrap_tokens: Vec<Value>,
    node_registration: Registration,
    // kubeadm drops `localApiEndpoint`, and would advertise the default interface.
    #[serde(rename = "localAPIEndpoint")]
    local_api_endpoint: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cluster {
    api_version: &'static str,
    kind: &'static str,
    kubernetes_version: String,
    control_plane_endpoint: String,
    certificates_dir: String,
    image_repository: String,
    networking: Value,
    api_server: Server,
    controller_manager: Component,
    scheduler: Component,
    etcd: Value,
    dns: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Server {
    extra_args: Extra,
    extra_volumes: Vec<Value>,
    timeout_for_control_plane: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Component {
    extra_args: Extra,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Joining {
    api_version: &'static str,
    kind: &'static str,
    node_registration: Registration,
    discovery: Value,
}

const KUBEADM: &str = "kubeadm.k8s.io/v1beta2";

/// Returns the configuration of `kubeadm init`'s phases; `certificates` is the directory of certificates.
pub fn init(node: &Node, certificates: &str) -> Result<String> {
    let address = node.role.cluster.advertise_address.to_string();
    let init = Init {
        api_version: KUBEADM,
        kind: "InitConfiguration",
        // One token that ends at once: an empty list would make kubeadm invent one for a day.
        bootstrap_tokens: vec![json!({
            "token": node.first_token()?,
            "ttl": "1m0s",
            "usages": ["signing", "authentication"],
            "groups": ["system:bootstrappers:kubeadm:default-node-token"],
        })],
        node_registration: registration(node)?,
        local_api_endpoint: json!({"advertiseAddress": address, "bindPort": 6443}),
    };
    let own = documents(&[to_value(&init)?, to_value(&cluster(node, certificates))?])?;
    Ok(format!("{own}---\n{}", files::need(node.host, KUBELET)?))
}

fn cluster(node: &Node, certificates: &str) -> Cluster {
    let (cluster, images) = (&node.role.cluster, &node.role.images);
    let address = cluster.advertise_address.to_string();
    // A single control plane needs no leases, and on a slow machine they time out and restart it.
    // Port 0 closes the insecure listeners, which no bind address governs.
    let manager = || extra([("leader-elect", "false"), ("port", "0"), ("profiling", "false")]);
    let mut controllers = manager();
    controllers.insert("terminated-pod-gc-threshold", "1000".to_owned());
    Cluster {
        api_version: KUBEADM,
        kind: "ClusterConfiguration",
        kubernetes_version: format!("v{}", node.role.kubernetes),
        control_plane_endpoint: format!("{address}:6443"),
        certificates_dir: certificates.to_owned(),
        image_repository: images.repository.clone(),
        networking: json!({"serviceSubnet": cluster.service_subnet.to_string(), "dnsDomain": cluster.dns_domain}),
        api_server: Server {
            extra_args: api_server(&address),
            extra_volumes: api_server::FOLDERS.iter().map(api_server::Folder::volume).collect(),
            timeout_for_control_plane: TIMEOUT,
        },
        controller_manager: Component { extra_args: controllers },
        scheduler: Component { extra_args: manager() },
        etcd: json!({"local": {"imageTag": images.etcd, "dataDir": "/var/lib/etcd", "extraArgs": etcd(node)}}),
        dns: json!({"type": "CoreDNS", "imageTag": images.coredns}),
    }
}

/// What the kubelet's packaged configuration takes, too.
const CIPHERS: &str = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,\
    TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384";

/// The API server judges pods by policies from its first moment, so none is ever admitted that no policy allows; trusts
/// kubelets that the cluster's CA vouches for; keeps secrets encrypted; and writes down who asked for what. Some 1.1 GB
/// of that, which is what the CIS benchmark asks for.
fn api_server(address: &str) -> Extra {
    extra([
        ("audit-log-maxage", "30"),
        ("audit-log-maxbackup", "10"),
        ("audit-log-maxsize", "100"),
        ("audit-log-path", api_server::AUDIT_LOG),
        ("audit-policy-file", api_server::AUDIT_POLICY),
        ("bind-address", address),
        ("enable-admission-plugins", "NodeRestriction,PodSecurityPolicy"),
        ("encryption-provider-config", api_server::ENCRYPTION),
        ("kubelet-certificate-authority", paths::CA),
        ("profiling", "false"),
        ("tls-cipher-suites", CIPHERS),
    ])
}

/// etcd on loopback alone: its one client is the API server beside it, and it has no peers.
fn etcd(node: &Node) -> Extra {
    let (client, peer) = ("https://127.0.0.1:2379", "https://127.0.0.1:2380");
    let mut options = extra([
        ("listen-client-urls", client),
        ("advertise-client-urls", client),
        ("listen-peer-urls", peer),
        ("initial-advertise-peer-urls", peer),
        ("listen-metrics-urls", "http://127.0.0.1:2381"),
    ]);
    options.insert("initial-cluster", format!("{}={peer}", node.name));
    options
}

fn registration(node: &Node) -> Result<Registration> {
    let address = node.address()?.to_string();
    // kubeadm names systemd-resolved's own file where that runs; it may be empty, and CoreDNS does not start then.
    let mut options = extra([("node-ip", &address), ("address", &address), ("resolv-conf", paths::RESOLVER)]);
    let pods = node.config.pods(node.role);
    options.insert("node-labels", format!("{PODS_LABEL}={pods}"));
    // As many as have addresses; the static pods have the host's.
    let without_address = if node.role.is_master() { manifest::NAMES.len() } else { 0 };
    options.insert("max-pods", (pods.count() + without_address).to_string());
    Ok(Registration {
        name: node.name.clone(),
        cri_socket: paths::CRI_SOCKET,
        kubelet_extra_args: options,
        ignore_preflight_errors: vec!["Swap"],
    })
}

/// Returns kube-proxy's configuration: the packaged one, with this node's name.
pub fn kube_proxy(node: &Node) -> Result<String> {
    Ok(format!("{}\nhostnameOverride: {}\n", files::need(node.host, KUBE_PROXY)?.trim_end(), node.name))
}

/// Returns the configuration of `kubeadm join`; it holds the token.
pub fn join(node: &Node, join: &JoinConfig) -> Result<String> {
    let token = join.token.as_ref().map(|token| token.expose().to_owned());
    let token = token.ok_or_else(|| Fault::new(Class::Missing, "there is no bootstrap token"))?;
    let joining = Joining {
        api_version: KUBEADM,
        kind: "JoinConfiguration",
        node_registration: registration(node)?,
        discovery: json!({
            "bootstrapToken": {
                "token": token,
                "apiServerEndpoint": join.endpoint.to_string(),
                "caCertHashes": join.ca_pins.iter().map(ToString::to_string).collect::<Vec<_>>(),
            },
            "tlsBootstrapToken": token,
            "timeout": "5m0s",
        }),
    };
    documents(&[to_value(&joining)?])
}

fn to_value(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|e| Fault::machine(format!("cannot write a configuration: {e}")))
}

/// Joins YAML documents, each of which is JSON.
fn documents(values: &[Value]) -> Result<String> {
    let one = |value| serde_json::to_string_pretty(value).map(|json| format!("{json}\n"));
    let texts: std::result::Result<Vec<_>, _> = values.iter().map(one).collect();
    texts
        .map(|texts| texts.join("---\n"))
        .map_err(|e| Fault::machine(format!("cannot write a configuration: {e}")))
}
