use super::*;
use crate::bootstrap::attempt;
use crate::config::node::NodeConfig;
use crate::config::role::RoleConfig;
use crate::fault::Class;
use crate::host::Host;
use crate::kubernetes::context::load_config;
use crate::testing::fake::{FakeHost, InjectedFault};

mod flow;
mod nodes;
mod requests;

#[test]
fn renewed_files_get_their_owners_again() {
    let role = RoleConfig::parse(include_str!("../../../examples/role.toml")).unwrap();
    let host = FakeHost::of(&role, "10.0.3.1");
    attempt(&host, &role, &mut |_| {}).unwrap();
    let config = NodeConfig::default();
    let node = Node::new(&host, &role, &config).unwrap();
    let credentials = files::need(&host, kube_proxy::KUBECONFIG).unwrap();
    host.certificates_end.set(true);
    assert_eq!(renew(&node, false).unwrap(), RenewalOutcome::Renewed);
    assert!(ownership::differences(&node).unwrap().is_empty());
    let commands = host.commands.borrow().join("\n");
    assert!(commands.contains("kubeadm alpha certs renew all"), "{commands}");
    assert!(commands.contains("get certificatesigningrequests.v1beta1.certificates.k8s.io"), "{commands}");
    assert!(
        commands.contains("crictl --runtime-endpoint unix:///var/run/crio/crio.sock stop etcd-id"),
        "{commands}"
    );
    assert_eq!(files::need(&host, kube_proxy::KUBECONFIG).unwrap(), credentials);
    host.certificates_end.set(false);
    assert_eq!(renew(&node, false).unwrap(), RenewalOutcome::NotDue);
    // Where somebody is invited still, a boot has ended what waits for him.
    let starts = |host: &FakeHost| {
        host.commands.borrow().iter().any(|command| command.ends_with("hale-approve.service"))
    };
    assert!(!starts(&host));
    host.state.borrow_mut().invitations.insert("abcdef".into(), "hale: invites a new node".into());
    renew(&node, false).unwrap();
    assert!(starts(&host));
}

/// The power is cut, or a program fails, at any moment: later runs end with what one run would have left, and with
/// everything that held an old certificate begun anew behind the last of them.
#[test]
fn a_masters_renewal_that_is_cut_anywhere_is_done_again() {
    let role = RoleConfig::parse(include_str!("../../../examples/role.toml")).unwrap();
    let config = NodeConfig::default();
    let run = |spoil: &dyn Fn(&FakeHost)| {
        let host = FakeHost::of(&role, "10.0.3.1");
        attempt(&host, &role, &mut |_| {}).unwrap();
        host.certificates_end.set(true);
        let (changes, commands) = (host.changes.get(), host.commands.borrow().len());
        spoil(&host);
        let first = renew(&Node::new(&host, &role, &config).unwrap(), false);
        let (changes, commands) = (host.changes.get() - changes, host.commands.borrow().len() - commands);
        (first.is_ok(), changes, commands, host)
    };
    let again = |host: FakeHost, what: &str| {
        host.certificates_end.set(!host.path(UNDER_WAY).exists());
        host.commands.borrow_mut().clear();
        let node = Node::new(&host, &role, &config).unwrap();
        assert_eq!(renew(&node, false).unwrap(), RenewalOutcome::Renewed, "{what}");
        assert!(ownership::differences(&node).unwrap().is_empty(), "{what}");
        let commands = host.commands.borrow().join("\n");
        let last = commands.rfind("certs renew all").unwrap_or_else(|| panic!("{what}: {commands}"));
        for name in HOLDERS {
            assert!(
                commands[last..].contains(&format!("stop {}", name.replace("etcd", "etcd-id"))),
                "{what}: {commands}"
            );
        }
        assert!(!host.path(UNDER_WAY).exists(), "{what}");
    };
    let (done, changes, commands, _) = run(&|_| {});
    assert!(done && changes > 10 && commands > 10, "{changes}, {commands}");
    for at in 0..changes {
        let (done, .., host) = run(&|host| host.fuel.set(at));
        assert!(!done, "no cut at {at}");
        host.reboot();
        again(host, &format!("cut at change {at}"));
    }
    for at in 0..commands {
        let spoil = |host: &FakeHost| {
            host.injected.borrow_mut().insert(host.commands.borrow().len() + at, InjectedFault::Rejects);
        };
        let (done, .., host) = run(&spoil);
        // Questions are answered, and asked again.
        if !done {
            again(host, &format!("call {at} failed"));
        }
    }
}

