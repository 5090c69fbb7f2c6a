//! A disk labelled `HALE-SEED`: where `node.toml` comes from when the node has none of its own.
//!
//! The disk is the operator's, and is never written to. What is on it is believed no more than it must be:
//! mounted read-only without set-user-ID, devices or execution, one regular file of at most 64 KiB is read
//! through no link, and copied to `/etc/hale/node.toml`, whose secrets are wiped after their use.

use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags};
use zeroize::Zeroizing;

use crate::fault::{Fault, Result};
use crate::files;
use crate::identity::Identity;
use crate::world::World;

/// Where udev puts the disk.
const DEVICE: &str = "/dev/disk/by-label/HALE-SEED";
const MOUNT: &str = "/run/hale/seed";
/// The file's name at the top of the disk.
const NAME: &str = "node.toml";
/// The file systems that a seed may have.
const TYPES: [&str; 3] = ["vfat", "iso9660", "ext4"];

/// Copies the seed's file, once: not when the node has one already. Says whether it did.
pub fn import(world: &dyn World) -> Result<bool> {
    let device = world.path(DEVICE);
    if std::fs::symlink_metadata(world.path(Identity::PATH)).is_ok() || !device.exists() {
        return Ok(false);
    }
    let point = world.path(MOUNT);
    files::make_directory(world, &point, 0o700)?;
    mount(&device, &point)?;
    let taken = take(world, &point);
    let left = rustix::mount::unmount(&point, UnmountFlags::NOFOLLOW);
    taken?;
    left.map_err(|e| Fault::io("unmount", &point, e))?;
    Ok(true)
}

fn mount(device: &Path, point: &Path) -> Result<()> {
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let mut last = None;
    for kind in TYPES {
        match rustix::mount::mount(device, point, kind, flags | MountFlags::NOSYMFOLLOW, None) {
            Ok(()) => return Ok(()),
            Err(error) => last = Some(error),
        }
    }
    let why = last.map_or_else(String::new, |error| format!(": {error}"));
    Err(Fault::input(format!("{DEVICE} is neither vfat, ISO nor ext4{why}"))
        .mend("make it with `cargo xtask seed`"))
}

/// Copies from a mounted seed.
fn take(world: &dyn World, point: &Path) -> Result<()> {
    let path = point.join(NAME);
    let text = files::read_limited(&path, Identity::LIMIT).map_err(|fault| fault.within("the seed disk"))?;
    let text = Zeroizing::new(text.ok_or_else(|| Fault::input(format!("the seed disk has no {NAME}")))?);
    files::write(world, Identity::PATH, text.as_bytes(), 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    fn check(prepare: impl Fn(&Path), expect: std::result::Result<(), &str>) {
        let (world, disk) = (Fake::new(), tempfile::tempdir().unwrap());
        prepare(disk.path());
        let taken = take(&world, disk.path()).map_err(|fault| fault.to_string());
        match expect {
            Ok(()) => files::check_private(&world, Identity::PATH).unwrap(),
            Err(part) => {
                assert!(taken.as_ref().is_err_and(|told| told.contains(part)), "{taken:?}");
                assert!(!world.path(Identity::PATH).exists());
            }
        }
    }

    #[test]
    fn a_seed_is_taken_whole_or_not_at_all() {
        check(|disk| std::fs::write(disk.join(NAME), "name = \"x\"\n").unwrap(), Ok(()));
        check(|_| {}, Err("has no node.toml"));
        check(
            |disk| std::os::unix::fs::symlink("/etc/shadow", disk.join(NAME)).unwrap(),
            Err("no regular file"),
        );
        check(|disk| std::fs::create_dir(disk.join(NAME)).unwrap(), Err("no regular file"));
        let huge = |disk: &Path| std::fs::File::create(disk.join(NAME)).unwrap().set_len(1 << 30).unwrap();
        check(huge, Err("more than 65536 bytes"));
        check(|disk| std::fs::write(disk.join(NAME), [0xff, 0xfe]).unwrap(), Err("no UTF-8"));
    }

    #[test]
    fn without_a_disk_of_that_label_nothing_happens() {
        let world = Fake::new();
        world.make("/dev/disk/by-label/SEED", "");
        assert!(!import(&world).unwrap());
    }
}
