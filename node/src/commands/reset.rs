//! `hale reset`: undoes a bootstrap. It says first what will be lost, and does nothing until it is told to.

use crate::bootstrap::journal::Journal;
use crate::bootstrap::phases::crio;
use crate::bootstrap::{self, written};
use crate::fault::{Fault, Result};
use crate::host::systemd::systemctl;
use crate::host::{Command, files, run_dir};
use crate::kubernetes::context::Node;
use crate::kubernetes::kube_proxy;
use crate::machine::kubeconfig;
use crate::network::{self, filter, registries};
use crate::renew;

/// Describes what a reset destroys.
pub fn losses(node: &Node) -> Vec<String> {
    let mut losses = Vec::new();
    if node.role.is_master() {
        losses.push("/var/lib/etcd: everything that the cluster knows".to_owned());
        losses.push("/etc/kubernetes/pki: the cluster's CA; every node must join anew".to_owned());
    }
    losses.push(format!("node {}: its pods, and what they wrote outside of volumes elsewhere", node.name));
    let is_there = |path: &&&str| node.host.path(path).exists();
    losses.extend(paths().filter(is_there).map(|path| (*path).to_owned()));
    losses
}

/// Paths that a reset removes, in this order: the marker of a finished bootstrap goes first, so that a cut leaves no
/// node that believes itself whole.
const PATHS: [&str; 14] = [
    bootstrap::MARKER,
    "/etc/kubernetes",
    "/var/lib/etcd",
    "/var/lib/kubelet",
    kube_proxy::DIRECTORY,
    "/var/lib/cni/networks",
    "/var/log/kubernetes",
    crio::CNI,
    registries::MIRRORS,
    run_dir::PATH,
    "/var/lib/hale/first-token",
    renew::UNDER_WAY,
    written::PATH,
    kubeconfig::PATH,
];

/// Returns all paths that a reset removes but the journal, which goes last.
fn paths() -> impl Iterator<Item = &'static &'static str> {
    PATHS.iter().chain(&network::FILES)
}

/// Undoes the bootstrap. The packages, `node.toml` and the container images stay.
pub fn reset(node: &Node) -> Result<()> {
    // The bootstrap's unit has the journal for as long as it waits; then nobody else may.
    systemctl(node.host, &["stop", bootstrap::UNIT])?;
    let journal = Journal::open(node.host)?;
    for unit in ["kube-proxy.service", "kubelet.service"] {
        systemctl(node.host, &["stop", unit])?;
    }
    // CRI-O may be down; a reboot ends its containers then.
    let _ = node.host.run(&node.crictl(&["rmp", "--all", "--force"]).minutes(5))?;
    busy(node)?;
    for path in paths() {
        files::remove(node.host, path)?;
    }
    for unit in ["kube-proxy.service", filter::UNIT] {
        systemctl(node.host, &["disable", unit])?;
    }
    systemctl(node.host, &["enable", bootstrap::UNIT])?;
    files::remove(node.host, crate::bootstrap::journal::PATH)?;
    drop(journal);
    // The directories that tmpfiles makes at boot.
    node.host.run_checked(&Command::new("/usr/bin/systemd-tmpfiles", &["--create"])).map(drop)
}

