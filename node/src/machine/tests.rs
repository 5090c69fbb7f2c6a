//! What a machine is after node.toml has said who may enter it, and after it says so no more.

use std::collections::BTreeMap;

use super::*;
use crate::testing::fake::FakeHost;

const KEY: &str = include_str!("../../testdata/access/ann.pub");
const HASH: &str =
    "$6$saltsalt$8RWsOfwR6M6PpnoeQiEiWzNTPo1f0HjVYjDnLZhGx16aBFRkeqiHAzfXP/LgrOWMBMXqiU2pLrXsSOHNUyUm91";
const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nsshd:x:104:65534::/run/sshd:/usr/sbin/nologin\n";
const SHADOW: &str = "root:*:20000:0:99999:7:::\nsshd:!:20000::::::\n";

fn role(kind: &str) -> RoleConfig {
    let text = include_str!("../../examples/role.toml");
    RoleConfig::parse(&text.replacen("role = \"master\"", &format!("role = {kind:?}"), 1)).unwrap()
}

/// A disk of ours, as it was flashed.
fn machine(role: &RoleConfig) -> FakeHost {
    let host = FakeHost::of(role, "10.0.3.1");
    host.make("/etc/passwd", PASSWD);
    host.make("/etc/shadow", SHADOW);
    host.make(UNIT_FILE, "");
    host.make(ssh::PROGRAM, "");
    host.make("/etc/ssh/", "");
    host
}

fn parse(role: &RoleConfig, text: &str) -> NodeConfig {
    NodeConfig::parse("node.toml", text, role).unwrap()
}

fn access(rest: &str) -> String {
    format!("[access]\noperator = \"ann\"\nssh-keys = [\"{}\"]\n{rest}", KEY.trim())
}

fn set(host: &FakeHost, role: &RoleConfig, text: &str) {
    apply(host, role, &parse(role, text)).unwrap();
}

fn text(host: &FakeHost, path: &str) -> Option<String> {
    files::read(host, path).unwrap()
}

#[test]
fn nobody_is_let_in_whom_node_toml_does_not_name() {
    for kind in ["master", "node"] {
        let role = role(kind);
        let host = machine(&role);
        let before = host.tree();
        set(&host, &role, "");
        assert_eq!(host.tree(), before);
        assert_eq!(host.commands.borrow().join("\n"), "", "nothing is run either");
    }
}

#[test]
fn who_is_named_gets_in_by_key_and_becomes_root() {
    let role = role("master");
    let host = machine(&role);
    set(&host, &role, &access(""));
    let settings = text(&host, ssh::SETTINGS).unwrap();
    for line in
        ["ListenAddress 10.0.3.1:22", "AllowUsers ann", "PermitRootLogin no", "PasswordAuthentication no"]
    {
        assert!(settings.lines().any(|found| found == line), "{line}: {settings}");
    }
    assert_eq!(settings.matches("ListenAddress").count(), 1);
    assert!(text(&host, account::SUDOERS).unwrap().ends_with("ann ALL=(ALL:ALL) NOPASSWD: ALL\n"));
    let tree = host.tree();
    let is = |path: &str, expect: &str| assert_eq!(tree[path], expect, "{path}");
    is("etc/ssh/hale-operator.keys", "f 0640 0:1000");
    is("etc/ssh/sshd_config.d/10-hale.conf", "f 0600 0:0");
    is("etc/sudoers.d/hale-operator", "f 0440 0:0");
    assert!(text(&host, "/etc/shadow").unwrap().contains("\nann:*:"), "no password opens it");
    assert!(host.state.borrow().active.contains(ssh::UNIT));
    assert!(!host.state.borrow().enabled.contains(ssh::UNIT), "node.toml is asked at each boot");
    assert!(!tree.contains_key("etc/hale/operator.conf"), "there is no cluster yet");
    // Once more: nothing is written, and who is logged in is not disturbed.
    let (before, commands) = (host.changes.get(), host.commands.borrow().len());
    set(&host, &role, &access(""));
    assert_eq!(
        host.commands.borrow()[commands..].join("\n"),
        "/usr/bin/systemctl start --no-block ssh.service"
    );
    assert_eq!((host.changes.get() - before, host.tree()), (2, tree), "systemctl's own two");
}

