//! One blob: written under a temporary name, read with its digest checked.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::Store;
use super::layout::{self, Temporary};
use super::sparse::Reader;
use super::stats::Effort;
use crate::base::digest::Hashing;
use crate::base::{Digest, Fault, Result};

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
        let file = out.into_inner().map_err(|e| layout::full(Fault::io("write", &shown, e.into_error())))?;
        layout::seal(&file, &shown)?;
        self.store.publish(self.temporary.path(), &content, size)?;
        layout::sync_folder(&self.store.blobs())?;
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

/// Reads a blob. The last bytes are handed out only when all of them have the digest, so whoever has
/// read a blob's whole length has read the right bytes.
pub(super) struct Checked<'s> {
    file: Hashing<Reader<File>>,
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
            return Err(layout::foreign(path));
        }
        let (length, reader) = (found.len(), Reader::new(file, &found));
        Ok(Self { file: Hashing::new(reader), length, content: *content, effort })
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
    let found = file.metadata().map_err(|e| Fault::io("look at", path, e))?;
    Digest::of_reader(Reader::new(file, &found)).map_err(|e| Fault::io("read", path, e))
}
