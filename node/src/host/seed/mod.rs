//! A disk labelled `HALE-SEED`: where `node.toml` comes from when the node has none of its own; without one, a disk of
//! cloud-init's, labelled `cidata` ([`nocloud`]).
//!
//! A disk of its own is the operator's, and is never written to. A partition beside the root, as `flash --seed` makes it,
//! stays with the machine: its file's secrets are wiped after their use. What is on it is believed no more than it must be:
//! mounted read-only without set-user-ID, devices, execution or links that are followed, and without replaying a journal,
//! which would write to it; one regular file of at most 64 KiB is read through no link, and copied to
//! `/etc/hale/node.toml`, whose secrets are wiped after their use. The kernel reads the file system: who can
//! plug in a disk can take the whole machine, so a reader of our own would guard nothing.

use std::ffi::CStr;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::mount::{MountFlags, UnmountFlags};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::config::node::NodeConfig;
use crate::config::role::RoleConfig;
use crate::fault::{Fault, Result};
use crate::host::{Host, files};

mod nocloud;

/// The disk's path, as udev makes it.
const DEVICE: &str = "/dev/disk/by-label/HALE-SEED";
const MOUNT: &str = "/run/hale/seed";
/// The file's name at the top of the disk.
const NAME: &str = "node.toml";

/// A file system that a seed may have.
struct FileSystem {
    name: &'static str,
    /// How it is mounted, besides.
    options: Option<&'static CStr>,
    /// Whether a file's mode is its own: elsewhere it is how the disk is mounted or was burnt.
    has_modes: bool,
}

const FILE_SYSTEMS: [FileSystem; 3] = [
    FileSystem { name: "vfat", options: None, has_modes: false },
    FileSystem { name: "iso9660", options: None, has_modes: false },
    FileSystem { name: "ext4", options: Some(c"noload"), has_modes: true },
];

/// Digest of the text that came from a disk last.
const TAKEN: &str = "/var/lib/hale/seed";

/// Copies the seed's file, unless the node has one already; without a seed of ours, translates what a NoCloud disk says.
/// Returns whether the node has another file now. One that came from a disk, that nobody has edited since and that is
/// wrong, is taken anew: who may mend it on the node may be what is wrong with it.
pub fn import(host: &dyn Host, role: &RoleConfig) -> Result<bool> {
    if !is_wanted(host, role) {
        return Ok(false);
    }
    let (own, clouds) = (host.path(DEVICE), nocloud::DEVICES.map(|path| host.path(path)));
    let before = digest(host);
    if own.exists() {
        mounted(host, &own, MountFlags::RDONLY, |point, kind| take(host, point, kind.has_modes))?;
    } else if let Some(device) = clouds.iter().find(|path| path.exists()) {
        mounted(host, device, MountFlags::RDONLY, |point, kind| take_any(host, role, point, kind))?;
    }
    let after = digest(host);
    if after == before {
        return Ok(false);
    }
    files::write(host, TAKEN, after.unwrap_or_default().as_bytes(), 0o600)?;
    Ok(true)
}

/// Returns whether there is no node.toml, or one that came from a disk and is wrong.
fn is_wanted(host: &dyn Host, role: &RoleConfig) -> bool {
    if std::fs::symlink_metadata(host.path(NodeConfig::PATH)).is_err() {
        return true;
    }
    let Ok(Some(text)) = files::read_limited(&host.path(NodeConfig::PATH), NodeConfig::LIMIT) else {
        return false;
    };
    let text = Zeroizing::new(text);
    let is_taken = files::read(host, TAKEN).is_ok_and(|taken| taken.is_some() && taken == digest(host));
    is_taken && NodeConfig::parse(NodeConfig::PATH, &text, role).is_err()
}

