use super::*;
use crate::bootstrap::attempt;
use crate::config::node::Identity;
use crate::config::role::Role;
use crate::fault::Class;
use crate::host::World;
use crate::kubernetes::context::load_identity;
use crate::testing::fake::{Fake, Spoilt};

mod flow;
mod nodes;
mod requests;

#[test]
fn renewed_files_get_their_owners_again() {
    let role = Role::parse(include_str!("../../../examples/role.toml")).unwrap();
    let world = Fake::of(&role, "10.0.3.1");
    attempt(&world, &role, &mut |_| {}).unwrap();
    let identity = Identity::default();
    let node = Node::new(&world, &role, &identity).unwrap();
    let credentials = files::need(&world, kube_proxy::KUBECONFIG).unwrap();
    world.certificates_end.set(true);
    assert_eq!(renew(&node, false).unwrap(), Outcome::Renewed);
    assert!(ownership::differences(&node).unwrap().is_empty());
    let calls = world.calls.borrow().join("\n");
    assert!(calls.contains("kubeadm alpha certs renew all"), "{calls}");
    assert!(calls.contains("get certificatesigningrequests.v1beta1.certificates.k8s.io"), "{calls}");
    assert!(
        calls.contains("crictl --runtime-endpoint unix:///var/run/crio/crio.sock stop etcd-id"),
        "{calls}"
    );
    assert_eq!(files::need(&world, kube_proxy::KUBECONFIG).unwrap(), credentials);
    world.certificates_end.set(false);
    assert_eq!(renew(&node, false).unwrap(), Outcome::Nothing);
    // Where somebody is invited still, a boot has ended what waits for him.
    let starts =
        |world: &Fake| world.calls.borrow().iter().any(|call| call.ends_with("hale-approve.service"));
    assert!(!starts(&world));
    world.state.borrow_mut().invitations.insert("abcdef".into(), "hale: invites a new node".into());
    renew(&node, false).unwrap();
    assert!(starts(&world));
}

/// The power is cut, or a program fails, at any moment: later runs end with what one run would have left, and with
/// everything that held an old certificate begun anew behind the last of them.
#[test]
fn a_masters_renewal_that_is_cut_anywhere_is_done_again() {
    let role = Role::parse(include_str!("../../../examples/role.toml")).unwrap();
    let identity = Identity::default();
    let run = |spoil: &dyn Fn(&Fake)| {
        let world = Fake::of(&role, "10.0.3.1");
        attempt(&world, &role, &mut |_| {}).unwrap();
        world.certificates_end.set(true);
        let (changes, calls) = (world.changes.get(), world.calls.borrow().len());
        spoil(&world);
        let first = renew(&Node::new(&world, &role, &identity).unwrap(), false);
        let (changes, calls) = (world.changes.get() - changes, world.calls.borrow().len() - calls);
        (first.is_ok(), changes, calls, world)
    };
    let again = |world: Fake, what: &str| {
        world.certificates_end.set(!world.path(UNDER_WAY).exists());
        world.calls.borrow_mut().clear();
        let node = Node::new(&world, &role, &identity).unwrap();
        assert_eq!(renew(&node, false).unwrap(), Outcome::Renewed, "{what}");
        assert!(ownership::differences(&node).unwrap().is_empty(), "{what}");
        let calls = world.calls.borrow().join("\n");
        let last = calls.rfind("certs renew all").unwrap_or_else(|| panic!("{what}: {calls}"));
        for name in HOLDERS {
            assert!(
                calls[last..].contains(&format!("stop {}", name.replace("etcd", "etcd-id"))),
                "{what}: {calls}"
            );
        }
        assert!(!world.path(UNDER_WAY).exists(), "{what}");
    };
    let (done, changes, calls, _) = run(&|_| {});
    assert!(done && changes > 10 && calls > 10, "{changes}, {calls}");
    for at in 0..changes {
        let (done, .., world) = run(&|world| world.fuel.set(at));
        assert!(!done, "no cut at {at}");
        world.reboot();
        again(world, &format!("cut at change {at}"));
    }
    for at in 0..calls {
        let spoil = |world: &Fake| {
            world.spoilt.borrow_mut().insert(world.calls.borrow().len() + at, Spoilt::Refused);
        };
        let (done, .., world) = run(&spoil);
        // Questions are answered, and asked again.
        if !done {
            again(world, &format!("call {at} failed"));
        }
    }
}

