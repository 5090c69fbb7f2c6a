//! What pods may ask for. The API server admits none that no policy allows, from its first moment on
//! (`PodSecurityPolicy`, `policy/v1beta1`: the same in 1.17 and 1.20), so these are made before any pod of the cluster's
//! is. Static pods run without anybody's leave; the kubelet shows them to the API server again and again until it may.
//!
//! | policy | who may use it |
//! |---|---|
//! | `hale-restricted` | everybody |
//! | `hale-control-plane` | the master's kubelet, in `kube-system`, for the objects of its static pods |
//! | `hale-host-paths`, `hale-host-network` | who is given it in one namespace ([`allow`]) |

use serde_json::{Map, Value, json};

use crate::config::DnsLabel;
use crate::fault::{Fault, Result};
use crate::kubernetes::api;
use crate::kubernetes::context::Node;

/// What objects are handed over in.
const FILE: &str = "policy.json";
const RBAC: &str = "rbac.authorization.k8s.io";
/// What an ordinary pod mounts.
const VOLUMES: [&str; 6] =
    ["configMap", "downwardAPI", "emptyDir", "persistentVolumeClaim", "projected", "secret"];
/// Where a pod that may mount host paths finds them: what is the system's is not there.
const HOST_PATHS: [&str; 2] = ["/mnt", "/srv"];
/// What the four static pods mount, as kubeadm writes them; a path's own prefix covers what is below it. Whether their
/// pods write there is the manifests' to say: an object of a static pod starts nothing.
const CONTROL_PLANE_PATHS: [&str; 11] = [
    "/etc/ca-certificates",
    "/etc/kubernetes/apiserver",
    "/etc/kubernetes/controller-manager.conf",
    "/etc/kubernetes/pki",
    "/etc/kubernetes/scheduler.conf",
    "/etc/ssl/certs",
    "/usr/libexec/kubernetes/kubelet-plugins/volume/exec",
    "/usr/local/share/ca-certificates",
    "/usr/share/ca-certificates",
    "/var/lib/etcd",
    "/var/log/kubernetes",
];

/// What the pods of one namespace may have beyond other pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Exemption {
    /// Host paths below /mnt and /srv.
    HostPaths,
    /// The host's network.
    HostNetwork,
}

impl Exemption {
    const ALL: [Self; 2] = [Self::HostPaths, Self::HostNetwork];

    fn name(self) -> &'static str {
        match self {
            Self::HostPaths => "host-paths",
            Self::HostNetwork => "host-network",
        }
    }

    /// The policy: the restricted one, and this.
    fn policy(self) -> Value {
        let mut spec = restricted();
        match self {
            Self::HostPaths => {
                let volumes: Vec<_> = VOLUMES.iter().chain(&["hostPath"]).collect();
                spec.insert("volumes".into(), json!(volumes));
                spec.insert("allowedHostPaths".into(), host_paths(&HOST_PATHS));
            }
            Self::HostNetwork => {
                spec.insert("hostNetwork".into(), true.into());
                spec.insert("hostPorts".into(), json!([{"min": 1, "max": 65535}]));
            }
        }
        policy(self.name(), spec)
    }
}

fn host_paths(paths: &[&str]) -> Value {
    paths.iter().map(|path| json!({"pathPrefix": path})).collect()
}

/// No privilege, nothing of the host's, no capability but what the runtime gives; whatever user the image wants, since
/// root in a container is nobody on the host.
fn restricted() -> Map<String, Value> {
    let spec = json!({
        "privileged": false,
        "allowPrivilegeEscalation": false,
        "defaultAllowPrivilegeEscalation": false,
        "requiredDropCapabilities": ["ALL"],
        "defaultAddCapabilities": ["NET_BIND_SERVICE"],
        "hostIPC": false,
        "hostNetwork": false,
        "hostPID": false,
        "volumes": VOLUMES,
        "fsGroup": {"rule": "RunAsAny"},
        "runAsUser": {"rule": "RunAsAny"},
        "seLinux": {"rule": "RunAsAny"},
        "supplementalGroups": {"rule": "RunAsAny"},
    });
    if let Value::Object(spec) = spec { spec } else { Map::new() }
}

