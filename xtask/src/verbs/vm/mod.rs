//! `cargo xtask vm ROLE`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use builder::base::{Fault, Result};
use builder::host::atomic::AtomicFile;
use builder::host::overwrite::{Form, Overwrite, check_outside};
use builder::machine::flash::Seed;
use builder::machine::vm::{Accelerator, Bus, Card, Console, Drive, Firmware, Forward, Machine};
use builder::rootfs::tools::Tools;
use builder::store::Store;
use clap::Args;

use crate::context::Context;
use crate::disks;
use crate::target::Choice;

mod report;

use report::{Draft, Listener};

/// Arguments of `vm`.
#[derive(Args)]
pub(crate) struct Vm {
    #[command(flatten)]
    choice: Choice,
    /// A folder with node.toml and secrets, which becomes a disk labelled HALE-SEED.
    #[arg(long, value_name = "DIR")]
    seed: Option<PathBuf>,
    /// Forward a port of 127.0.0.1 to the guest; may be given again.
    #[arg(long, value_name = "HOST:GUEST")]
    forward: Vec<Forward>,
    /// Plug in a cable to another machine: a socket at this end and one at the other. The guest calls it enp0s5.
    #[arg(long, value_name = "OWN:OTHER")]
    cable: Option<Card>,
    /// Have a master write what a node must be told to join it, once it is done: a secret, good for a day.
    #[arg(long, value_name = "FILE")]
    join: Option<PathBuf>,
    /// Have a master write an operator's kubeconfig, once it is done: a secret, and as good as the cluster.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Start with a BIOS instead of UEFI.
    #[arg(long)]
    bios: bool,
    /// Memory in MiB.
    #[arg(long, default_value_t = 4096)]
    memory: u32,
    /// The disk in GiB, as if the image had been flashed to one of that size.
    #[arg(long, default_value_t = 16)]
    disk: u32,
    /// What the disk is plugged into: virtio, nvme, sata or usb.
    #[arg(long, default_value = "virtio")]
    bus: Bus,
    /// Processors.
    #[arg(long, default_value_t = 2)]
    processors: u32,
    /// Write a page on the first boot when it is done, and again when the machine ends.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// The ports that a master's join file and an operator's kubeconfig come by.
const JOIN: &str = "org.hale.join";
const KUBECONFIG: &str = "org.hale.kubeconfig";
/// How often the machine's port is looked at: phases are told to a tenth of a second.
const GLANCE: Duration = Duration::from_millis(100);

impl Vm {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let target = self.choice.target(context)?;
        let image = disks::raw_image(&target)?;
        let files =
            [(Form::Page, &self.report), (Form::Join, &self.join), (Form::Kubeconfig, &self.kubeconfig)];
        for (form, path) in files {
            if let Some(path) = path {
                check_outside(&context.store, path)?;
                form.check(path, Overwrite::Own)?;
            }
        }
        let tools = disks::tools(context)?;
        let scratch = tempfile::tempdir().map_err(|e| Fault::machine("no scratch folder").cause(e))?;
        let mut attached = vec![overlay(&tools, &image, self.disk, scratch.path())?];
        if let Some(folder) = &self.seed {
            let (seed, path) = (Seed::read(folder)?, scratch.path().join("seed.img"));
            let mut file = AtomicFile::secret(&path)?;
            seed.write(&mut file)?;
            file.commit(seed.length())?;
            attached.push(Drive::Kept(path));
        }
        let port = scratch.path().join("port");
        let mut ports: Vec<_> = self.report.iter().map(|_| (report::PORT.to_owned(), port.clone())).collect();
        for (name, path) in [(JOIN, &self.join), (KUBECONFIG, &self.kubeconfig)] {
            if let Some(path) = path {
                ports.push((name.to_owned(), secret(path)?));
            }
        }
        let cards = self.cable.into_iter().chain([Card::User(self.forward)]).collect();
        let machine = Machine {
            firmware: if self.bios { Firmware::Bios } else { Firmware::Uefi },
            memory: self.memory,
            processors: self.processors,
            disks: attached,
            bus: self.bus,
            cards,
            console: Console::Terminal,
            ports,
        };
        let accelerator = Accelerator::probe(&tools)?;
        let how = if accelerator == Accelerator::Kvm { "KVM" } else { "emulation" };
        let store = Store::open(&context.store)?;
        let draft = |to: PathBuf| Draft::new(&to, target.clone(), image, describe(&machine, how), &store);
        let draft = self.report.map(draft).transpose()?;
        eprintln!("{} by {how}; Ctrl-A X ends it, and what it wrote is forgotten", target.role);
        run(machine.command(&tools, accelerator, scratch.path())?, port, draft.as_ref())
    }
}

/// An empty file that nobody else reads.
fn secret(path: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path).map_err(|e| Fault::io("find", path, e))?;
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
    // One that was there keeps its mode otherwise.
    let file = file.and_then(|file| file.set_permissions(fs::Permissions::from_mode(0o600)));
    file.map_err(|e| Fault::io("make", &path, e))?;
    Ok(path)
}

/// A larger disk over the image, which takes only what the guest writes.
fn overlay(tools: &Tools, image: &Path, gibibytes: u32, scratch: &Path) -> Result<Drive> {
    let (overlay, size) = (scratch.join("disk.qcow2"), format!("{gibibytes}G"));
    let words = ["create", "-q", "-f", "qcow2", "-F", "raw", "-b"].map(OsStr::new);
    let rest = [image.as_os_str(), overlay.as_os_str(), OsStr::new(&size)];
    tools.run("qemu-img", words.into_iter().chain(rest))?;
    Ok(Drive::Overlay(overlay))
}

/// A machine in words.
fn describe(machine: &Machine, how: &str) -> String {
    let firmware = if machine.firmware == Firmware::Uefi { "UEFI" } else { "BIOS" };
    format!("{} processors, {} MiB, {firmware}, {how}", machine.processors, machine.memory)
}

/// Runs QEMU to its end, and writes the report when the machine has told all, and in the end.
fn run(mut qemu: Command, port: PathBuf, draft: Option<&Draft>) -> Result<()> {
    let failed = |e| Fault::machine("cannot run QEMU").cause(e);
    let mut listener = Listener::new(port);
    let mut child = qemu.spawn().map_err(failed)?;
    let status = match draft {
        None => child.wait().map_err(failed)?,
        Some(draft) => {
            let status = loop {
                // A report that cannot be written must not take the machine with it.
                if let Err(fault) = write_report(&mut listener, draft) {
                    eprintln!("{fault}");
                }
                match child.try_wait().map_err(failed)? {
                    Some(status) => break status,
                    None => sleep(GLANCE),
                }
            };
            listener.hear()?;
            draft.write(&listener)?;
            eprintln!("{}: the report of this boot", draft.to.display());
            status
        }
    };
    match status.success() {
        true => Ok(()),
        false => Err(Fault::machine("QEMU stopped").cause(status)),
    }
}

/// Hears what is new; writes the report once the machine has said all.
fn write_report(listener: &mut Listener, draft: &Draft) -> Result<()> {
    if listener.hear()? && listener.is_told() { draft.write(listener) } else { Ok(()) }
}
