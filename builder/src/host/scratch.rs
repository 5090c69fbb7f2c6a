//! Folders for unfinished files: one of each process, cleared by the next when it was killed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::OFlags;

use crate::base::{Fault, Result};

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
                Err(e) => return Err(Fault::io("make", path, e)),
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

    /// Returns its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a path inside on which nothing lies.
    pub(crate) fn fresh(&self) -> PathBuf {
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

/// Lists the paths in a folder, sorted.
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect());
    let mut entries: Vec<PathBuf> = entries.map_err(|e| Fault::io("list", folder, e))?;
    entries.sort();
    Ok(entries)
}