/// After a boot the timer is there before the API server is.
#[test]
fn a_run_waits_for_an_api_server_that_is_not_up_yet() {
    let role = RoleConfig::parse(include_str!("../../../examples/role.toml")).unwrap();
    let host = FakeHost::of(&role, "10.0.3.1");
    attempt(&host, &role, &mut |_| {}).unwrap();
    host.reboot();
    let config = NodeConfig::default();
    let node = Node::new(&host, &role, &config).unwrap();
    let run = |refused: std::ops::Range<usize>| {
        host.commands.borrow_mut().clear();
        host.injected.borrow_mut().extend(refused.map(|at| (at, InjectedFault::Rejects)));
        assert_eq!(renew(&node, false).unwrap(), RenewalOutcome::NotDue);
        host.commands.borrow().iter().map(|command| command.contains("--raw /healthz")).collect::<Vec<_>>()
    };
    let first = run(0..0).iter().position(|asks| *asks).expect("it asks whether somebody is there");
    let asked = run(first..first + 5).into_iter().filter(|asks| *asks).count();
    assert_eq!(asked, 6, "until there was an answer");
}

/// A running node with a kube-proxy of its own, which has these credentials: base64 of PEM.
fn worker(kubernetes: &str, certificate: &str, key: &str) -> (FakeHost, RoleConfig) {
    let text =
        include_str!("../../../examples/role.toml").replacen("\"1.17.17\"", &format!("{kubernetes:?}"), 1);
    let role = RoleConfig::parse(&text.replacen("role = \"master\"", "role = \"node\"", 1)).unwrap();
    let host = FakeHost::of(&role, "10.0.3.2");
    host.state.borrow_mut().objects.insert("elsewhere".into());
    host.state.borrow_mut().enabled.extend(["crio.service".into(), "kubelet.service".into()]);
    host.reboot();
    host.make(NodeConfig::PATH, include_str!("../../../examples/node.toml"));
    host.make(kube_proxy::KUBECONFIG, &kubeconfig(certificate, key));
    (host, role)
}

fn kubeconfig(certificate: &str, key: &str) -> String {
    format!(
        "users:\n- name: x\n  user:\n    client-certificate-data: {certificate}\n    client-key-data: {key}\n"
    )
}

#[test]
fn what_a_node_is_given_by_hand_is_taken() {
    let (host, role) = worker("1.17.17", "Zm9v", "eA==");
    let now = || load_config(&host, &role).unwrap();
    let config = now();
    let node = Node::new(&host, &role, &config).unwrap();
    assert_eq!(renew(&node, false).unwrap(), RenewalOutcome::NotDue, "it is good for long");
    let second = kubeconfig("Zm9vYmFy", "eA==");
    let text = include_str!("../../../examples/node.toml");
    host.make(NodeConfig::PATH, &format!("{text}\n[kube-proxy]\nkubeconfig = '''\n{second}'''\n"));
    let config = now();
    let node = Node::new(&host, &role, &config).unwrap();
    assert_eq!(renew(&node, false).unwrap(), RenewalOutcome::Renewed);
    assert_eq!(files::need(&host, kube_proxy::KUBECONFIG).unwrap(), second);
    assert!(!files::need(&host, NodeConfig::PATH).unwrap().contains("client-key-data"));
}

#[test]
fn a_kube_proxy_that_may_not_ask_is_the_operators() {
    let (host, role) = worker("1.17.17", "Zm9v", "eA==");
    host.openssl.set(true);
    let config = load_config(&host, &role).unwrap();
    let node = Node::new(&host, &role, &config).unwrap();
    let message = renew(&node, true).unwrap_err();
    assert!(
        message.class() == Class::Missing && message.to_string().contains("hale token --kube-proxy"),
        "{message}"
    );
}
