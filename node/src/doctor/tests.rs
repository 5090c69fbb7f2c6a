use std::collections::BTreeSet;

use super::*;
use crate::config::node::NodeConfig;
use crate::config::role::RoleConfig;
use crate::host::Host;
use crate::kubernetes::context::load_config;
use crate::network::filter;
use crate::testing::fake::FakeHost;

const STATUS: &str = "Name:\tcoredns\nUid:\t10000000\t10000000\t10000000\t10000000\n\
    Gid:\t10000000\t10000000\t10000000\t10000000\nCapInh:\t0000000000000000\n\
    CapPrm:\t0000000000000400\nCapEff:\t0000000000000400\nCapBnd:\t0000000000000400\n\
    CapAmb:\t0000000000000000\nSeccomp:\t2\n";

/// A container process as the kernel shows it, with one thing changed.
fn process(host: &FakeHost, pid: u32, from: &str, to: &str) {
    let file = |name: &str, text: &str| host.make(&format!("/proc/{pid}/{name}"), &text.replace(from, to));
    file("cgroup", "4:memory:/kubepods.slice/crio-0123abcd.scope\n");
    file("status", STATUS);
    for name in ["uid_map", "gid_map"] {
        file(name, "         0   10000000      65536\n");
    }
    file("attr/current", "crio-default-1.17.4 (enforce)\n");
    file("comm", "coredns\n");
}

/// A static pod's process: its ids, and the id that its map ends with.
fn own(host: &FakeHost, pid: u32, uids: &str, gid: u32, last: u32) {
    process(host, pid, "", "");
    let uid = "0123456789abcdef0123456789abcdef";
    host.make(
        &format!("/proc/{pid}/cgroup"),
        &format!("0::/kubepods-burstable-pod{uid}.slice/crio-0123.scope\n"),
    );
    let status = STATUS.replace("Uid:\t10000000\t10000000\t10000000\t10000000", &format!("Uid:\t{uids}"));
    let gids = format!("Gid:\t{gid}\t{gid}\t{gid}\t{gid}");
    let status = status.replace("Gid:\t10000000\t10000000\t10000000\t10000000", &gids);
    host.make(&format!("/proc/{pid}/status"), &status);
    for name in ["uid_map", "gid_map"] {
        let map = format!("         0   10000000      65535\n     65535   {last}          1\n");
        host.make(&format!("/proc/{pid}/{name}"), &map);
    }
}

#[test]
fn a_static_pods_processes_run_as_the_id_that_its_map_ends_with() {
    let check = |uids: &str, gid: u32, last: u32, evidence: &str| {
        let found = broken(&|host| own(host, 200, uids, gid, last));
        let why: String = found.into_iter().map(|(_, why)| why).collect();
        assert_eq!(why, evidence, "{uids} {gid} {last}");
    };
    let (plane, etcd) = ("20000000\t20000000\t20000000\t20000000", "20000001\t20000001\t20000001\t20000001");
    check(plane, 20_000_000, 20_000_000, "");
    check(etcd, 20_000_001, 20_000_001, "");
    check(plane, 10_000_000, 20_000_000, "200 (coredns) runs as 10000000");
    check(etcd, 20_000_001, 20_000_000, "200 (coredns) runs as 20000001");
    check("20000000\t20000000\t10000000\t20000000", 20_000_000, 20_000_000, "200 (coredns) runs as 10000000");
    let foreign = "200 (coredns) has the map 0 10000000 65535 65535 20000002 1, not 0 10000000 65536";
    check(plane, 20_000_000, 20_000_002, foreign);
    check(plane, 20_000_000, 0, "200 (coredns) has the map 0 10000000 65535 65535 0 1, not 0 10000000 65536");
    let impostor = |host: &FakeHost| {
        own(host, 200, plane, 20_000_000, 20_000_000);
        let uid = "01234567_89ab_cdef_0123_456789abcdef";
        let group = format!("0::/kubepods-burstable-pod{uid}.slice/crio-0123.scope\n");
        host.make("/proc/200/cgroup", &group);
    };
    let found = broken(&impostor);
    assert!(found.iter().any(|(_, why)| why.contains("not 0 10000000 65536")), "{found:?}");
    let groups = |host: &FakeHost| {
        own(host, 200, plane, 20_000_000, 20_000_000);
        host.make("/proc/200/gid_map", "0 0 4294967295\n");
    };
    let found = broken(&groups);
    assert!(found.iter().any(|(_, why)| why.contains("has the map 0 0 4294967295 for groups")), "{found:?}");
}

