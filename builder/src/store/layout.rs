//! The store's folders and the file system calls that it is made of.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};

use crate::base::{Fault, Result};

/// The folder under `tmp/` that outlives processes: downloads that were cut.
pub(super) const PARTIAL: &str = "partial";

/// What to do when the store cannot be where it was to be.
const OTHER: &str = "name a folder of your own with --store or HALE_STORE";

/// Makes the store's own folder if missing, and refuses one that others could tamper with.
pub(super) fn make_root(root: &Path) -> Result<()> {
    if let Some(parent) = root.parent() {
        fs::create_dir_all(parent).map_err(|e| full(Fault::io("make", parent, e).mend(OTHER)))?;
    }
    make_folder(root).map_err(|fault| full(fault.mend(OTHER)))?;
    let found = fs::symlink_metadata(root).map_err(|e| Fault::io("look at", root, e))?;
    let refuse = |why: &str| {
        let what = format!("the store {} {why}", root.display());
        Err(Fault::machine(what).mend(OTHER))
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
    let is_empty = |lock: fs::Metadata| lock.is_file() && lock.len() == 0;
    if fs::symlink_metadata(root.join("lock")).is_ok_and(is_empty) && root.join("blobs/sha256").is_dir() {
        return Ok(());
    }
    match list(root)?.iter().find(|path| !path.ends_with("lock") && !path.ends_with("blobs")) {
        None => Ok(()),
        Some(other) => Err(Fault::user(format!("{} is no store", root.display()))
            .versus("a store, or an empty folder", other.display())
            .mend("name another folder with --store or HALE_STORE")),
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
        Err(e) => Err(full(Fault::io("make", path, e))),
    }
}

/// Opens the lock file, made if missing.
pub(super) fn lock_file(root: &Path) -> Result<File> {
    let path = root.join("lock");
    let flags = OFlags::NOFOLLOW.bits() as i32;
    let opened =
        OpenOptions::new().read(true).write(true).create(true).mode(0o644).custom_flags(flags).open(&path);
    opened.map_err(|e| full(Fault::io("open", path, e).mend(OTHER)))
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
        full(
            Fault::machine(format!("no store can be kept on the file system of {}", scratch.display()))
                .because(e),
        )
        .mend("name a folder on a local disk with --store or HALE_STORE")
    })
}

/// A folder of one process, locked as long as the process lives, so that the next one can tell what a
/// killed one has left behind: under `tmp/`, and beside what is exported.
pub(crate) struct Scratch {
    path: PathBuf,
    next: AtomicU64,
    // The lock on the folder itself.
    _lock: File,
}

