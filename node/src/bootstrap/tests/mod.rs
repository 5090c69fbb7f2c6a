use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::*;
use crate::bootstrap::{self, journal};
use crate::config::node::NodeConfig;
use crate::config::role::RoleConfig;
use crate::host::{Host, files};
use crate::kubernetes::paths;
use crate::testing::fake::{FakeHost, InjectedFault, SlowJoin};

const JOIN: &str = r#"
[network]
address = "10.0.3.2"
pods = "10.0.3.61-10.0.3.100"
[join]
endpoint = "10.0.3.1:6443"
token = "abcdef.0123456789abcdef"
ca-pins = ["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]
issued = 2026-11-22T10:00:00Z
expires = 2026-11-23T10:00:00Z
"#;

fn role(kind: &str, version: &str) -> RoleConfig {
    let text = include_str!("../../../examples/role.toml");
    let text = text.replacen("role = \"master\"", &format!("role = {kind:?}"), 1);
    let text = if kind == "node" { text.replace("here = true", "here = false") } else { text };
    RoleConfig::parse(&text.replacen("\"1.17.17\"", &format!("{version:?}"), 1)).unwrap()
}

/// A machine that nothing was done to yet.
fn machine(role: &RoleConfig) -> FakeHost {
    if role.is_master() {
        return FakeHost::of(role, "10.0.3.1");
    }
    let fake = FakeHost::of(role, "10.0.3.2");
    fake.make(NodeConfig::PATH, JOIN);
    fake.state.borrow_mut().objects.insert("elsewhere".into());
    fake
}

/// One boot: reads what the node is told and goes as far as it can.
fn boot(fake: &FakeHost, role: &RoleConfig) -> Result<()> {
    bootstrap::attempt(fake, role, &mut |_| {})
}

type Paths = BTreeMap<String, String>;

/// What stays: paths, what the cluster knows but for ranges, and the units that a reboot starts.
fn tree(fake: &FakeHost) -> Paths {
    let mut tree = fake.tree();
    tree.retain(|path, _| !path.starts_with("run"));
    let state = fake.state.borrow();
    let known = state.objects.iter().filter(|object| !object.starts_with("range "));
    tree.extend(known.map(|object| (format!("cluster: {object}"), String::new())));
    tree.extend(state.enabled.iter().map(|unit| (format!("unit: {unit}"), String::new())));
    tree
}

/// A run without a cut: its tree, and how many changes it took.
static WHOLE: LazyLock<BTreeMap<&str, (Paths, usize)>> = LazyLock::new(|| {
    let whole = |kind: &'static str| {
        let role = role(kind, "1.20.2");
        let fake = machine(&role);
        boot(&fake, &role).unwrap();
        (kind, (tree(&fake), fake.changes.get()))
    };
    BTreeMap::from([whole("master"), whole("node")])
});

#[test]
fn both_roles_and_both_versions_come_up_and_stay() {
    for (kind, version) in
        [("master", "1.17.17"), ("master", "1.20.2"), ("node", "1.17.17"), ("node", "1.20.2")]
    {
        let role = role(kind, version);
        let fake = machine(&role);
        boot(&fake, &role).unwrap_or_else(|fault| panic!("{kind} {version}: {fault}"));
        let (before, changes) = (fake.tree(), fake.changes.get());
        fake.reboot();
        boot(&fake, &role).unwrap();
        assert_eq!(fake.changes.get(), changes, "a second run changes nothing");
        fake.make("/run/hale/x", "");
        assert!(
            fake.tree().keys().filter(|path| !path.starts_with("run")).all(|path| before.contains_key(path))
        );
        let commands = fake.commands.borrow().join("\n");
        assert!(!commands.contains("addon kube-proxy"));
        assert!(!commands.contains("0123456789abcdef"), "a secret is on a command line");
    }
}

/// The first line that a boot ends with, and that nothing of a cluster is left.
fn refusal(prepare: impl Fn(&FakeHost), kind: &str, version: &str) -> (String, FakeHost) {
    let role = role(kind, version);
    let fake = machine(&role);
    prepare(&fake);
    let fault = boot(&fake, &role).unwrap_err();
    (fault.to_string(), fake)
}

