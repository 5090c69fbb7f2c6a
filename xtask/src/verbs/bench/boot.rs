//! From power-on to multi-user: a disk of ours, and a Debian of the same packages that mmdebstrap made, with the
//! distribution's own initramfs and units. Both start by BIOS and by the same boot loader, which asks nobody and
//! waits for nothing; each has one unit more, which tells when all others of multi-user.target have started.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use builder::base::tree::{Memory, Node, TreePath};
use builder::base::{Digest, Fault, Result};
use builder::build::planner::BuildTarget;
use builder::build::planner::system;
use builder::build::steps::disk;
use builder::dist::disk_image;
use builder::host::atomic::AtomicFile;
use builder::machine::vm::{Accelerator, Bus, Console, Drive, Firmware, Machine};
use builder::pack::disk::gpt::{Gpt, MARGIN, Partition, Purpose, SECTOR};
use builder::pack::disk::grub::{self, Grub};
use builder::pack::disk::initramfs::Kernel;
use builder::pack::disk::writer::BlockWriter as _;
use builder::pack::disk::{DiskSpec, SLACK};
use builder::plan::{DiskStep, Plan, Step};
use builder::rootfs::tools::Tools;
use builder::store::Store;

use super::image::{debs, mke2fs, mmdebstrap, ratio, seconds};
use super::measurement::{Goal, Measurement};
use crate::context::Context;
use crate::disks;
use crate::run::realise;
use crate::target::Jobs;

const ROLE: &str = "master";
/// What both consoles say.
const UP: &str = "multi-user has been reached at";
/// The unit that says it, and what starts it.
const UNIT: &str = "etc/systemd/system/hale-bench.service";
const WANTED: &str = "etc/systemd/system/multi-user.target.wants/hale-bench.service";
/// On a processor; emulation gets ten times as much.
const LIMIT: Duration = Duration::from_secs(60);
/// The least of so many boots counts: whatever else runs only adds. They take turns, since a machine that is shared
/// may have slow minutes.
const RUNS: usize = 3;

/// Measures.
pub(crate) fn run(context: &Context, record: &mut dyn FnMut(Measurement)) -> Result<()> {
    let scratch = tempfile::tempdir().map_err(|e| Fault::machine("no scratch folder").cause(e))?;
    let (tools, boot) = (disks::tools(context)?, disks::group(context, system::BOOT)?);
    let image = scratch.path().join("ours.raw");
    hale(context, &boot, &image)?;
    let theirs = debian(scratch.path(), &packages(context)?, &boot)?;
    // What was just written is on its way to this machine's disk, and in the way of both.
    rustix::fs::sync();
    let power_on = |disk: &Path| power_on(&tools, scratch.path(), disk);
    let (mut ours, mut debian) = (power_on(&image)?, power_on(&theirs)?);
    for _ in 1..RUNS {
        (ours, debian) = (ours.min(power_on(&image)?), debian.min(power_on(&theirs)?));
    }
    for (what, boot) in [("power-on to multi-user", ours), ("  a Debian that mmdebstrap made", debian)] {
        record(seconds(what, boot.whole, None));
        record(seconds("    of it until the kernel's clock starts", boot.whole - boot.kernel, None));
    }
    record(ratio("  ours by Debian's", ours.whole / debian.whole, Goal::AtMost(0.5)));
    Ok(())
}

/// How long a machine took to be up, in seconds.
#[derive(Clone, Copy)]
struct Boot {
    /// From power-on.
    whole: f64,
    /// Of it by the kernel's own clock: without firmware, boot loader, and the kernel unpacking itself.
    kernel: f64,
}

impl Boot {
    fn min(self, other: Self) -> Self {
        if other.whole < self.whole { other } else { self }
    }

    /// What the console says of the kernel's clock, once the unit has run.
    fn kernel(console: &str) -> Option<f64> {
        let (_, said) = console.split_once(UP)?;
        said.split_once('\n')?.0.trim().parse().ok()
    }
}

fn target(context: &Context) -> Result<BuildTarget> {
    let project = context.project()?.clone();
    Ok(BuildTarget {
        line: project.default_line()?,
        role: ROLE.parse()?,
        project,
        toolchain: context.toolchain(),
    })
}

fn unit() -> String {
    format!(
        "[Unit]\nAfter=multi-user.target\n\n[Service]\nType=oneshot\nStandardOutput=tty\n\
         TTYPath=/dev/ttyS0\nExecStart=/bin/sh -c 'read up idle < /proc/uptime; echo \"{UP} $$up\"'\n"
    )
}

