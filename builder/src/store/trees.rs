//! Trees as files, in `trees/`: what programs are run from. A cache, laid out again when it is needed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::Store;
use crate::base::{Digest, Fault, Result};

impl Store {
    /// Returns the folder that `make` writes for `name`, which says all that decides what is in it. It is written once,
    /// beside its place, made durable and moved there; whoever finds it, finds it whole.
    pub(crate) fn checkout_tree(
        &self,
        name: &Digest,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let place = self.trees().join(name.hex());
        if place.is_dir() {
            return Ok(place);
        }
        let failed = |e| Fault::io("lay out", &place, e);
        // Opened before the first write: syncfs(2) reports the write errors since then.
        let trees = File::open(self.trees()).map_err(failed)?;
        let folder = self.fresh()?;
        make(&folder)?;
        rustix::fs::syncfs(&trees).map_err(|e| failed(e.into()))?;
        match fs::rename(&folder, &place) {
            // Somebody else was faster, and theirs is as good.
            Err(_) if place.is_dir() => fs::remove_dir_all(&folder).map_err(failed)?,
            moved => moved.map_err(failed)?,
        }
        trees.sync_all().map_err(failed)?;
        Ok(place)
    }
}
