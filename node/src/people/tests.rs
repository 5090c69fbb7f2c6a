//! Kubeconfigs that a real CA has signed.

use std::fs;

use super::*;
use crate::bootstrap::attempt;
use crate::config::node::NodeConfig;
use crate::config::role::RoleConfig;
use crate::host::{Host, RealHost, openssl};
use crate::kubernetes::context::Node;
use crate::kubernetes::paths;
use crate::testing::fake::FakeHost;
use crate::text::base64;

/// What openssl(1) prints.
fn openssl(arguments: &[&str]) -> String {
    let output = RealHost::new(None).run(&openssl::command(arguments)).unwrap();
    assert!(output.success(), "{arguments:?}: {}", output.stderr);
    output.stdout
}

/// A master that is done, with a CA that is one.
fn master(role: &RoleConfig) -> FakeHost {
    let host = FakeHost::of(role, "10.0.3.1");
    attempt(&host, role, &mut |_| {}).unwrap();
    host.openssl.set(true);
    let [certificate, key] = [paths::CA, "/etc/kubernetes/pki/ca.key"].map(|path| host.argument(path));
    let made = ["-newkey", "rsa:2048", "-nodes", "-keyout", &key, "-out", &certificate];
    let extensions = ["-addext", "keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign"];
    openssl(
        &[&["req", "-x509", "-subj", "/CN=kubernetes", "-days", "3650"], made.as_slice(), &extensions]
            .concat(),
    );
    host
}

fn value(text: &str, key: &str) -> String {
    let found =
        text.lines().find_map(|line| line.trim().strip_prefix(&format!("{key}: ")).map(str::to_owned));
    found.unwrap_or_else(|| panic!("no {key}: {text}"))
}

/// A value of base64, in a file.
fn file(host: &FakeHost, text: &str, key: &str) -> String {
    let path = host.argument(&format!("/{key}"));
    fs::write(&path, base64::decode(&value(text, key)).unwrap()).unwrap();
    path
}

#[test]
fn the_clusters_ca_vouches_for_a_person_and_their_groups() {
    let role = RoleConfig::parse(include_str!("../../examples/role.toml")).unwrap();
    let host = master(&role);
    let config = NodeConfig::default();
    let node = Node::new(&host, &role, &config).unwrap();
    let groups = ["hale:viewers", "web-team"].map(|group| group.parse().unwrap());
    let before = host.commands.borrow().len();
    let made = for_person(&node, &"ann@example.org".parse().unwrap(), &groups, 7).unwrap();
    let text = made.expose();
    assert_eq!(value(text, "server"), "https://10.0.3.1:6443");
    assert_eq!(value(text, "current-context"), "\"ann@example.org@hale\"");
    let [ca, certificate, key] = ["certificate-authority-data", "client-certificate-data", "client-key-data"]
        .map(|key| file(&host, text, key));
    openssl(&["verify", "-purpose", "sslclient", "-CAfile", &ca, &certificate]);
    let server = RealHost::new(None)
        .run(&openssl::command(&["verify", "-purpose", "sslserver", "-CAfile", &ca, &certificate]))
        .unwrap();
    assert!(!server.success(), "it is no server's");
    let subject = openssl(&["x509", "-noout", "-subject", "-nameopt", "RFC2253", "-in", &certificate]);
    assert_eq!(subject.trim(), "subject=CN=ann@example.org,O=web-team,O=hale:viewers");
    assert!(openssl(&["x509", "-noout", "-text", "-in", &certificate]).contains("CA:FALSE"));
    let public = openssl(&["pkey", "-pubout", "-in", &key]);
    assert_eq!(public, openssl(&["x509", "-noout", "-pubkey", "-in", &certificate]));
    let ends = |seconds: u32| {
        let command = ["x509", "-noout", "-checkend", &seconds.to_string(), "-in", &certificate];
        !RealHost::new(None).run(&openssl::command(&command)).unwrap().success()
    };
    assert!(!ends(6 * 86_400) && ends(8 * 86_400), "good for a week");
    assert!(is_current(&host, text, &"ann@example.org".parse().unwrap(), 6).unwrap());
    assert!(!is_current(&host, text, &"ann@example.org".parse().unwrap(), 8).unwrap(), "it ends too soon");
    assert!(!is_current(&host, text, &"bob".parse().unwrap(), 6).unwrap(), "another's");
    assert!(!host.tree().keys().any(|path| path.starts_with("run/hale/person")), "nothing is left over");
    assert!(!host.commands.borrow()[before..].iter().any(|line| line.contains("CAcreateserial")));
    // Another person's is another key and another number.
    let other = for_person(&node, &"bob".parse().unwrap(), &groups, 7).unwrap();
    assert_ne!(value(other.expose(), "client-key-data"), value(text, "client-key-data"));
    let serial = |path: &str| openssl(&["x509", "-noout", "-serial", "-in", path]);
    let own = serial(&certificate);
    assert_ne!(own, serial(&file(&host, other.expose(), "client-certificate-data")));
}