#[test]
fn it_listens_where_it_was_told() {
    let listens = |host: &FakeHost| -> Vec<String> {
        let settings = text(host, ssh::SETTINGS).unwrap_or_default();
        let addresses = settings.lines().filter_map(|line| line.strip_prefix("ListenAddress "));
        addresses.map(str::to_owned).collect()
    };
    let (master, node) = (role("master"), role("node"));
    let host = machine(&master);
    set(&host, &master, &access("ssh-listen = \"every\"\n"));
    assert_eq!(listens(&host), ["0.0.0.0:22", "[::]:22"]);
    set(&host, &master, &access("ssh-listen = \"lan\"\n"));
    assert_eq!(listens(&host), ["10.0.3.1:22"]);
    let host = machine(&node);
    host.state.borrow_mut().addresses = vec!["10.0.3.9".into()];
    set(&host, &node, &access(""));
    assert_eq!(listens(&host), ["10.0.3.9:22"], "its own, as it was found");
    set(&host, &node, &format!("[network]\naddress = \"10.0.3.2\"\n{}", access("")));
    assert_eq!(listens(&host), ["10.0.3.2:22"], "its own, as it was told");
    let host = machine(&node);
    host.state.borrow_mut().addresses.clear();
    let fault = apply(&host, &node, &parse(&node, &access(""))).unwrap_err().to_string();
    assert!(fault.contains("has no address in 10.0.3.0/24") && listens(&host).is_empty(), "{fault}");
    assert!(text(&host, account::SUDOERS).is_some(), "all else is done");
}

#[test]
fn a_password_is_for_the_console_alone_and_goes_through_no_command_line() {
    let role = role("master");
    let host = machine(&role);
    set(&host, &role, &format!("[access]\noperator = \"ann\"\npassword-hash = \"{HASH}\"\n"));
    assert_eq!(host.holders(HASH), ["etc/shadow"]);
    assert!(!host.commands.borrow().join("\n").contains(HASH));
    assert!(!host.path(ssh::SETTINGS).exists() && !host.state.borrow().active.contains(ssh::UNIT));
    set(&host, &role, &access(""));
    assert_eq!(host.holders(HASH), [""; 0], "taken back");
}

/// Whom a later node.toml does not name has no way in any more, neither by a key nor to root.
#[test]
fn what_node_toml_no_longer_says_is_taken_back() {
    let role = role("master");
    let host = machine(&role);
    set(&host, &role, &access(&format!("password-hash = \"{HASH}\"\n")));
    set(&host, &role, &access("").replace("\"ann\"", "\"bob\""));
    let shadow = text(&host, "/etc/shadow").unwrap();
    assert!(shadow.contains(&format!("\nann:!{HASH}:20000:0:99999:7::1:\n")), "{shadow}");
    assert!(text(&host, ssh::SETTINGS).unwrap().contains("AllowUsers bob\n"));
    assert!(!text(&host, account::SUDOERS).unwrap().contains("ann"));
    set(&host, &role, "");
    let left =
        ["etc/ssh/hale-operator.keys", "etc/sudoers.d/hale-operator", "etc/ssh/sshd_config.d/10-hale.conf"];
    let tree = host.tree();
    left.iter().for_each(|path| assert!(!tree.contains_key(*path), "{path}"));
    assert!(!host.state.borrow().active.contains(ssh::UNIT));
    // And who is named again gets in again.
    set(&host, &role, &access(""));
    assert!(text(&host, "/etc/shadow").unwrap().contains("\nann:*:20000:0:99999:7:::\n"));
}