#[test]
fn a_machine_without_containers_proves_nothing() {
    let role = RoleConfig::parse(include_str!("../../examples/role.toml")).unwrap();
    let (host, config) = (FakeHost::of(&role, "10.0.3.1"), NodeConfig::default());
    host.make("/proc/1/cgroup", "0::/init.scope\n");
    let node = Node::new(&host, &role, &config).unwrap();
    let findings = examine(&node);
    for finding in findings.iter().filter(|finding| finding.promise.contains("container process")) {
        assert_eq!(finding.verdict, Verdict::NothingToJudge, "{finding:?}");
    }
    let message = "-    every container process runs under seccomp\n       nothing to judge yet: ";
    assert!(table(&findings).contains(message));
    assert!(serde_json::to_string(&findings).unwrap().contains(r#""verdict":"nothing-to-judge""#));
}

/// In seconds.
const YEAR: i64 = 365 * 86_400;

/// A kubeconfig whose certificate ends in so many seconds.
fn conf(seconds: i64) -> String {
    let pem = certificates::ending(crate::testing::fake::NOW + seconds);
    format!("users:\n    client-certificate-data: {}\n", crate::text::base64::encode(pem.as_bytes()))
}

/// A container's bundle, as the shim leaves it.
fn bundle(host: &FakeHost, id: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = format!("/run/containers/storage/overlay-containers/{id}/userdata");
    host.make(&format!("{path}/config.json"), "{}");
    host.make(&format!("{path}/hostname"), "x");
    host.chown(&host.path(&format!("{path}/hostname")), 10_000_000, 10_000_000).unwrap();
    std::fs::set_permissions(host.path(&path), std::fs::Permissions::from_mode(0o700)).unwrap();
    path
}

/// The promises that do not hold on a master that was set up, once something was done to it, each with its evidence.
fn broken(spoil: &dyn Fn(&FakeHost)) -> BTreeSet<(String, String)> {
    let role = RoleConfig::parse(include_str!("../../examples/role.toml")).unwrap();
    let host = FakeHost::of(&role, "10.0.3.1");
    host.make(NodeConfig::PATH, "[network]\nbridge = \"make\"\n\n[uplink]\ninterface = \"enp0s4\"\n");
    host.make("/sys/class/net/enp0s4/carrier", "1\n");
    host.state.borrow_mut().outside.push("10.0.2.15/24".into());
    host.state.borrow_mut().route = "default via 10.0.2.2\n".into();
    host.make("/etc/apt/preferences.d/hale", "");
    process(&host, 100, "", "");
    process(&host, 200, "", "");
    host.make("/proc/300/cgroup", "4:memory:/system.slice/crio-conmon-0123.scope\n");
    host.make("/proc/400/cgroup", "0::/init.scope\n");
    host.make("/proc/net/tcp", "");
    host.resolved.set(Some([10, 96, 0, 1].into()));
    for package in &role.packages {
        host.installed.borrow_mut().insert(package.name.clone(), package.version.clone());
        host.held.borrow_mut().insert(package.name.clone());
    }
    host.make(machine::SYSCTLS, "# Why.\nkernel.panic = 10\n\nnet.ipv4.ip_forward = 1\n");
    host.make("/proc/sys/kernel/panic", "10\n");
    host.make("/proc/sys/net/ipv4/ip_forward", "1\n");
    host.make(machine::SYNCHRONIZED, "");
    host.make("/etc/crio/crio.conf.d/10-hale.conf", "");
    bundle(&host, "a");
    bootstrap::until_done(&host, &role, &|| Ok(()), &mut |_| {}).unwrap();
    host.make(crate::kubernetes::kube_proxy::KUBECONFIG, &conf(YEAR));
    spoil(&host);
    let config = load_config(&host, &role).unwrap();
    let node = Node::new(&host, &role, &config).unwrap();
    let broken = examine(&node).into_iter().filter(|finding| finding.verdict != Verdict::Yes);
    broken.map(|finding| (finding.promise, finding.evidence.join("; "))).collect()
}

#[test]
fn each_broken_promise_is_seen_alone() {
    assert_eq!(broken(&|_| {}), BTreeSet::new());
    let check = |spoil: &dyn Fn(&FakeHost), promise: &str, evidence: &str| {
        let found: Vec<_> = broken(spoil).into_iter().collect();
        let [(of, why)] = &found[..] else { panic!("{promise}: {found:?}") };
        assert!(of.contains(promise) && why.contains(evidence) && !why.contains("100 ("), "{of}: {why}");
    };
    let process = |from: &'static str, to: &'static str| move |host: &FakeHost| process(host, 200, from, to);
    let ids = "10000000\t10000000\t10000000\t10000000";
    check(&process(ids, "0\t0\t0\t0"), "mapped", "200 (coredns) runs as 0");
    let map = process("10000000      65536", "0  4294967295");
    check(&map, "mapped", "200 (coredns) has the map 0 0 4294967295");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let spoil = |host: &FakeHost| {
            let line = STATUS.lines().find(|line| line.starts_with(set)).unwrap();
            self::process(host, 200, line, &format!("{set}:\t0000003fffffffff"));
        };
        check(&spoil, "capabilities", &format!("200 (coredns) has {set} 0000003fffffffff"));
    }
    check(&process("(enforce)", "(complain)"), "AppArmor", "crio-default-1.17.4 (complain)");
    check(&process("Seccomp:\t2", "Seccomp:\t0"), "seccomp", "200 (coredns) has seccomp mode 0");
    let remove = |path: &'static str| move |host: &FakeHost| std::fs::remove_file(host.path(path)).unwrap();
    check(&remove(bootstrap::MARKER), "bootstrap", "see `hale status`");
    let owner = |host: &FakeHost| host.chown(&host.path("/etc/kubernetes/admin.conf"), 7, 7).unwrap();
    check(&owner, "has its owner", "/etc/kubernetes/admin.conf is 7:7 0600, not 0:0 0600");
    let verified = |host: &FakeHost| *host.verified.borrow_mut() = "??5??????   /usr/bin/crun\n".into();
    check(&verified, "as packaged", "/usr/bin/crun");
    check(&|host| host.held.borrow_mut().clear(), "pinned", "crun is not held: `hale hold`");
    let moved = |host: &FakeHost| drop(host.installed.borrow_mut().insert("crun".into(), "99".into()));
    check(&moved, "pinned", "crun is 99, not 1.8.1-1+deb12u1");
    check(&|host| host.installed.borrow_mut().clear(), "pinned", "crun is not installed");
    check(&remove("/etc/apt/preferences.d/hale"), "pinned", "preferences.d/hale is missing");
    let stop = |unit: &'static str| {
        move |host: &FakeHost| host.state.borrow_mut().active.retain(|other| other != unit)
    };
    check(&stop("kube-proxy.service"), "ready", "kube-proxy.service does not run");
    check(&stop("kubelet.service"), "ready", "the API server does not answer");
    let socket = "0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 4711 1\n";
    check(&|host| host.make("/proc/net/tcp", socket), "listens", "on 0.0.0.0:22");
    let elsewhere = |host: &FakeHost| host.resolved.set(Some([10, 96, 0, 9].into()));
    check(&elsewhere, "DNS", "kubernetes.default.svc.cluster.local is Some(10.96.0.9), not 10.96.0.1");
    check(&|host| host.resolved.set(None), "DNS", "10.96.0.10 does not answer");
}

