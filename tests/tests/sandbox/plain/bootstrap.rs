//! `hale bootstrap`, `status` and `doctor` of the installed program.

use std::time::Duration;

use macro_rules_attribute::apply;
use serde_json::Value;
use tests::trial;

use super::machine::{Machine, Root};
use super::programs;

/// Puts the stand-ins in place: a bridge with this address, systemctl without a systemd, the real kubeadm if
/// there is one.
pub(crate) fn prepare(machine: &Machine, address: &str) {
    machine.put("run/ip", &programs::IP.replace("ADDRESS", address), 0o755);
    machine.put("run/systemctl", programs::SYSTEMCTL, 0o755);
    machine.succeeds(
        "cp -a /bin/systemctl /usr/bin/systemctl.real
        mount --bind /run/ip /bin/ip
        mount --bind /run/systemctl /bin/systemctl",
    );
    if let Some(kubeadm) = std::env::var_os("HALE_KUBEADM") {
        std::fs::copy(kubeadm, machine.path("run/kubeadm")).expect("HALE_KUBEADM names a program");
        machine.succeeds("mount --bind /run/kubeadm /usr/bin/kubeadm");
    }
}

/// Waits until a phase stands in one of these ways in `hale status`, and gives its line.
pub(crate) fn wait_for(machine: &Machine, phase: &str, states: &[&str]) -> Value {
    // The real kubeadm gives discovery five minutes.
    for _ in 0..2000 {
        let lines: Value = serde_json::from_str(&machine.succeeds("hale status --json")).expect("JSON");
        let line = lines["phases"]
            .as_array()
            .expect("a list")
            .iter()
            .find(|line| line["phase"] == phase)
            .expect("a phase");
        if states.iter().any(|state| line["state"] == *state) {
            return line.clone();
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    panic!("{phase} is not {states:?}: {}", machine.succeeds("hale status"));
}

#[apply(trial)]
fn a_node_that_was_told_nothing_waits(root: &Root) {
    let machine = root.machine("hale-node");
    prepare(&machine, "10.0.3.2");
    let status = machine.succeeds("hale status");
    assert!(status.lines().all(|line| line.contains(" pending ")), "{status}");
    assert!(machine.succeeds("hale status --brief").contains("It is not set up yet."));
    let doctor = machine.run("hale doctor --json");
    let findings: Value = serde_json::from_slice(&doctor.stdout).expect("JSON");
    let findings = findings.as_array().expect("a list");
    assert_eq!((doctor.status.code(), findings.len()), (Some(1), 22), "{findings:#?}");
    assert!(findings.iter().any(|finding| finding["verdict"] == "yes"), "{findings:#?}");
    assert_eq!(findings[0]["evidence"][0], "it is not: see `hale status`");
    let first = machine.spawn("exec hale bootstrap");
    let line = wait_for(&machine, "preflight", &["waiting"]);
    assert_eq!(
        line["why"],
        "/etc/hale/node.toml has no [join]; put there what `hale token` prints on the master"
    );
    let told = machine.refuses("hale bootstrap", 3);
    assert!(told.contains("another hale is at work on this node"), "{told}");
    machine.stop("hale", first);
}

#[apply(trial)]
fn a_master_gets_as_far_as_its_api_server(root: &Root) {
    let machine = root.machine("hale-master");
    prepare(&machine, "10.0.3.1");
    let first = machine.spawn("exec hale bootstrap");
    wait_for(&machine, "wait", &["running"]);
    machine.stop("hale", first);
    let is = |path: &str| machine.succeeds(&format!("stat -c '%04a %U:%G' {path}"));
    for (path, expect) in [
        ("/etc/kubernetes/admin.conf", "0600 root:root"),
        ("/etc/kubernetes/scheduler.conf", "0600 k8s-control-plane:k8s-control-plane"),
        ("/etc/kubernetes/manifests/etcd.yaml", "0600 root:root"),
        ("/etc/kubernetes/apiserver/encryption.json", "0600 k8s-control-plane:k8s-control-plane"),
        ("/etc/kubernetes/pki/ca.key", "0600 k8s-control-plane:k8s-control-plane"),
        ("/etc/kubernetes/pki/front-proxy-ca.key", "0600 root:root"),
        ("/var/lib/etcd", "0700 etcd:etcd"),
        ("/var/log/kubernetes", "0700 k8s-control-plane:k8s-control-plane"),
        ("/var/lib/kubelet/pods", "2750 root:k8s"),
    ] {
        assert_eq!(is(path).trim(), expect, "{path}");
    }
    let manifest = machine.succeeds("cat /etc/kubernetes/manifests/kube-apiserver.yaml");
    assert!(manifest.contains("--advertise-address=10.0.3.1\n") && manifest.contains("failureThreshold: 60"));
    assert_eq!(machine.succeeds("systemctl.real is-enabled kubelet.service").trim(), "enabled");
    undone_by_reset(&machine);
}

/// It says first what goes, and does nothing; then it does.
fn undone_by_reset(machine: &Machine) {
    let told = machine.run("hale reset");
    let text = tests::tools::said(&told);
    assert_eq!(told.status.code(), Some(1), "{text}");
    assert!(text.contains("/var/lib/etcd: everything that the cluster knows"), "{text}");
    assert!(machine.path("etc/kubernetes/admin.conf").exists());
    machine.succeeds("hale reset --yes");
    let left = machine.succeeds("ls -d /etc/kubernetes /var/lib/hale/journal 2>/dev/null || true");
    assert_eq!(left, "", "what a reset leaves");
    assert!(machine.succeeds("hale status").lines().all(|line| line.contains(" pending ")));
    // And a purge leaves nothing then.
    machine.succeeds(
        "umount /bin/ip /bin/systemctl; ! mountpoint -q /usr/bin/kubeadm || umount /usr/bin/kubeadm
        apt-get -qy purge hale hale-common hale-master",
    );
    let places = "/etc/cni /etc/hale /etc/kubernetes /run/hale /var/lib/etcd /var/lib/hale /var/lib/kube-proxy /var/lib/kubelet \
        /var/log/kubernetes";
    assert_eq!(machine.succeeds(&format!("ls -d {places} 2>/dev/null || true")), "", "what a purge leaves");
}

#[apply(trial)]
fn a_full_disk_while_certificates_are_written(root: &Root) {
    let machine = root.machine("hale-master");
    prepare(&machine, "10.0.3.1");
    machine.succeeds("mkdir /etc/kubernetes; mount -t tmpfs -o size=48k tmpfs /etc/kubernetes");
    let bootstrap = machine.spawn("exec hale bootstrap");
    let line = wait_for(&machine, "certificates", &["failed"]);
    assert_eq!(line["why"], "the disk is full; free some space; it goes on by itself");
    assert!(!machine.path("etc/kubernetes/pki").exists(), "half a set of certificates is in place");
    machine.succeeds("mount -o remount,size=8m /etc/kubernetes");
    wait_for(&machine, "wait", &["running"]);
    machine.stop("hale", bootstrap);
}

/// Spoils a machine and bootstraps it: that ends at once, or waits, with one line that says what to do, and leaves
/// nothing of a cluster. Then mends it.
#[track_caller]
fn check_refused(machine: &Machine, spoil: &str, mend: &str, state: &str, expect: &str) {
    machine.succeeds(&format!("rm -rf /var/lib/hale; {spoil}"));
    let mut bootstrap = machine.spawn("exec hale bootstrap 2>/run/told");
    let line = wait_for(machine, "preflight", &[state]);
    let why = line["why"].as_str().expect("a reason");
    assert!(why.contains(expect) && !why.contains('\n'), "{spoil}: {why}");
    assert!(machine.succeeds("cat /run/told").contains(expect), "the console: {spoil}");
    // What is wrong with the machine itself ends it.
    machine.run("pkill -x hale");
    bootstrap.wait().expect("it ends");
    assert!(!machine.path("etc/kubernetes").exists(), "{spoil}");
    machine.succeeds(mend);
}

/// Writes a node's own file; and takes it away.
fn file(text: &str) -> String {
    format!("mkdir -p /etc/hale; umask 077; printf '{text}' >/etc/hale/node.toml")
}
const GONE: &str = "rm /etc/hale/node.toml";

#[apply(trial)]
fn a_machine_that_does_not_fit_is_refused(root: &Root) {
    let machine = root.machine("hale-master");
    prepare(&machine, "10.0.3.1");
    let check = |spoil: &str, mend: &str, state: &str, expect: &str| {
        check_refused(&machine, spoil, mend, state, expect);
    };
    let cgroup = "systemd.unified_cgroup_hierarchy=0";
    check("rmdir /sys/fs/cgroup/memory", "mkdir /sys/fs/cgroup/memory", "failed", cgroup);
    let bridge = "/sys/class/net/lxcbr0/bridge";
    check(
        &format!("rmdir {bridge}"),
        &format!("mkdir {bridge}"),
        "waiting",
        "there is no bridge lxcbr0; make it",
    );
    check(&file("bridge = 1\\n"), GONE, "waiting", "node.toml:1: unknown field `bridge`");
    check(&file("[network]\\naddress = \"10.0.3.999\"\\n"), GONE, "waiting", "node.toml:2: invalid IPv4");
    check(&file("[network]\\npods = \"10.0.3.16-10.0.9.1\"\\n"), GONE, "waiting", "node.toml:2: ");
    let open = format!("{}; chmod 644 /etc/hale/node.toml", file("name = \"seed\"\\n"));
    check(&open, GONE, "waiting", "has mode 0644 and owner 0; it holds secrets");
    let clock = "touch -d 2099-01-01 /usr/lib/hale/role.toml";
    check(clock, "touch /usr/lib/hale/role.toml", "failed", "set the clock");
    let version = "printf '#!/bin/sh\\necho v1.19.0\\n' >/run/other; chmod 755 /run/other; mount --bind /run/other /usr/bin/kubeadm";
    check(version, "umount /usr/bin/kubeadm", "failed", "is v1.19.0, not v1.20.2");
}

#[apply(trial)]
fn a_node_that_is_told_wrong_things_is_refused(root: &Root) {
    let machine = root.machine("hale-node");
    prepare(&machine, "10.0.3.2");
    let pin = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let check = |pods: &str, more: &str, state: &str, expect: &str| {
        let text = format!(
            "[network]\\naddress = \"10.0.3.2\"\\npods = \"{pods}\"\\n[join]\\nendpoint = \"10.0.3.1:6443\"\\n\
             token = \"abcdef.0123456789abcdef\"\\nca-pins = [\"sha256:{pin}\"]\\n{more}\\n"
        );
        check_refused(&machine, &file(&text), GONE, state, expect);
    };
    let free = "10.0.3.61-10.0.3.100";
    check(
        free,
        "taken = [\"10.0.3.90-10.0.3.120\"]",
        "waiting",
        "node.toml:3: pod range 10.0.3.61-10.0.3.100 overlaps 10.0.3.90-10.0.3.120, which another node has; choose a free range",
    );
    check(
        "10.0.3.1-10.0.3.9",
        "",
        "waiting",
        "node.toml:3: pod range 10.0.3.1-10.0.3.9 contains 10.0.3.1, which is not free",
    );
    check(
        free,
        "expires = 2020-01-01T00:00:00Z",
        "waiting",
        "the bootstrap token ended at 2020-01-01T00:00:00Z; run `hale token` on the master",
    );
    check(free, "issued = 2099-01-01T00:00:00Z", "failed", "before the token was made; set the clock");
    check(free, "[ca]\\ncertificate = \"\"\\n", "waiting", "node.toml:");
}
