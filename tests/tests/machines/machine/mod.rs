//! Machines of ours, booted: what guests find is reported by themselves, check by check.
//!
//! ```text
//! first    our image by UEFI, flashed to a larger disk, with a seed; every write of its first boot recorded
//! cut      the same first boot, cut at some of its flushes, and booted again
//! pods     our image by BIOS: a container under our configuration; a broken seed; upgrades that want too much
//! buses    our image behind NVMe, SATA and USB; a port of the host's that leads into it
//! plain    a Debian without us: apt-get installs the role from our signed repository; a seed on a CD
//! ```
//! The guests' checks are the scripts in `guests/`; each script is a test.

mod image;
mod packages;
mod port;
mod record;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use builder::base::tree::{Memory, Tree, TreePath};
use builder::base::{Digest, Result};
use builder::build::planner::inputs;
use builder::build::planner::system;
use builder::build::steps::disk::INIT;
use builder::host::overwrite::Overwrite;
use builder::machine::flash::{Target, flash};
use builder::machine::vm::{Bus, Card, Drive, Firmware, Forward};
use builder::pack::package::repository::RepositoryPackage;
use builder::plan::{InstallStep, Output, Plan, RootStep, Step};
use libtest_mimic::{Failed, Trial};
use macro_rules_attribute::apply;
use packages::offer;
use tests::checkout;
use tests::checks;
use tests::powercut::{Record, copy_disk};
use tests::runner::{File, Shared, shared};
use tests::secrets;
use tests::system::TestSystem;
use tests::tools::put;
use tests::trial;
use tests::vm::{Guest, Host, Outcome};

/// How many moments of the first boot lose their power, unless `$HALE_CUTS` says more.
const CUTS: usize = 5;
/// What is booted, in the order in which it is begun.
const STAGES: [(&str, fn(&Stage) -> Outcomes); 5] = [
    ("first", Stage::first),
    ("pods", Stage::pods),
    ("plain", Stage::plain),
    ("buses", Stage::buses),
    ("cut", Stage::cut),
];
/// Guests at a time: each has two processors, and seldom uses both.
const AT_ONCE: usize = 2;
/// A key where none may be, for the scanner to find.
const CANARY: &str = "etc/ssh/ssh_host_canary_key";
/// What the first boot is told.
const SEED: &str = "name = \"trial\"\n\n[network]\nbridge = \"make\"\n";
/// The disk that an image is flashed to, in bytes: larger than the image.
const DISK: u64 = 3 << 30;
/// A guest's time on a processor; emulation gets ten times as much.
const LIMIT: Duration = Duration::from_secs(120);

/// What the runner must know of this file.
pub(crate) const FILE: File = File { name: "machine", at_once: Some(AT_ONCE), found: scripts };

fn scripts() -> Vec<Trial> {
    let (mut begin, mut rest) = (Vec::new(), Vec::new());
    for (guest, _) in STAGES {
        for (index, check) in checks::of(guest).into_iter().enumerate() {
            let name = check.trim_end_matches(".sh").to_owned();
            let result = format!("machine::{guest}::{name}");
            let trial = Trial::test(result, move || shared::<Stage>().result(guest, &name));
            // Who asks first boots the guest, so each guest's first check comes before all others.
            if index == 0 { begin.push(trial) } else { rest.push(trial) }
        }
    }
    begin.extend(rest);
    begin
}

#[apply(trial)]
fn every_driver_of_the_first_root_is_there(stage: &Stage) {
    let Stage { system, shipped, .. } = stage;
    let tree = system.store.tree(shipped);
    let there = tree.and_then(|tree| image::drivers_are_there(&system.store, &tree, system.epoch()));
    there.unwrap_or_else(|fault| panic!("{fault}"));
}

#[apply(trial)]
fn what_a_guest_writes_is_recorded_or_forgotten(stage: &Stage) {
    record::is_kept(&stage.host);
}

/// A canary is planted, and is all that is found.
#[apply(trial)]
fn no_secret_is_in_the_image(stage: &Stage) {
    let found = stage.secrets_beside_a_canary().unwrap_or_else(|fault| panic!("{fault}"));
    let (by_place, by_bytes) = &found;
    let canary = by_bytes.len() == 1 && by_bytes[0].starts_with("the private key b3BlbnNzaC1rZXk");
    assert!(*by_place == [CANARY] && canary, "{found:?}");
}

