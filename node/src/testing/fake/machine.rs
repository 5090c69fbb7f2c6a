//! The fake host: its root, its state, and the faults injected into it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::config::role::RoleConfig;
use crate::fault::{Fault, Result};
use crate::host::{Host, Space};

/// 2026-11-22T12:00:00Z.
pub(crate) const NOW: i64 = 1_795_348_800;

/// The one bootstrap token.
pub(crate) const TOKEN: &str = "abcdef.0123456789abcdef";

/// State of the machine and its cluster.
#[derive(Default)]
pub(crate) struct MachineState {
    pub(crate) enabled: BTreeSet<String>,
    pub(crate) active: BTreeSet<String>,
    /// Objects of the API server: they are in etcd, so they stay.
    pub(crate) objects: BTreeSet<String>,
    /// Time at which the API server last heard of this node's kubelet.
    pub(crate) seen: Option<i64>,
    /// Certificate signing requests, by name.
    pub(crate) requests: BTreeMap<String, Value>,
    /// Descriptions of bootstrap tokens, by their public part.
    pub(crate) invitations: BTreeMap<String, String>,
    /// Pod ranges that nodes claim, by name; those that were given are objects.
    pub(crate) claims: BTreeMap<String, String>,
    /// The addresses of other nodes, by name.
    pub(crate) others: BTreeMap<String, String>,
    /// The addresses of the bridge.
    pub(crate) addresses: Vec<String>,
    /// The addresses of any other interface, each with its prefix, and its default route.
    pub(crate) outside: Vec<String>,
    pub(crate) route: String,
}

/// How a join goes on a machine that is too slow for it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum SlowJoin {
    /// It is not.
    #[default]
    Not,
    /// The kubelet gets its credentials in time, and kubeadm's note on the node's object does not.
    Note,
    /// The kubelet gets its credentials after kubeadm has given up.
    Credentials,
}

/// A fault injected into a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InjectedFault {
    /// It does nothing, and fails.
    Rejects,
    /// It does nothing, and reports success.
    DoesNothing,
    /// It does all, and reports failure.
    ReportsFailure,
    /// It does all, and is then killed by its time limit.
    TimesOut,
}

pub(crate) struct FakeHost {
    pub(super) root: TempDir,
    pub(super) owners: RefCell<BTreeMap<PathBuf, (u64, u32, u32)>>,
    /// Number of changes before the power is cut.
    pub(crate) fuel: Cell<usize>,
    /// Number of changes so far.
    pub(crate) changes: Cell<usize>,
    pub(crate) clock: Cell<i64>,
    pub(crate) state: RefCell<MachineState>,
    /// Exit code and output of the next kubeadm, instead of the recorded ones.
    pub(crate) next_kubeadm: RefCell<Option<(Option<i32>, String)>>,
    /// What the next join is slow at; whether a kubelet that runs gets its credentials behind its back.
    pub(crate) slow_join: Cell<SlowJoin>,
    pub(crate) late: Cell<bool>,
    /// Of so many questions to the API server, one is answered; how many were asked.
    pub(crate) deaf: Cell<u32>,
    pub(crate) asked: Cell<u32>,
    /// Packages by name, and those that are held.
    pub(crate) installed: RefCell<BTreeMap<String, String>>,
    pub(crate) held: RefCell<BTreeSet<String>>,
    /// What dpkg is installing while it is busy.
    pub(crate) unpacked: RefCell<BTreeMap<String, String>>,
    /// Number of times that dpkg will be busy.
    pub(crate) dpkg_busy: Cell<u32>,
    pub(crate) certificates_end: Cell<bool>,
    /// Whether certificates are real, and so is openssl.
    pub(crate) openssl: Cell<bool>,
    /// Faults to inject into commands, by how many commands ran before.
    pub(crate) injected: RefCell<BTreeMap<usize, InjectedFault>>,
    /// Address of every name; `None` if no name server answers.
    pub(crate) resolved: Cell<Option<Ipv4Addr>>,
    /// Free space of every disk, and units that failed.
    pub(crate) space: Cell<Space>,
    pub(crate) failed: RefCell<String>,
    /// Units that failed, each with the last line that it logged.
    pub(crate) ill: RefCell<BTreeMap<String, String>>,
    /// Output of `dpkg --verify`.
    pub(crate) verified: RefCell<String>,
    /// Command lines that were run.
    pub(crate) commands: RefCell<Vec<String>>,
    /// A real kubeadm to run in the root, instead of what is recorded.
    pub(crate) kubeadm: Option<PathBuf>,
    /// The version that kubeadm calls itself.
    pub(crate) version: RefCell<String>,
}