/// A policy of this name; the profiles of seccomp and AppArmor are the runtime's, asked for or not.
fn policy(name: &str, spec: Map<String, Value>) -> Value {
    let profile = "runtime/default";
    json!({
        "apiVersion": "policy/v1beta1",
        "kind": "PodSecurityPolicy",
        "metadata": {
            "name": format!("hale-{name}"),
            "annotations": {
                "apparmor.security.beta.kubernetes.io/allowedProfileNames": profile,
                "apparmor.security.beta.kubernetes.io/defaultProfileName": profile,
                "seccomp.security.alpha.kubernetes.io/allowedProfileNames": profile,
                "seccomp.security.alpha.kubernetes.io/defaultProfileName": profile,
            },
        },
        "spec": spec,
    })
}

/// For the objects of the static pods: the host's network, and their own paths.
fn control_plane() -> Value {
    let mut spec = restricted();
    spec.insert("hostNetwork".into(), true.into());
    spec.insert("volumes".into(), json!(["hostPath"]));
    spec.insert("allowedHostPaths".into(), host_paths(&CONTROL_PLANE_PATHS));
    policy("control-plane", spec)
}

/// Whoever has this role may use the policy.
fn role(name: &str) -> Value {
    let rule = json!({
        "apiGroups": ["policy"],
        "resources": ["podsecuritypolicies"],
        "resourceNames": [format!("hale-{name}")],
        "verbs": ["use"],
    });
    json!({
        "apiVersion": format!("{RBAC}/v1"),
        "kind": "ClusterRole",
        "metadata": {"name": format!("hale:{name}")},
        "rules": [rule],
    })
}

/// Gives a role: in one namespace, or everywhere.
fn binding(name: &str, namespace: Option<&str>, kind: &str, subjects: &[&str]) -> Value {
    let subjects: Vec<_> =
        subjects.iter().map(|subject| json!({"apiGroup": RBAC, "kind": kind, "name": subject})).collect();
    let mut metadata = json!({"name": format!("hale:{name}")});
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    json!({
        "apiVersion": format!("{RBAC}/v1"),
        "kind": if namespace.is_some() { "RoleBinding" } else { "ClusterRoleBinding" },
        "metadata": metadata,
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": format!("hale:{name}")},
        "subjects": subjects,
    })
}

/// Returns all policies, roles and bindings, policies first.
pub(crate) fn objects(node: &Node) -> Vec<Value> {
    let mut objects = vec![policy("restricted", restricted()), control_plane()];
    objects.extend(Exemption::ALL.map(Exemption::policy));
    objects.extend(["restricted", "control-plane"].map(role));
    objects.extend(Exemption::ALL.map(|exemption| role(exemption.name())));
    let kubelet = format!("system:node:{}", node.name);
    objects.push(binding("control-plane", Some("kube-system"), "User", &[&kubelet]));
    objects.push(binding("restricted", None, "Group", &["system:authenticated", "system:serviceaccounts"]));
    objects
}

