//! The one right that the cluster gives beside kubeadm's: `system:kube-proxy` may make and read requests for
//! certificates, so that a node can renew its own. Approving them stays the master's.

use serde_json::json;

use crate::fault::Result;
use crate::kubernetes::api;
use crate::kubernetes::context::Node;
use crate::kubernetes::kube_proxy::USER;

/// Name of the role and its binding.
const NAME: &str = "hale:kube-proxy-renewal";

/// Returns whether role and binding are there: the binding is made last.
pub(super) fn is_done(node: &Node) -> Result<bool> {
    api::exists(node, &["get", "clusterrolebinding", NAME])
}

/// Makes role and binding.
pub(super) fn apply(node: &Node) -> Result<()> {
    let group = "rbac.authorization.k8s.io";
    let api = format!("{group}/v1");
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
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": NAME},
        "subjects": [{"apiGroup": group, "kind": "User", "name": USER}],
    });
    api::apply(node, "rights.json", &[role, binding])
}
