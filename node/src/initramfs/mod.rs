//! `init` of the initramfs: finds the disk that the command line names, mounts it, and switches to it.
//!
//! It knows the devices by what the kernel says of them (`modalias`) and loads what the index made by
//! the builder (`pack::initramfs`) has for them, until the root shows up. Checking and growing the file
//! system are systemd's, later; a root that was left in order it mounts writable, and systemd checks nothing
//! (systemd-fsck-root.service(8)). When it cannot go on it says why on the console, then does what the
//! kernel's own `panic=` asks: a reboot after so many seconds, or to stay as it is.

mod modules;
mod root;

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_move};
use rustix::process::{chdir, chroot};
use rustix::system::{RebootCommand, finit_module, init_module, reboot};
use ruzstd::decoding::StreamingDecoder;

use crate::fault::{Fault, Result};
use modules::ModuleIndex;
use root::RootDevice;

/// Maximum wait for a slow USB disk; `rootdelay=` on the command line changes it.
const ROOT_TIMEOUT: Duration = Duration::from_secs(60);
/// How the root is mounted (ext4(5)); `rootflags=` on the command line changes it.
const OPTIONS: &str = "errors=remount-ro";
const STEP: Duration = Duration::from_millis(20);
const NEW_ROOT: &str = "/root";

/// Runs as process 1 of the initramfs; does not return.
pub fn run() -> ! {
    let command_line = match prepare() {
        Ok(text) => CommandLine::parse(&text),
        Err(fault) => give_up(&CommandLine::default(), &fault),
    };
    let Err(fault) = boot(&command_line);
    give_up(&command_line, &fault)
}

/// What we read of the kernel's command line (bootparam(7)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct CommandLine {
    root: Option<String>,
    init: Option<String>,
    options: Option<String>,
    timeout: Option<u64>,
    panic: Option<u64>,
    /// What `rw` or `ro` asks for; else it is the root's state that decides.
    writable: Option<bool>,
    /// Whether the root is looked at whatever its state is.
    checked: bool,
}

impl CommandLine {
    fn parse(text: &str) -> Self {
        let mut line = Self::default();
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some(("root", value)) => line.root = Some(value.to_owned()),
                Some(("init", value)) => line.init = Some(value.to_owned()),
                Some(("rootflags", value)) => line.options = Some(value.to_owned()),
                Some(("rootdelay", value)) => line.timeout = value.parse().ok(),
                Some(("panic", value)) => line.panic = value.parse().ok(),
                // systemd-fsck(8) looks at the root whatever its state is.
                Some(("fsck.mode", "force")) => line.checked = true,
                None if word == "rw" => line.writable = Some(true),
                None if word == "ro" => line.writable = Some(false),
                _ => {}
            }
        }
        line
    }
}

/// Mounts the kernel's own file systems and reads the command line.
fn prepare() -> Result<String> {
    for (kind, target) in [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys")] {
        let mounted = mount(kind, target, kind, MountFlags::NOSUID, c"");
        mounted.map_err(|e| Fault::io("mount", target, e))?;
    }
    fs::read_to_string("/proc/cmdline").map_err(|e| Fault::io("read", "/proc/cmdline", e))
}

fn boot(line: &CommandLine) -> Result<std::convert::Infallible> {
    let root_device = line.root.as_deref().ok_or_else(|| Fault::input("the command line has no root="))?;
    let root_device: RootDevice = root_device.parse()?;
    let index = fs::read_to_string("/modules").map_err(|e| Fault::io("read", "/modules", e))?;
    let index = ModuleIndex::parse(&index)?;
    let timeout = line.timeout.map_or(ROOT_TIMEOUT, Duration::from_secs);
    // Each by a processor of its own: the file system's driver is as large as those of disks.
    let device = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut loader = Loader::new(&index);
            index.always().iter().for_each(|name| loader.load(name));
        });
        wait_for(&root_device, &mut Loader::new(&index), timeout)
    })?;
    let writable = line.writable.unwrap_or_else(|| !line.checked && root::is_clean(&device));
    let flags = if writable { MountFlags::empty() } else { MountFlags::RDONLY };
    let options = CString::new(line.options.as_deref().unwrap_or(OPTIONS)).unwrap_or_default();
    mount(&device, NEW_ROOT, "ext4", flags, &*options).map_err(|e| Fault::io("mount", &device, e))?;
    enter(line.init.as_deref().unwrap_or("/sbin/init"))
}

/// Loads the modules of all devices until the root is there.
fn wait_for(root_device: &RootDevice, loader: &mut Loader<'_>, timeout: Duration) -> Result<PathBuf> {
    let start = Instant::now();
    let mut devices = Devices::default();
    loop {
        if let Some(device) = root_device.find() {
            return Ok(device);
        }
        devices.record(aliases());
        if devices.any(|alias| loader.load_for(&alias)) {
            continue;
        }
        if start.elapsed() > timeout {
            let seen = root::block_devices().join(" ");
            let what = format!("no disk is {root_device} after {} s; disks seen: {seen}", timeout.as_secs());
            return Err(Fault::machine(what).help("check the disk and its cable, or raise rootdelay="));
        }
        sleep(STEP);
    }
}

/// Devices by what they call themselves, each of them once. What a driver has just found comes first: so the way
/// to the root does not wait for other disks, which may be slow to answer.
#[derive(Default)]
struct Devices {
    known: BTreeSet<String>,
    open: Vec<String>,
}

