//! The initramfs: `init`, the kernel modules that a root disk may need, and an index of them.
//!
//! Not the distribution's generator: the choice is this module's list and what `modules.dep` says it
//! needs, so the same tree gives the same bytes. `init` loads what the machine's devices ask for.
//!
//! ```text
//! init                 the program
//! modules              the index, one line an item:
//!                        module NAME PATH NEEDED…   NEEDED are names, loaded before it
//!                        alias PATTERN NAME         as modules.alias has it
//!                        always NAME                loaded whatever the devices are
//! lib/modules/…        the modules, each by its file's own name: `.ko`, or `.ko.zst`, compressed
//! dev proc sys root    mount points
//! ```
//!
//! The archive itself is not compressed: the kernel would unpack all of it before it looks for a disk, and `init`
//! needs a dozen of its modules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::cpio;
use super::writer::Layered;
use crate::base::tree::{Contents, Kind, Memory, Node, Tree, TreePath};
use crate::base::{Epoch, Fault, Result};
use crate::pack::stream::zstd::{self, Effort};

/// What a root disk may be behind, and what reads it: virtio, NVMe, SATA and IDE, SCSI controllers of
/// other hypervisors, USB disks, SD cards. Taken if the kernel has them as modules.
pub const WANTED: &[&str] = &[
    "virtio_pci",
    "virtio_mmio",
    "virtio_blk",
    "virtio_scsi",
    "nvme",
    "ahci",
    "ata_piix",
    "ata_generic",
    "sd_mod",
    "mptspi",
    "mptsas",
    "megaraid_sas",
    "mpt3sas",
    "vmw_pvscsi",
    "hv_storvsc",
    "xen_blkfront",
    "xhci_pci",
    "ehci_pci",
    "ohci_pci",
    "uhci_hcd",
    "usb_storage",
    "uas",
    "usbhid",
    "hid_generic",
    "sdhci_pci",
    "sdhci_acpi",
    "mmc_block",
    // Common network cards: their links come up while the root disk is still being looked for.
    "virtio_net",
    "e1000",
    "e1000e",
    "igb",
    "igc",
    "ixgbe",
    "i40e",
    "r8169",
    "tg3",
    "bnxt_en",
    "vmxnet3",
    "hv_netvsc",
    "ena",
];

/// Loaded whatever the devices are: no device asks for a file system or its checksum.
const ALWAYS: &[&str] = &["crc32c_generic", "crc32c_intel", "ext4"];

/// How the name of a module ends that is compressed in the archive.
const COMPRESSED: &str = ".zst";

/// The kernel that a tree boots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Its release: `6.1.0-40-amd64`.
    pub release: String,
    /// Where its image is in the tree.
    pub image: TreePath,
}

impl Kernel {
    /// The tree's one kernel, by `boot/vmlinuz-*`.
    pub fn find(tree: &Tree) -> Result<Self> {
        let mut found = tree.iter().filter_map(|(path, _)| {
            let release = path.as_str().strip_prefix("boot/vmlinuz-")?;
            Some(Self { release: release.to_owned(), image: path.clone() })
        });
        match (found.next(), found.next()) {
            (Some(kernel), None) => Ok(kernel),
            (None, _) => Err(Fault::user("the root has no kernel")
                .expected_found("one boot/vmlinuz-*", "none")
                .help("name a linux-image package in the role")),
            (Some(one), Some(two)) => Err(Fault::user("the root has more than one kernel")
                .expected_found("one boot/vmlinuz-*", format!("{} and {}", one.release, two.release))
                .help("name one linux-image package in the role")),
        }
    }

    /// Where its initramfs is, by Debian's name.
    pub fn initramfs(&self) -> String {
        format!("boot/initrd.img-{}", self.release)
    }

    fn directory(&self) -> String {
        format!("usr/lib/modules/{}", self.release)
    }
}

/// What is in the initramfs of a root, with `init` as its program; the memory has what the root has not.
pub fn tree(kernel: &Kernel, root: &Tree, contents: &dyn Contents, init: &[u8]) -> Result<(Tree, Memory)> {
    let index = Index::read(kernel, root, contents)?;
    let chosen = index.closure()?;
    let (mut tree, mut memory) = (Tree::new(), Memory::default());
    for dir in ["dev", "proc", "sys", "root"] {
        tree.insert(TreePath::new(dir)?, Node::dir(0o755))?;
    }
    tree.insert(TreePath::new("init")?, memory.file(init, 0o755))?;
    tree.insert(TreePath::new("modules")?, memory.file(index.text(&chosen), 0o644))?;
    for name in &chosen {
        let path = format!("{}/{}", kernel.directory(), index.modules[name].path);
        let node = root.get(&path).filter(|node| matches!(node.kind, Kind::File { .. }));
        let node =
            node.ok_or_else(|| Fault::integrity(format!("modules.dep names {path}, which is missing")))?;
        tree.insert(TreePath::new(index.in_archive(name))?, node.clone())?;
    }
    Ok((tree, memory))
}