#[test]
fn a_door_that_is_open_and_a_way_out_that_is_not_are_seen_alone() {
    let text = |host: &FakeHost| std::fs::read_to_string(host.path(filter::PATH)).unwrap();
    let opened =
        |host: &FakeHost| host.make(filter::PATH, &text(host).replace("policy drop", "policy accept"));
    check(
        &opened,
        "packet filter",
        "is not the role's with node.toml's: `hale network`; another filter is in effect",
    );
    let stopped = |host: &FakeHost| host.state.borrow_mut().active.retain(|unit| unit != filter::UNIT);
    check(&stopped, "packet filter", "hale-filter.service is not enabled, or does not run");
    let unplugged = |host: &FakeHost| host.make("/sys/class/net/enp0s4/carrier", "0\n");
    check(&unplugged, "way out", "enp0s4 has no carrier");
    check(&|host| host.state.borrow_mut().outside.clear(), "way out", "no DHCP server answers on enp0s4");
}

/// Exactly one promise does not hold then, with this evidence.
#[track_caller]
fn check(spoil: &dyn Fn(&FakeHost), promise: &str, evidence: &str) {
    let found: Vec<_> = broken(spoil).into_iter().collect();
    let [(of, why)] = &found[..] else { panic!("{promise}: {found:?}") };
    assert!(of.contains(promise) && why.contains(evidence), "{of}: {why}");
}