#[test]
fn what_cannot_be_is_refused() {
    let master = role("master");
    let refused = |text: &str, expect: &str| {
        let message = NodeConfig::parse("node.toml", text, &master).unwrap_err().to_string();
        assert!(message.contains(expect), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    };
    let own = access("");
    refused(
        &own.replace("ssh-ed25519 AAAA", "ssh-ed25519 AAAB"),
        "node.toml:3: a public key of SSH that is damaged",
    );
    refused(&own.replace(KEY.trim(), "hunter2"), "node.toml:3: not a public key of SSH");
    refused(
        &access("password = \"hunter2\"\n"),
        "node.toml:4: a password in clear text is not taken; write its hash",
    );
    refused(
        &access("password-hash = \"hunter2\"\n"),
        "`openssl passwd -6` asks for a password and prints it",
    );
    refused("[access]\noperator = \"ann\"\n", "node.toml:2: [access] gives ann no way in");
    refused("[access]\nssh-keys = []\n", "missing field `operator`");
    for name in ["kubernetes-admin", "root", "k8s", "k8s-control-plane", "etcd", "sshd"] {
        refused(&own.replace("\"ann\"", &format!("{name:?}")), "node.toml:2: ");
    }
    for name in ["", "Ann", "ann:x", "-ann", "ann b", "ann\\n", "a/../b", "0", "_ann"] {
        refused(&own.replace("\"ann\"", &format!("\"{name}\"")), "is no user's name");
    }
    refused(&access("ssh-listen = \"0.0.0.0\"\n"), "unknown variant");
    refused(
        "[[apt]]\nuri = \"file:///etc\"\nsuites = []\n",
        "node.toml:2: \"file:///etc\" is no archive's address",
    );
    // Of the system's by its id, which only the machine knows.
    let host = machine(&master);
    let named = parse(&master, &own.replace("\"ann\"", "\"daemon\""));
    host.make("/etc/passwd", &format!("{PASSWD}daemon:x:1:1::/:/usr/sbin/nologin\n"));
    let fault = apply(&host, &master, &named).unwrap_err().to_string();
    assert!(fault.contains("daemon is a user of the system's"), "{fault}");
    assert!(!host.path(account::SUDOERS).exists());
}

/// After the bootstrap node.toml is written again without its secrets; who may enter is none of them.
#[test]
fn who_may_enter_may_still_after_secrets_were_wiped() {
    let role = role("node");
    let join = include_str!("../../examples/node.toml");
    for apt in ["apt = []\n", ""] {
        let whole = format!("{apt}{join}{}", access(&format!("password-hash = \"{HASH}\"\n")));
        let wiped = parse(&role, &whole).wiped().unwrap();
        assert!(!wiped.contains("0123456789abcdef"), "{wiped}");
        let config = parse(&role, &wiped);
        let access = config.access.unwrap();
        assert_eq!((access.ssh_keys.len(), access.password_hash.unwrap().expose()), (1, HASH));
        assert_eq!(config.apt.is_some(), !apt.is_empty());
    }
}

#[test]
fn somebody_elses_machine_is_left_alone() {
    let role = role("master");
    let host = machine(&role);
    files::remove(&host, UNIT_FILE).unwrap();
    for asked in [access(""), "[[apt]]\nuri = \"http://192.0.2.1/debian\"\nsuites = [\"bookworm\"]\n".into()]
    {
        let before = host.tree();
        let fault = apply(&host, &role, &parse(&role, &asked)).unwrap_err().to_string();
        assert!(fault.contains("installed by somebody else; take it out"), "{fault}");
        assert_eq!(host.tree(), before);
    }
    restart(&host).unwrap();
    // Nor what its role says of machines that are ours.
    let mut role = role;
    role.apt = vec![AptSource { uri: "http://192.0.2.1/debian".parse().unwrap(), suites: Vec::new() }];
    let before = host.tree();
    set(&host, &role, "");
    assert_eq!((host.tree(), host.commands.borrow().join("\n")), (before, String::new()));
}

#[test]
fn apt_asks_where_node_toml_says_or_else_the_role() {
    let mut role = role("node");
    let host = machine(&role);
    set(&host, &role, "");
    assert!(!host.path(SOURCES).exists());
    let own = "[[apt]]\nuri = \"http://192.0.2.1/debian\"\nsuites = [\"bookworm\", \"bookworm-updates\"]\n";
    set(&host, &role, own);
    let expect = "Types: deb\nURIs: http://192.0.2.1/debian\nSuites: bookworm bookworm-updates\nComponents: main\n\
        Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n";
    assert_eq!(text(&host, SOURCES).unwrap(), expect);
    assert_eq!(host.tree()["etc/apt/sources.list.d/hale.sources"], "f 0644 0:0", "apt's own user reads it");
    role.apt = parse(&role, &own.replace("192.0.2.1", "192.0.2.2")).apt.unwrap();
    set(&host, &role, own);
    assert_eq!(text(&host, SOURCES).unwrap(), expect);
    set(&host, &role, "");
    assert_eq!(text(&host, SOURCES).unwrap(), expect.replace("192.0.2.1", "192.0.2.2"));
    set(&host, &role, "apt = []\n");
    assert!(!host.path(SOURCES).exists(), "none at all is a choice too");
}

#[test]
fn kubectl_works_for_the_operator_of_a_master_and_for_nobody_else() {
    let role = role("master");
    let host = machine(&role);
    host.make(crate::kubernetes::paths::CA, "a CA");
    host.make("/etc/kubernetes/pki/ca.key", "its key");
    set(&host, &role, &access(""));
    assert_eq!(host.tree()["etc/hale/operator.conf"], "f 0640 0:1000");
    let made = text(&host, kubeconfig::PATH).unwrap();
    assert!(
        made.contains("current-context: \"ann@hale\"\n") && made.contains("server: https://10.0.3.1:6443\n")
    );
    let subject = host.commands.borrow().iter().any(|line| line.contains("-subj /O=hale:operators/CN=ann "));
    assert!(subject, "{:?}", host.commands.borrow());
    let key = |text: &str| {
        text.lines().find_map(|line| line.trim().strip_prefix("client-key-data: ").map(str::to_owned))
    };
    let secret = key(&made).unwrap();
    assert_eq!(host.holders(&secret), ["etc/hale/operator.conf"]);
    assert!(!host.tree().keys().any(|path| path.starts_with("run/hale/")), "nothing is left over");
    set(&host, &role, &access(""));
    assert_eq!(text(&host, kubeconfig::PATH).unwrap(), made, "good for long");
    host.certificates_end.set(true);
    set(&host, &role, &access(""));
    assert_ne!(key(&text(&host, kubeconfig::PATH).unwrap()), Some(secret), "renewed");
    host.certificates_end.set(false);
    set(&host, &role, &access("").replace("\"ann\"", "\"bob\""));
    assert!(text(&host, kubeconfig::PATH).unwrap().contains("bob@hale"));
    host.make(crate::kubernetes::paths::CA, "another CA");
    let before = text(&host, kubeconfig::PATH);
    set(&host, &role, &access("").replace("\"ann\"", "\"bob\""));
    assert_ne!(text(&host, kubeconfig::PATH), before, "another cluster");
    set(&host, &role, "");
    assert!(!host.path(kubeconfig::PATH).exists());
}

/// Wherever the power is cut, the next boot ends at the same machine, and in between nobody is let in but the operator.
#[test]
fn a_cut_at_any_change_is_a_pause() {
    let role = role("master");
    let goal = access(&format!("password-hash = \"{HASH}\"\n"));
    let begin = |from: &str| {
        let host = machine(&role);
        set(&host, &role, from);
        host.changes.set(0);
        host
    };
    let other = access("ssh-listen = \"every\"\n").replace("\"ann\"", "\"bob\"");
    for (from, to) in [("", goal.as_str()), (&other, &goal), (&goal, "")] {
        let whole = begin(from);
        set(&whole, &role, to);
        let end = |host: &FakeHost| {
            let mut tree: BTreeMap<_, _> = host.tree();
            tree.retain(|path, _| !path.starts_with("run"));
            (tree, text(host, "/etc/shadow"), text(host, ssh::SETTINGS))
        };
        for at in 0..whole.changes.get() {
            let host = begin(from);
            host.fuel.set(at);
            assert!(apply(&host, &role, &parse(&role, to)).is_err(), "no cut at {at}");
            let settings = text(&host, ssh::SETTINGS).unwrap_or_default();
            assert!(settings.is_empty() || settings.contains("\nAllowUsers "), "cut at change {at}");
            host.reboot();
            set(&host, &role, to);
            assert_eq!(end(&host), end(&whole), "{from:?} to {to:?}, cut at change {at}");
        }
    }
}
