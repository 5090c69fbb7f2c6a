//! The two machines: their disks, their cables, their power.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use builder::base::tree::Tree;
use builder::base::{Digest, Epoch, Result};
use builder::build::planner::system;
use builder::machine::vm::{Card, Drive, Firmware};
use tests::checks;
use tests::powercut::{Record, copy_disk};
use tests::system::TestSystem;
use tests::times::Times;
use tests::tools::put;
use tests::vm::{Guest, Host, Running, segment};

use super::images;

/// The folder of a test's scripts.
const GUESTS: &str = "cluster";
/// The script that prints what a node must be told.
const TOKEN: &str = "a-token-for-the-node";
/// Scripts behind which a bootstrap is done.
const DONE: &str = "the-bootstrap-is-done";
/// Ends of names of scripts behind which a machine has ended, or is cut off.
const DOWN: &str = "goes-down";
const CUT: &str = "loses-power";
/// The card's name in a guest: it stands behind three disks.
const CARD: &str = "enp0s5";
/// What disks are grown to, in bytes.
const DISK: u64 = 8 << 30;
/// What stands where the seed was, once it was taken, in bytes.
const EMPTY: usize = 1 << 20;
/// A script's time on a processor; emulation gets ten times as much.
const LIMIT: Duration = Duration::from_secs(270);
/// How long a machine lies without power: certificates are good for a year, and 60 days before they end
/// hale renews them; the kubelet does so after nine tenths of their time at the latest.
const DAYS: u32 = 333;

/// Which machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// The control plane and gateway.
    Master,
    /// The worker.
    Node,
}

impl Role {
    pub(crate) const ALL: [Self; 2] = [Self::Master, Self::Node];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Node => "node",
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|role| role.name() == name).unwrap_or_else(|| panic!("no machine {name}"))
    }

    /// Memory in MiB.
    fn memory(self) -> u32 {
        match self {
            Self::Master => 6144,
            Self::Node => 3072,
        }
    }
}

/// The machines that run, and the disks of those that do not.
pub(crate) struct Machines {
    system: TestSystem,
    host: Option<Host>,
    cards: BTreeMap<Role, Vec<Card>>,
    running: BTreeMap<Role, Running>,
    /// Those that lay without power.
    late: BTreeSet<Role>,
    /// Whether the master's images are imported at its first boot.
    import: bool,
    join: Option<String>,
    /// Of first boots, while they last.
    times: Option<Times>,
}

impl Machines {
    pub(crate) fn new(system: TestSystem) -> Self {
        let cards = Role::ALL.into_iter().zip(segment(system.folder.path(), Role::ALL.len())).collect();
        let (host, running, late) = (None, BTreeMap::new(), BTreeSet::new());
        Self { system, host, cards, running, late, import: false, join: None, times: None }
    }

    /// Finds the disks of machines that are up: those of this run, or those that another left.
    pub(crate) fn find(&mut self) -> std::result::Result<(), String> {
        for role in Role::ALL {
            let (own, kept) = (self.disk(role), kept().map(|folder| folder.join(file(role))));
            match kept.filter(|kept| kept.exists()) {
                _ if own.exists() => {}
                Some(kept) => copy_disk(&kept, &own),
                None => {
                    return Err(format!(
                        "no {} is up; HALE_CLUSTER may name a folder that has one",
                        role.name()
                    ));
                }
            }
        }
        Ok(())
    }

    /// Leaves times and disks of a first boot to other runs, if anybody wants them.
    pub(crate) fn keep(&mut self) {
        let (times, Some(folder)) = (self.times.take(), kept()) else { return };
        times.expect("first boots were timed").write(&folder);
        if !self.import {
            Role::ALL.into_iter().for_each(|role| copy_disk(&self.disk(role), &folder.join(file(role))));
        }
    }

    /// Another master will be booted, whose images are not on it.
    pub(crate) fn import(&mut self) {
        self.switch_off();
        let _ = fs::remove_file(self.disk(Role::Master));
        self.import = true;
    }

    /// Takes everybody's power.
    pub(crate) fn switch_off(&mut self) {
        self.running.clear();
    }

    /// The same when something went wrong, and shows what their consoles said.
    pub(crate) fn give_up(&mut self) {
        self.running.values().for_each(Running::keep_console);
        self.switch_off();
    }

    /// A machine that runs.
    pub(crate) fn get(&mut self, role: Role) -> &mut Running {
        if !self.running.contains_key(&role) {
            let booted = self.boot(role).unwrap_or_else(|fault| panic!("{fault}"));
            self.running.insert(role, booted);
        }
        self.running.get_mut(&role).expect("it was just booted")
    }

