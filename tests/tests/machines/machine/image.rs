//! The image and the initramfs of a real kernel, asked of those who know before they are booted.

use std::path::Path;

use builder::base::tree::{Contents, Kind, Tree, Union};
use builder::base::{Epoch, Result};
use builder::pack::disk::initramfs::{self, Kernel, WANTED};
use builder::store::Store;
use tests::tools::{prefixed, run, said, succeed, tool};

/// Where the root begins (`builder::pack::disk`).
const ROOT_AT: u64 = 66 << 20;
/// More than twice of what it is; the distribution's generator makes some 40 MB.
const MOST: usize = 16 << 20;

/// A sound table, and a sound file system in its place.
pub(crate) fn is_sound(image: &Path) {
    let checked = run(tool("sgdisk", "gdisk").arg("--verify").arg(image));
    assert!(said(&checked).contains("No problems found"), "{}", said(&checked));
    let root = prefixed("", Path::new(&format!("{}?offset={ROOT_AT}", image.display())));
    succeed(tool("e2fsck", "e2fsprogs").args(["-f", "-n"]).arg(root));
}

/// Every driver that we want is one that this kernel has: a misspelt one would be left out without a word.
pub(crate) fn drivers_are_there(store: &Store, root: &Tree, epoch: Epoch) -> Result<()> {
    let (tree, own) = initramfs::tree(&Kernel::find(root)?, root, store, b"init")?;
    let contents = Union(&own, store);
    let Some(Kind::File { content, .. }) = tree.get("modules").map(|node| &node.kind) else {
        panic!("no index of modules");
    };
    let index = String::from_utf8(contents.read(content)?).expect("the index is text");
    let lines = |begin: &str| index.lines().any(|line| line.starts_with(begin));
    let lost: Vec<_> = WANTED.iter().filter(|name| !lines(&format!("module {name} "))).collect();
    assert!(lost.is_empty(), "not in this kernel: {lost:?}");
    // What a machine's devices ask for leads to them: a virtio disk, an NVMe, a SATA controller, a stick.
    for device in
        ["alias virtio:d00000002v", "alias pci:v*d*sv*sd*bc01sc08i02", "alias pci:v*d*sv*sd*bc01sc06i01"]
    {
        assert!(lines(device), "no {device}");
    }
    assert!(index.contains(" usb_storage\n"), "nothing leads to a stick");
    let packed = initramfs::pack(&tree, &contents, epoch)?.len();
    assert!(packed < MOST, "an initramfs of {packed} bytes");
    Ok(())
}