/// The initramfs that has this in it, the modules compressed whose names say so.
pub fn pack(tree: &Tree, contents: &dyn Contents, epoch: Epoch) -> Result<Vec<u8>> {
    let (mut packed, mut own) = (tree.clone(), Memory::default());
    for (path, node) in tree.iter().filter(|(path, _)| path.as_str().ends_with(COMPRESSED)) {
        let Kind::File { content, .. } = &node.kind else { continue };
        let (module, mut bytes) = (contents.read(content)?, Vec::new());
        zstd::compress(&mut module.as_slice(), module.len() as u64, Effort::Quick, 1, &mut bytes)?;
        packed.replace(path.clone(), own.file(bytes, 0o644))?;
    }
    let mut archive = Vec::new();
    cpio::write(&packed, &Layered(&own, contents), epoch, &mut archive)?;
    Ok(archive)
}

struct Module {
    /// Below the release's directory.
    path: String,
    /// Names of what must be there before it.
    needs: Vec<String>,
}

/// What the kernel package's `modules.*` files say (modules.dep(5)).
struct Index {
    modules: BTreeMap<String, Module>,
    /// Pattern and module name, in the file's order.
    aliases: Vec<(String, String)>,
    builtin: BTreeSet<String>,
}

impl Index {
    fn read(kernel: &Kernel, root: &Tree, contents: &dyn Contents) -> Result<Self> {
        let text = |name: &str| -> Result<String> {
            let path = format!("{}/{name}", kernel.directory());
            let Some(Node { kind: Kind::File { content, .. }, .. }) = root.get(&path) else {
                return Err(Fault::integrity(format!("the root has no {path}"))
                    .help("the kernel package's postinst (depmod) makes it: was it run?"));
            };
            let bytes = contents.read(content)?;
            String::from_utf8(bytes).map_err(|_| Fault::integrity(format!("{path} is no text")))
        };
        Ok(Self {
            modules: text("modules.dep")?.lines().filter_map(dependency).collect(),
            aliases: text("modules.alias")?.lines().filter_map(alias).collect(),
            builtin: text("modules.builtin")?.lines().map(name_of).collect(),
        })
    }

    /// Wanted modules that this kernel has, and what they need.
    fn closure(&self) -> Result<BTreeSet<String>> {
        let mut chosen = BTreeSet::new();
        let mut open: Vec<String> = ALWAYS.iter().chain(WANTED).map(|name| (*name).to_owned()).collect();
        open.retain(|name| self.modules.contains_key(name));
        while let Some(name) = open.pop() {
            let module = self.modules.get(&name);
            let module = module.ok_or_else(|| Fault::integrity(format!("modules.dep lacks {name}")))?;
            if chosen.insert(name) {
                open.extend(module.needs.iter().cloned());
            }
        }
        for name in ["ext4", "virtio_blk"] {
            if !chosen.contains(name) && !self.builtin.contains(name) {
                return Err(Fault::integrity("a kernel that cannot reach its root")
                    .expected_found(format!("{name} as a module or built in"), "neither"));
            }
        }
        Ok(chosen)
    }

    /// Where a module is in the archive. One that each machine loads is not compressed.
    fn in_archive(&self, name: &str) -> String {
        let path = &self.modules[name].path;
        let file = path.rsplit('/').next().unwrap_or(path);
        let always = |one: &&str| *one == name || self.needs(one).iter().any(|need| need == name);
        format!("lib/modules/{file}{}", if ALWAYS.iter().any(always) { "" } else { COMPRESSED })
    }

    fn needs(&self, name: &str) -> &[String] {
        self.modules.get(name).map_or(&[], |module| &module.needs)
    }

    fn text(&self, chosen: &BTreeSet<String>) -> String {
        let mut text = String::new();
        for name in chosen {
            let module = &self.modules[name];
            let _ = write!(text, "module {name} {}", self.in_archive(name));
            for need in &module.needs {
                let _ = write!(text, " {need}");
            }
            text.push('\n');
        }
        for (pattern, name) in self.aliases.iter().filter(|(_, name)| chosen.contains(name)) {
            let _ = writeln!(text, "alias {pattern} {name}");
        }
        for name in ALWAYS.iter().filter(|name| chosen.contains(**name)) {
            let _ = writeln!(text, "always {name}");
        }
        text
    }
}