/// Whatever is not answered is asked again: no phase fails, and why one takes long can be seen.
#[test]
fn a_deaf_api_server_fails_no_phase() {
    for (kind, deaf) in [("master", 2), ("master", 5), ("node", 2), ("node", 5)] {
        let role = role(kind, "1.20.2");
        let fake = machine(&role);
        fake.deaf.set(deaf);
        boot(&fake, &role).unwrap();
        assert_eq!(&tree(&fake), &WHOLE[kind].0, "{kind}");
        let entries = Journal::read(&fake).unwrap();
        assert!(!entries.iter().any(|entry| matches!(entry.event, Event::Failed(_))), "{entries:?}");
        let is_why =
            |event: &Event| matches!(event, Event::Polling(why) if why.contains("no answer within 180s"));
        assert!(entries.iter().any(|entry| entry.phase == "wait" && is_why(&entry.event)), "{entries:?}");
    }
}

/// Attempts as the unit makes them, as often as makes sense.
fn boot_patiently(fake: &FakeHost, role: &RoleConfig) -> Result<()> {
    let attempts = std::cell::Cell::new(0);
    let before = || {
        attempts.set(attempts.get() + 1);
        if attempts.get() < 20 { Ok(()) } else { Err(Fault::machine("it does not converge")) }
    };
    bootstrap::until_done(fake, role, &before, &mut |_| {})
}

/// kubeadm gives up before the kubelet is done; what it refuses to find at the second time must not be there.
#[test]
fn a_join_on_a_slow_machine_converges() {
    let role = role("node", "1.20.2");
    let joins = |fake: &FakeHost| {
        fake.commands.borrow().iter().filter(|command| command.contains("kubeadm join")).count()
    };
    let slow = |slow: SlowJoin| {
        let fake = machine(&role);
        fake.slow_join.set(slow);
        fake
    };
    for (how, attempts) in [(SlowJoin::Note, 1), (SlowJoin::Credentials, 2)] {
        let fake = slow(how);
        boot_patiently(&fake, &role).unwrap();
        assert_eq!(joins(&fake), attempts);
        for at in 0..fake.changes.get() {
            let fake = slow(how);
            fake.fuel.set(at);
            assert!(boot_patiently(&fake, &role).is_err(), "no cut at {at}");
            fake.reboot();
            boot_patiently(&fake, &role).unwrap();
            let mut tree = tree(&fake);
            tree.remove(MARKER.trim_start_matches('/'));
            assert_eq!(&tree, &WHOLE["node"].0, "cut at change {at}");
        }
    }
}

