//! What a bootstrap leaves is what was promised: looked at, made again when it is gone, and on disk when it is said to
//! be.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process;

use super::*;

/// In whatever form TOML they are given. The old file's bytes are zeroed too.
#[test]
fn secrets_are_wiped_once_they_were_used() {
    for text in [JOIN.to_owned(), JOIN.replace("token =", "\"token\" =")] {
        let role = role("node", "1.20.2");
        let fake = machine(&role);
        fake.make(NodeConfig::PATH, &text);
        let old = fake.path("/old");
        std::fs::hard_link(fake.path(NodeConfig::PATH), &old).unwrap();
        boot(&fake, &role).unwrap();
        assert_eq!(fake.holders("0123456789abcdef"), [""; 0]);
        assert!(files::need(&fake, NodeConfig::PATH).unwrap().contains("10.0.3.1:6443"));
        assert_eq!(std::fs::read(&old).unwrap(), vec![0; text.len()]);
        assert_ne!(old.metadata().unwrap().ino(), fake.path(NodeConfig::PATH).metadata().unwrap().ino());
    }
}

/// Kind, mode and owner; a path that is named nowhere else is a secret of nobody's.
#[test]
fn what_is_made_has_its_owner_and_mode() {
    let check = |kind: &str, path: &str, expect: &str| {
        assert_eq!(WHOLE[kind].0.get(path).map(String::as_str), Some(expect), "{path}");
    };
    for (path, expect) in [
        ("etc/kubernetes/admin.conf", "f 0600 0:0"),
        ("etc/kubernetes/kubelet.conf", "f 0600 0:0"),
        ("etc/kubernetes/manifests", "d 0700 0:0"),
        ("etc/kubernetes/manifests/etcd.yaml", "f 0600 0:0"),
        ("etc/kubernetes/pki/apiserver.key", "f 0600 20000000:20000000"),
        ("etc/kubernetes/pki/ca.key", "f 0600 20000000:20000000"),
        ("etc/kubernetes/pki/etcd/ca.key", "f 0600 0:0"),
        ("etc/kubernetes/apiserver", "d 0755 0:0"),
        ("etc/kubernetes/apiserver/audit.json", "f 0600 20000000:20000000"),
        ("etc/kubernetes/apiserver/encryption.json", "f 0600 20000000:20000000"),
        ("var/log/kubernetes", "d 0700 20000000:20000000"),
        ("etc/kubernetes/pki/etcd/server.key", "f 0600 20000001:20000001"),
        ("etc/kubernetes/scheduler.conf", "f 0600 20000000:20000000"),
        ("var/lib/etcd", "d 0700 20000001:20000001"),
        ("var/lib/hale/first-token", "f 0600 0:0"),
        ("var/lib/hale/journal", "f 0600 0:0"),
        ("var/lib/kube-proxy", "d 0750 0:0"),
        ("var/lib/kube-proxy/config.conf", "f 0600 0:0"),
        ("var/lib/kube-proxy/kubeconfig.conf", "f 0600 0:0"),
        ("var/lib/kubelet", "d 0750 0:10000000"),
        ("var/lib/kubelet/pods", "d 2750 0:10000000"),
        ("cluster: the kubelet's own certificate", ""),
        ("cluster: the master's taint", ""),
        ("unit: kube-proxy.service", ""),
        ("unit: kubelet.service", ""),
    ] {
        check("master", path, expect);
    }
    check("node", "etc/hale/node.toml", "f 0600 0:0");
    check("node", "etc/kubernetes/kubelet.conf", "f 0600 0:0");
    check("node", "unit: kubelet.service", "");
    assert!(!WHOLE["node"].0.contains_key("unit: kube-proxy.service"));
}

/// The token is in what kubeadm is told, so that is gone however kubeadm ends.
#[test]
fn a_phase_that_fails_leaves_no_file_with_its_token() {
    for kind in ["master", "node"] {
        let role = role(kind, "1.20.2");
        let whole = machine(&role);
        boot(&whole, &role).unwrap();
        let calls = whole.commands.borrow();
        let uses_config = |call: &String| call.contains("kubeadm") && call.contains("--config /run/hale/");
        let phases: Vec<usize> = (0..calls.len()).filter(|at| uses_config(&calls[*at])).collect();
        assert!(!phases.is_empty(), "{calls:?}");
        for at in phases {
            let fake = machine(&role);
            fake.injected.borrow_mut().insert(at, InjectedFault::Rejects);
            assert!(boot(&fake, &role).is_err(), "{}", calls[at]);
            let left: Vec<_> = fake.tree().into_keys().filter(|path| path.starts_with("run/hale/")).collect();
            assert_eq!(left, [""; 0], "{}", calls[at]);
        }
    }
}

