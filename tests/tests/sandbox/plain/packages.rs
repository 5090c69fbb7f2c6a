//! A role's packages come, stay as they are, and go.

use std::collections::{BTreeMap, BTreeSet};

use macro_rules_attribute::apply;
use tests::tools::said;
use tests::trial;

use super::machine::{Machine, Root};

#[apply(trial)]
fn the_master_comes_and_goes(root: &Root) {
    comes_and_goes(root, "master");
}

#[apply(trial)]
fn the_node_comes_and_goes(root: &Root) {
    comes_and_goes(root, "node");
}

fn comes_and_goes(root: &Root, role: &str) {
    let machine = root.machine("");
    let before = (tree(&machine), installed(&machine));
    machine.succeeds(&format!("apt-get -qy install hale-{role}"));
    the_users_are_locked(&machine);
    let common = [
        "0750 root:k8s /var/lib/kubelet",
        "2750 root:k8s /var/lib/kubelet/pods",
        "0750 root:root /var/lib/kube-proxy",
    ];
    for line in common {
        let path = line.rsplit(' ').next().expect("a path");
        assert_eq!(machine.succeeds(&format!("stat -c '%04a %U:%G %n' {path}")).trim(), line);
    }
    let enabled = [
        "crio.service",
        "hale-bootstrap.service",
        "hale-hold.service",
        "hale-renew.timer",
        "kubelet.service",
    ];
    for unit in enabled {
        assert_eq!(machine.succeeds(&format!("systemctl is-enabled {unit}")).trim(), "enabled", "{unit}");
    }
    assert_eq!(
        machine.run("systemctl is-enabled kube-proxy.service").stdout,
        b"disabled\n",
        "the bootstrap's to enable"
    );
    assert_eq!(machine.succeeds(&format!("dpkg --verify hale hale-common hale-{role}")), "");
    let new: BTreeSet<_> =
        installed(&machine).into_keys().filter(|name| !before.1.contains_key(name)).collect();
    assert!(new.len() >= 11, "{new:?}");
    // The operator's own file, and what hale leaves where it waited.
    machine.put("etc/hale/node.toml", "[join]\n", 0o600);
    machine.put("var/lib/hale/journal", "", 0o600);
    machine.succeeds(&format!("apt-get -qy purge {}", Vec::from_iter(new).join(" ")));
    assert_eq!(installed(&machine), before.1);
    let after = tree(&machine);
    let changed = |(path, what): &(&String, &String)| before.0.get(*path) != Some(*what);
    let left: BTreeSet<&String> = after.iter().filter(changed).map(|(path, _)| path).collect();
    let gone: BTreeSet<&String> = before.0.keys().filter(|path| !after.contains_key(*path)).collect();
    assert_eq!(
        left,
        BTreeSet::from([&"etc/hale".to_owned(), &"etc/hale/node.toml".to_owned()]),
        "what is left"
    );
    assert!(gone.is_empty(), "what is gone besides: {gone:?}");
}

fn the_users_are_locked(machine: &Machine) {
    for (name, id, about) in [
        ("k8s", 10_000_000, "Root inside containers"),
        ("k8s-control-plane", 20_000_000, "Control plane inside containers"),
        ("etcd", 20_000_001, "etcd inside containers"),
    ] {
        let entry = format!("{name}:x:{id}:{id}:{about}:/:/usr/sbin/nologin\n");
        assert_eq!(machine.succeeds(&format!("getent passwd {name}")), entry);
        assert_eq!(machine.succeeds(&format!("getent group {name}")), format!("{name}:x:{id}:\n"));
        let status = machine.succeeds(&format!("passwd --status {name}"));
        assert!(status.starts_with(&format!("{name} L ")), "{status}");
    }
}

/// What dpkg and apt keep for themselves, and shadow's copies of the last state.
const NOT_OURS: [&str; 8] = [
    "etc/group-",
    "etc/gshadow-",
    "etc/passwd-",
    "etc/shadow-",
    "var/cache/",
    "var/lib/apt/",
    "var/lib/dpkg/",
    "var/log/",
];

