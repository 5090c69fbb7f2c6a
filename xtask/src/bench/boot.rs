//! From power-on to a login: a disk of ours, and a Debian of the same packages that mmdebstrap made, with the
//! distribution's own initramfs and units. Both start by BIOS and by the same boot loader, which asks nobody and
//! waits for nothing.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use builder::base::{Digest, Fault, Result};
use builder::dist::Order;
use builder::image::{self, Publishing};
use builder::pack::bios::{self, Grub};
use builder::pack::gpt::{Gpt, MARGIN, Partition, Purpose, SECTOR};
use builder::pack::initramfs::Kernel;
use builder::pack::sink::Sink as _;
use builder::project::Project;
use builder::store::Store;
use builder::system;
use builder::tools::Tools;
use builder::tree::TreePath;
use builder::vm::{Accelerator, Bus, Console, Disk, Firmware, Machine};

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
    let theirs = debian(scratch.path(), &packages(context)?, &disks::group(context, system::BOOT)?)?;
    let least = |disk: &Path| -> Result<f64> {
        let boot = || power_on(&tools, scratch.path(), disk);
        (0..RUNS).try_fold(f64::INFINITY, |least, _| Ok(least.min(boot()?)))
    };
    let ours = least(&image)?;
    tell(seconds("power-on to a login", ours, None));
    let debian = least(&theirs)?;
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

/// Makes a Debian of these packages on a disk that GRUB boots, with the arguments that Debian's installer gives
/// a kernel, and the consoles of a disk of ours.
fn debian(folder: &Path, packages: &[String], grub: &Tools) -> Result<PathBuf> {
    let (tree, root) = (folder.join("theirs"), folder.join("theirs.ext4"));
    mmdebstrap(packages, &tree, sources())?;
    mke2fs(&tree, &root, "3G")?;
    let release = release(&tree)?;
    let kernel = Kernel { image: TreePath::new(format!("boot/vmlinuz-{release}"))?, release };
    let line = "root=/dev/vda3 ro quiet console=tty0 console=ttyS0,115200";
    let core = image::grub_core(grub, &bios::commands(&kernel, line))?;
    let boot = image::grub_boot(grub)?;
    let disk = folder.join("theirs.raw");
    bootable(&root, &Grub { boot: &boot, core: &core }, &disk)?;
    Ok(disk)
}

/// The release of a tree's kernel, by its initramfs.
fn release(tree: &Path) -> Result<String> {
    let entries = fs::read_dir(tree.join("boot")).map_err(|e| Fault::io("list", tree, e))?;
    let mut names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let found = names.find_map(|name| Some(name.strip_prefix("initrd.img-")?.to_owned()));
    found.ok_or_else(|| Fault::machine("mmdebstrap made no /boot/initrd.img-*"))
}

/// Puts a file system behind GRUB, as the third partition: where the core looks for its kernel.
fn bootable(root: &Path, grub: &Grub<'_>, disk: &Path) -> Result<()> {
    let failed = |e| Fault::io("read", root, e);
    let mut file = File::open(root).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let part = |purpose, name: &str, start, length| Partition { purpose, name: name.into(), start, length };
    let partitions = vec![
        part(Purpose::BiosBoot, "grub", MARGIN, MARGIN),
        part(Purpose::Data, "nothing", 2 * MARGIN, MARGIN),
        part(Purpose::Root, "root", 3 * MARGIN, length),
    ];
    let whole = 4 * MARGIN + length;
    let mut out = Publishing::new(disk)?;
    let (sector, core) = bios::place(grub, MARGIN / SECTOR)?;
    Gpt { seed: Digest::of("a Debian"), length: whole, partitions }.write(&sector, &mut out)?;
    out.put(MARGIN, &core).map_err(|e| Fault::io("write", disk, e))?;
    out.copy(&mut file, root, 3 * MARGIN)?;
    out.publish(whole)
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
fn power_on(tools: &Tools, scratch: &Path, disk: &Path) -> Result<f64> {
    let console = scratch.join("console");
    fs::write(&console, "").map_err(|e| Fault::io("write", &console, e))?;
    let machine = Machine {
        firmware: Firmware::Bios,
        memory: 2048,
        processors: 2,
        disks: vec![Disk::Snapshot(disk.to_owned())],
        bus: Bus::Virtio,
        cards: Vec::new(),
        console: Console::File(console.clone()),
        ports: Vec::new(),
    };
    let accelerator = Accelerator::probe(tools)?;
    let mut command = machine.command(tools, accelerator, scratch)?;
    let start = Instant::now();
    let started = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
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
