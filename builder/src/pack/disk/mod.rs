//! A root tree as a disk that boots by UEFI and by BIOS, written from front to back in one go.
//!
//! ```text
//!   0      MBR (GRUB's first sector), GPT
//!   1 MiB  hale-bios   GRUB's core               1 MiB
//!   2 MiB  HALE-ESP    FAT32: EFI/BOOT/BOOTX64.EFI   64 MiB
//!  66 MiB  hale-root   ext4, label hale-root     the last, so that it can grow
//!   end    GPT's copy
//! ```
//! Identities come from the step's digest, times from the lock's epoch. The root grows to the disk's
//! end at first boot (`systemd-repart`, `systemd-growfs`).

pub mod cpio;
pub mod ext4;
pub mod fat;
pub mod gpt;
pub mod grub;
pub mod initramfs;
pub mod qcow2;
pub mod uki;
pub mod writer;

use super::written;
use crate::base::tree::{Contents, Kind, Memory, Node, Tree, TreePath};
use crate::base::{Digest, Epoch, Fault, Result};
use ext4::Ext4;
use fat::Fat;
use gpt::{Gpt, Guid, MARGIN, Partition, Purpose, SECTOR};
use grub::Grub;
use initramfs::Kernel;
use uki::Uki;
use writer::{BlockWriter, Layered, Part};

/// The root file system's label.
pub const ROOT_LABEL: &str = "hale-root";
const ESP_LABEL: &str = "HALE-ESP";
const BIOS_LENGTH: u64 = 1 << 20;
const ESP_LENGTH: u64 = 64 << 20;
const ESP_AT: u64 = MARGIN + BIOS_LENGTH;
const ROOT_AT: u64 = ESP_AT + ESP_LENGTH;

/// Free room in the root of a disk that has not grown yet: what the first boot itself writes.
pub const SLACK: u64 = 256 << 20;

/// What a disk is, apart from the tree and the programs that boot it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSpec {
    /// What every UUID, GUID and serial number is made from: the step's id.
    pub identity: Digest,
    /// The time of every file.
    pub epoch: Epoch,
    /// The kernel's arguments besides `root=`: console, cgroup version, security modules.
    pub arguments: String,
    /// Free bytes in the root.
    pub slack: u64,
}

/// What a machine runs before the root's own programs.
#[derive(Clone, Copy, Debug)]
pub struct Boot<'a> {
    /// systemd's UEFI stub, `linuxx64.efi.stub`.
    pub stub: &'a [u8],
    /// GRUB's two parts; the core has [`DiskSpec::grub_commands`].
    pub grub: Grub<'a>,
    /// The initramfs ([`initramfs::pack`]).
    pub initramfs: &'a [u8],
}

impl DiskSpec {
    /// The kernel's whole command line. Neither `ro` nor `rw`: our initramfs looks at the file system's state.
    pub fn command_line(&self) -> String {
        let root = Guid::derive(&self.identity, ROOT_LABEL);
        format!("root=UUID={root} {}", self.arguments).trim_end().to_owned()
    }

    /// The commands that GRUB's core must carry (`grub-mkimage -c`).
    pub fn grub_commands(&self, tree: &Tree) -> Result<String> {
        Ok(grub::commands(&Kernel::find(tree)?, &self.command_line()))
    }
}

/// Writes the disk and gives its length in bytes. What is not written is zero: `out` may be sparse.
pub fn write(
    disk: &DiskSpec,
    boot: &Boot<'_>,
    tree: &Tree,
    contents: &dyn Contents,
    out: &mut dyn BlockWriter,
) -> Result<u64> {
    let kernel = Kernel::find(tree)?;
    let mut own = Memory::default();
    let mut root = tree.clone();
    let initramfs = own.file(boot.initramfs, 0o644);
    root.replace(TreePath::new(kernel.initramfs())?, initramfs)?;
    let root_length = ext4::length(&root, disk.slack);
    let length = ROOT_AT + root_length + MARGIN;
    let (boot_code, core) = grub::place(&boot.grub, MARGIN / SECTOR)?;

    table(disk.identity, length, root_length).write(&boot_code, out)?;
    written("the disk", out.write_at(MARGIN, &core))?;
    esp(disk, boot, &kernel, tree, contents, &mut Part::new(out, ESP_AT, ESP_LENGTH))?;
    let uuid = Guid::derive(&disk.identity, ROOT_LABEL).bytes();
    let spec = Ext4 { uuid, label: ROOT_LABEL.into(), epoch: disk.epoch, length: root_length };
    let mut part = Part::new(out, ROOT_AT, root_length);
    ext4::write(&spec, &root, &Layered(&own, contents), &mut part)?;
    Ok(length)
}

fn table(seed: Digest, length: u64, root_length: u64) -> Gpt {
    let part = |purpose, name: &str, start, length| Partition { purpose, name: name.into(), start, length };
    let partitions = vec![
        part(Purpose::BiosBoot, "hale-bios", MARGIN, BIOS_LENGTH),
        part(Purpose::Esp, ESP_LABEL, ESP_AT, ESP_LENGTH),
        part(Purpose::Root, ROOT_LABEL, ROOT_AT, root_length),
    ];
    Gpt { seed, length, partitions }
}

/// The EFI system partition: one program, at the path that firmware tries without being told.
fn esp(
    disk: &DiskSpec,
    boot: &Boot<'_>,
    kernel: &Kernel,
    tree: &Tree,
    contents: &dyn Contents,
    out: &mut dyn BlockWriter,
) -> Result<()> {
    let image = file(tree, contents, kernel.image.as_str())?;
    let os_release = String::from_utf8(file(tree, contents, "usr/lib/os-release")?)
        .map_err(|_| Fault::integrity("usr/lib/os-release is no text"))?;
    let uki = Uki {
        stub: boot.stub,
        os_release: &os_release,
        command_line: &disk.command_line(),
        release: &kernel.release,
        initramfs: boot.initramfs,
        kernel: &image,
    };
    let (mut files, mut memory) = (Tree::new(), Memory::default());
    files.insert(TreePath::new("EFI/BOOT/BOOTX64.EFI")?, memory.file(uki.build()?, 0o644))?;
    let [a, b, c, d, ..] = Guid::derive(&disk.identity, ESP_LABEL).bytes();
    let serial = u32::from_be_bytes([a, b, c, d]);
    fat::write(&Fat { serial, label: ESP_LABEL.into(), length: ESP_LENGTH }, &files, &memory, out)
}

fn file(tree: &Tree, contents: &dyn Contents, path: &str) -> Result<Vec<u8>> {
    match tree.get(path) {
        Some(Node { kind: Kind::File { content, .. }, .. }) => contents.read(content),
        _ => Err(Fault::integrity(format!("the root has no file {path}"))),
    }
}
