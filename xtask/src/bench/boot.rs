//! From power-on to a login: a disk of ours, and a Debian of the same packages that mmdebstrap made, with the
//! distribution's own initramfs and units. Ours starts by BIOS and boot loader; QEMU hands theirs to the
//! kernel at once, so what a boot loader costs is on our side.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use builder::base::{Fault, Result};
use builder::dist::Order;
use builder::project::Project;
use builder::store::Store;
use builder::system;
use builder::tools::Tools;
use builder::vm::{Accelerator, Console, Disk, Firmware, Machine};

use super::image::{debs, mke2fs, mmdebstrap, ratio, seconds};
use super::{Goal, Row};
use crate::context::Context;
use crate::disks;

const ROLE: &str = "master";
/// What both consoles say when somebody may log in.
const LOGIN: &str = "login:";
/// On a processor; emulation gets ten times as much.
const LIMIT: Duration = Duration::from_secs(60);
/// The least of so many boots counts: whatever else runs only adds.
const RUNS: usize = 3;

/// Measures. The role's image must have been made.
pub(crate) fn run(context: &Context, tell: &mut dyn FnMut(Row)) -> Result<()> {
    let image = disks::raw_image(&order(context)?)?;
    let scratch = tempfile::tempdir().map_err(|e| Fault::machine("no scratch folder").because(e))?;
    let tools = disks::tools(context)?;
    let theirs = Theirs::make(scratch.path(), &packages(context)?)?;
    let least = |boot: &dyn Fn() -> Result<f64>| -> Result<f64> {
        (0..RUNS).try_fold(f64::INFINITY, |least, _| Ok(least.min(boot()?)))
    };
    let ours = least(&|| power_on(&tools, scratch.path(), &image, &[]))?;
    tell(seconds("power-on to a login", ours, None));
    let debian = least(&|| power_on(&tools, scratch.path(), &theirs.disk, &theirs.arguments()))?;
    tell(seconds("  a Debian that mmdebstrap made", debian, None));
    tell(ratio("  ours by Debian's", ours / debian, Goal::AtMost(0.5)));
    Ok(())
}

fn order(context: &Context) -> Result<Order> {
    let project = Project::at(&context.root);
    Ok(Order { line: project.default_line()?, role: ROLE.parse()?, project })
}

/// Debian's packages of the role's disk, and what makes the initramfs that they would have.
fn packages(context: &Context) -> Result<Vec<String>> {
    let plan = system::plan(&order(context)?, &Store::open(&context.store)?)?.plan;
    let initramfs = ["initramfs-tools".to_owned()];
    Ok(debs(&plan)?.keys().map(|name| name.to_string()).chain(initramfs).collect())
}

/// A disk of one file system, and what QEMU hands to its kernel.
struct Theirs {
    disk: PathBuf,
    kernel: PathBuf,
    initramfs: PathBuf,
}

impl Theirs {
    fn make(folder: &Path, packages: &[String]) -> Result<Self> {
        let (tree, disk) = (folder.join("theirs"), folder.join("theirs.ext4"));
        mmdebstrap(packages, &tree, sources())?;
        mke2fs(&tree, &disk, "3G")?;
        let named = |begin: &str| -> Result<PathBuf> {
            let entries = fs::read_dir(tree.join("boot")).map_err(|e| Fault::io("list", &tree, e))?;
            let mut names = entries.filter_map(|entry| Some(entry.ok()?.path()));
            let found = names
                .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begin)));
            found.ok_or_else(|| Fault::machine(format!("mmdebstrap made no /boot/{begin}*")))
        };
        Ok(Self { kernel: named("vmlinuz-")?, initramfs: named("initrd.img-")?, disk })
    }

    /// What `root=` and the consoles are, as on a disk of ours.
    fn arguments(&self) -> [String; 6] {
        let path = |path: &Path| path.display().to_string();
        let line = "root=/dev/vda ro console=tty0 console=ttyS0,115200";
        ["-kernel", &path(&self.kernel), "-initrd", &path(&self.initramfs), "-append", line]
            .map(str::to_owned)
    }
}

/// This machine's own apt sources.
fn sources() -> Vec<PathBuf> {
    let list = PathBuf::from("/etc/apt/sources.list");
    let more = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let read = |path: &PathBuf| {
        path.is_file() && path.extension().is_some_and(|end| end == "list" || end == "sources")
    };
    more.map(|entry| entry.path()).chain([list]).filter(read).collect()
}

/// Boots a disk under a snapshot: seconds until its console asks for a name.
fn power_on(tools: &Tools, scratch: &Path, disk: &Path, more: &[String]) -> Result<f64> {
    let console = scratch.join("console");
    fs::write(&console, "").map_err(|e| Fault::io("write", &console, e))?;
    let machine = Machine {
        firmware: Firmware::Bios,
        memory: 2048,
        processors: 2,
        disks: vec![Disk::Snapshot(disk.to_owned())],
        cards: Vec::new(),
        console: Console::File(console.clone()),
        ports: Vec::new(),
    };
    let accelerator = Accelerator::probe(tools)?;
    let mut command = machine.command(tools, accelerator, scratch)?;
    let start = Instant::now();
    let started = command.args(more).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    let mut guest = started.map_err(|e| Fault::machine("cannot run QEMU").because(e))?;
    let reached = loop {
        sleep(Duration::from_millis(100));
        let said = fs::read(&console).map_err(|e| Fault::io("read", &console, e))?;
        if String::from_utf8_lossy(&said).contains(LOGIN) {
            break Some(start.elapsed().as_secs_f64());
        }
        let ended = guest.try_wait().map_or(true, |status| status.is_some());
        if ended || start.elapsed() > accelerator.patience(LIMIT) {
            break None;
        }
    };
    // Both fail only when it has ended already, which is what is wanted.
    let _ = guest.kill();
    let _ = guest.wait();
    reached.ok_or_else(|| Fault::machine(format!("{} reached no login in time", disk.display())))
}