#[test]
fn what_is_not_as_shipped_is_seen_alone() {
    let other = |path: &'static str, from: &'static str, to: &'static str| {
        move |host: &FakeHost| {
            let text = std::fs::read_to_string(host.path(path)).unwrap();
            assert!(text.contains(from), "{path}: {text}");
            std::fs::write(host.path(path), text.replacen(from, to, 1)).unwrap();
        }
    };
    let kubelet = "/var/lib/kubelet/config.yaml";
    check(
        &other(kubelet, "enabled: false", "enabled: true"),
        "wrote",
        "config.yaml is not as the bootstrap wrote it",
    );
    let shipped = |host: &FakeHost| {
        host.make("/usr/lib/hale/kubelet.yaml", "clusterDNS:\n  - 10.96.0.7\nreadOnlyPort: 0\n")
    };
    check(&shipped, "wrote", "config.yaml has no clusterDNS: 10.96.0.7 of /usr/lib/hale/kubelet.yaml");
    let server = "/etc/kubernetes/manifests/kube-apiserver.yaml";
    check(&other(server, "NodeRestriction", "AlwaysAdmit"), "wrote", "kube-apiserver.yaml is not as");
    check(
        &other(server, "/kube-apiserver:v1.17.17", "/kube-apiserver:v1.17.1"),
        "wrote",
        "apiserver:v1.17.1, not",
    );
    check(
        &other(crate::kubernetes::kube_proxy::CONFIG, "iptables", "ipvs"),
        "wrote",
        "kube-proxy.yaml with the node's name",
    );
    let more = |path: &'static str| move |host: &FakeHost| host.make(path, "x");
    check(&more("/etc/kubernetes/manifests/z.yaml"), "wrote", "z.yaml is a static pod of nobody's");
    check(
        &|host| std::fs::remove_file(host.path(crate::bootstrap::written::PATH)).unwrap(),
        "wrote",
        "was not noted",
    );
    for path in [
        "/etc/crio/crio.conf",
        "/etc/crio/crio.conf.d/99-x.conf",
        "/etc/systemd/system/crio.service.d/x.conf",
        "/run/systemd/system/kubelet.service.d/x.conf",
        "/usr/lib/systemd/system/service.d/x.conf",
        "/etc/systemd/system/kube-proxy.service",
    ] {
        check(&more(path), "nobody else", &format!("{path} is of no package"));
    }
}

#[test]
fn each_certificate_that_ends_is_seen_alone() {
    let ending = |path: &'static str, days: i64| {
        move |host: &FakeHost| {
            let end = crate::testing::fake::NOW + days * 86_400 + 60 * 60;
            let text =
                if path.ends_with("conf") { conf(days * 86_400 + 3600) } else { certificates::ending(end) };
            std::fs::write(host.path(path), text).unwrap();
        }
    };
    for path in [
        "/etc/kubernetes/pki/ca.crt",
        "/etc/kubernetes/pki/apiserver.crt",
        "/etc/kubernetes/pki/etcd/peer.crt",
        "/etc/kubernetes/pki/front-proxy-client.crt",
        "/etc/kubernetes/scheduler.conf",
        "/etc/kubernetes/kubelet.conf",
        crate::kubernetes::kube_proxy::KUBECONFIG,
    ] {
        check(&ending(path, 29), "certificates", &format!("{path} ends within 30 days: `hale renew`"));
        check(&ending(path, -2), "certificates", &format!("{path} ended 2 days ago: `hale renew`"));
    }
    let rotated = |host: &FakeHost| {
        let pem = "/var/lib/kubelet/pki/kubelet-client-current.pem";
        host.make(pem, &certificates::ending(crate::testing::fake::NOW - 1));
        std::fs::write(
            host.path(crate::kubernetes::paths::KUBELET),
            format!("    client-certificate: {pem}\n"),
        )
        .unwrap();
    };
    check(&rotated, "certificates", "kubelet.conf ended 1 days ago");
    let gone =
        |host: &FakeHost| std::fs::remove_file(host.path("/etc/kubernetes/pki/etcd/server.crt")).unwrap();
    check(&gone, "certificates", "etcd/server.crt");
}

