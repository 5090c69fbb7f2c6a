//! The whole cluster of line 1.20: a master and a node from our images on one segment, without hands.
//!
//! Its components are not to be had where tests run: it needs a checkout to which they were handed over
//! (`cargo xtask input add`) and the store that has them (`$HALE_STORE`). Without them it says loudly that
//! it did not run, and why. `cargo xtask bench cluster` runs it with the user's own store.
//!
//! The master comes first. When it has made a token, the node is started with a seed of it. Each machine's
//! checks are the scripts in `guests/control` and `guests/worker`; each script is a test.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use builder::base::{Fault, Result};
use builder::sandbox::{VERB, helper};
use builder::system;
use builder::vm::{Card, Disk, Firmware};
use libtest_mimic::{Arguments, Failed, Trial};
use tests::powercut::copy_disk;
use tests::system::World;
use tests::trial;
use tests::vm::{Guest, Host, Outcome, Running, segment};

const LINE: &str = "1.20";
/// The machines: role, checks, memory in MiB.
const MASTER: (&str, &str, u32) = ("master", "control", 6144);
const NODE: (&str, &str, u32) = ("node", "worker", 3072);
/// The card's name in a guest: it stands behind three disks.
const CARD: &str = "enp0s5";
/// The check of the master that prints what a node must be told.
const TOKEN: &str = "02-a-token-for-the-node";
/// What disks are grown to, in bytes.
const DISK: u64 = 8 << 30;
/// A machine's time on a processor; emulation gets ten times as much.
const LIMIT: Duration = Duration::from_secs(360);

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == VERB) {
        return helper(words.next());
    }
    let mut arguments = Arguments::from_args();
    // All results come from one pair of machines, which the first who asks starts.
    arguments.test_threads = Some(1);
    let cluster = Cluster::new();
    if let Err(why) = &cluster {
        eprintln!("\nTHE CLUSTER OF LINE {LINE} WAS NOT RUN: {why}\n");
    }
    let missing = cluster.is_err();
    let cluster = Arc::new(cluster);
    let tests = [MASTER, NODE].into_iter().flat_map(|(_, guest, _)| {
        trial::checks(guest).into_iter().map(move |check| (guest, check.trim_end_matches(".sh").to_owned()))
    });
    let tests = tests.map(|(guest, check)| {
        let (cluster, name) = (Arc::clone(&cluster), format!("{guest}::{check}"));
        let run = move || match &*cluster {
            Ok(cluster) => cluster.result(guest, &check),
            Err(why) => Err(why.to_string().into()),
        };
        Trial::test(name, run).with_ignored_flag(missing)
    });
    let tests = tests.collect();
    libtest_mimic::run(&arguments, tests).exit_code()
}

type Outcomes = BTreeMap<(&'static str, String), Outcome>;

/// The world that has the components, and what the machines have found.
struct Cluster {
    world: World,
    found: OnceLock<std::result::Result<Outcomes, String>>,
}

impl Cluster {
    /// Fails when a component of a role is not at hand.
    fn new() -> Result<Self> {
        let world = World::handed_over(LINE)?;
        for (role, ..) in [MASTER, NODE] {
            let left_out = system::plan(&world.order(role), &world.store)?.left_out;
            if let Some((package, why)) = left_out.first_key_value() {
                return Err(Fault::user(format!("{package} of role {role} lacks {why:?}"))
                    .mend("cargo xtask input add hands over a component; HALE_STORE names the store"));
            }
        }
        Ok(Self { world, found: OnceLock::new() })
    }

    fn result(&self, guest: &'static str, check: &str) -> std::result::Result<(), Failed> {
        let found = self.found.get_or_init(|| {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.run()))
                .map_err(|_| "see above".to_owned())
        });
        match found {
            Err(why) => Err(format!("the cluster did not come up: {why}").into()),
            Ok(outcomes) => match outcomes.get(&(guest, check.to_owned())) {
                Some(Outcome { ok: true, .. }) => Ok(()),
                Some(Outcome { detail, .. }) => Err(detail.replace("; ", "\n").into()),
                None => Err("no result".into()),
            },
        }
    }

    fn run(&self) -> Outcomes {
        let tools = self.world.add_program().and_then(|()| self.world.tools(system::TOOLS));
        let host = Host::with(tools.unwrap_or_else(|fault| panic!("{fault}")));
        let mut cards = segment(self.world.folder.path(), 2).into_iter();
        let network = format!("[network]\nbridge = \"make\"\ninterface = \"{CARD}\"\n");
        let seed = format!("name = \"master\"\n\n{network}");
        let mut master = self.boot(&host, MASTER, &seed, cards.next().unwrap_or_default());
        let token = master.outcome(TOKEN);
        assert!(token.ok, "no token: {}", token.detail);
        let seed = format!(
            "name = \"node-1\"\n\n{network}address = \"10.0.3.2\"\npods = \"10.0.3.61-10.0.3.105\"\n\n{}",
            join(&token.detail)
        );
        let mut node = self.boot(&host, NODE, &seed, cards.next().unwrap_or_default());
        let mut outcomes = Outcomes::new();
        for (running, guest) in [(&mut node, NODE.1), (&mut master, MASTER.1)] {
            for outcome in running.outcomes() {
                println!("{guest} {}: {}\n{}", outcome.test, outcome.ok, outcome.detail.replace("; ", "\n"));
                outcomes.insert((guest, outcome.test.clone()), outcome);
            }
        }
        node.kill();
        master.kill();
        outcomes
    }

    /// Starts a machine: the role's image on a larger disk, its checks, its seed.
    fn boot(
        &self,
        host: &Host,
        (role, guest, memory): (&str, &str, u32),
        seed: &str,
        cards: Vec<Card>,
    ) -> Running {
        let made = || -> Result<Guest> {
            let planned = system::plan(&self.world.order(role), &self.world.store)?;
            let root = self.world.output(&mut planned.plan.clone(), planned.root)?;
            let image = trial::image(&self.world, self.world.store.tree(&root)?, role)?;
            let disk = self.file(&format!("{role}.raw"));
            copy_disk(&image, &disk);
            let grown = fs::OpenOptions::new().write(true).open(&disk).and_then(|file| file.set_len(DISK));
            grown.map_err(|e| Fault::io("lengthen", &disk, e))?;
            let checks = trial::archive(guest, &self.file(guest), &self.file(&format!("{guest}.tar")));
            let seed = trial::seed(seed, &self.file(&format!("{role}.seed")), |_| {})?;
            let disks = vec![Disk::Kept(disk.clone()), checks, seed];
            Ok(Guest { memory, disks, cards, ..Guest::of(disk, Firmware::Bios) })
        };
        host.boot(role, &made().unwrap_or_else(|fault| panic!("{fault}")), LIMIT)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.world.folder.path().join(name)
    }
}

/// The table that `hale token` printed, from a check's detail, which has spaces for its line ends.
fn join(detail: &str) -> String {
    let table = detail.split_once("[join]").unwrap_or_else(|| panic!("no token in {detail:?}")).1;
    let lines = table.split(';').map(str::trim).take_while(|line| !line.starts_with('+'));
    format!("[join]\n{}\n", lines.collect::<Vec<_>>().join("\n"))
}