/// After a boot the timer is there before the API server is.
#[test]
fn a_run_waits_for_an_api_server_that_is_not_up_yet() {
    let role = Role::parse(include_str!("../../../examples/role.toml")).unwrap();
    let world = Fake::of(&role, "10.0.3.1");
    attempt(&world, &role, &mut |_| {}).unwrap();
    world.reboot();
    let identity = Identity::default();
    let node = Node::new(&world, &role, &identity).unwrap();
    let run = |refused: std::ops::Range<usize>| {
        world.calls.borrow_mut().clear();
        world.spoilt.borrow_mut().extend(refused.map(|call| (call, Spoilt::Refused)));
        assert_eq!(renew(&node, false).unwrap(), Outcome::Nothing);
        world.calls.borrow().iter().map(|call| call.contains("--raw /healthz")).collect::<Vec<_>>()
    };
    let first = run(0..0).iter().position(|asks| *asks).expect("it asks whether somebody is there");
    let asked = run(first..first + 5).into_iter().filter(|asks| *asks).count();
    assert_eq!(asked, 6, "until there was an answer");
}

/// A running node with a kube-proxy of its own, which has these credentials: base64 of PEM.
fn worker(kubernetes: &str, certificate: &str, key: &str) -> (Fake, Role) {
    let text =
        include_str!("../../../examples/role.toml").replacen("\"1.17.17\"", &format!("{kubernetes:?}"), 1);
    let role = Role::parse(&text.replacen("role = \"master\"", "role = \"node\"", 1)).unwrap();
    let world = Fake::of(&role, "10.0.3.2");
    world.state.borrow_mut().objects.insert("elsewhere".into());
    world.state.borrow_mut().enabled.extend(["crio.service".into(), "kubelet.service".into()]);
    world.reboot();
    world.make(Identity::PATH, include_str!("../../../examples/node.toml"));
    world.make(kube_proxy::KUBECONFIG, &kubeconfig(certificate, key));
    (world, role)
}

fn kubeconfig(certificate: &str, key: &str) -> String {
    format!(
        "users:\n- name: x\n  user:\n    client-certificate-data: {certificate}\n    client-key-data: {key}\n"
    )
}

#[test]
fn what_a_node_is_given_by_hand_is_taken() {
    let (world, role) = worker("1.17.17", "Zm9v", "eA==");
    let now = || load_identity(&world, &role).unwrap();
    let identity = now();
    let node = Node::new(&world, &role, &identity).unwrap();
    assert_eq!(renew(&node, false).unwrap(), Outcome::Nothing, "it is good for long");
    let second = kubeconfig("Zm9vYmFy", "eA==");
    let text = include_str!("../../../examples/node.toml");
    world.make(Identity::PATH, &format!("{text}\n[kube-proxy]\nkubeconfig = '''\n{second}'''\n"));
    let identity = now();
    let node = Node::new(&world, &role, &identity).unwrap();
    assert_eq!(renew(&node, false).unwrap(), Outcome::Renewed);
    assert_eq!(files::need(&world, kube_proxy::KUBECONFIG).unwrap(), second);
    assert!(!files::need(&world, Identity::PATH).unwrap().contains("client-key-data"));
}

#[test]
fn a_kube_proxy_that_may_not_ask_is_the_operators() {
    let (world, role) = worker("1.17.17", "Zm9v", "eA==");
    world.openssl.set(true);
    let identity = load_identity(&world, &role).unwrap();
    let node = Node::new(&world, &role, &identity).unwrap();
    let told = renew(&node, true).unwrap_err();
    assert!(told.class() == Class::Missing && told.to_string().contains("hale token --kube-proxy"), "{told}");
}
