//! The whole cluster of line 1.20: a master and a node from our images on one segment, without hands.
//!
//! Its components are not to be had where tests run: it needs a checkout to which they were handed over
//! (`cargo xtask input add`) and the store that has them (`$HALE_STORE`). Without them it says loudly that
//! it did not run, and why. `cargo xtask bench cluster` runs it with the user's own store.
//!
//! ```text
//! up       first boots, from power-on to names that pods resolve; then both are shut down
//! again    both are switched on; the node alone is started anew
//! hold     scans, probes from pods, upgrades, a full disk, an API server out of reach
//! cut      the power of each goes under load, and comes back when the certificates are about to end
//! ```
//! Each stage is a folder in `guests/cluster`, and each script in it is a test: `NUMBER-MACHINE-what.sh`.
//! Scripts run by their numbers, those with one number at once. Behind one that is called `…-goes-down` its
//! machine has ended; behind one that is called `…-loses-power` it is cut off, and what was not flushed is on
//! its disk or not. A machine that is off is switched on when the next script is for it.
//!
//! Machines that are up take twenty minutes under emulation. `$HALE_CLUSTER` names a folder where `up` leaves
//! its disks and times, and where stages that run without it take the disks from.

mod images;
mod machines;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use builder::base::Result;
use libtest_mimic::{Failed, Trial};
use machines::{Machines, Role};
use tests::checks;
use tests::runner::File;
use tests::system::TestSystem;
use tests::vm::Outcome;

const LINE: &str = "1.20";
/// The stages in order; a stage finds the machines as the one before it leaves them.
const STAGES: [&str; 4] = [UP, "again", "hold", "cut"];
const UP: &str = "up";
/// The same first boot of a master whose images are no part of it, for `cargo xtask bench cluster` alone.
const IMPORT: &str = "import";
/// Stages of first boots.
const FIRST: [&str; 2] = [UP, IMPORT];

/// What the runner must know of this file: all results come from one pair of machines, which the first who asks starts.
pub(crate) const FILE: File = File { name: "cluster", at_once: Some(1), found: scripts };

fn scripts() -> Vec<Trial> {
    let cluster = Cluster::new();
    if let Err(why) = &cluster {
        eprintln!("\nTHE CLUSTER OF LINE {LINE} WAS NOT RUN: {why}\n");
    }
    let missing = cluster.is_err();
    let cluster = Arc::new(Mutex::new(cluster));
    let trial = |step: Step| {
        let cluster = Arc::clone(&cluster);
        let (name, ignored) = (format!("cluster::{}", step.name()), missing || step.stage == IMPORT);
        let run = move || match &mut *cluster.lock().expect("no test panics") {
            Ok(cluster) => cluster.result(&step),
            Err(why) => Err(why.to_string().into()),
        };
        Trial::test(name, run).with_ignored_flag(ignored)
    };
    STAGES.into_iter().chain([IMPORT]).flat_map(Step::all).map(trial).collect()
}

/// A script of a stage.
#[derive(Clone, Debug)]
struct Step {
    stage: &'static str,
    /// The file's name without its end.
    file: String,
}

impl Step {
    fn all(stage: &'static str) -> Vec<Self> {
        let files = checks::of(&format!("cluster/{stage}")).into_iter();
        files.map(|file| Self { stage, file: file.trim_end_matches(".sh").to_owned() }).collect()
    }

    /// Number, machine, and what it is about.
    fn parts(&self) -> (&str, Role, &str) {
        let mut words = self.file.splitn(3, '-');
        let mut word = || words.next().unwrap_or_else(|| panic!("{}: not NUMBER-MACHINE-what", self.file));
        (word(), Role::named(word()), word())
    }

    /// What the guest knows it by.
    fn asked(&self) -> String {
        format!("{}/{}", self.stage, self.file)
    }

    /// The test's name.
    fn name(&self) -> String {
        self.asked().replace('/', "::")
    }
}

type Outcomes = BTreeMap<String, Outcome>;

/// The machines, and what they have found so far.
struct Cluster {
    machines: Machines,
    stages: BTreeMap<&'static str, std::result::Result<Outcomes, String>>,
}

impl Cluster {
    /// Fails when a component of a role is not at hand.
    fn new() -> Result<Self> {
        Ok(Self { machines: Machines::new(TestSystem::handed_over(LINE)?), stages: BTreeMap::new() })
    }

    /// What a script found; its stage is run by the first who asks.
    fn result(&mut self, step: &Step) -> std::result::Result<(), Failed> {
        if !self.stages.contains_key(step.stage) {
            let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.run(step.stage)));
            let found = found.unwrap_or_else(|_| {
                self.machines.give_up();
                Err("see above".to_owned())
            });
            self.stages.insert(step.stage, found);
        }
        match &self.stages[step.stage] {
            Err(why) => Err(format!("{} did not run: {why}", step.stage).into()),
            Ok(outcomes) => match outcomes.get(&step.asked()) {
                Some(Outcome { ok: true, .. }) => Ok(()),
                Some(Outcome { detail, .. }) => Err(detail.replace("; ", "\n").into()),
                None => Err("it was not reached".into()),
            },
        }
    }

    /// Runs a stage's scripts. Where `up` fails, nothing behind it can be judged.
    fn run(&mut self, stage: &'static str) -> std::result::Result<Outcomes, String> {
        if let Some((broken, _)) = self.stages.iter().find(|(_, found)| found.is_err()) {
            return Err(format!("{broken} left no machines to go on with"));
        }
        match stage {
            UP => {}
            IMPORT => self.machines.import(),
            _ => self.machines.find()?,
        }
        let (steps, mut found) = (Step::all(stage), Outcomes::new());
        for at_once in steps.chunk_by(|a, b| a.parts().0 == b.parts().0) {
            at_once.iter().for_each(|step| self.machines.get(step.parts().1).ask(&step.asked()));
            for step in at_once {
                let outcome = self.machines.get(step.parts().1).outcome(&step.asked());
                println!("{}: {}\n{}", step.name(), outcome.ok, outcome.detail.replace("; ", "\n"));
                if outcome.ok {
                    self.machines.went_well(step.parts(), &outcome.detail);
                }
                found.insert(step.asked(), outcome);
            }
            if FIRST.contains(&stage) && found.values().any(|outcome| !outcome.ok) {
                self.machines.switch_off();
                return Ok(found);
            }
        }
        if FIRST.contains(&stage) {
            self.machines.keep();
        }
        Ok(found)
    }
}
