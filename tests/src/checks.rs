//! Machines that run a test's checks: an image with a unit for it, a disk with the checks, a seed.
//!
//! A guest's checks are the scripts in `guests/NAME/`; the unit runs them in order, or as it is asked, and
//! reports each on the port that [`crate::vm`] reads.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use builder::base::tree::{Memory, Node, Tree, TreePath};
use builder::base::{Digest, Fault, Result};
use builder::build::steps::disk;
use builder::dist::disk_image;
use builder::machine::flash::Seed;
use builder::machine::vm::Drive;
use builder::pack::disk::{DiskSpec, SLACK};

use crate::system::TestSystem;
use crate::tools::{put, succeed, tool};

const UNIT: &str = "[Unit]\nDescription=Runs a test's checks\nAfter=multi-user.target\n\n[Service]\nType=exec\n\
     ExecStart=/bin/sh -c 'mkdir -p /run/trial && tar -x -f /dev/disk/by-id/virtio-disk1 -C \
     /run/trial && exec sh /run/trial/run'\n\
     StandardOutput=journal+console\nStandardError=journal+console\n\n[Install]\nWantedBy=multi-user.target\n";

fn guests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guests")
}

/// The scripts of a guest, in order.
pub fn of(guest: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(guests().join(guest)).expect("the guest's checks").flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Writes to `to` the image of a root with the unit that runs what stands on the second disk. `name` is its
/// identity.
pub fn image(system: &TestSystem, mut tree: Tree, name: &str, to: &Path) -> Result<()> {
    let mut own = Memory::default();
    let unit = own.file(UNIT, 0o644);
    let wanted = Node::symlink("/etc/systemd/system/hale-trial.service");
    tree.insert(TreePath::new("etc/systemd/system/hale-trial.service")?, unit)?;
    tree.insert(TreePath::new("etc/systemd/system/multi-user.target.wants/hale-trial.service")?, wanted)?;
    system.store.put_all(&own)?;
    let arguments = system.recipe.line.kernel_arguments.join(" ");
    let disk = DiskSpec { identity: Digest::of(name), epoch: system.epoch(), arguments, slack: SLACK };
    let made = disk::assemble(&disk, &tree, &system.store, &system.tools("boot")?)?;
    disk_image::take_out(&system.store, &made.digest(), to)
}

/// Makes the disk of an image as long as `length` bytes, as if it had been flashed to a larger one.
pub fn grow(disk: &Path, length: u64) -> Result<()> {
    let grown = OpenOptions::new().write(true).open(disk).and_then(|disk| disk.set_len(length));
    grown.map_err(|e| Fault::io("lengthen", disk, e))
}

/// The disk of a guest's checks and of what else lies in `folder`, if it is there, written to `to`. Nothing is written
/// into `folder`: guests that are made at once may share it.
pub fn archive(guest: &str, folder: &Path, to: &Path) -> Drive {
    let own = tempfile::tempdir().expect("a temporary folder");
    put(own.path().join("run"), fs::read(guests().join("run.sh")).expect("the runner"));
    let files = walkdir::WalkDir::new(guests().join(guest)).into_iter().map(|entry| entry.expect("a check"));
    for file in files.filter(|entry| entry.file_type().is_file()) {
        let name = file.path().strip_prefix(guests().join(guest)).expect("below the guest's folder");
        put(own.path().join("checks").join(name), fs::read(file.path()).expect("a check"));
    }
    let mut tar = tool("tar", "tar");
    tar.arg("-cf").arg(to).arg("-C").arg(own.path()).arg(".");
    if folder.is_dir() {
        tar.arg("-C").arg(folder).arg(".");
    }
    succeed(&mut tar);
    Drive::Snapshot(to.to_owned())
}

/// A seed with this node.toml.
pub fn seed_with(text: &str) -> Result<Seed> {
    let (mut tree, mut contents) = (Tree::new(), Memory::default());
    tree.insert(TreePath::new("node.toml")?, contents.file(text, 0o600))?;
    Seed::new(tree, contents)
}

/// A seed disk with this node.toml, written to `to`; `spoil` may change its bytes.
pub fn seed(text: &str, to: &Path, spoil: impl FnOnce(&mut [u8])) -> Result<Drive> {
    let (seed, mut bytes) = (seed_with(text)?, Vec::new());
    seed.write(&mut bytes)?;
    bytes.resize(seed.length() as usize, 0);
    spoil(&mut bytes);
    put(to, bytes);
    Ok(Drive::Snapshot(to.to_owned()))
}
