//! Writes a root tree as a disk that boots.
//!
//! The one program that is run is `grub-mkimage`, from a tree of tools: it links GRUB's core.

use super::context::{RunStep, StepContext, StepInputs};
use crate::base::tree::{Contents, Kind, Memory, Node, Tree, Union};
use crate::base::{Epoch, Fault, Result};
use crate::pack::disk::grub::{self, Grub};
use crate::pack::disk::initramfs::{self, Kernel};
use crate::pack::disk::{self, Boot, DiskSpec, SLACK};
use crate::plan::intermediate::Intermediate;
use crate::plan::{DiskStep, Output};
use crate::rootfs::tools::Tools;
use crate::store::Store;

/// Where the node's package keeps the program that the initramfs starts with.
pub const INIT: &str = "usr/lib/hale/init";
const STUB: &str = "usr/lib/systemd/boot/efi/linuxx64.efi.stub";
const GRUB: &str = "usr/lib/grub/i386-pc";

impl RunStep for DiskStep {
    fn run(&self, context: &StepContext<'_>) -> Result<Output> {
        let tools = Tools::open(context.store, &context.inputs.output(&self.tools)?.digest(), self.epoch)?;
        let disk = DiskSpec {
            identity: context.id.0,
            epoch: self.epoch,
            arguments: self.arguments.join(" "),
            slack: SLACK,
        };
        assemble(&disk, &context.inputs.tree(&self.root)?, context.store, &tools)
    }

    fn intermediates(&self, inputs: &StepInputs<'_>) -> Result<Vec<Intermediate>> {
        Ok(vec![plan_initramfs(self.epoch, &inputs.tree(&self.root)?, inputs.store)?.0])
    }
}

/// Writes the disk of a root tree into the store.
pub fn assemble(disk: &DiskSpec, tree: &Tree, store: &Store, tools: &Tools) -> Result<Output> {
    let initramfs = initramfs(disk.epoch, tree, store)?;
    let (stub, boot) = (read(tools, STUB)?, grub_boot(tools)?);
    let core = grub_core(tools, &disk.grub_commands(tree)?)?;
    let boot = Boot { stub: &stub, grub: Grub { boot: &boot, core: &core }, initramfs: &initramfs };
    let mut file = store.sparse_writer()?;
    let length = disk::write(disk, &boot, tree, store, &mut file)?;
    let (content, size) = file.commit(length)?;
    Ok(Output::Blob { content, size })
}

/// Returns the initramfs of a root, made once for all roots that have the same in it.
fn initramfs(epoch: Epoch, root: &Tree, store: &Store) -> Result<Vec<u8>> {
    let (intermediate, files, own) = plan_initramfs(epoch, root, store)?;
    let output = store.intermediate(&intermediate, || {
        let bytes = initramfs::pack(&files, &Union(&own, store), epoch)?;
        let (content, size) = store.put(&*bytes)?;
        Ok(Output::Blob { content, size })
    })?;
    store.read(&output.digest())
}

/// Returns what identifies the initramfs of a root, its files, and the bytes of those that the store has not.
fn plan_initramfs(epoch: Epoch, root: &Tree, store: &Store) -> Result<(Intermediate, Tree, Memory)> {
    let init = match root.get(INIT) {
        Some(Node { kind: Kind::File { content, .. }, .. }) => store.read(content)?,
        _ => return Err(Fault::integrity(format!("the root has no {INIT}")).help("add the package hale")),
    };
    let (files, own) = initramfs::tree(&Kernel::find(root)?, root, store, &init)?;
    Ok((Intermediate::Initramfs { files: files.clone(), epoch }, files, own))
}

/// Reads GRUB's first sector, as Debian ships it.
pub fn grub_boot(tools: &Tools) -> Result<Vec<u8>> {
    read(tools, &format!("{GRUB}/boot.img"))
}

fn read(tools: &Tools, inside: &str) -> Result<Vec<u8>> {
    let path = tools.path(inside)?;
    std::fs::read(&path).map_err(|e| Fault::io("read", path, e))
}

/// Links GRUB's core for BIOS machines, with its commands inside.
pub fn grub_core(tools: &Tools, commands: &str) -> Result<Vec<u8>> {
    let failed = |doing| move |e| Fault::machine(format!("cannot {doing} a temporary file")).cause(e);
    let folder = tempfile::tempdir().map_err(failed("make"))?;
    let (config, core) = (folder.path().join("commands"), folder.path().join("core"));
    std::fs::write(&config, commands).map_err(failed("write"))?;
    let mut command = tools.command("grub-mkimage")?;
    command.args(["-O", "i386-pc", "-p", "(,gpt3)/boot/grub", "-d"]).arg(tools.path(GRUB)?);
    command.arg("-c").arg(&config).arg("-o").arg(&core).args(grub::MODULES);
    let output = command.output().map_err(|e| Fault::machine("cannot run grub-mkimage").cause(e))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Fault::machine("grub-mkimage failed").cause(said));
    }
    std::fs::read(&core).map_err(failed("read"))
}