/// `kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko kernel/lib/crc16.ko`. The nearest need stands
/// first in the file; it is loaded last.
fn dependency(line: &str) -> Option<(String, Module)> {
    let (path, needs) = line.split_once(':')?;
    let needs = needs.split_whitespace().rev().map(name_of).collect();
    Some((name_of(path), Module { path: path.to_owned(), needs }))
}

/// `alias pci:v00008086d… e1000e`.
fn alias(line: &str) -> Option<(String, String)> {
    let mut words = line.strip_prefix("alias ")?.split_whitespace();
    Some((words.next()?.to_owned(), canonical(words.next()?)))
}

fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    canonical(file.split('.').next().unwrap_or(file))
}

/// Module names spell `-` as `_`.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko kernel/lib/crc16.ko\n\
                       kernel/fs/jbd2/jbd2.ko:\nkernel/lib/crc16.ko:\n\
                       kernel/drivers/block/virtio_blk.ko:\n\
                       kernel/arch/x86/crypto/crc32c-intel.ko:\nkernel/sound/soundcore.ko:\n";

    fn root(dep: &str) -> (Tree, Memory) {
        let (mut tree, mut contents) = (Tree::new(), Memory::default());
        let mut put = |path: &str, node| tree.insert(TreePath::new(path).unwrap(), node).unwrap();
        put("boot/vmlinuz-6.1", contents.file("kernel", 0o644));
        let aliases = "# comment\nalias virtio:d00000002v* virtio_blk\nalias sound* soundcore\n";
        for (name, text) in [("modules.dep", dep), ("modules.alias", aliases), ("modules.builtin", "")] {
            put(&format!("usr/lib/modules/6.1/{name}"), contents.file(text, 0o644));
        }
        for path in dep.lines().filter_map(|line| line.split(':').next()) {
            put(&format!("usr/lib/modules/6.1/{path}"), contents.file(path, 0o644));
        }
        (tree, contents)
    }

    #[test]
    fn what_is_needed_comes_along_in_order() {
        let (tree, contents) = root(DEP);
        let kernel = Kernel::find(&tree).unwrap();
        let index = Index::read(&kernel, &tree, &contents).unwrap();
        let expected = "module crc16 lib/modules/crc16.ko\n\
                        module crc32c_intel lib/modules/crc32c-intel.ko\n\
                        module ext4 lib/modules/ext4.ko crc16 jbd2\n\
                        module jbd2 lib/modules/jbd2.ko\n\
                        module virtio_blk lib/modules/virtio_blk.ko.zst\n\
                        alias virtio:d00000002v* virtio_blk\n\
                        always crc32c_intel\nalways ext4\n";
        assert_eq!(index.text(&index.closure().unwrap()), expected);
        let epoch = Epoch::new(0).unwrap();
        let (archive, own) = super::tree(&kernel, &tree, &contents, b"program").unwrap();
        let bytes = pack(&archive, &Layered(&own, &contents), epoch).unwrap();
        assert_eq!(bytes, pack(&archive, &Layered(&own, &contents), epoch).unwrap());
        assert!(bytes.starts_with(b"070701"), "the kernel unpacks it as it is");
        assert!(bytes.windows(4).any(|four| four == [0x28, 0xb5, 0x2f, 0xfd]), "a module is a zstd frame");
    }

    #[test]
    fn a_kernel_that_cannot_boot_is_refused() {
        let build =
            |kernel: &Kernel, tree: &Tree, contents: &Memory| super::tree(kernel, tree, contents, b"");
        let (mut tree, contents) = root(&DEP.replace("block/virtio_blk", "block/other"));
        let kernel = Kernel::find(&tree).unwrap();
        assert!(build(&kernel, &tree, &contents).is_err(), "no virtio_blk");
        tree.insert(TreePath::new("boot/vmlinuz-6.2").unwrap(), Node::symlink("x")).unwrap();
        assert!(Kernel::find(&tree).is_err(), "two kernels");
        let (mut tree, contents) = root(DEP);
        tree.remove(&TreePath::new("usr/lib/modules/6.1/kernel/fs/jbd2/jbd2.ko").unwrap());
        assert!(build(&kernel, &tree, &contents).is_err(), "a file is missing");
    }
}
