//! `cargo xtask vm ROLE`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use builder::base::name::RoleName;
use builder::base::{Fault, Result};
use builder::flash::Seed;
use builder::image::Publishing;
use builder::tools::Tools;
use builder::vm::{Accelerator, Card, Console, Disk, Firmware, Forward, Machine};
use clap::Args;

use crate::context::Context;
use crate::disks;

/// Arguments of `vm`.
#[derive(Args)]
pub(crate) struct Vm {
    /// The role whose image is booted.
    role: RoleName,
    /// A folder with node.toml and secrets, which becomes a disk labelled HALE-SEED.
    #[arg(long, value_name = "DIR")]
    seed: Option<PathBuf>,
    /// Forward a port of 127.0.0.1 to the guest; may be given again.
    #[arg(long, value_name = "HOST:GUEST")]
    forward: Vec<Forward>,
    /// Start with a BIOS instead of UEFI.
    #[arg(long)]
    bios: bool,
    /// Memory in MiB.
    #[arg(long, default_value_t = 4096)]
    memory: u32,
    /// The disk in GiB, as if the image had been flashed to one of that size.
    #[arg(long, default_value_t = 16)]
    disk: u32,
    /// Processors.
    #[arg(long, default_value_t = 2)]
    processors: u32,
}

impl Vm {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let tools = disks::tools(context)?;
        let scratch = tempfile::tempdir().map_err(|e| Fault::machine("no scratch folder").because(e))?;
        let mut attached = vec![self.overlay(context, &tools, scratch.path())?];
        if let Some(folder) = &self.seed {
            let (seed, path) = (Seed::read(folder)?, scratch.path().join("seed.img"));
            let mut file = Publishing::new(&path)?;
            seed.write(&mut file)?;
            file.publish(seed.length())?;
            attached.push(Disk::Kept(path));
        }
        let machine = Machine {
            firmware: if self.bios { Firmware::Bios } else { Firmware::Uefi },
            memory: self.memory,
            processors: self.processors,
            disks: attached,
            cards: vec![Card::User(self.forward)],
            console: Console::Terminal,
            ports: Vec::new(),
        };
        let accelerator = Accelerator::probe(&tools)?;
        let how =
            if accelerator == Accelerator::Kvm { "KVM" } else { "emulation: the first boot takes a minute" };
        eprintln!("{} by {how}; Ctrl-A X ends it, and what it wrote is forgotten", self.role);
        let status = machine.command(&tools, accelerator, scratch.path())?.status();
        match status.map_err(|e| Fault::machine("cannot run QEMU").because(e))? {
            status if status.success() => Ok(()),
            status => Err(Fault::machine("QEMU stopped").because(status)),
        }
    }

    /// A larger disk over the image, which takes only what the guest writes.
    fn overlay(&self, context: &Context, tools: &Tools, scratch: &Path) -> Result<Disk> {
        let (image, overlay) = (disks::raw_image(context, &self.role)?, scratch.join("disk.qcow2"));
        let size = format!("{}G", self.disk);
        let words = ["create", "-q", "-f", "qcow2", "-F", "raw", "-b"].map(OsStr::new);
        let rest = [image.as_os_str(), overlay.as_os_str(), OsStr::new(&size)];
        tools.run("qemu-img", words.into_iter().chain(rest))?;
        Ok(Disk::Overlay(overlay))
    }
}
