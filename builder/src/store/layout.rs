//! The store's folders and the file system calls that it is made of.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::base::{Fault, Result};
use crate::host::atomic::rename_new;
use crate::host::scratch::list;

/// The folder under `tmp/` that outlives processes: downloads that were cut.
pub(super) const PARTIAL: &str = "partial";

/// What to do when the store cannot be where it was to be.
const OTHER: &str = "name a folder of your own with --store or HALE_STORE";

/// A fault that another folder mends, unless it says what does.
fn elsewhere(fault: Fault) -> Fault {
    if fault.help_text().is_some() { fault } else { fault.help(OTHER) }
}

/// Makes the store's own folder if missing, and refuses one that others could tamper with.
pub(super) fn make_root(root: &Path) -> Result<()> {
    if let Some(parent) = root.parent() {
        fs::create_dir_all(parent).map_err(|e| elsewhere(Fault::io("make", parent, e)))?;
    }
    make_folder(root).map_err(elsewhere)?;
    let found = fs::symlink_metadata(root).map_err(|e| Fault::io("look at", root, e))?;
    let refuse = |why: &str| {
        let what = format!("the store {} {why}", root.display());
        Err(Fault::machine(what).help(OTHER))
    };
    if !found.is_dir() {
        return refuse("is a link or no folder");
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return refuse("belongs to another user");
    }
    if found.mode() & 0o002 != 0 {
        return refuse("can be written by everybody");
    }
    check_own(root)
}

/// Refuses a folder that is no store and not empty: a gc would remove from it what is not a store's. One that
/// another process is just making has its lock first, and then its blobs.
fn check_own(root: &Path) -> Result<()> {
    // Before its marks are looked for: whatever a process that makes a store has put there by now came after them.
    let entries = list(root)?;
    let is_empty = |lock: fs::Metadata| lock.is_file() && lock.len() == 0;
    if fs::symlink_metadata(root.join("lock")).is_ok_and(is_empty) && root.join("blobs/sha256").is_dir() {
        return Ok(());
    }
    match entries.iter().find(|path| !path.ends_with("lock") && !path.ends_with("blobs")) {
        None => Ok(()),
        Some(other) => Err(Fault::user(format!("{} is no store", root.display()))
            .expected_found("a store, or an empty folder", other.display())
            .help("name another folder with --store or HALE_STORE")),
    }
}

/// Makes the folders inside the root.
pub(super) fn make_folders(root: &Path) -> Result<()> {
    for folder in ["blobs", "blobs/sha256", "steps", "roots", "trees", "tmp", "tmp/partial"] {
        make_folder(&root.join(folder))?;
    }
    Ok(())
}

fn make_folder(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o755).create(path) {
        // The umask has no say in what the store looks like.
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(0o755))
            .map_err(|e| Fault::io("set permissions of", path, e)),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(Fault::io("make", path, e)),
    }
}

/// Opens the lock file, made if missing.
pub(super) fn lock_file(root: &Path) -> Result<File> {
    let path = root.join("lock");
    let flags = OFlags::NOFOLLOW.bits() as i32;
    let opened =
        OpenOptions::new().read(true).write(true).create(true).mode(0o644).custom_flags(flags).open(&path);
    opened.map_err(|e| elsewhere(Fault::io("open", path, e)))
}

/// Tries, in a scratch folder, what the store relies on: permissions that stay, and a rename that does
/// not replace. Network and FAT file systems lack one or the other.
pub(super) fn probe(scratch: &Path) -> Result<()> {
    let (first, second) = (scratch.join("probe-a"), scratch.join("probe-b"));
    let tried = (|| {
        for path in [&first, &second] {
            let file = File::create(path)?;
            file.set_permissions(fs::Permissions::from_mode(0o444))?;
            if file.metadata()?.mode() & 0o7777 != 0o444 {
                return Err(io::Error::other("permissions do not stay"));
            }
        }
        match rename_new(&first, &second) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(e) => Err(e),
            Ok(()) => Err(io::Error::other("a rename replaces what it must not")),
        }
    })();
    for path in [&first, &second] {
        fs::remove_file(path)
            .or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
            .map_err(|e| Fault::io("remove", path, e))?;
    }
    tried.map_err(|e| {
        Fault::machine(format!("no store can be kept on the file system of {}", scratch.display()))
            .cause(e)
            .help("name a folder on a local disk with --store or HALE_STORE")
    })
}

/// Moves a blob of `size` bytes to its place. One that is there already stays, unless it is not even of
/// the right length, which only damage explains. The folder must be synced after. Says whether the blob
/// is new.
pub(super) fn publish(from: &Path, to: &Path, size: u64) -> Result<bool> {
    let moved = match rename_new(from, to) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(to).map_err(|e| Fault::io("look at", to, e))?;
            match found.is_file() && found.len() == size {
                true => fs::remove_file(from).map(|()| false),
                false => fs::rename(from, to).map(|()| true),
            }
        }
        moved => moved.map(|()| true),
    };
    moved.map_err(|e| Fault::io("move into place", to, e))
}

/// Makes a finished file read-only for all whatever the umask, and durable.
pub(super) fn seal(file: &File, shown: &Path) -> Result<()> {
    freeze(file, shown)?;
    file.sync_all().map_err(|e| Fault::io("sync", shown, e))
}

/// Makes a finished file read-only for all whatever the umask.
pub(super) fn freeze(file: &File, shown: &Path) -> Result<()> {
    let frozen = file.set_permissions(fs::Permissions::from_mode(0o444));
    frozen.map_err(|e| Fault::io("set permissions of", shown, e))
}

/// Makes the fault of something in the store that the store did not put there.
pub(super) fn foreign(path: &Path) -> Fault {
    Fault::integrity(format!("{} is no regular file", path.display())).help("cargo xtask verify")
}