#[test]
fn nobody_gets_the_name_of_a_node_or_a_lifetime_without_end() {
    let text = include_str!("../../examples/role.toml");
    let role = RoleConfig::parse(text).unwrap();
    let host = master(&role);
    host.state.borrow_mut().others.insert("node-1".into(), "10.0.3.2".into());
    let config = NodeConfig::default();
    let refused = |role: &RoleConfig, name: &str, days: u16, expect: &str| {
        let node = Node::new(&host, role, &config).unwrap();
        let fault = for_person(&node, &name.parse().unwrap(), &[Group::operators()], days).unwrap_err();
        assert!(fault.to_string().contains(expect), "{fault}");
    };
    refused(&role, "node-1", 7, "node-1 is a node of the cluster");
    refused(&role, "ann", 0, "good for 1 to 365 days, not 0");
    refused(&role, "ann", 366, "good for 1 to 365 days, not 366");
    let worker = RoleConfig::parse(&text.replacen("\"master\"", "\"node\"", 1)).unwrap();
    refused(&worker, "ann", 7, "run `hale kubeconfig` on the master");
    assert!(!host.commands.borrow().iter().any(|line| line.contains("x509 -req")), "nothing was signed");
}

#[test]
fn who_holds_the_port_of_a_master_gets_a_kubeconfig() {
    let text = include_str!("../../examples/role.toml");
    let role = RoleConfig::parse(text).unwrap();
    let host = master(&role);
    let port = "/dev/virtio-ports/org.hale.kubeconfig";
    let config = NodeConfig::default();
    let node = Node::new(&host, &role, &config).unwrap();
    assert!(!hand_out(&node).unwrap());
    assert!(!host.commands.borrow().iter().any(|line| line.contains("x509 -req")), "nobody asked for it");
    host.make(port, "");
    assert!(hand_out(&node).unwrap());
    let given = fs::read_to_string(host.path(port)).unwrap();
    assert_eq!(value(&given, "current-context"), "\"operator@hale\"");
    let key = include_str!("../../testdata/access/ann.pub").trim();
    let config = format!("[access]\noperator = \"ann\"\nssh-keys = [{key:?}]\n");
    let config = NodeConfig::parse("node.toml", &config, &role).unwrap();
    host.make(port, "");
    hand_out(&Node::new(&host, &role, &config).unwrap()).unwrap();
    let given = fs::read_to_string(host.path(port)).unwrap();
    assert_eq!(value(&given, "current-context"), "\"ann@hale\"");
}

/// Whom a binding gives rights, and that nobody else gets any.
#[test]
fn each_group_may_what_its_binding_says() {
    let objects = rights::objects();
    let bindings: Vec<_> = objects.iter().filter(|object| object["kind"] == "ClusterRoleBinding").collect();
    let names: Vec<_> =
        bindings.iter().map(|binding| binding["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, rights::BINDINGS);
    for binding in bindings {
        let subjects = binding["subjects"].as_array().unwrap();
        let [subject] = subjects.as_slice() else { panic!("{binding}") };
        let group = subject["name"].as_str().unwrap();
        assert!(subject["kind"] == "Group" && group.parse::<Group>().is_ok(), "{binding}");
        assert_eq!(binding["roleRef"]["name"] == "cluster-admin", group == rights::OPERATORS, "{binding}");
    }
    for rule in objects.iter().flat_map(|object| object["rules"].as_array().into_iter().flatten()) {
        assert_eq!(rule["verbs"], serde_json::json!(["get", "list", "watch"]));
        assert!(!rule.to_string().contains("secrets"), "{rule}");
    }
}