type Outcomes = BTreeMap<String, Outcome>;

/// Removes a disk that was booted: all of them together would fill the machine's.
fn remove(disk: &Path) {
    fs::remove_file(disk).expect("the disk can go");
}

/// Boots a guest for each case, some at a time, and gives the worst outcome of each check; its detail names the case.
fn worst<T: Sync>(cases: &[T], boot: impl Fn(&T) -> (String, Outcomes) + Sync) -> Outcomes {
    let mut worst = Outcomes::new();
    for some in cases.chunks(AT_ONCE) {
        let found: Vec<_> = std::thread::scope(|scope| {
            let begun: Vec<_> = some.iter().map(|case| scope.spawn(|| boot(case))).collect();
            begun.into_iter().map(|guest| guest.join().expect("see above")).collect()
        });
        for (case, outcomes) in found {
            for (check, outcome) in outcomes {
                if worst.get(&check).is_none_or(|known| known.ok) {
                    let detail = format!("{case}: {}", outcome.detail);
                    worst.insert(check, Outcome { detail, ..outcome });
                }
            }
        }
    }
    worst
}

/// The images, and what guests have found so far.
struct Stage {
    system: TestSystem,
    host: Host,
    /// The node's root as it is shipped; nothing of a test's in it.
    shipped: Digest,
    /// Its image, for the machines that start with nothing else.
    image: OnceLock<PathBuf>,
    packages: Vec<RepositoryPackage>,
    found: BTreeMap<&'static str, OnceLock<std::result::Result<Outcomes, String>>>,
}

impl Shared for Stage {
    fn make() -> Self {
        Self::build().unwrap_or_else(|fault| panic!("{fault}"))
    }
}

impl Stage {
    fn build() -> Result<Self> {
        let mut system = TestSystem::new()?;
        system.add_fixtures()?;
        system.add_program()?;
        let planned = system::plan(&system.target("master"), &system.store)?;
        assert!(planned.left_out.is_empty(), "{:?}", planned.left_out);
        let mut plan = planned.plan.clone();
        let shipped = system.output(&mut plan, planned.root)?;
        let mut packages = Vec::new();
        if let Some(Step::Install(InstallStep { packages: own, .. })) =
            plan.get(&planned.root).map(|p| &p.step)
        {
            for deb in own.values() {
                if let Some(Output::Blob { content, size }) = system.store.output(deb)? {
                    packages.push(offer(&system, content, size)?);
                }
            }
        }
        let host = Host::with(system.tools(system::TOOLS)?);
        let found = STAGES.map(|(guest, _)| (guest, OnceLock::new())).into();
        Ok(Self { system, host, shipped, image: OnceLock::new(), packages, found })
    }

