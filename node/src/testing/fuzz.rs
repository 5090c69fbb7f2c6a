//! What must hold of any text. `node/fuzz` looks for a text of which it does not, for as long as it is let; this
//! crate's tests try texts that are nearly right. Each function panics when it does not hold.

use std::sync::LazyLock;

use serde_json::Value;

use crate::config::node::{NodeConfig, holds_secret};
use crate::config::role::RoleConfig;
use crate::shim::{self, ContainerIds, Defaults, MountEdits};

static ROLES: LazyLock<[RoleConfig; 2]> = LazyLock::new(|| {
    ["master", "node"].map(|kind| {
        let text = include_str!("../../examples/role.toml");
        let text = text.replacen("role = \"master\"", &format!("role = {kind:?}"), 1);
        RoleConfig::parse(&text).expect("the example is whole")
    })
});

/// Checks a `node.toml`: its secrets are seen, and it can be written without them and read again.
pub fn node_config(text: &str) {
    for role in &*ROLES {
        let Ok(config) = NodeConfig::parse("node.toml", text, role) else { continue };
        let given = [
            config.join.as_ref().is_some_and(|join| join.token.is_some()),
            config.ca.as_ref().is_some_and(|ca| ca.key.is_some()),
            config.kube_proxy.as_ref().is_some_and(|proxy| proxy.kubeconfig.is_some()),
        ];
        assert_eq!(holds_secret(text), given.contains(&true), "a secret is not seen: {text}");
        let wiped = config.wiped().expect("what was read can be written");
        assert!(!holds_secret(&wiped), "a secret is left: {wiped}");
        NodeConfig::parse("node.toml", &wiped, role).expect("what was written can be read");
    }
}

/// Checks the shim's edit: JSON stays JSON, no field is lost or moved, and a second edit finds nothing to do.
pub fn edit(text: &str) {
    let edit = |text: &str| {
        let apparmor = &|| Ok(Some("a \"b\"".to_owned()));
        shim::edit(
            text,
            &Defaults {
                seccomp: r#"{"p":[1]}"#,
                apparmor,
                mounted: &MountEdits::default(),
                ids: ContainerIds::Pods,
            },
        )
    };
    let Ok(Some(edited)) = edit(text) else { return };
    if serde_json::from_str::<Value>(text).is_ok() {
        serde_json::from_str::<Value>(&edited).expect("what was JSON is JSON");
    }
    assert_eq!(shim::others(&edited), shim::others(text), "{edited}");
    assert_eq!(edit(&edited).ok(), Some(None), "a second edit of {edited}");
}