    /// Does what a script's name says that follows it.
    pub(crate) fn went_well(&mut self, (_, role, what): (&str, Role, &str), detail: &str) {
        if what == TOKEN {
            self.join = Some(join(detail));
        }
        if what.ends_with(DOWN) {
            self.get(role).ended();
            self.running.remove(&role);
        } else if what.ends_with(CUT) {
            self.cut(role);
        }
        let (running, Some(times)) = (self.running.get(&role), &mut self.times) else { return };
        if let Some(running) = running.filter(|_| what == DONE) {
            times.phases(role.name(), &running.progress());
        }
        times.reached(&format!("{}: {}", role.name(), what.replace('-', " ")));
    }

    fn boot(&mut self, role: Role) -> Result<Running> {
        let disk = self.disk(role);
        let is_first = !disk.exists();
        if is_first {
            self.install(role)?;
        }
        if is_first && role == Role::Master {
            self.times = Some(Times::begin());
        }
        let seed = self.file(role, "seed");
        let seed = match is_first {
            true => checks::seed(&self.told(role), &seed, |_| {})?,
            false => {
                put(&seed, vec![0; EMPTY]);
                Drive::Snapshot(seed)
            }
        };
        let archive = checks::archive(GUESTS, &self.file(role, "scripts"), &self.file(role, "tar"));
        let disks = vec![if is_first { Drive::Kept(disk.clone()) } else { self.record(role) }, archive, seed];
        let (memory, cards) = (role.memory(), self.cards[&role].clone());
        let clock = self.late.contains(&role).then(|| now().plus_days(DAYS)).transpose()?;
        let guest = Guest { memory, disks, cards, asked: true, clock, ..Guest::of(disk, Firmware::Bios) };
        Ok(self.host()?.boot(role.name(), &guest, LIMIT))
    }

    fn host(&mut self) -> Result<&Host> {
        if self.host.is_none() {
            self.host = Some(Host::with(self.system.tools(system::TOOLS)?));
        }
        Ok(self.host.as_ref().expect("it was just made"))
    }

    /// A disk of the role's image, larger than it.
    fn install(&self, role: Role) -> Result<()> {
        self.system.add_program()?;
        let planned = system::plan(&self.system.target(role.name()), &self.system.store)?;
        let root = self.system.output(&mut planned.plan.clone(), planned.root)?;
        let mut tree: Tree = self.system.store.tree(&root)?;
        if self.import {
            tree = images::at_first_boot(&self.system, &planned.plan, tree)?;
        }
        checks::image(&self.system, tree, role.name(), &self.disk(role))?;
        checks::grow(&self.disk(role), DISK)
    }

    /// What a machine's seed tells it.
    fn told(&self, role: Role) -> String {
        let network = format!("[network]\nbridge = \"make\"\ninterface = \"{CARD}\"\n");
        match role {
            Role::Master => format!("name = \"master\"\n\n{network}"),
            Role::Node => format!(
                "name = \"node-1\"\n\n{network}address = \"10.0.3.2\"\npods = \"10.0.3.61-10.0.3.105\"\n\n{}",
                self.join.as_ref().expect("the master's token comes before the node")
            ),
        }
    }

    /// The disk, of which every write is recorded from now on.
    fn record(&self, role: Role) -> Drive {
        let (disk, log) = (self.disk(role), self.file(role, "log"));
        copy_disk(&disk, &self.file(role, "before"));
        put(&log, "");
        Drive::Recorded { disk, log }
    }

    /// Takes a machine's power: its disk has what was flushed, and of the rest the half.
    fn cut(&mut self, role: Role) {
        self.get(role).kill();
        self.running.remove(&role);
        let record = Record::read(&self.file(role, "log"));
        let last = record.flushes().checked_sub(1).expect("a record of flushes");
        println!("{}: cut behind flush {last}", role.name());
        record.cut(&self.file(role, "before"), &self.disk(role), last, |index| {
            Digest::of(format!("{index}")).bytes()[0] & 1 == 0
        });
        self.late.insert(role);
    }

    fn disk(&self, role: Role) -> PathBuf {
        self.system.folder.path().join(file(role))
    }

    fn file(&self, role: Role, end: &str) -> PathBuf {
        self.system.folder.path().join(format!("{}.{end}", role.name()))
    }
}

/// A disk's name.
fn file(role: Role) -> String {
    format!("{}.raw", role.name())
}

fn kept() -> Option<PathBuf> {
    std::env::var_os("HALE_CLUSTER").map(PathBuf::from)
}

fn now() -> Epoch {
    #[expect(clippy::disallowed_methods, reason = "machines are switched on later than now")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Epoch::new(now.as_secs()).expect("before the year 9999")
}

/// The table that `hale token` printed, from a check's detail, which has semicolons for its line ends.
fn join(detail: &str) -> String {
    let table = detail.split_once("[join]").unwrap_or_else(|| panic!("no token in {detail:?}")).1;
    let lines = table.split(';').map(str::trim).take_while(|line| !line.starts_with('+'));
    format!("[join]\n{}\n", lines.collect::<Vec<_>>().join("\n"))
}
