//! Bootstraps with what node.toml may say.

use super::*;
use crate::host::{RealHost, openssl};

/// What stands in resolv.conf afterwards, by what stood there and what node.toml says.
#[test]
fn a_machine_that_names_no_server_asks_those_of_node_toml_or_the_gateway() {
    let check = |before: Option<&str>, config: &str, after: &str| {
        let role = role("master", "1.20.2");
        let fake = machine(&role);
        before.inspect(|text| fake.make("/etc/resolv.conf", text));
        fake.make(NodeConfig::PATH, config);
        boot(&fake, &role).unwrap();
        assert_eq!(files::need(&fake, "/etc/resolv.conf").unwrap(), after);
    };
    let config = "[network]\nnameservers = [\"192.0.2.1\", \"192.0.2.2\"]\n";
    let written = |servers: &str| format!("# Written by hale.\n{servers}");
    check(None, "", &written("nameserver 10.0.3.1\n"));
    check(None, config, &written("nameserver 192.0.2.1\nnameserver 192.0.2.2\n"));
    check(
        Some(&written("nameserver 192.0.2.9\n")),
        config,
        &written("nameserver 192.0.2.1\nnameserver 192.0.2.2\n"),
    );
    check(Some("nameserver 192.0.2.9\n"), config, "nameserver 192.0.2.9\n");
}

/// A gateway without a way out would have no route to services; behind it, everything goes through it.
#[test]
fn a_bridge_that_hale_makes_leads_to_services() {
    let check = |kind: &str, config: &str, expect: &str| {
        let role = role(kind, "1.20.2");
        let fake = machine(&role);
        fake.make(NodeConfig::PATH, config);
        boot(&fake, &role).unwrap();
        let text = files::need(&fake, crate::network::networkd::BRIDGE).unwrap();
        assert!(text.ends_with(expect), "{text}");
    };
    check("master", "[network]\nbridge = \"make\"\n", "\n[Route]\nDestination=10.96.0.0/12\nScope=link\n");
    let node = JOIN.replace("[network]\n", "[network]\nbridge = \"make\"\n");
    check("node", &node, "Gateway=10.0.3.1\n");
}

/// Only what node.toml names is touched: nothing when the bridge is there, and no port that it does not name.
#[test]
fn no_other_interface_is_touched() {
    let check = |config: &str, matched: &[&str]| {
        let role = role("master", "1.20.2");
        let fake = machine(&role);
        fake.make(NodeConfig::PATH, config);
        boot(&fake, &role).unwrap();
        let texts = crate::network::FILES.map(|path| files::read(&fake, path).unwrap().unwrap_or_default());
        let found: Vec<&str> =
            texts.iter().filter_map(|text| text.strip_prefix("[Match]\nName=")?.lines().next()).collect();
        assert_eq!(found, matched, "{config}");
        assert!(texts.concat().matches("[Match]").count() == matched.len(), "{texts:?}");
        let restarted = fake.commands.borrow().iter().any(|command| command.contains("systemd-networkd"));
        assert_eq!(restarted, !matched.is_empty(), "{config}");
    };
    check("", &[]);
    check("[network]\nbridge = \"make\"\n", &["lxcbr0"]);
    let port = "[network]\nbridge = \"make\"\ninterface = \"enp2s0\"\n";
    check(port, &["lxcbr0", "enp2s0"]);
    let uplink = format!("{port}[uplink]\ninterface = \"enp0s4\"\n");
    check(&uplink, &["lxcbr0", "enp2s0", "enp0s4"]);
    check(&format!("{uplink}vlan = 7\n"), &["lxcbr0", "enp2s0", "hale-uplink", "enp0s4"]);
}

/// A master may be given the cluster's CA: it signs with that, and the key is not in node.toml any more.
#[test]
fn a_given_ca_is_the_clusters() {
    let role = role("master", "1.20.2");
    let fake = machine(&role);
    fake.make(NodeConfig::PATH, include_str!("../../../examples/master.toml"));
    boot(&fake, &role).unwrap();
    let text = |path: &str| files::need(&fake, path).unwrap();
    assert_eq!(text("/etc/kubernetes/pki/ca.crt").lines().nth(1), Some("MIIB"));
    assert_eq!(text("/etc/kubernetes/pki/ca.key").lines().nth(1), Some("MIIE"));
    assert_eq!(fake.holders("MIIE"), ["etc/kubernetes/pki/ca.key"]);
    fake.reboot();
    boot(&fake, &role).unwrap();
}

/// By the real openssl.
#[test]
fn a_key_that_is_not_the_given_cas_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for name in ["own", "other"] {
        let (key, certificate) = (path(&format!("{name}.key")), path(&format!("{name}.crt")));
        let words =
            ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9", "-subj", "/CN=kubernetes"];
        let files = ["-keyout", key.as_str(), "-out", certificate.as_str()];
        let command = openssl::command(&[words.as_slice(), &files].concat());
        RealHost::new(None).run_checked(&command).expect("openssl: Debian's package openssl");
    }
    let text = |name: &str| std::fs::read_to_string(path(name)).unwrap();
    let check = |key: &str, right: bool| {
        let role = role("master", "1.20.2");
        let fake = machine(&role);
        fake.openssl.set(true);
        let pair = format!("[ca]\ncertificate = \"\"\"{}\"\"\"\nkey = \"\"\"{key}\"\"\"\n", text("own.crt"));
        fake.make(NodeConfig::PATH, &pair);
        let result = boot(&fake, &role).map_err(|fault| fault.to_string());
        let expect =
            "ca.key is not the key of ca.certificate; put the cluster CA's own pair into /etc/hale/node.toml";
        assert_eq!(result.err().as_deref(), (!right).then_some(expect));
        let left = tree(&fake).into_keys().any(|path| path.contains("pki"));
        assert_eq!(left, right, "half a set of certificates is left");
    };
    check(&text("own.key"), true);
    check(&text("other.key"), false);
    check("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\n", false);
}

/// Where the role wants a kube-proxy on every node, a node runs its own with what it was given.
#[test]
fn a_node_runs_a_kube_proxy_where_the_role_wants_one() {
    let text = include_str!("../../../examples/role.toml");
    let role = RoleConfig::parse(&text.replacen("role = \"master\"", "role = \"node\"", 1)).unwrap();
    let fake = machine(&role);
    let message = boot(&fake, &role).unwrap_err().to_string();
    assert!(
        message.contains("has no kube-proxy.kubeconfig; put there what `hale token --kube-proxy`"),
        "{message}"
    );
    fake.make(NodeConfig::PATH, &format!("{JOIN}[kube-proxy]\nkubeconfig = \"client-key-data: eA==\"\n"));
    boot(&fake, &role).unwrap();
    assert_eq!(
        files::need(&fake, crate::kubernetes::kube_proxy::KUBECONFIG).unwrap(),
        "client-key-data: eA=="
    );
    assert!(!files::need(&fake, NodeConfig::PATH).unwrap().contains("client-key-data"));
    let (enabled, active) = (&fake.state.borrow().enabled, &fake.state.borrow().active);
    assert!(enabled.contains("kube-proxy.service") && active.contains("kube-proxy.service"));
}