#[test]
fn each_hostile_or_broken_thing_ends_in_one_clear_line() {
    let check_version = |version: &str, kind: &str, prepare: &dyn Fn(&FakeHost), expect: &str| {
        let (message, fake) = refusal(prepare, kind, version);
        assert!(message.contains(expect) && !message.contains('\n'), "{message}");
        for left in [paths::KUBELET, paths::CA, "/run/hale/join.json"] {
            assert!(!fake.path(left).exists(), "{message}: {left} is left");
        }
    };
    let check = |kind: &str, prepare: &dyn Fn(&FakeHost), expect: &str| {
        check_version("1.20.2", kind, prepare, expect)
    };
    let says = |code: i32, text: &str| {
        let text = text.to_owned();
        move |fake: &FakeHost| *fake.next_kubeadm.borrow_mut() = Some((Some(code), text.clone()))
    };
    let pin = "cluster CA found in cluster-info ConfigMap is invalid: none of the public keys \"sha256:00\" are pinned";
    check("node", &says(1, pin), "none of join.ca-pins; do not join it");
    // 1.17 has the same words in its log alone, if it is told to write one.
    let pin = format!(
        "I0108 01:52:49.440595    2700 token.go:191] [discovery] Failed to connect to API Server \"x\": {pin}\n\
         error execution phase preflight: couldn't validate the identity of the API Server: abort connecting to API servers after timeout of 5m0s\n"
    );
    check_version("1.17.17", "node", &says(1, &pin), "none of join.ca-pins; do not join it");
    check("node", &says(1, "could not find a JWS signature in the cluster-info ConfigMap"), "hale token");
    check("node", &says(1, "x509: certificate has expired or is not yet valid"), "clocks is wrong");
    check(
        "node",
        &says(
            1,
            "error execution phase kubelet-start: a Node with name \"seed\" and status \"Ready\" already exists in \
             the cluster. You must delete the existing Node or change the name of this new joining Node",
        ),
        "another name",
    );
    check("master", &says(1, "write: no space left on device"), "the disk is full; free some space");
    check(
        "node",
        &|fake| fake.clock.set(crate::testing::fake::NOW + 9 * 365 * 86_400),
        "the clock says 2035-11-20T12:00:00Z, and the bootstrap token ended at 2026-11-23T10:00:00Z; run `hale token`",
    );
    check("node", &|fake| fake.clock.set(0), "the clock says 1970-01-01T00:00:00Z, before ");
    let before_it_was_packaged = |fake: &FakeHost| {
        fake.make(RoleConfig::PATH, "");
        fake.clock.set(0);
    };
    let message =
        "the clock says 1970-01-01T00:00:00Z, before /usr/lib/hale/role.toml was made; set the clock";
    check("master", &before_it_was_packaged, message);
    check("node", &|fake| fake.make(NodeConfig::PATH, ""), "no [join]; put there what `hale token`");
    check("master", &|fake| fake.state.borrow_mut().addresses.clear(), "give lxcbr0 the address 10.0.3.1");
    check(
        "master",
        &|fake| std::fs::remove_dir(fake.path("/sys/class/net/lxcbr0/bridge")).unwrap(),
        "there is no bridge lxcbr0; make it",
    );
    check(
        "master",
        &|fake| std::fs::remove_dir(fake.path("/sys/fs/cgroup/memory")).unwrap(),
        "systemd.unified_cgroup_hierarchy=0",
    );
    check("master", &|fake| *fake.version.borrow_mut() = "v1.19.0".into(), "is v1.19.0, not v1.20.2");
    let nonsense = |fake: &FakeHost| fake.make(NodeConfig::PATH, "nonsense = 1");
    check("master", &nonsense, "node.toml:1: unknown field `nonsense`");
    let readable = |fake: &FakeHost| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(fake.path(NodeConfig::PATH), std::fs::Permissions::from_mode(0o644))
            .unwrap();
    };
    check("node", &readable, "has mode 0644 and owner 0; it holds secrets; chown root");
}

#[test]
fn two_at_once_are_one() {
    let role = role("master", "1.20.2");
    let fake = machine(&role);
    let _held = Journal::open(&fake).unwrap();
    assert!(boot(&fake, &role).unwrap_err().to_string().contains("another hale is at work"));
}

#[test]
fn one_that_waits_keeps_others_out() {
    let role = role("node", "1.20.2");
    let fake = machine(&role);
    let second = std::cell::RefCell::new(None);
    let before = || {
        let refused = bootstrap::until_done(&fake, &role, &|| Ok(()), &mut |_| {});
        *second.borrow_mut() = Some(refused.unwrap_err().to_string());
        Ok(())
    };
    bootstrap::until_done(&fake, &role, &before, &mut |_| {}).unwrap();
    assert!(second.into_inner().unwrap().contains("another hale is at work"));
}

#[test]
fn a_bad_seed_is_told_of_in_the_status() {
    let role = role("node", "1.20.2");
    let fake = machine(&role);
    let tries = std::cell::Cell::new(0);
    let before = || {
        tries.set(tries.get() + 1);
        if tries.get() < 3 { Err(Fault::input("the seed disk has no node.toml")) } else { Ok(()) }
    };
    bootstrap::until_done(&fake, &role, &before, &mut |_| {}).unwrap();
    let entries = Journal::read(&fake).unwrap();
    assert_eq!(entries[0].event, Event::Waiting("the seed disk has no node.toml".into()));
}