/// A kubeadm that says of a phase that all went well, and did nothing.
#[test]
fn no_phase_takes_a_programs_word_for_it() {
    let role = role("master", "1.20.2");
    let whole = machine(&role);
    boot(&whole, &role).unwrap();
    let calls = whole.commands.borrow();
    let acts = calls.iter().enumerate().filter(|(_, call)| call.contains("kubeadm init phase"));
    // What these change is not looked at afterwards: whoever wants pods on the master takes the taint away.
    let acts = acts.filter(|(_, call)| {
        !["mark-control-plane", "kubelet-finalize"].iter().any(|name| call.contains(name))
    });
    let mut met = 0;
    for (at, call) in acts {
        let fake = machine(&role);
        fake.injected.borrow_mut().insert(at, InjectedFault::DoesNothing);
        assert!(boot(&fake, &role).is_err(), "{call}");
        boot(&fake, &role).unwrap_or_else(|fault| panic!("{call}: {fault}"));
        assert_eq!(&tree(&fake), &WHOLE["master"].0, "{call}");
        met += 1;
    }
    assert_eq!(met, 8, "{calls:?}");
}

/// The journal calls it done, and it is not there any more.
#[test]
fn what_is_gone_is_made_again() {
    let check = |kind: &str, spoil: &dyn Fn(&FakeHost)| {
        let role = role(kind, "1.20.2");
        let fake = machine(&role);
        boot(&fake, &role).unwrap();
        spoil(&fake);
        assert_ne!(&tree(&fake), &WHOLE[kind].0, "nothing is gone");
        fake.reboot();
        boot(&fake, &role).unwrap();
        assert_eq!(&tree(&fake), &WHOLE[kind].0);
    };
    let remove = |path: &'static str| move |fake: &FakeHost| std::fs::remove_file(fake.path(path)).unwrap();
    check("master", &remove("/etc/kubernetes/scheduler.conf"));
    check("master", &remove("/etc/kubernetes/manifests/etcd.yaml"));
    check("master", &remove("/etc/kubernetes/apiserver/audit.json"));
    check("master", &remove("/etc/kubernetes/apiserver/encryption.json"));
    check("master", &remove("/var/lib/kubelet/config.yaml"));
    check("master", &remove("/var/lib/kubelet/pki/kubelet-server-current.pem"));
    check("master", &remove(crate::kubernetes::kube_proxy::KUBECONFIG));
    check("master", &remove(crate::kubernetes::kube_proxy::CONFIG));
    check("node", &remove(crate::bootstrap::phases::crio::CNI));
    check("master", &|fake| fake.chown(&fake.path("/etc/kubernetes/admin.conf"), 7, 7).unwrap());
    let forget = |what: &'static str| {
        move |fake: &FakeHost| {
            let mut state = fake.state.borrow_mut();
            assert!(state.enabled.remove(what) || state.objects.remove(what), "{what}");
        }
    };
    let known = [
        "kubeadm-config",
        "cluster-info",
        "coredns",
        "hale:kube-proxy-renewal",
        "hale-restricted",
        "hale-control-plane",
        "hale-host-paths",
        "hale-host-network",
        "hale:restricted",
        "hale:control-plane",
    ];
    for what in known.into_iter().chain(["kubelet.service", "kube-proxy.service"]) {
        check("master", &forget(what));
    }
    check("node", &forget("kubelet.service"));
}

/// A manifest that somebody made impatient is made patient again.
#[test]
fn a_stock_manifest_is_made_patient_again() {
    let role = role("master", "1.20.2");
    let fake = machine(&role);
    boot(&fake, &role).unwrap();
    let path = "/etc/kubernetes/manifests/etcd.yaml";
    let patient = files::need(&fake, path).unwrap();
    fake.make(path, include_str!("../../../testdata/kubeadm-1.20.2/etcd.yaml"));
    fake.reboot();
    boot(&fake, &role).unwrap();
    assert_eq!(files::need(&fake, path).unwrap(), patient);
}

