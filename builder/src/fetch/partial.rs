//! A download that may be cut and resumed, also by another process: `tmp/partial/<checksum>`, locked by
//! whoever works on it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::base::digest::Checksum;
use crate::base::{Digest, Fault, Result};
use crate::store::Store;

/// The bytes that are there so far.
pub(super) struct Partial {
    file: File,
    path: PathBuf,
    length: u64,
    /// Whether they come from more than one answer, so that they may not fit together.
    pub(super) pieced: bool,
}

impl Partial {
    /// Opens or makes the file; waits while another process fetches the same.
    pub(super) fn open(place: &Store, checksum: &Checksum) -> Result<Self> {
        let path = place.partial().join(checksum.to_string().replace(':', "-"));
        let io = |e| Fault::io("open", &path, e);
        loop {
            let flags = OFlags::NOFOLLOW.bits() as i32;
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
            let file = options.open(&path).map_err(io)?;
            file.lock().map_err(io)?;
            let ours = file.metadata().map_err(io)?;
            // While we waited, the other process may have finished and moved the file into the store.
            if fs::symlink_metadata(&path).is_ok_and(|found| found.ino() == ours.ino()) {
                let length = ours.len();
                return Ok(Self { file, path, length, pieced: length > 0 });
            }
        }
    }

    /// How many bytes there are.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Forgets all bytes.
    pub(super) fn clear(&mut self) -> Result<()> {
        (self.length, self.pieced) = (0, false);
        self.file.set_len(0).map_err(|e| Fault::io("empty", &self.path, e))
    }

    /// Goes to the end, where the next answer's bytes belong.
    pub(super) fn resume(&mut self) -> Result<()> {
        self.pieced = self.length > 0;
        self.file.seek(SeekFrom::Start(self.length)).map_err(|e| Fault::io("seek in", &self.path, e))?;
        Ok(())
    }

    /// Adds bytes.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| Fault::io("write", &self.path, e))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// The checksum of all bytes, of the kind that `pinned` is, and their digest.
    pub(super) fn hash(&self, pinned: &Checksum) -> Result<(Checksum, Digest)> {
        let bytes = || (&self.file).rewind().map(|()| &self.file);
        let hash = || {
            let digest = Digest::of_reader(bytes()?)?.0;
            match pinned {
                Checksum::Sha256(_) => Ok((Checksum::Sha256(digest), digest)),
                Checksum::Sha512(_) => Ok((pinned.same_kind(bytes()?)?, digest)),
            }
        };
        hash().map_err(|e: io::Error| Fault::io("read", &self.path, e))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The open file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Still locked by us, so nobody else has begun with it. After `Store::adopt` it has moved.
        let ours = || {
            fs::symlink_metadata(&self.path).ok()?.ino().eq(&self.file.metadata().ok()?.ino()).then_some(())
        };
        if self.length == 0 && ours().is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }
}
