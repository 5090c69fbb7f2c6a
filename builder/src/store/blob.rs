//! One blob: written under a temporary name, read with its digest checked.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::Store;
use super::effort::Effort;
use super::place::{self, Temporary};
use crate::base::digest::Hashing;
use crate::base::{Digest, Fault, Result};
use crate::pack::sink::{Sink, filled};

/// A blob on its way into the store. Dropped without [`BlobWriter::commit`], it leaves nothing.
pub struct BlobWriter<'s> {
    store: &'s Store,
    out: Hashing<BufWriter<File>>,
    temporary: Temporary,
}

impl<'s> BlobWriter<'s> {
    pub(super) fn new(store: &'s Store) -> Result<Self> {
        let (file, temporary) = store.temporary()?;
        Ok(Self { store, out: Hashing::new(BufWriter::with_capacity(1 << 16, file)), temporary })
    }

    /// Makes the blob durable and visible; gives its digest and its length in bytes.
    pub fn commit(self) -> Result<(Digest, u64)> {
        let (out, content, size) = self.out.into_parts();
        let shown = self.store.path_of(&content);
        self.store.effort.wrote(size);
        let file = out.into_inner().map_err(|e| place::full(Fault::io("write", &shown, e.into_error())))?;
        place::seal(&file, &shown)?;
        self.store.publish(self.temporary.path(), &content, size)?;
        place::sync_folder(&self.store.blobs())?;
        Ok((content, size))
    }
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A blob that is written in any order: a disk. What is never put is zero, and a hole in the file. Dropped
/// without [`SparseWriter::commit`], it leaves nothing.
pub struct SparseWriter<'s> {
    store: &'s Store,
    file: File,
    temporary: Temporary,
}

impl<'s> SparseWriter<'s> {
    pub(super) fn new(store: &'s Store) -> Result<Self> {
        let (file, temporary) = store.temporary()?;
        Ok(Self { store, file, temporary })
    }

    /// Sets the length in bytes and makes the blob durable and visible; gives its digest and length.
    pub fn commit(self, length: u64) -> Result<(Digest, u64)> {
        let shown = self.temporary.path();
        self.file.set_len(length).map_err(|e| place::full(Fault::io("write", shown, e)))?;
        // The disk takes what was written while it is read again for its digest.
        let (sealed, digested) = std::thread::scope(|scope| {
            let digested = scope.spawn(|| digest_of_file(shown));
            (place::seal(&self.file, shown), digested.join())
        });
        sealed?;
        let (content, size) = digested.map_err(|_| Fault::bug("reading a disk again panicked"))??;
        self.store.effort.wrote(size);
        self.store.publish(shown, &content, size)?;
        place::sync_folder(&self.store.blobs())?;
        Ok((content, size))
    }
}

impl Sink for SparseWriter<'_> {
    fn put(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        filled(bytes, 1 << 16)
            .into_iter()
            .try_for_each(|(at, piece)| self.file.write_all_at(piece, offset + at))
    }
}

/// Reads a blob. The last bytes are handed out only when all of them have the digest, so whoever has
/// read a blob's whole length has read the right bytes.
pub(super) struct Checked<'s> {
    file: Hashing<File>,
    length: u64,
    content: Digest,
    effort: &'s Effort,
}

impl<'s> Checked<'s> {
    pub(super) fn open(path: &Path, content: &Digest, effort: &'s Effort) -> Result<Self> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
        let file =
            OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => Fault::integrity(format!("the store has no {content}"))
                    .mend("run `cargo xtask verify`, then `cargo xtask fetch` and build again"),
                _ => Fault::io("open", path, e),
            })?;
        let found = file.metadata().map_err(|e| Fault::io("look at", path, e))?;
        if !found.is_file() {
            return Err(place::foreign(path));
        }
        Ok(Self { file: Hashing::new(file), length: found.len(), content: *content, effort })
    }

    /// The blob's length in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    fn check(&self) -> io::Result<()> {
        let found = self.file.digest();
        if found == self.content {
            return Ok(());
        }
        let fault = Fault::integrity("a blob of the store is damaged").versus(self.content, found);
        Err(io::Error::other(fault.mend("cargo xtask verify")))
    }
}

impl Drop for Checked<'_> {
    fn drop(&mut self) {
        self.effort.hashed(self.file.length());
    }
}

impl Read for Checked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let end = count == 0 && !buffer.is_empty();
        if end || self.file.length() >= self.length {
            self.check()?;
        }
        Ok(count)
    }
}

/// The digest and length of the regular file at `path`.
pub(super) fn digest_of_file(path: &Path) -> Result<(Digest, u64)> {
    let file = File::open(path).map_err(|e| Fault::io("open", path, e))?;
    Digest::of_reader(file).map_err(|e| Fault::io("read", path, e))
}