/// Every path with what it is; the text of what is in `/etc` too.
fn tree(machine: &Machine) -> BTreeMap<String, String> {
    let mut tree = BTreeMap::new();
    let files = machine.succeeds("find / -xdev -mindepth 1 -printf '%P\\t%y %m %U:%G %l\\n'");
    let texts = machine.succeeds("find /etc -type f -exec sha256sum {} +");
    let texts: BTreeMap<&str, &str> =
        texts.lines().filter_map(|line| line.split_once("  /")).map(|(sum, path)| (path, sum)).collect();
    for line in files.lines() {
        let (path, what) = line.split_once('\t').expect("two columns");
        if !NOT_OURS.iter().any(|begin| path.starts_with(begin)) {
            tree.insert(path.to_owned(), format!("{what} {}", texts.get(path).unwrap_or(&"")));
        }
    }
    tree
}

/// Versions of what is installed.
fn installed(machine: &Machine) -> BTreeMap<String, String> {
    let text = machine.succeeds("dpkg-query -W -f '${Package} ${Version}\\n'");
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, version)| (name.into(), version.into()))
        .collect()
}

/// apt's source of the repository that has everything newer.
const NEWER: &str = "deb [trusted=yes] file:/srv/newer ./\n";

#[apply(trial)]
fn nothing_pinned_moves(root: &Root) {
    let machine = root.machine("hale-master");
    machine.put("etc/apt/sources.list.d/newer.list", NEWER, 0o644);
    machine.succeeds("apt-get -q update");
    let before = installed(&machine);
    let ours: BTreeSet<String> = machine
        .succeeds("sed -n 's/^packages = //p' /usr/lib/hale/role.toml")
        .split('"')
        .filter(|word| before.contains_key(*word))
        .map(str::to_owned)
        .collect();
    assert!(ours.len() >= 12 && ours.contains("conmon") && ours.contains("hale-master"), "{ours:?}");
    // What the unit does once dpkg is free.
    let held = machine.succeeds("hale hold --wait");
    assert!(held.starts_with(&format!("{} packages held: ", ours.len())), "{held}");
    let showed =
        || -> BTreeSet<String> { machine.succeeds("apt-mark showhold").lines().map(str::to_owned).collect() };
    assert_eq!(showed(), ours);
    machine.succeeds("apt-get -qy dist-upgrade");
    assert_eq!(installed(&machine), before);
    let forced = machine.run("apt-get -qy install kubelet=99");
    assert!(!forced.status.success(), "{}", said(&forced));
    // The way out, and that the preferences stand without the holds.
    machine.succeeds("hale unhold");
    assert!(showed().is_empty());
    machine.succeeds("apt-get -qy dist-upgrade");
    assert_eq!(installed(&machine), before);
    for name in [
        "kubelet",
        "kubeadm",
        "kubectl",
        "kube-proxy",
        "cri-o",
        "crun",
        "crictl",
        "cni-plugins",
        "hale",
        "hale-common",
    ] {
        let policy = machine.succeeds(&format!("apt-cache policy {name}"));
        let candidate = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
        assert_eq!(candidate, before.get(name).map(String::as_str), "{policy}");
    }
    unattended_upgrades_pass_them_over(&machine, &ours);
    machine.succeeds("hale hold");
    assert_eq!(showed(), ours);
}

/// Without holds and without preferences the blacklist is what is left.
fn unattended_upgrades_pass_them_over(machine: &Machine, ours: &BTreeSet<String>) {
    machine.put(
        "etc/apt/apt.conf.d/99test",
        "Dir::Etc::preferencesparts \"/nowhere\";\nUnattended-Upgrade::Origins-Pattern { \"origin=Newer\"; };\n",
        0o644,
    );
    let text = said(&machine.run("unattended-upgrade --dry-run --debug"));
    assert!(text.contains("No packages found that can be upgraded unattended"), "{text}");
    for name in ours {
        // It names what it passes over by a name it made of the expression, or by the expression.
        let passed =
            [format!("PkgPin(pkg='{name}', priority=-32768)"), format!("/^^{name}$/', priority=-32768)")];
        assert!(passed.iter().any(|part| text.contains(part)), "{name} in\n{text}");
    }
    machine.succeeds("rm /etc/apt/apt.conf.d/99test");
}
