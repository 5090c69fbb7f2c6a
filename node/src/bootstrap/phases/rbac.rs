//! The rights that the cluster gives beside kubeadm's: `system:kube-proxy` may make and read requests for
//! certificates, so that a node can renew its own, while approving them stays the master's; and what people may.

use serde_json::json;

use crate::fault::Result;
use crate::kubernetes::api;
use crate::kubernetes::context::Node;
use crate::kubernetes::kube_proxy::USER;
use crate::people::rights;

/// Name of the role and its binding.
const NAME: &str = "hale:kube-proxy-renewal";

const GROUP: &str = "rbac.authorization.k8s.io";

/// Returns whether all bindings are there: they are made after the roles.
pub(super) fn is_done(node: &Node) -> Result<bool> {
    // In one question: each may go unanswered.
    let mut arguments = vec!["get".to_owned(), "-n".to_owned(), "kube-system".to_owned()];
    let name = |name: &&str| format!("clusterrolebinding.{GROUP}/{name}");
    arguments.extend(rights::BINDINGS.iter().chain([&NAME]).map(name));
    api::exists(node, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Makes roles and bindings.
pub(super) fn apply(node: &Node) -> Result<()> {
    let api = format!("{GROUP}/v1");
    let rule = json!({
        "apiGroups": ["certificates.k8s.io"],
        "resources": ["certificatesigningrequests"],
        "verbs": ["create", "get"],
    });
    let role = json!({"apiVersion": api, "kind": "ClusterRole", "metadata": {"name": NAME}, "rules": [rule]});
    let binding = json!({
        "apiVersion": api,
        "kind": "ClusterRoleBinding",
        "metadata": {"name": NAME},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": NAME},
        "subjects": [{"apiGroup": GROUP, "kind": "User", "name": USER}],
    });
    let objects = [rights::objects(), vec![role, binding]].concat();
    api::apply(node, "rights.json", &objects)
}