/// Another CA would make strangers of all nodes.
#[test]
fn a_damaged_ca_of_a_running_master_is_not_replaced() {
    let role = role("master", "1.20.2");
    let fake = machine(&role);
    boot(&fake, &role).unwrap();
    fake.make("/etc/kubernetes/pki/ca.key", "");
    let before = tree(&fake);
    fake.reboot();
    let message = boot(&fake, &role).unwrap_err().to_string();
    assert!(message.contains("restore it from a backup, or `hale reset`"), "{message}");
    assert_eq!(tree(&fake), before);
}

/// By strace(1), of whole bootstraps: what is journaled is on disk before anything else is written, and what is renamed
/// into its place was there before; the directory follows.
#[test]
fn what_is_said_to_be_on_disk_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let mut strace = process::Command::new("/usr/bin/strace");
    strace.args(["-f", "-qq", "-y", "-s0", "-e", "trace=write,fsync,fdatasync,rename", "-o"]).arg(&trace);
    strace.arg(std::env::current_exe().unwrap());
    strace.args(["--exact", "bootstrap::tests::both_roles_and_both_versions_come_up_and_stay"]);
    let output = strace.output().expect("strace: Debian's package strace");
    assert!(output.status.success(), "{output:?}");
    let text = std::fs::read_to_string(trace).unwrap();
    let (mut unsynced, mut behind) = (BTreeSet::new(), None);
    let (mut entries, mut renames) = (0, 0);
    for (call, paths) in text.lines().filter_map(system_call) {
        let path = paths[0];
        if let Some(directory) = behind.take() {
            assert_eq!((call, path), ("fsync", directory), "a rename is not kept");
        }
        let journal = unsynced.iter().find(|path: &&&Path| path.ends_with("var/lib/hale/journal")).copied();
        assert!(
            journal.is_none_or(|journal| call != "write" && journal == path),
            "{call} {path:?} before {journal:?}"
        );
        match call {
            "write" => drop(unsynced.insert(path)),
            "rename" => {
                let early: Vec<_> = unsynced.iter().filter(|other| other.starts_with(path)).collect();
                assert!(early.is_empty(), "{path:?} is renamed, and not on disk: {early:?}");
                behind = paths[1].parent();
                renames += 1;
            }
            _ => {
                unsynced.remove(path);
                entries += usize::from(call == "fdatasync");
            }
        }
    }
    assert!(entries >= 60 && renames >= 40, "{entries}, {renames}");
}

/// The name of a system call, and the paths of a fake root that it has to do with.
fn system_call(line: &str) -> Option<(&str, Vec<&Path>)> {
    let (head, rest) = line.split_once('(')?;
    let paths = rest.split(['<', '>', '"']).filter(|part| part.starts_with('/') && part.contains("/.tmp"));
    let paths: Vec<&Path> = paths.map(Path::new).collect();
    (!paths.is_empty()).then_some((head.rsplit(' ').next()?, paths))
}

/// The key that secrets were written with: made once, told to nobody, and never made anew over what it has written.
#[test]
fn the_key_of_the_secrets_is_made_once() {
    let role = role("master", "1.20.2");
    let path = "/etc/kubernetes/apiserver/encryption.json";
    let made = || {
        let fake = machine(&role);
        boot(&fake, &role).unwrap();
        let text = files::need(&fake, path).unwrap();
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        let secret = &object["resources"][0]["providers"][0]["secretbox"]["keys"][0]["secret"];
        let key = secret.as_str().unwrap().to_owned();
        assert_eq!(crate::text::base64::decode(&key).unwrap().len(), 32);
        (fake, text, key)
    };
    let (fake, text, key) = made();
    assert_ne!(key, made().2, "of all machines one");
    assert_eq!(fake.holders(&key), [path.trim_start_matches('/')]);
    assert!(!fake.commands.borrow().join("\n").contains(&key));
    // The manifests are made anew, and it stays.
    fake.make("/var/lib/etcd/member/", "");
    std::fs::remove_file(fake.path("/etc/kubernetes/manifests/etcd.yaml")).unwrap();
    boot(&fake, &role).unwrap();
    assert_eq!(files::need(&fake, path).unwrap(), text);
    for damage in
        [&|fake: &FakeHost| std::fs::remove_file(fake.path(path)).unwrap() as _, &|fake: &FakeHost| {
            fake.make(path, "")
        }] as [&dyn Fn(&FakeHost); 2]
    {
        damage(&fake);
        let message = boot(&fake, &role).unwrap_err();
        assert!(
            message.class() == Class::Integrity && message.to_string().contains("restore it from a backup"),
            "{message}"
        );
    }
}