/// Returns the digest of node.toml; `None` if it cannot be read.
fn digest(host: &dyn Host) -> Option<String> {
    let text = files::read_limited(&host.path(NodeConfig::PATH), NodeConfig::LIMIT).ok().flatten()?;
    Some(Sha256::digest(Zeroizing::new(text).as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Overwrites the file of a seed on the root's disk with `text`, which is without secrets.
pub fn wipe(host: &dyn Host, text: &str) -> Result<()> {
    let device = host.path(DEVICE);
    if !device.exists() || !is_beside_the_root(host, &device)? {
        return Ok(());
    }
    mounted(host, &device, MountFlags::empty(), |point, _| erase(&point.join(NAME), text))
}

/// Returns whether this is a partition of the disk that the root is on.
fn is_beside_the_root(host: &dyn Host, device: &Path) -> Result<bool> {
    let device = device.canonicalize().map_err(|e| Fault::io("examine", device, e))?;
    let root = host.path("/");
    let root = root.metadata().map_err(|e| Fault::io("examine", &root, e))?.dev();
    let root = format!("/sys/dev/block/{}:{}", rustix::fs::major(root), rustix::fs::minor(root));
    let name = device.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let own = disk(host, &format!("/sys/class/block/{name}"));
    Ok(own.is_some() && own == disk(host, &root))
}

/// Returns the disk of a partition, by its folder in sysfs (Documentation/ABI/stable/sysfs-block).
fn disk(host: &dyn Host, partition: &str) -> Option<PathBuf> {
    let folder = host.path(partition).canonicalize().ok()?;
    folder.join("partition").exists().then(|| folder.parent().map(Path::to_owned))?
}

/// Overwrites a file's blocks with a text, to their end.
fn erase(path: &Path, text: &str) -> Result<()> {
    let mut options = OpenOptions::new();
    let file = options.write(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path);
    let mut file = file.map_err(|e| Fault::io("open", path, e))?;
    let length = file.metadata().map_err(|e| Fault::io("examine", path, e))?.len();
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(bytes.len().max(length as usize), b'\n');
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(|e| Fault::io("wipe", path, e))
}

/// Calls a function while the seed is mounted.
fn mounted(
    host: &dyn Host,
    device: &Path,
    flags: MountFlags,
    act: impl FnOnce(&Path, &FileSystem) -> Result<()>,
) -> Result<()> {
    let point = host.path(MOUNT);
    files::make_directory(host, &point, 0o700)?;
    let kind = mount(device, &point, flags)?;
    let done = act(&point, kind);
    let left = rustix::mount::unmount(&point, UnmountFlags::NOFOLLOW);
    done?;
    left.map_err(|e| Fault::io("unmount", &point, e))
}

fn mount(device: &Path, point: &Path, flags: MountFlags) -> Result<&'static FileSystem> {
    let flags = flags | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let mut last = None;
    for kind in &FILE_SYSTEMS {
        match rustix::mount::mount(device, point, kind.name, flags | MountFlags::NOSYMFOLLOW, kind.options) {
            Ok(()) => return Ok(kind),
            Err(error) => last = Some(error),
        }
    }
    let why = last.map_or_else(String::new, |error| format!(": {error}"));
    Err(Fault::input(format!("{} is neither vfat, ISO nor ext4{why}", device.display()))
        .help("make it with `cargo xtask seed`"))
}

/// Copies a node.toml from a mounted disk of cloud-init's; translates the other files where there is none.
fn take_any(host: &dyn Host, role: &RoleConfig, point: &Path, kind: &FileSystem) -> Result<()> {
    match std::fs::symlink_metadata(point.join(NAME)) {
        Ok(_) => take(host, point, kind.has_modes),
        Err(_) => nocloud::take(host, role, point),
    }
}

/// Copies the file from a mounted seed.
fn take(host: &dyn Host, point: &Path, has_modes: bool) -> Result<()> {
    let path = point.join(NAME);
    let text =
        files::read_limited(&path, NodeConfig::LIMIT).map_err(|fault| fault.context("the seed disk"))?;
    let text = text.map(Zeroizing::new).ok_or_else(|| {
        Fault::input(format!("the seed disk has no {NAME}")).help("make it with `cargo xtask seed`")
    })?;
    let mode =
        std::fs::symlink_metadata(&path).map_err(|e| Fault::io("examine", &path, e))?.permissions().mode();
    if has_modes && mode & 0o077 != 0 {
        let what = format!("{NAME} on the seed disk has mode {:04o}; it holds secrets", mode & 0o777);
        return Err(Fault::input(what).help(format!("chmod 0600 {NAME} there")));
    }
    files::write(host, NodeConfig::PATH, text.as_bytes(), 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::fake::FakeHost;

    fn check(prepare: impl Fn(&Path), expect: std::result::Result<(), &str>) {
        check_mode(0o600, true, &prepare, expect);
    }

    fn check_mode(
        mode: u32,
        has_modes: bool,
        prepare: impl Fn(&Path),
        expect: std::result::Result<(), &str>,
    ) {
        let (host, disk) = (FakeHost::new(), tempfile::tempdir().unwrap());
        prepare(disk.path());
        let file = disk.path().join(NAME);
        if std::fs::symlink_metadata(&file).is_ok_and(|metadata| metadata.is_file()) {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let taken = take(&host, disk.path(), has_modes).map_err(|fault| fault.to_string());
        match expect {
            Ok(()) => files::check_private(&host, NodeConfig::PATH).unwrap(),
            Err(part) => {
                assert!(taken.as_ref().is_err_and(|message| message.contains(part)), "{taken:?}");
                assert!(!host.path(NodeConfig::PATH).exists());
            }
        }
    }

    #[test]
    fn a_seed_is_taken_whole_or_not_at_all() {
        check(|disk| std::fs::write(disk.join(NAME), "name = \"x\"\n").unwrap(), Ok(()));
        check(|_| {}, Err("has no node.toml; make it with"));
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
    fn a_node_toml_on_a_disk_of_cloud_inits_counts_more_than_what_is_beside_it() {
        let role = RoleConfig::parse(include_str!("../../../examples/role.toml")).unwrap();
        let (host, disk) = (FakeHost::new(), tempfile::tempdir().unwrap());
        let text = || files::read(&host, NodeConfig::PATH).unwrap().unwrap();
        std::fs::write(disk.path().join("meta-data"), "local-hostname: other\n").unwrap();
        take_any(&host, &role, disk.path(), &FILE_SYSTEMS[0]).unwrap();
        assert!(text().contains("name = \"other\"\n"));
        std::fs::write(disk.path().join(NAME), "name = \"own\"\n").unwrap();
        take_any(&host, &role, disk.path(), &FILE_SYSTEMS[0]).unwrap();
        assert_eq!(text(), "name = \"own\"\n");
    }

    /// A FAT file system has no modes, and a CD those that it was burnt with.
    #[test]
    fn a_seed_that_others_can_read_is_refused_where_it_can_be_otherwise() {
        let write = |disk: &Path| std::fs::write(disk.join(NAME), "name = \"x\"\n").unwrap();
        check_mode(0o644, false, write, Ok(()));
        check_mode(0o400, true, write, Ok(()));
        let message = "has mode 0640; it holds secrets; chmod 0600 node.toml there";
        check_mode(0o640, true, write, Err(message));
        check_mode(0o604, true, write, Err("has mode 0604"));
    }

    #[test]
    fn a_wiped_file_is_as_long_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        for (before, text) in [("token = \"secret\"\n", "a = 1\n"), ("", "a = 1\n")] {
            std::fs::write(&path, before).unwrap();
            erase(&path, text).unwrap();
            let after = std::fs::read_to_string(&path).unwrap();
            assert_eq!((after.trim_end(), after.len()), (text.trim_end(), before.len().max(text.len())));
        }
        std::os::unix::fs::symlink(&path, folder.path().join("link")).unwrap();
        assert!(erase(&folder.path().join("link"), "").is_err());
    }

    /// A partition of the root's disk is the machine's; of another, or a disk without a table, somebody's own.
    #[test]
    fn a_seed_beside_the_root_is_known() {
        let host = FakeHost::new();
        let link = |from: &str, to: &str| {
            let from = host.path(from);
            std::fs::create_dir_all(from.parent().unwrap()).unwrap();
            let _ = std::fs::remove_file(&from);
            std::os::unix::fs::symlink(host.path(to), from).unwrap();
        };
        let root = host.path("/").metadata().unwrap().dev();
        let root = format!("/sys/dev/block/{}:{}", rustix::fs::major(root), rustix::fs::minor(root));
        for name in ["vda/vda2", "vda/vda3", "vdb/vdb1"] {
            host.make(&format!("/sys/devices/{name}/partition"), "1");
            link(&format!("/sys/class/block/{}", &name[4..]), &format!("/sys/devices/{name}"));
            host.make(&format!("/dev/{}", &name[4..]), "");
        }
        std::fs::create_dir(host.path("/sys/devices/vdc")).unwrap();
        link("/sys/class/block/vdc", "/sys/devices/vdc");
        host.make("/dev/vdc", "");
        link(&root, "/sys/devices/vda/vda2");
        for (device, expect) in [("vda3", true), ("vdb1", false), ("vdc", false)] {
            link(DEVICE, &format!("/dev/{device}"));
            assert_eq!(is_beside_the_root(&host, &host.path(DEVICE)).unwrap(), expect, "{device}");
        }
        // A root on no partition, as an overlay or a whole disk, has no seed beside it.
        link(&root, "/sys/devices/vdc");
        link(DEVICE, "/dev/vda3");
        assert!(!is_beside_the_root(&host, &host.path(DEVICE)).unwrap());
    }

    /// Only a file that is the disk's own, to the byte, and wrong: what an operator wrote is the operator's.
    #[test]
    fn a_disk_is_read_again_where_it_was_wrong() {
        let role = RoleConfig::parse(include_str!("../../../examples/role.toml")).unwrap();
        let check = |text: &str, taken: Option<&str>, expect: bool| {
            let host = FakeHost::new();
            taken.inspect(|text| {
                host.make(NodeConfig::PATH, text);
                host.make(TAKEN, &digest(&host).unwrap());
            });
            host.make(NodeConfig::PATH, text);
            assert_eq!(is_wanted(&host, &role), expect, "{text} after {taken:?}");
        };
        check("name = \"x\"\n", None, false);
        check("nonsense\n", None, false);
        check("nonsense\n", Some("nonsense\n"), true);
        check("nonsense", Some("nonsense\n"), false);
        check("name = \"x\"\n", Some("name = \"x\"\n"), false);
        assert!(is_wanted(&FakeHost::new(), &role));
    }

    #[test]
    fn without_a_disk_of_that_label_nothing_happens() {
        let host = FakeHost::new();
        host.make("/dev/disk/by-label/SEED", "");
        let role = RoleConfig::parse(include_str!("../../../examples/role.toml")).unwrap();
        assert!(!import(&host, &role).unwrap());
    }
}