/// Returns whether the cluster has all policies, roles and bindings.
pub fn is_done(node: &Node) -> Result<bool> {
    // What belongs to no namespace is found whichever is named.
    let mut arguments = vec!["get".to_owned(), "-n".to_owned(), "kube-system".to_owned()];
    for object in objects(node) {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_lowercase();
        let group = word(&object["apiVersion"]).split('/').next().unwrap_or_default().to_owned();
        let name = word(&object["metadata"]["name"]);
        arguments.push(format!("{}.{group}/{name}", word(&object["kind"])));
    }
    api::exists(node, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Makes policies, roles and bindings; those that are as they should be stay.
pub fn apply(node: &Node) -> Result<()> {
    api::apply(node, FILE, &objects(node))
}

/// Gives the pods of one namespace an exemption: a RoleBinding for its service accounts, whose name is returned. An
/// operator takes it back by deleting it.
pub fn allow(node: &Node, namespace: &DnsLabel, exemption: Exemption) -> Result<String> {
    if !node.role.is_master() {
        return Err(Fault::input("this is no master").help("run `hale allow` on the master"));
    }
    if !api::exists(node, &["get", "namespace", namespace.as_str()])? {
        return Err(Fault::input(format!("there is no namespace {namespace}"))
            .help(format!("kubectl create namespace {namespace}")));
    }
    let accounts = format!("system:serviceaccounts:{namespace}");
    api::apply(node, FILE, &[binding(exemption.name(), Some(namespace.as_str()), "Group", &[&accounts])])?;
    Ok(format!("hale:{}", exemption.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::attempt;
    use crate::config::node::NodeConfig;
    use crate::config::role::RoleConfig;
    use crate::host::files;
    use crate::testing::fake::FakeHost;

    fn master() -> (FakeHost, RoleConfig) {
        let role = RoleConfig::parse(include_str!("../../examples/role.toml")).unwrap();
        let host = FakeHost::of(&role, "10.0.3.1");
        attempt(&host, &role, &mut |_| {}).unwrap();
        (host, role)
    }

    /// What each policy lets through, and that none lets through more.
    #[test]
    fn no_policy_gives_what_it_is_not_for() {
        let (host, role) = master();
        let config = NodeConfig::default();
        let objects = objects(&Node::new(&host, &role, &config).unwrap());
        let policies: Vec<_> =
            objects.iter().filter(|object| object["kind"] == "PodSecurityPolicy").collect();
        let names: Vec<_> =
            policies.iter().map(|policy| policy["metadata"]["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["hale-restricted", "hale-control-plane", "hale-host-paths", "hale-host-network"]);
        for (policy, name) in policies.iter().zip(&names) {
            let spec = &policy["spec"];
            for closed in ["privileged", "allowPrivilegeEscalation", "hostIPC", "hostPID"] {
                assert_eq!(spec[closed], false, "{name}: {closed}");
            }
            assert_eq!(spec["requiredDropCapabilities"], json!(["ALL"]), "{name}");
            assert!(spec["allowedCapabilities"].is_null(), "{name}");
            assert_eq!(
                spec["defaultAddCapabilities"],
                json!(role.runtime.capabilities),
                "{name}: the runtime's own"
            );
            let has_network = ["hale-control-plane", "hale-host-network"].contains(name);
            assert_eq!(spec["hostNetwork"], has_network, "{name}");
            let volumes: Vec<_> =
                spec["volumes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            assert!(!volumes.iter().any(|kind| ["*", "gitRepo"].contains(kind)), "{name}");
            let has_paths = volumes.contains(&"hostPath");
            assert_eq!(has_paths, ["hale-control-plane", "hale-host-paths"].contains(name), "{name}");
            // Without a list every path would be allowed.
            let paths = spec["allowedHostPaths"].as_array().map_or(0, Vec::len);
            assert_eq!(paths > 0, has_paths, "{name}");
            let annotations = policy["metadata"]["annotations"].as_object().unwrap();
            assert!(
                annotations.len() == 4 && annotations.values().all(|value| value == "runtime/default"),
                "{name}"
            );
        }
    }

    /// The static pods' manifests, as kubeadm writes them, mount nothing that their policy does not name.
    #[test]
    fn the_static_pods_objects_may_be_shown() {
        let (host, _) = master();
        for name in crate::kubernetes::kubeadm::manifest::NAMES {
            let text = files::need(
                &host,
                &format!("{}/{name}.yaml", crate::kubernetes::kubeadm::manifest::DIRECTORY),
            )
            .unwrap();
            let paths = text.lines().filter_map(|line| line.strip_prefix("      path: ")).collect::<Vec<_>>();
            assert!(!paths.is_empty(), "{name}");
            for path in paths {
                let covers = |prefix: &&str| path == *prefix || path.starts_with(&format!("{prefix}/"));
                assert!(CONTROL_PLANE_PATHS.iter().any(covers), "{name}: {path}");
            }
        }
    }

    #[test]
    fn a_namespace_is_given_more_on_the_master_alone() {
        let (host, role) = master();
        host.state.borrow_mut().objects.insert("web".into());
        let config = NodeConfig::default();
        let node = Node::new(&host, &role, &config).unwrap();
        let name = |text: &str| text.parse::<DnsLabel>().unwrap();
        assert_eq!(allow(&node, &name("web"), Exemption::HostPaths).unwrap(), "hale:host-paths");
        let message = allow(&node, &name("nowhere"), Exemption::HostNetwork).unwrap_err().to_string();
        assert!(message.contains("kubectl create namespace nowhere"), "{message}");
        let text = include_str!("../../examples/role.toml").replacen("\"master\"", "\"node\"", 1);
        let worker = RoleConfig::parse(&text).unwrap();
        let node = Node::new(&host, &worker, &config).unwrap();
        assert!(
            allow(&node, &name("web"), Exemption::HostPaths).unwrap_err().to_string().contains("no master")
        );
    }
}