impl Scratch {
    /// Clears what dead processes left in `parent` under names that begin with `prefix`, then makes such a
    /// folder there.
    pub(crate) fn new(parent: &Path, prefix: &str) -> Result<Self> {
        remove_stale(parent, prefix)?;
        for number in 0u64.. {
            let path = parent.join(format!("{prefix}{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(e) => return Err(full(Fault::io("make", path, e))),
            }
            // Another process may clear the folder before it is locked; then take the next name.
            let Ok(lock) = File::open(&path) else { continue };
            lock.lock().map_err(|e| Fault::io("lock", &path, e))?;
            let ours = lock.metadata().map_err(|e| Fault::io("look at", &path, e))?.ino();
            if fs::symlink_metadata(&path).is_ok_and(|found| found.ino() == ours) {
                return Ok(Self { path, next: AtomicU64::new(0), _lock: lock });
            }
        }
        Err(Fault::bug("no name left for a temporary folder"))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn fresh(&self) -> PathBuf {
        self.path.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is cleared by the next process.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes the folders whose process is gone. One that cannot be removed (a sandbox's files may have
/// other owners) does no harm and stays.
fn remove_stale(parent: &Path, prefix: &str) -> Result<()> {
    // As `Scratch::new` names them, and nothing else: a folder of a person's is no concern of ours.
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let ours = |name: &str| {
        let numbers = name.strip_prefix(prefix).and_then(|rest| rest.split_once('-'));
        numbers.is_some_and(|(process, number)| is_number(process) && is_number(number))
    };
    for entry in list(parent)? {
        if !entry.file_name().and_then(|name| name.to_str()).is_some_and(ours) {
            continue;
        }
        let flags = (OFlags::NOFOLLOW | OFlags::DIRECTORY).bits() as i32;
        let Ok(folder) = OpenOptions::new().read(true).custom_flags(flags).open(&entry) else { continue };
        if folder.try_lock().is_ok() {
            let _ = fs::remove_dir_all(&entry);
        }
    }
    Ok(())
}

/// The paths in a folder, sorted.
pub(super) fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect());
    let mut entries: Vec<PathBuf> = entries.map_err(|e| Fault::io("list", folder, e))?;
    entries.sort();
    Ok(entries)
}

/// A file in the scratch folder that is removed unless it is renamed to its place.
pub(super) struct Temporary(PathBuf);

impl Temporary {
    /// Makes an empty file, and the guard that removes it.
    pub(super) fn create(scratch: &Scratch) -> Result<(File, Self)> {
        let path = scratch.fresh();
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|e| full(Fault::io("make", &path, e)))?;
        Ok((file, Self(path)))
    }

    /// Makes an empty file in a folder that others may write to: under a name on which nothing lies, no link either.
    fn beside(folder: &Path, name: &str) -> io::Result<(File, Self)> {
        for number in 0u64.. {
            let path = folder.join(format!(".{name}.{}-{number}", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                file => return file.map(|file| (file, Self(path))),
            }
        }
        Err(io::Error::other("no name left"))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Moves the file to its place, over an older one, and syncs the folder.
    pub(super) fn replace(self, to: &Path) -> Result<()> {
        fs::rename(&self.0, to).map_err(|e| full(Fault::io("move into place", to, e)))?;
        sync_folder(to.parent().unwrap_or(Path::new("/")))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is nothing to remove.
        let _ = fs::remove_file(&self.0);
    }
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
    moved.map_err(|e| full(Fault::io("move into place", to, e)))
}

/// Makes a finished file read-only for all whatever the umask, and durable.
pub(super) fn seal(file: &File, shown: &Path) -> Result<()> {
    freeze(file, shown)?;
    file.sync_all().map_err(|e| full(Fault::io("sync", shown, e)))
}

/// Makes a finished file read-only for all whatever the umask.
pub(super) fn freeze(file: &File, shown: &Path) -> Result<()> {
    let frozen = file.set_permissions(fs::Permissions::from_mode(0o444));
    frozen.map_err(|e| Fault::io("set permissions of", shown, e))
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| full(Fault::io("sync", folder, e)))
}

/// Writes a file outside the store whole or not at all: a hidden neighbour, synced, renamed.
pub fn write_whole(to: &Path, mode: u32, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    let folder = to.parent().unwrap_or(Path::new("/"));
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let (mut file, temporary) =
        Temporary::beside(folder, &name).map_err(|e| full(Fault::io("make", to, e)))?;
    let written = write(&mut file)
        .and_then(|()| file.flush())
        .and_then(|()| file.set_permissions(fs::Permissions::from_mode(mode)))
        .and_then(|()| file.sync_all());
    written.map_err(|e| full(Fault::io("write", to, e)))?;
    temporary.replace(to)
}

/// Renames, and fails with `AlreadyExists` when the new name is taken.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

/// Adds what mends a full disk, if that is what went wrong.
pub(crate) fn full(fault: Fault) -> Fault {
    let says = |text: &str| fault.causes().iter().any(|cause| cause.contains(text));
    if says("os error 28") || says("os error 122") {
        return fault.mend("free some space, or run `cargo xtask gc`");
    }
    fault
}

/// Something in the store that the store did not put there.
pub(super) fn foreign(path: &Path) -> Fault {
    Fault::integrity(format!("{} is no regular file", path.display())).mend("cargo xtask verify")
}
