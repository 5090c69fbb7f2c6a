//! `hale bootstrap`, `status` and `doctor` of the installed program.

use std::time::Duration;

use serde_json::Value;

use crate::machine::{Machine, Root};
use crate::programs;

/// Puts the stand-ins in place: a bridge with this address, systemctl without a systemd, the real kubeadm if
/// there is one.
fn prepare(machine: &Machine, address: &str) {
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

/// Waits until a phase stands so in `hale status`, and gives its line.
fn wait_for(machine: &Machine, phase: &str, state: &str) -> Value {
    for _ in 0..600 {
        let lines: Value = serde_json::from_str(&machine.succeeds("hale status --json")).expect("JSON");
        let line =
            lines.as_array().expect("a list").iter().find(|line| line["phase"] == phase).expect("a phase");
        if line["state"] == state {
            return line.clone();
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    panic!("{phase} is not {state}: {}", machine.succeeds("hale status"));
}

pub(crate) fn a_node_that_was_told_nothing_waits(root: &Root) {
    let machine = root.machine("hale-node");
    prepare(&machine, "10.0.3.2");
    let status = machine.succeeds("hale status");
    assert!(status.lines().all(|line| line.contains(" pending ")), "{status}");
    let doctor = machine.run("hale doctor --json");
    let findings: Value = serde_json::from_slice(&doctor.stdout).expect("JSON");
    let holds =
        findings.as_array().expect("a list").iter().filter(|finding| finding["holds"] == true).count();
    assert_eq!(doctor.status.code(), Some(1), "{findings:#}");
    assert!(holds >= 2, "{findings:#}");
    let mut first = machine.spawn("exec hale bootstrap");
    let line = wait_for(&machine, "preflight", "waiting");
    assert_eq!(
        line["why"],
        "/etc/hale/node.toml has no [join]; put there what `hale token` prints on the master"
    );
    let told = machine.refuses("hale bootstrap", 3);
    assert!(told.contains("another hale is at work on this node"), "{told}");
    first.kill().expect("it still waits");
    first.wait().expect("it ends");
}

pub(crate) fn a_master_gets_as_far_as_its_api_server(root: &Root) {
    let machine = root.machine("hale-master");
    prepare(&machine, "10.0.3.1");
    let mut first = machine.spawn("exec hale bootstrap");
    wait_for(&machine, "wait", "running");
    first.kill().expect("it still waits");
    first.wait().expect("it ends");
}