impl FakeHost {
    pub(crate) fn new() -> Self {
        let fake = Self {
            // Memory where there is some: everything here is synced again and again.
            root: tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap(),
            owners: RefCell::default(),
            fuel: Cell::new(usize::MAX),
            changes: Cell::new(0),
            clock: Cell::new(NOW),
            state: RefCell::default(),
            next_kubeadm: RefCell::default(),
            slow_join: Cell::default(),
            late: Cell::default(),
            deaf: Cell::new(1),
            asked: Cell::default(),
            installed: RefCell::default(),
            held: RefCell::default(),
            unpacked: RefCell::default(),
            dpkg_busy: Cell::default(),
            certificates_end: Cell::default(),
            openssl: Cell::default(),
            injected: RefCell::default(),
            resolved: Cell::new(Some(Ipv4Addr::new(10, 96, 0, 1))),
            space: Cell::new(Space { bytes: 50, inodes: 50 }),
            failed: RefCell::default(),
            ill: RefCell::default(),
            verified: RefCell::default(),
            commands: RefCell::default(),
            kubeadm: None,
            version: RefCell::new("v1.20.2".into()),
        };
        for controller in ["cpu", "cpuset", "memory", "pids"] {
            fake.make(&format!("/sys/fs/cgroup/{controller}/"), "");
        }
        for directory in ["/sys/class/net/lxcbr0/bridge/", "/var/lib/", "/var/log/", "/etc/systemd/network/"]
        {
            fake.make(directory, "");
        }
        fake.state.borrow_mut().enabled.insert("crio.service".into());
        fake.make("/etc/hostname", "seed\n");
        fake.make(
            "/usr/lib/hale/kubelet.yaml",
            "kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\n",
        );
        fake.make("/usr/lib/hale/kube-proxy.yaml", "mode: iptables\n");
        fake
    }

    /// Makes a machine of a role, with a bridge that has this address.
    pub(crate) fn of(role: &RoleConfig, address: &str) -> Self {
        let fake = Self::new();
        *fake.version.borrow_mut() = format!("v{}", role.kubernetes);
        fake.state.borrow_mut().addresses.push(address.into());
        fake
    }

    /// Returns the node's name: the one of node.toml, or the machine's.
    pub(crate) fn node_name(&self) -> String {
        let text = fs::read_to_string(self.path("/etc/hale/node.toml")).unwrap_or_default();
        let name = text.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
        name.unwrap_or("seed").to_owned()
    }

    /// Writes a file, or makes a directory if the path ends in `/`.
    pub(crate) fn make(&self, path: &str, text: &str) {
        let full = self.path(path);
        if path.ends_with('/') {
            return fs::create_dir_all(full).unwrap();
        }
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        fs::write(&full, text).unwrap();
        fs::set_permissions(&full, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Reboots: empties `/run`, starts enabled units.
    pub(crate) fn reboot(&self) {
        let _ = fs::remove_dir_all(self.path("/run"));
        self.fuel.set(usize::MAX);
        let mut state = self.state.borrow_mut();
        state.active = state.enabled.clone();
    }

    /// Returns every path with its kind, mode and owner.
    pub(crate) fn tree(&self) -> BTreeMap<String, String> {
        let mut tree = BTreeMap::new();
        let mut open = vec![self.root().to_owned()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let metadata = fs::symlink_metadata(&path).unwrap();
                let (uid, gid) = self.owner(&path).unwrap();
                let kind = if metadata.is_dir() { "d" } else { "f" };
                let size = if metadata.is_file() && metadata.len() == 0 { " empty" } else { "" };
                let name = path.strip_prefix(self.root()).unwrap().to_str().unwrap().to_owned();
                let mode = metadata.permissions().mode() & 0o7777;
                tree.insert(name, format!("{kind} {mode:04o} {uid}:{gid}{size}"));
                if metadata.is_dir() {
                    open.push(path);
                }
            }
        }
        tree
    }

    /// Returns the files that hold a text.
    pub(crate) fn holders(&self, text: &str) -> Vec<String> {
        let bytes = |path: &String| fs::read(self.path(path)).unwrap_or_default();
        let holds = |path: &String| bytes(path).windows(text.len()).any(|part| part == text.as_bytes());
        self.tree().into_keys().filter(holds).collect()
    }

    pub(super) fn spend(&self) -> Result<()> {
        self.changes.set(self.changes.get() + 1);
        match self.fuel.get().checked_sub(1) {
            Some(left) => {
                self.fuel.set(left);
                Ok(())
            }
            None => Err(Fault::machine("the power is cut")),
        }
    }
}
