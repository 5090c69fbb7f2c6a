//! Disks as blobs of the store, in each form.
//!
//! The one program that is run is `grub-mkimage`, from a tree of tools: it links GRUB's core.

use crate::base::tree::{Contents, Kind, Node, Tree};
use crate::base::{Digest, Epoch, Fault, Result, json};
use crate::pack::disk::grub::{self, Grub};
use crate::pack::disk::initramfs::{self, Kernel};
use crate::pack::disk::qcow2;
use crate::pack::disk::writer::Layered;
use crate::pack::disk::{self, Boot, DiskSpec};
use crate::pack::stream::zstd::{self, Effort};
use crate::plan::{DiskFormat, Output, StepId};
use crate::rootfs::tools::Tools;
use crate::store::Store;

/// Where the node's package keeps the program that the initramfs starts with.
pub const INIT: &str = "usr/lib/hale/init";
const STUB: &str = "usr/lib/systemd/boot/efi/linuxx64.efi.stub";
const GRUB: &str = "usr/lib/grub/i386-pc";

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

/// The initramfs of a root, made once for all roots that have the same in it.
fn initramfs(epoch: Epoch, root: &Tree, store: &Store) -> Result<Vec<u8>> {
    let init = match root.get(INIT) {
        Some(Node { kind: Kind::File { content, .. }, .. }) => store.read(content)?,
        _ => return Err(Fault::integrity(format!("the root has no {INIT}")).help("add the package hale")),
    };
    let (tree, own) = initramfs::tree(&Kernel::find(root)?, root, store, &init)?;
    // By what the store remembers it; the number grows when the same files give other bytes.
    let id = StepId(Digest::of(json::canonical(&("initramfs", 3, &tree, epoch))?));
    if let Some(known) = store.output(&id)? {
        return store.read(&known.digest());
    }
    let bytes = initramfs::pack(&tree, &Layered(&own, store), epoch)?;
    let (content, size) = store.put(&*bytes)?;
    store.record(&id, &Output::Blob { content, size })?;
    Ok(bytes)
}

/// GRUB's first sector, as Debian ships it.
pub fn grub_boot(tools: &Tools) -> Result<Vec<u8>> {
    read(tools, &format!("{GRUB}/boot.img"))
}

fn read(tools: &Tools, inside: &str) -> Result<Vec<u8>> {
    let path = tools.path(inside)?;
    std::fs::read(&path).map_err(|e| Fault::io("read", path, e))
}

/// GRUB's core for BIOS machines, with its commands inside.
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

/// Makes another form of a raw disk that the store has.
pub fn convert(store: &Store, raw: &Digest, format: DiskFormat) -> Result<Output> {
    let length = store.size_of(raw)?.ok_or_else(|| Fault::bug(format!("the store has no disk {raw}")))?;
    let mut source = store.open(raw)?;
    let (content, size) = match format {
        DiskFormat::Raw => (*raw, length),
        DiskFormat::Qcow2 => {
            let mut file = store.sparse_writer()?;
            let written = qcow2::write(&mut source, length, &mut file)?;
            file.commit(written)?
        }
        DiskFormat::RawZst => {
            let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            let mut writer = store.writer()?;
            zstd::compress(&mut source, length, Effort::Thorough, cores, &mut writer)?;
            writer.commit()?
        }
    };
    Ok(Output::Blob { content, size })
}