    /// What a guest found; it is booted by the first who asks.
    fn outcomes(&self, guest: &str) -> &std::result::Result<Outcomes, String> {
        self.found[guest].get_or_init(|| {
            let boot = STAGES.iter().find(|(name, _)| *name == guest).expect("a stage").1;
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| boot(self)))
                .map_err(|_| "see above".to_owned())
        })
    }

    fn result(&self, guest: &str, check: &str) -> std::result::Result<(), Failed> {
        match self.outcomes(guest) {
            Err(why) => Err(format!("{guest} did not come up: {why}").into()),
            Ok(outcomes) => match outcomes.get(check) {
                Some(Outcome { ok: true, .. }) => Ok(()),
                Some(Outcome { detail, .. }) => Err(detail.replace("; ", "\n").into()),
                None => Err("no result".into()),
            },
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.system.folder.path().join(name)
    }

    /// The first boot of a flashed disk.
    fn first(&self) -> Outcomes {
        let (before, disk, log) = (self.file("before"), self.file("first"), self.file("log"));
        let image = self.shipped_image();
        image::is_sound(image);
        Target::open(&before, Overwrite::Own)
            .and_then(|target| flash(image, &target, None, &mut |_, _, _| {}))
            .unwrap_or_else(|fault| panic!("{fault}"));
        fs::OpenOptions::new().write(true).open(&before).and_then(|f| f.set_len(DISK)).expect("a large disk");
        copy_disk(&before, &disk);
        put(&log, "");
        let disks = vec![Drive::Recorded { disk: disk.clone(), log }, self.seed("seed", |_| {})];
        let outcomes = self.boot("first", "first", Guest { disks, ..Guest::of(&before, Firmware::Uefi) });
        remove(&disk);
        outcomes
    }

    /// What is left of the first boot when the power goes, booted: the worst of all.
    fn cut(&self) -> Outcomes {
        if let Err(why) = self.outcomes("first") {
            panic!("the first boot: {why}");
        }
        let record = Record::read(&self.file("log"));
        let cuts = std::env::var("HALE_CUTS").map_or(CUTS, |cuts| cuts.parse().expect("HALE_CUTS: a number"));
        assert!(record.flushes() > cuts, "a record of only {} flushes", record.flushes());
        let flushes: Vec<usize> = (1..=cuts).map(|cut| record.flushes() * cut / (cuts + 1)).collect();
        worst(&flushes, |flush| {
            (format!("cut at flush {flush} of {}", record.flushes()), self.after(&record, *flush))
        })
    }

    /// A boot after the power went behind this flush.
    fn after(&self, record: &Record, flush: usize) -> Outcomes {
        let disk = self.file(&format!("after-{flush}"));
        record.cut(&self.file("before"), &disk, flush, |index| {
            Digest::of(format!("{flush} {index}")).bytes()[0] & 1 == 0
        });
        let disks = vec![Drive::Kept(disk.clone()), self.seed(&format!("seed-{flush}"), |_| {})];
        // Where e2fsck has mended the root, systemd starts the machine anew (systemd-fsck@.service(8)).
        let guest = Guest { disks, restarts: true, ..Guest::of(&disk, Firmware::Uefi) };
        let outcomes = self.boot(&format!("cut-{flush}"), "cut", guest);
        remove(&disk);
        outcomes
    }

    /// Boots from each bus that a root disk may be behind; the host talks to each guest through a port.
    fn buses(&self) -> Outcomes {
        let image = self.shipped_image();
        let buses = &Bus::NAMES[1..];
        worst(buses, |(name, bus)| {
            let port = port::free();
            let cards = vec![Card::User(vec![Forward { host: port, guest: port::GUEST }])];
            let guest = Guest { bus: *bus, cards, ..Guest::of(image, Firmware::Bios) };
            let talk = port::talk(port);
            let outcomes = self.boot(name, "buses", guest);
            talk.end();
            (format!("by {name}"), outcomes)
        })
    }

    fn pods(&self) -> Outcomes {
        let tree = self.system.store.tree(&self.shipped).expect("the root");
        // Of Debian's container tools only the programs: our configuration is on trial.
        let tree =
            self.system.beside(tree, &["golang-github-containers-common"]).expect("the guests' packages");
        let image = self.image(tree, "pods");
        // The label can be read, and the file's bytes are gone.
        let broken = self.seed("broken", |bytes| {
            let at = bytes.windows(SEED.len()).position(|text| text == SEED.as_bytes());
            bytes[at.expect("the seed's file")..][..SEED.len()].fill(0xff);
        });
        self.foreign();
        let disks = vec![Drive::Snapshot(image.clone()), broken];
        let guest = Guest { disks, memory: 2048, ..Guest::of(&image, Firmware::Bios) };
        let outcomes = self.boot("pods", "pods", guest);
        remove(&image);
        outcomes
    }

    fn plain(&self) -> Outcomes {
        let extra = self.payload("plain");
        let image = self.image(self.plain_root().expect("a plain root"), "plain");
        let (server, suite) = self.repository(&extra).expect("a repository");
        let port = server.url("").rsplit(':').next().expect("a port").to_owned();
        put(extra.join("settings"), format!("PORT={port}\nSUITE={suite}\n"));
        put(extra.join("listing"), self.listing().expect("a listing"));
        let (cards, disks) = (vec![Card::User(Vec::new())], vec![Drive::Snapshot(image.clone()), self.iso()]);
        let guest = Guest { cards, disks, ..Guest::of(&image, Firmware::Bios) };
        let outcomes = self.boot("plain", "plain", guest);
        remove(&image);
        outcomes
    }

    /// A seed as a CD's image.
    fn iso(&self) -> Drive {
        let (folder, path) = (self.file("cd"), self.file("seed.iso"));
        put(folder.join("node.toml"), SEED);
        let words = ["-quiet", "-rational-rock", "-volid", "HALE-SEED", "-output"].map(std::ffi::OsStr::new);
        let words = words.into_iter().chain([path.as_os_str(), folder.as_os_str()]);
        let made = self.system.tools("iso").and_then(|tools| tools.run("genisoimage", words));
        made.unwrap_or_else(|fault| panic!("{fault}"));
        Drive::Snapshot(path)
    }

    /// A Debian of the machine's packages alone, with the program that our initramfs starts with.
    fn plain_root(&self) -> Result<Tree> {
        let system = &self.system;
        let mut plan = Plan::new();
        let packages = inputs::packages(&mut plan, &system.lock, &system.store, &["machine"])?;
        let root = plan.add("root", RootStep { packages, epoch: system.epoch() })?;
        let root = system.output(&mut plan, root)?;
        let mut tree = system.store.tree(&root)?;
        let shipped = system.store.tree(&self.shipped)?;
        for path in [INIT, "etc/fstab"] {
            tree.insert(TreePath::new(path)?, shipped.get(path).expect("the image has it").clone())?;
        }
        Ok(tree)
    }

    /// The image of a root that runs a guest's checks. Whoever asks removes it.
    fn image(&self, tree: Tree, name: &str) -> PathBuf {
        let path = self.file(&format!("{name}.raw"));
        checks::image(&self.system, tree, name, &path).unwrap_or_else(|fault| panic!("{fault}"));
        path
    }

    fn shipped_image(&self) -> &Path {
        let tree = || self.system.store.tree(&self.shipped).expect("the root");
        self.image.get_or_init(|| self.image(tree(), "shipped"))
    }

    /// A seed disk of the master, spoilt.
    fn seed(&self, name: &str, spoil: impl FnOnce(&mut [u8])) -> Drive {
        checks::seed(SEED, &self.file(name), spoil).unwrap_or_else(|fault| panic!("{fault}"))
    }

    /// What lies on a guest's second disk beside its checks.
    fn payload(&self, checks: &str) -> PathBuf {
        self.file(&format!("payload-{checks}"))
    }

    /// Boots a guest with its checks on the second disk, and gives what it found.
    fn boot(&self, name: &str, checks: &str, mut guest: Guest) -> Outcomes {
        let archive = self.file(&format!("{name}.tar"));
        guest.disks.insert(1, checks::archive(checks, &self.payload(checks), &archive));
        let mut running = self.host.boot(name, &guest, LIMIT);
        let outcomes = running.outcomes();
        // Whatever else is found: somebody at the console may log in.
        running.wait_for(" login: ");
        running.kill();
        outcomes.into_iter().map(|outcome| (outcome.test.clone(), outcome)).collect()
    }

    /// What the scanners find in the image with a canary: by path, and by bytes.
    fn secrets_beside_a_canary(&self) -> Result<(Vec<String>, Vec<String>)> {
        let (mut tree, mut contents) = (self.system.store.tree(&self.shipped)?, Memory::default());
        let key = format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n", "b3BlbnNzaC1rZXk".repeat(4));
        tree.insert(TreePath::new(CANARY)?, contents.file(key.as_bytes(), 0o600))?;
        self.system.store.put_bytes(key.as_bytes())?;
        let image = self.image(tree.clone(), "canary");
        let (checkout, store) = (checkout::top(), self.system.store.root().to_owned());
        let own = [checkout.as_os_str(), store.as_os_str(), self.system.folder.path().as_os_str()];
        let words: Vec<&[u8]> = own.iter().map(|path| path.as_encoded_bytes()).collect();
        let (by_place, by_bytes) = (
            secrets::in_tree(&self.system.store, &tree),
            secrets::in_bytes(&image, &words, &secrets::published(&self.system.store, &tree)),
        );
        remove(&image);
        Ok((by_place, by_bytes))
    }
}