/// It leaves again, is no obstacle to others, and comes back with another range.
#[test]
fn a_range_that_another_node_has_is_refused_after_joining() {
    let role = role("node", "1.20.2");
    let joined = |at: usize| {
        let fake = machine(&role);
        fake.state.borrow_mut().objects.insert("range node-9 10.0.3.90-10.0.3.120".into());
        fake.fuel.set(at);
        (boot(&fake, &role).unwrap_err().to_string(), fake)
    };
    let ranges = |fake: &FakeHost| -> Vec<String> {
        fake.state.borrow().objects.iter().filter(|object| object.starts_with("range ")).cloned().collect()
    };
    let (message, fake) = joined(usize::MAX);
    let expect = "pod range 10.0.3.61-10.0.3.100 overlaps 10.0.3.90-10.0.3.120 of node node-9; \
        choose a free range in /etc/hale/node.toml; it goes on by itself";
    assert_eq!(message, expect);
    for left in [paths::KUBELET, paths::CA, "/var/lib/kubelet/config.yaml"] {
        assert!(!fake.path(left).exists(), "{left} is left");
    }
    assert_eq!(ranges(&fake), ["range node-9 10.0.3.90-10.0.3.120"]);
    assert!(!fake.state.borrow().active.contains("kubelet.service"));
    let changes = fake.changes.get();
    for at in 0..=changes {
        let (_, fake) = joined(at);
        fake.reboot();
        fake.make(NodeConfig::PATH, &JOIN.replace("10.0.3.61-10.0.3.100", "10.0.3.121-10.0.3.150"));
        boot_patiently(&fake, &role).unwrap();
        assert_eq!(ranges(&fake)[1..], ["range seed 10.0.3.121-10.0.3.150"], "cut at change {at}");
        let mut tree = tree(&fake);
        tree.remove(MARKER.trim_start_matches('/'));
        assert_eq!(&tree, &WHOLE["node"].0, "cut at change {at}");
    }
}

#[test]
fn the_unit_waits_for_its_input_and_ends_by_itself() {
    let role = role("node", "1.20.2");
    let fake = machine(&role);
    fake.make(NodeConfig::PATH, "nonsense = 1");
    let start = fake.now();
    // The operator mends the file after a while.
    let before = || {
        if fake.now() > start + 60 {
            fake.make(NodeConfig::PATH, JOIN);
        }
        Ok(())
    };
    let mut entries = Vec::new();
    bootstrap::until_done(&fake, &role, &before, &mut |entry| entries.push(entry.clone())).unwrap();
    assert!(matches!(&entries[0].event, Event::Waiting(why) if why.contains("unknown field")), "{entries:?}");
    assert!(fake.path(MARKER).is_file());
    assert!(fake.commands.borrow().last().unwrap().ends_with("disable hale-bootstrap.service"));
}

/// Between attempts that do not get further, twice as long each time; what the operator mends is looked for often.
#[test]
fn attempts_are_made_more_and_more_seldom() {
    let check = |fault: fn(&'static str) -> Fault, pauses: &[i64]| {
        let role = role("node", "1.20.2");
        let fake = machine(&role);
        let times = std::cell::RefCell::new(Vec::new());
        let before = || {
            times.borrow_mut().push(fake.now());
            if times.borrow().len() <= pauses.len() { Err(fault("no")) } else { Ok(()) }
        };
        bootstrap::until_done(&fake, &role, &before, &mut |_| {}).unwrap();
        let found: Vec<i64> = times.borrow().windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(found, pauses);
    };
    check(Fault::transient, &[10, 20, 40, 80, 160, 300, 300]);
    check(Fault::input, &[5, 5, 5]);
}

#[test]
fn waiting_is_journaled_once() {
    let role = role("node", "1.20.2");
    let fake = machine(&role);
    fake.make(NodeConfig::PATH, "");
    (0..3).for_each(|_| assert!(boot(&fake, &role).is_err()));
    let entries = Journal::read(&fake).unwrap();
    assert_eq!(entries.iter().filter(|entry| matches!(entry.event, Event::Waiting(_))).count(), 1);
    fake.make(NodeConfig::PATH, JOIN);
    boot(&fake, &role).unwrap();
}

mod convergence;
mod node_config;
mod promises;
