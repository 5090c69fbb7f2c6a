use proptest::prelude::*;

use super::*;
use crate::config::node::NodeConfig;

const KEY: &str = include_str!("../../../testdata/access/ann.pub");
const USER_DATA_TEXT: &str = include_str!("../../../testdata/access/user-data");

fn role(kind: &str) -> RoleConfig {
    let text = include_str!("../../../examples/role.toml");
    RoleConfig::parse(&text.replacen("role = \"master\"", &format!("role = {kind:?}"), 1)).unwrap()
}

fn translate(kind: &str, meta_data: &str, user_data: &str, network_config: &str) -> Translation {
    let source = NoCloud { meta_data, user_data, network_config };
    let translation = source.translate(&role(kind)).unwrap_or_else(|fault| panic!("{fault}"));
    let text = &translation.node_toml;
    NodeConfig::parse("node.toml", text, &role(kind)).unwrap_or_else(|fault| panic!("{fault}: {text}"));
    translation
}

/// What a person writes for other distributions, with all that a node has no use for named by its line.
#[test]
fn what_a_node_has_a_use_for_is_taken_and_all_else_is_named() {
    let meta = "instance-id: i-1\nlocal-hostname: node-1.example.org\ndsmode: local\n";
    let network = "version: 2\nethernets:\n  enp2s0:\n    addresses: [10.0.3.7/24]\n    mtu: 1400\n  enp3s0:\n    dhcp4: true\n";
    let found = translate("node", meta, USER_DATA_TEXT, network);
    let config = NodeConfig::parse("node.toml", &found.node_toml, &role("node")).unwrap();
    assert_eq!(config.name.unwrap().as_str(), "web-7", "user-data counts more");
    let access = config.access.unwrap();
    assert_eq!(access.operator.get_ref().as_str(), "ann");
    assert_eq!(access.ssh_keys.len(), 1, "given twice, taken once");
    assert!(access.password_hash.is_some());
    assert_eq!(config.network.interface.unwrap().get_ref().as_str(), "enp2s0");
    assert_eq!(config.network.address.unwrap().get_ref().to_string(), "10.0.3.7");
    assert_eq!(
        found.unread,
        [
            "meta-data:3: dsmode",
            "user-data:16: user bob: a node has one operator",
            "user-data:18: packages",
            "user-data:19: a password in clear text; give `hashed_passwd` of a user",
            "user-data:20: runcmd",
            "network-config:5: enp2s0: mtu",
            "network-config:7: enp3s0: dhcp4",
        ]
    );
}

#[test]
fn a_part_is_enough() {
    let key = KEY.trim();
    assert_eq!(
        translate("node", "", "", ""),
        Translation { node_toml: "# Translated from a cidata disk (NoCloud).\n".into(), unread: Vec::new() }
    );
    let keys = format!("#cloud-config\nssh_authorized_keys:\n  - {key}\n");
    let found = translate("master", "local-hostname: m\n", &keys, "");
    let expect = format!("name = \"m\"\n\n[access]\noperator = \"hale\"\nssh-keys = [\"{key}\"]\n");
    assert!(found.node_toml.ends_with(&expect) && found.unread.is_empty(), "{found:?}");
    let none = translate(
        "node",
        "public-keys: {a: {b: c}}\n",
        "#cloud-config\nssh_authorized_keys:\nusers: []\n",
        "",
    );
    assert_eq!(none.unread, ["meta-data:1: keys in another form than a list of lines"]);
    let of_meta = translate("master", &format!("public-keys:\n  - {key}\n"), "", "");
    assert!(of_meta.node_toml.contains("operator = \"hale\""), "{of_meta:?}");
    assert_eq!(translate("node", "", "#!/bin/sh\nreboot\n", "").unread, ["user-data:1: no #cloud-config"]);
    // The master's address is the role's; a node's is any other of the subnet.
    let network = |address: &str| format!("version: 2\nethernets:\n  eth0:\n    addresses: [{address}/24]\n");
    for (kind, address, taken) in [
        ("master", "10.0.3.1", true),
        ("master", "10.0.3.2", false),
        ("node", "10.0.3.2", true),
        ("node", "10.0.3.1", false),
        ("node", "192.0.2.1", false),
    ] {
        let found = translate(kind, "", "", &network(address));
        assert_eq!(found.node_toml.contains("[network]"), taken, "{kind} {address}");
        assert_eq!(found.unread.is_empty(), taken, "{found:?}");
    }
    let matched = "version: 2\nethernets:\n  lan:\n    match: {macaddress: '52:54:00:00:00:01'}\n    addresses: [10.0.3.2/24]\n";
    assert_eq!(translate("node", "", "", matched).unread.len(), 2);
    let locked = "#cloud-config\nusers:\n- name: ann\n  passwd: $6$saltsalt$x\n";
    assert_eq!(translate("node", "", locked, "").unread.len(), 1, "locked unless it says otherwise");
}

#[test]
fn what_is_none_is_refused_at_its_line() {
    let refused = |meta_data: &str, user_data: &str, expect: &str| {
        let source = NoCloud { meta_data, user_data, network_config: "" };
        let message = source.translate(&role("node")).unwrap_err().to_string();
        assert!(message.starts_with(expect) && !message.contains("hunter2"), "{message}");
    };
    refused("local-hostname: Node_1\n", "", "meta-data:1: ");
    refused("a: [\n", "", "meta-data:2: not YAML");
    refused("a: &x 1\nb: *x\n", "", "meta-data:2: aliases are not read");
    refused(&"[".repeat(40), "", "meta-data:");
    refused("", "#cloud-config\nssh_authorized_keys:\n- hunter2\n", "user-data:3: not a public key of SSH");
    let hash = "#cloud-config\nusers:\n- name: ann\n  lock_passwd: false\n  passwd: hunter2\n";
    refused("", hash, "user-data:5: not the hash of a password");
}

proptest! {
    /// Whatever a disk says, it is refused or becomes a node.toml that is TOML.
    #[test]
    fn no_text_panics_or_breaks_out(
        meta_data in "\\PC{0,60}",
        name in "\\PC{0,30}",
        user_data in "(\\PC|\n|- |  |: ){0,60}",
    ) {
        let key = KEY.trim();
        let user = format!("#cloud-config\n{user_data}\n");
        let named = format!("#cloud-config\nssh_authorized_keys: [{key:?}]\nusers: [{{name: {name:?}}}]\n");
        for user_data in [user, named] {
            let source = NoCloud { meta_data: &meta_data, user_data: &user_data, network_config: &meta_data };
            if let Ok(found) = source.translate(&role("node")) {
                let table: toml::Table = found.node_toml.parse().unwrap();
                prop_assert!(table.keys().all(|key| ["access", "name", "network"].contains(&key.as_str())));
            }
        }
    }
}