/// Refuses to reset while pod volumes are mounted: removal would delete their contents.
fn busy(node: &Node) -> Result<()> {
    let mounts = std::fs::read_to_string(node.host.path("/proc/self/mounts")).unwrap_or_default();
    let inside = |line: &&str| line.split(' ').nth(1).is_some_and(|at| at.starts_with("/var/lib/kubelet/"));
    match mounts.lines().find(inside) {
        None => Ok(()),
        Some(line) => {
            let at = line.split(' ').nth(1).unwrap_or_default();
            Err(Fault::machine(format!("{at} is still mounted")).help("reboot, and run `hale reset` again"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::{attempt, until_done};
    use crate::config::node::NodeConfig;
    use crate::config::role::RoleConfig;
    use crate::host::Host;
    use crate::kubernetes::context::load_config;
    use crate::testing::fake::FakeHost;

    #[test]
    fn a_reset_node_can_be_set_up_again() {
        let role = RoleConfig::parse(include_str!("../../examples/role.toml")).unwrap();
        let host = FakeHost::of(&role, "10.0.3.1");
        attempt(&host, &role, &mut |_| {}).unwrap();
        let config = NodeConfig::default();
        let node = Node::new(&host, &role, &config).unwrap();
        let losses = losses(&node).join("\n");
        assert!(losses.contains("everything that the cluster knows"), "{losses}");
        host.make("/proc/self/mounts", "tmpfs /var/lib/kubelet/pods/x tmpfs rw 0 0\n");
        assert!(reset(&node).unwrap_err().to_string().contains("still mounted; reboot"));
        host.make("/proc/self/mounts", "");
        reset(&node).unwrap();
        for path in ["/etc/kubernetes", "/var/lib/etcd", "/var/lib/hale/journal"] {
            assert!(!host.path(path).exists(), "{path}");
        }
        host.reboot();
        attempt(&host, &role, &mut |_| {}).unwrap();
    }

    /// Whatever goes was named before, with what is below it; what stays is the operator's.
    #[test]
    fn nothing_of_a_bootstrap_is_left_and_all_that_goes_was_told() {
        let own = [
            ("master", "[network]\nbridge = \"make\"\ninterface = \"enp2s0\"\n"),
            ("node", include_str!("../../examples/node.toml")),
        ];
        for (kind, config) in own {
            let text = include_str!("../../examples/role.toml");
            let text = if kind == "node" {
                text.replacen("\"master\"", "\"node\"", 1).replace("here = true", "here = false")
            } else {
                text.to_owned()
            };
            let role = RoleConfig::parse(&text).unwrap();
            let host = FakeHost::of(&role, "10.0.3.1");
            host.make(NodeConfig::PATH, config);
            host.make("/etc/resolv.conf", "nameserver 192.0.2.1\n");
            ["/etc/cni/net.d/", "/var/lib/hale/"].iter().for_each(|path| host.make(path, ""));
            if kind == "node" {
                host.state.borrow_mut().objects.insert("elsewhere".into());
            }
            let tree = || {
                let mut tree = host.tree();
                tree.retain(|path, _| !path.starts_with("run"));
                tree
            };
            let before = tree();
            until_done(&host, &role, &|| Ok(()), &mut |_| {}).unwrap();
            host.make("/var/lib/cni/networks/crio-bridge/10.0.3.70", "");
            let set_up = tree();
            let config = load_config(&host, &role).unwrap();
            let node = Node::new(&host, &role, &config).unwrap();
            let losses = losses(&node);
            assert_eq!(
                losses.join("\n").contains("every node must join anew"),
                kind == "master",
                "{losses:?}"
            );
            reset(&node).unwrap();
            let mut after = tree();
            for path in set_up.keys().filter(|path| !after.contains_key(*path)) {
                let is_told = losses.iter().any(|loss| format!("/{path}").starts_with(loss.as_str()));
                assert!(is_told || path == "var/lib/hale/journal", "{path} went without a word: {losses:?}");
            }
            // The machine keeps its name.
            let kept = ["var/lib/cni", "etc/systemd/network", "etc/hostname", "etc/hosts", "etc/hale/hosts"];
            let mut before = before;
            for path in kept {
                after.remove(path);
                before.remove(path);
            }
            assert_eq!(after, before, "{kind}");
            let state = host.state.borrow();
            assert!(state.enabled.contains(bootstrap::UNIT) && !state.enabled.contains("kube-proxy.service"));
            assert!(
                ["kubelet.service", "kube-proxy.service"].iter().all(|unit| !state.active.contains(*unit))
            );
        }
    }

    #[test]
    fn a_reset_that_was_cut_can_be_done_again() {
        let role = RoleConfig::parse(include_str!("../../examples/role.toml")).unwrap();
        let config = NodeConfig::default();
        let try_with = |fuel: usize| {
            let host = FakeHost::of(&role, "10.0.3.1");
            until_done(&host, &role, &|| Ok(()), &mut |_| {}).unwrap();
            let before = host.changes.get();
            host.fuel.set(fuel);
            let done = reset(&Node::new(&host, &role, &config).unwrap());
            (done.is_ok(), host.changes.get() - before, host)
        };
        let (_, changes, whole) = try_with(usize::MAX);
        assert!(changes > 15, "{changes}");
        for at in 0..changes {
            let (done, _, host) = try_with(at);
            assert!(!done, "no cut at {at}");
            // Whatever is left, it does not take itself for a node that was set up.
            let whole_node = [bootstrap::MARKER, "/etc/kubernetes"].map(|path| host.path(path).exists());
            assert_ne!(whole_node, [true, false], "cut at change {at}");
            host.reboot();
            reset(&Node::new(&host, &role, &config).unwrap()).unwrap();
            let mut trees = [&host, &whole].map(FakeHost::tree);
            trees.iter_mut().for_each(|tree| tree.retain(|path, _| !path.starts_with("run")));
            assert_eq!(trees[0], trees[1], "cut at change {at}");
            assert_eq!(host.state.borrow().enabled, whole.state.borrow().enabled, "cut at change {at}");
        }
    }
}
