//! What people may, by their groups.
//!
//! | group | may |
//! |---|---|
//! | `hale:operators` | everything (`cluster-admin`): who may read the secrets of every namespace may as well |
//! | `hale:viewers` | look at what is no secret (`view`), and at nodes and volumes |
//!
//! Unlike `system:masters`, which no binding is asked about, each can be taken away by deleting its binding.

use serde_json::{Value, json};

/// The group that may do everything.
pub const OPERATORS: &str = "hale:operators";
/// The group that may look.
pub const VIEWERS: &str = "hale:viewers";
const RBAC: &str = "rbac.authorization.k8s.io";

/// Names of the bindings.
pub const BINDINGS: [&str; 3] = [OPERATORS, VIEWERS, MACHINES];
/// Binding of what a viewer sees that belongs to no namespace; and the role.
const MACHINES: &str = "hale:viewers-of-machines";

/// Returns roles, then bindings.
pub fn objects() -> Vec<Value> {
    let rule = |group: &str, resources: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": ["get", "list", "watch"]});
    let role = json!({
        "apiVersion": format!("{RBAC}/v1"),
        "kind": "ClusterRole",
        "metadata": {"name": MACHINES},
        "rules": [rule("", &["nodes", "persistentvolumes"]), rule("storage.k8s.io", &["storageclasses"])],
    });
    vec![
        role,
        binding(OPERATORS, "cluster-admin", OPERATORS),
        binding(VIEWERS, "view", VIEWERS),
        binding(MACHINES, MACHINES, VIEWERS),
    ]
}

fn binding(name: &str, role: &str, group: &str) -> Value {
    json!({
        "apiVersion": format!("{RBAC}/v1"),
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": RBAC, "kind": "Group", "name": group}],
    })
}
