//! One blob: written under a temporary name, read with its digest checked.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::Store;
use super::layout;
use super::sparse::SparseReader;
use super::stats::IoCounters;
use crate::base::digest::Hashing;
use crate::base::tree::Contents;
use crate::base::{Digest, Fault, Result};
use crate::host::atomic::{Temporary, sync_dir, write_whole};

/// A blob on its way into the store. Dropped without [`BlobWriter::commit`], it leaves nothing.
pub struct BlobWriter<'s> {
    store: &'s Store,
    out: Hashing<BufWriter<File>>,
    temporary: Temporary,
}

impl Store {
    /// Begins a blob; nothing is kept before [`BlobWriter::commit`].
    pub fn writer(&self) -> Result<BlobWriter<'_>> {
        BlobWriter::new(self)
    }

    /// Copies a blob out to `to`, checked, whole or not at all, with permissions `mode`.
    pub fn export(&self, content: &Digest, to: &Path, mode: u32) -> Result<()> {
        let mut reader = self.open_blob(content)?;
        self.counters.wrote_out(reader.length());
        write_whole(to, mode, |file| io::copy(&mut reader, file).map(drop))
    }

    /// Returns whether the file at `path` is a copy of the blob `content`.
    pub fn is_copy(&self, path: &Path, content: &Digest) -> Result<bool> {
        let (found, size) = digest_of_file(path)?;
        self.counters.hashed(size);
        Ok(found == *content)
    }

    pub(super) fn open_blob(&self, content: &Digest) -> Result<Checked<'_>> {
        Checked::open(&self.path_of(content), content, &self.counters)
    }
}

impl Contents for Store {
    fn open(&self, content: &Digest) -> Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.open_blob(content)?))
    }
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
        self.store.counters.wrote(size);
        let file = out.into_inner().map_err(|e| Fault::io("write", &shown, e.into_error()))?;
        layout::seal(&file, &shown)?;
        self.store.publish(self.temporary.path(), &content, size)?;
        sync_dir(&self.store.blobs())?;
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
    file: Hashing<SparseReader<File>>,
    length: u64,
    content: Digest,
    counters: &'s IoCounters,
}

impl<'s> Checked<'s> {
    pub(super) fn open(path: &Path, content: &Digest, counters: &'s IoCounters) -> Result<Self> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
        let file =
            OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => Fault::integrity(format!("the store has no {content}"))
                    .help("run `cargo xtask verify`, then `cargo xtask fetch` and build again"),
                _ => Fault::io("open", path, e),
            })?;
        let found = file.metadata().map_err(|e| Fault::io("look at", path, e))?;
        if !found.is_file() {
            return Err(layout::foreign(path));
        }
        let (length, reader) = (found.len(), SparseReader::new(file, &found));
        Ok(Self { file: Hashing::new(reader), length, content: *content, counters })
    }

    /// Returns the blob's length in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    fn check(&self) -> io::Result<()> {
        let found = self.file.digest();
        if found == self.content {
            return Ok(());
        }
        let fault = Fault::integrity("a blob of the store is damaged").expected_found(self.content, found);
        Err(io::Error::other(fault.help("cargo xtask verify")))
    }
}

impl Drop for Checked<'_> {
    fn drop(&mut self) {
        self.counters.hashed(self.file.length());
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

/// Digests the regular file at `path`, and returns its length.
pub(super) fn digest_of_file(path: &Path) -> Result<(Digest, u64)> {
    let file = File::open(path).map_err(|e| Fault::io("open", path, e))?;
    let found = file.metadata().map_err(|e| Fault::io("look at", path, e))?;
    Digest::of_reader(SparseReader::new(file, &found)).map_err(|e| Fault::io("read", path, e))
}