impl Devices {
    fn record(&mut self, found: BTreeSet<String>) {
        let new = found.into_iter().filter(|alias| self.known.insert(alias.clone()));
        self.open.extend(new.rev());
    }
}

impl Iterator for Devices {
    type Item = String;
    fn next(&mut self) -> Option<String> {
        self.open.pop()
    }
}

/// Returns the aliases of all devices that the kernel has found.
fn aliases() -> BTreeSet<String> {
    let children = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let devices = children("/sys/bus".into()).flat_map(|bus| children(bus.join("devices")));
    let alias = |device: PathBuf| fs::read_to_string(device.join("modalias")).ok();
    devices.filter_map(alias).map(|text| text.trim_end().to_owned()).collect()
}

struct Loader<'a> {
    index: &'a ModuleIndex,
    loaded: BTreeSet<String>,
}

impl<'a> Loader<'a> {
    fn new(index: &'a ModuleIndex) -> Self {
        Self { index, loaded: BTreeSet::new() }
    }

    /// Loads the modules for a device; returns whether any of them was new.
    fn load_for(&mut self, alias: &str) -> bool {
        let before = self.loaded.len();
        self.index.matching(alias).iter().for_each(|name| self.load(name));
        self.loaded.len() > before
    }

    /// Loads a module after what it needs, once. What another loader is about to load the kernel waits for. One
    /// that the machine refuses (a processor without the instruction, say) is no reason to stop: without the root
    /// we stop anyway, and say so.
    fn load(&mut self, name: &str) {
        for name in self.index.with_needs(name) {
            if !self.loaded.insert(name.clone()) {
                continue;
            }
            let Some(path) = self.index.path(&name) else { continue };
            if let Err(error) = insert(&Path::new("/").join(path)) {
                log(&format!("module {name}: {error}"));
            }
        }
    }
}

/// Gives a module to the kernel. The builder compresses what only some machines load (`pack::initramfs`).
fn insert(path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    let inserted = if path.extension().is_some_and(|end| end == "zst") {
        let mut module = Vec::new();
        StreamingDecoder::new(&mut file).map_err(io::Error::other)?.read_to_end(&mut module)?;
        init_module(&module, c"")
    } else {
        finit_module(&file, c"", 0)
    };
    match inserted {
        Ok(()) | Err(Errno::EXIST | Errno::NODEV) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Makes the mounted disk the root and becomes its init.
fn enter(init: &str) -> Result<std::convert::Infallible> {
    for dir in ["dev", "proc", "sys"] {
        let (from, to) = (format!("/{dir}"), format!("{NEW_ROOT}/{dir}"));
        mount_move(&from, &to).map_err(|e| Fault::io("move", &from, e))?;
    }
    // Nothing runs from here any more: give the memory back.
    for path in ["/init", "/modules"] {
        let _ = fs::remove_file(path);
    }
    let _ = fs::remove_dir_all("/lib/modules");
    let moved = chdir(NEW_ROOT)
        .and_then(|()| mount_move(".", "/"))
        .and_then(|()| chroot("."))
        .and_then(|()| chdir("/"));
    moved.map_err(|e| Fault::io("enter", NEW_ROOT, e))?;
    let error = Command::new(init).args(std::env::args_os().skip(1)).exec();
    Err(Fault::io("run", init, error))
}

/// Writes to the kernel's log, which goes to every console.
fn log(message: &str) {
    let line = format!("<3>hale: {message}\n");
    let logged =
        OpenOptions::new().write(true).open("/dev/kmsg").and_then(|mut log| log.write_all(line.as_bytes()));
    if logged.is_err() {
        eprint!("{}", &line[3..]);
    }
}

fn give_up(line: &CommandLine, fault: &Fault) -> ! {
    log(&format!("cannot boot: {fault}"));
    match line.panic {
        Some(seconds) if seconds > 0 => {
            log(&format!("rebooting in {seconds} s (panic={seconds})"));
            sleep(Duration::from_secs(seconds));
            let _ = reboot(RebootCommand::Restart);
        }
        _ => log("stopping here (no panic= on the command line)"),
    }
    loop {
        sleep(Duration::from_secs(3600));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_read() {
        let line = CommandLine::parse("root=UUID=ab ro console=ttyS0 panic=30 rootdelay=x quiet\n");
        let (root, panic, writable) = (Some("UUID=ab".into()), Some(30), Some(false));
        assert_eq!(line, CommandLine { root, panic, writable, ..CommandLine::default() });
        assert!(CommandLine::parse("quiet fsck.mode=force").checked);
        let line = CommandLine::parse("rootflags=noatime,errors=panic");
        assert_eq!(line.options.as_deref(), Some("noatime,errors=panic"));
        let line = CommandLine::parse("ro init=/bin/sh root=/dev/vda3 rootdelay=5 rw");
        assert_eq!(
            (line.init.as_deref(), line.timeout, line.writable),
            (Some("/bin/sh"), Some(5), Some(true))
        );
    }

    #[test]
    fn what_was_found_last_is_asked_first() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let mut devices = Devices::default();
        devices.record(names(&["pci:1af4", "pci:8086"]));
        assert_eq!(devices.next().as_deref(), Some("pci:1af4"));
        devices.record(names(&["pci:1af4", "pci:8086", "virtio:2"]));
        assert_eq!(devices.collect::<Vec<_>>(), ["virtio:2", "pci:8086"], "each of them once");
    }
}
