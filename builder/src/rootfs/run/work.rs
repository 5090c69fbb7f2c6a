//! The folder that a sandbox works in, below the store's scratch folder.

use std::fs::{self, File};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::{Fault, Result};
use crate::host::sandbox::Sandbox;
use crate::store::Store;

/// The beginning of the folders' names.
const PREFIX: &str = "root-";

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A work folder; gone when dropped.
pub(crate) struct Work(PathBuf);

impl Work {
    /// Makes a new work folder. What a killed process has left, which may have owners that only a sandbox can
    /// remove, is removed first.
    pub(crate) fn new(store: &Store, sandbox: &Sandbox) -> Result<Self> {
        sweep(store, sandbox)?;
        let path = store.scratch().join(format!("{PREFIX}{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&path).map_err(|e| Fault::io("make", &path, e))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the folder for a lower tree of this run's own.
    pub(crate) fn lower(&self) -> PathBuf {
        self.0.join("lower")
    }

    /// Takes a lower tree that lies elsewhere, and stays there.
    pub(crate) fn borrow(&self, tree: &Path) -> Result<()> {
        symlink(tree, self.lower()).map_err(|e| Fault::io("link to", tree, e))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // What stays is swept by the next one.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes the work folders of dead processes: theirs are those whose parent's lock is free.
fn sweep(store: &Store, sandbox: &Sandbox) -> Result<()> {
    let tmp = store.root().join("tmp");
    let entries = fs::read_dir(&tmp).map_err(|e| Fault::io("list", &tmp, e))?;
    for scratch in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::DIRECTORY).bits() as i32;
        let Ok(lock) = File::options().read(true).custom_flags(flags).open(&scratch) else { continue };
        if lock.try_lock().is_err() {
            continue;
        }
        let left = fs::read_dir(&scratch).map_err(|e| Fault::io("list", &scratch, e))?;
        for work in left.filter_map(|entry| Some(entry.ok()?.path())) {
            let name = work.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(PREFIX) {
                sandbox.remove(&work)?;
            }
        }
        let _ = fs::remove_dir(&scratch);
    }
    Ok(())
}