/// Makes the role's disk as it is shipped but for the unit.
fn hale(context: &Context, boot: &Tools, to: &Path) -> Result<()> {
    let store = Store::open(&context.store)?;
    let planned = system::plan(&target(context)?, &store)?;
    let mut plan = Plan::new();
    plan.absorb(planned.plan)?;
    plan.want(planned.root);
    let built = realise(context, &store, &plan, Jobs::default())?;
    let root = built.get(&planned.root).ok_or_else(|| Fault::bug("the root was not made"))?.0.digest();
    let (mut tree, mut own) = (store.tree(&root)?, Memory::default());
    tree.insert(TreePath::new(UNIT)?, own.file(unit(), 0o644))?;
    tree.insert(TreePath::new(WANTED)?, Node::symlink(format!("/{UNIT}")))?;
    store.put_all(&own)?;
    let Step::Disk(DiskStep { arguments, epoch, .. }) = &plan.find("disk")?.1.step else {
        return Err(Fault::bug("the disk is made in another way"));
    };
    let disk = DiskSpec {
        identity: Digest::of("bench"),
        epoch: *epoch,
        arguments: arguments.join(" "),
        slack: SLACK,
    };
    let made = disk::assemble(&disk, &tree, &store, boot)?;
    disk_image::take_out(&store, &made.digest(), to)
}

/// Debian's packages of the role's disk, and what makes the initramfs that they would have.
fn packages(context: &Context) -> Result<Vec<String>> {
    let plan = system::plan(&target(context)?, &Store::open(&context.store)?)?.plan;
    let initramfs = ["initramfs-tools".to_owned()];
    Ok(debs(&plan)?.keys().map(|name| name.to_string()).chain(initramfs).collect())
}

/// Makes a Debian of these packages on a disk that GRUB boots, with the arguments that Debian's installer gives
/// a kernel, the root as it writes it down, and the consoles of a disk of ours.
fn debian(folder: &Path, packages: &[String], grub: &Tools) -> Result<PathBuf> {
    let (tree, root) = (folder.join("theirs"), folder.join("theirs.ext4"));
    mmdebstrap(packages, &tree, sources())?;
    let failed = |e| Fault::io("write into", &tree, e);
    fs::write(tree.join("etc/fstab"), "/dev/vda3 / ext4 errors=remount-ro 0 1\n").map_err(failed)?;
    fs::write(tree.join(UNIT), unit()).map_err(failed)?;
    symlink(Path::new("/").join(UNIT), tree.join(WANTED)).map_err(failed)?;
    mke2fs(&tree, &root, "3G")?;
    let release = release(&tree)?;
    let kernel = Kernel { image: TreePath::new(format!("boot/vmlinuz-{release}"))?, release };
    let line = "root=/dev/vda3 ro quiet console=tty0 console=ttyS0,115200";
    let core = disk::grub_core(grub, &grub::commands(&kernel, line))?;
    let boot = disk::grub_boot(grub)?;
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
    let mut out = AtomicFile::new(disk)?;
    let (sector, core) = grub::place(grub, MARGIN / SECTOR)?;
    Gpt { seed: Digest::of("a Debian"), length: whole, partitions }.write(&sector, &mut out)?;
    out.write_at(MARGIN, &core).map_err(|e| Fault::io("write", disk, e))?;
    out.copy(&mut file, root, 3 * MARGIN)?;
    out.commit(whole)
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

/// Boots a disk under a snapshot until its console says that it is up.
fn power_on(tools: &Tools, scratch: &Path, disk: &Path) -> Result<Boot> {
    let console = scratch.join("console");
    fs::write(&console, "").map_err(|e| Fault::io("write", &console, e))?;
    let machine = Machine {
        firmware: Firmware::Bios,
        memory: 2048,
        processors: 2,
        disks: vec![Drive::Snapshot(disk.to_owned())],
        bus: Bus::Virtio,
        cards: Vec::new(),
        console: Console::File(console.clone()),
        ports: Vec::new(),
    };
    let accelerator = Accelerator::probe(tools)?;
    let mut command = machine.command(tools, accelerator, scratch)?;
    let start = Instant::now();
    let started = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    let mut guest = started.map_err(|e| Fault::machine("cannot run QEMU").cause(e))?;
    let reached = loop {
        sleep(Duration::from_millis(25));
        let said = fs::read(&console).map_err(|e| Fault::io("read", &console, e))?;
        if let Some(kernel) = Boot::kernel(&String::from_utf8_lossy(&said)) {
            break Some(Boot { whole: start.elapsed().as_secs_f64(), kernel });
        }
        let ended = guest.try_wait().map_or(true, |status| status.is_some());
        if ended || start.elapsed() > accelerator.patience(LIMIT) {
            break None;
        }
    };
    // Both fail only when it has ended already, which is what is wanted.
    let _ = guest.kill();
    let _ = guest.wait();
    reached.ok_or_else(|| Fault::machine(format!("{} was not up in time", disk.display())))
}