#[test]
fn each_fault_of_the_machine_is_seen_alone() {
    let panic = |host: &FakeHost| host.make("/proc/sys/kernel/panic", "0\n");
    check(&panic, "kernel", "kernel.panic is 0, not 10");
    let failed = |host: &FakeHost| *host.failed.borrow_mut() = "x.service loaded failed failed X\n".into();
    check(&failed, "unit", "x.service failed");
    let space = |bytes, inodes| move |host: &FakeHost| host.space.set(crate::host::Space { bytes, inodes });
    check(&space(9, 50), "space", "/ has 9 % of its space left");
    check(&space(50, 4), "space", "/ has 4 % of its inodes left");
    let silent = |host: &FakeHost| std::fs::remove_file(host.path(machine::SYNCHRONIZED)).unwrap();
    check(&silent, "clock", "none of systemd-timesyncd.service");
    let trying = |host: &FakeHost| {
        silent(host);
        host.state.borrow_mut().active.insert("systemd-timesyncd.service".into());
    };
    check(&trying, "clock", "nothing to judge yet: systemd-timesyncd.service runs");
    let replaced = |host: &FakeHost| {
        host.make("/proc/500/cgroup", "0::/system.slice/kubelet.service\n");
        std::os::unix::fs::symlink("/usr/bin/kubelet (deleted)", host.path("/proc/500/exe")).unwrap();
    };
    check(
        &replaced,
        "program",
        "500 runs a /usr/bin/kubelet that was replaced or removed: systemctl restart kubelet",
    );
}

#[test]
fn each_open_bundle_is_seen_alone() {
    let given = |host: &FakeHost| host.chown(&host.path(&bundle(host, "b")), 10_000_000, 10_000_000).unwrap();
    check(&given, "bundle", "overlay-containers/b/userdata is 10000000:10000000, not root's");
    let entry = |host: &FakeHost| {
        let path = host.path(&format!("{}/config.json", bundle(host, "b")));
        host.chown(&path, 10_000_000, 10_000_000).unwrap();
    };
    check(&entry, "bundle", "b/userdata/config.json is 10000000:10000000");
    let another = |host: &FakeHost| {
        let path = host.path(&format!("{}/hostname", bundle(host, "b")));
        host.chown(&path, 7, 7).unwrap();
    };
    check(&another, "bundle", "b/userdata/hostname is 7:7, not root's");
    let open = |host: &FakeHost| {
        use std::os::unix::fs::PermissionsExt;
        let path = host.path(&bundle(host, "b"));
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o711)).unwrap();
    };
    check(&open, "bundle", "b/userdata has mode 0711, not 0700");
}

/// A name that would write a promise of its own over the line above.
const FORGERY: &str = "\u{1b}[1A\u{1b}[2K\n yes";

#[test]
fn no_name_from_outside_can_forge_a_line() {
    let role = RoleConfig::parse(include_str!("../../examples/role.toml")).unwrap();
    let (host, config) = (FakeHost::of(&role, "10.0.3.1"), NodeConfig::default());
    process(&host, 200, "Seccomp:\t2", "Seccomp:\t0");
    host.make("/proc/200/comm", FORGERY);
    host.make("/proc/net/tcp", "0: 0103000A:0016 0:0 0A 0:0 0:0 0  0  0 4711 1\n");
    host.make("/proc/77/fd/", "");
    std::os::unix::fs::symlink("socket:[4711]", host.path("/proc/77/fd/3")).unwrap();
    std::os::unix::fs::symlink(format!("/usr/bin/{FORGERY}"), host.path("/proc/77/exe")).unwrap();
    host.make(&format!("/etc/crio/crio.conf.d/{}", FORGERY), "");
    host.make("/run/hale/refused", &FORGERY.replace('\n', "\r"));
    let findings = examine(&Node::new(&host, &role, &config).unwrap());
    let text = table(&findings);
    let begins = ["yes  ", "NO   ", "-    ", "       "];
    for line in text.lines() {
        assert!(begins.iter().any(|begin| line.starts_with(begin)) && !line.contains('\u{1b}'), "{line:?}");
    }
    let message = r"\u{1b}[1A\u{1b}[2K\n yes";
    assert!(text.contains(&format!("200 ({message}) has seccomp mode 0")), "{text}");
    assert!(text.contains(&format!("/usr/bin/{message} on 10.0.3.1:22")), "{text}");
    assert!(text.contains(&format!("/etc/crio/crio.conf.d/{message} is of no package")), "{text}");
    assert!(text.contains(r"1 starts were refused, the last: \u{1b}[1A\u{1b}[2K\r yes"), "{text}");
    let evidence = findings.iter().flat_map(|finding| &finding.evidence);
    assert!(evidence.flat_map(|line| line.chars()).all(|c| !c.is_control()));
}
