//! Files with holes: disks. A hole is neither read nor written.
//!
//! What is written is followed by two threads, so that a disk is done soon after its last byte:
//!
//! ```text
//! writer    put … settle(end)     nothing before `end` changes any more
//!   digest  reads and hashes up to `end`
//!   flush   sends to the disk what has been written
//! ```

use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, spawn};

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::Store;
use super::layout;
use crate::base::digest::Hashing;
use crate::base::{Digest, Fault, Result};
use crate::host::atomic::{Temporary, sync_dir};
use crate::pack::disk::writer::{BlockWriter, filled};

/// The least run of zeros that becomes a hole.
const HOLE: usize = 1 << 16;
/// How many final bytes make it worth waking the hashing thread.
const STRIDE: u64 = 16 << 20;

/// A blob that is written in any order: a disk. What is never put is zero, and a hole in the file. Dropped
/// without [`SparseWriter::commit`], it leaves nothing.
pub struct SparseWriter<'s> {
    store: &'s Store,
    file: File,
    temporary: Temporary,
    settled: u64,
    digest: Follower<(Digest, u64)>,
    flush: Follower<()>,
}

impl Store {
    /// Begins a blob that is written in any order; nothing is kept before [`SparseWriter::commit`].
    pub fn sparse_writer(&self) -> Result<SparseWriter<'_>> {
        SparseWriter::new(self)
    }
}

impl<'s> SparseWriter<'s> {
    pub(super) fn new(store: &'s Store) -> Result<Self> {
        let (file, temporary) = store.temporary()?;
        let open = || File::open(temporary.path()).map_err(|e| Fault::io("open", temporary.path(), e));
        let (digested, flushed) = (open()?, open()?);
        let digest = Follower::new(move |settled| digest(&digested, &settled));
        let flush = Follower::new(move |settled| flush(&flushed, &settled));
        Ok(Self { store, file, temporary, settled: 0, digest, flush })
    }

    /// Sets the length in bytes and makes the blob durable and visible; gives its digest and length.
    pub fn commit(self, length: u64) -> Result<(Digest, u64)> {
        let shown = self.temporary.path();
        self.file.set_len(length).map_err(|e| Fault::io("write", shown, e))?;
        self.digest.report(length);
        // The disk takes the rest while the digest is made of it.
        self.flush.end().and_then(|ended| ended.map_err(|e| Fault::io("sync", shown, e)))?;
        layout::seal(&self.file, shown)?;
        let (content, size) = self.digest.end()?.map_err(|e| Fault::io("read", shown, e))?;
        self.store.counters.wrote(size);
        self.store.publish(shown, &content, size)?;
        sync_dir(&self.store.blobs())?;
        Ok((content, size))
    }
}

impl BlockWriter for SparseWriter<'_> {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if offset < self.settled {
            return Err(io::Error::other("bytes for a place that was settled"));
        }
        filled(bytes, HOLE).into_iter().try_for_each(|(at, piece)| self.file.write_all_at(piece, offset + at))
    }

    fn finalize_up_to(&mut self, end: u64) {
        if end >= self.settled + STRIDE {
            self.settled = end;
            self.digest.report(end);
            self.flush.report(end);
        }
    }
}

/// A thread that is told how far it may go.
struct Follower<T> {
    settled: Sender<u64>,
    thread: JoinHandle<io::Result<T>>,
}

impl<T: Send + 'static> Follower<T> {
    fn new(follow: impl FnOnce(Receiver<u64>) -> io::Result<T> + Send + 'static) -> Self {
        let (settled, end) = channel();
        Self { settled, thread: spawn(move || follow(end)) }
    }

    fn report(&self, end: u64) {
        // Sending fails only if the thread has stopped with an error, which joining it returns.
        let _ = self.settled.send(end);
    }

    fn end(self) -> Result<io::Result<T>> {
        drop(self.settled);
        self.thread.join().map_err(|_| Fault::bug("the disk hashing thread panicked"))
    }
}

fn digest(file: &File, settled: &Receiver<u64>) -> io::Result<(Digest, u64)> {
    let mut hashing = Hashing::new(io::sink());
    for end in settled {
        // Looks anew: beyond the last end there may have been a hole that is none any more.
        let at = hashing.length();
        let stretch = SparseReader { file, at, until: at, hole: false }.take(end - at);
        io::copy(&mut BufReader::with_capacity(1 << 17, stretch), &mut hashing)?;
    }
    Ok(hashing.finish())
}

fn flush(file: &File, settled: &Receiver<u64>) -> io::Result<()> {
    while settled.recv().is_ok() {
        // What was told meanwhile is in the same sync.
        while settled.try_recv().is_ok() {}
        file.sync_data()?;
    }
    Ok(())
}

/// Reads a file, and its holes without asking the disk for them.
pub(super) struct SparseReader<F> {
    file: F,
    at: u64,
    /// Where the stretch ends that `at` is in: all data, or all hole.
    until: u64,
    hole: bool,
}

impl SparseReader<File> {
    pub(super) fn new(file: File, found: &Metadata) -> Self {
        // Sectors of a file are 512 bytes (stat(2)). Without holes it is one stretch.
        let until = if found.blocks() * 512 < found.len() { 0 } else { u64::MAX };
        Self { file, at: 0, until, hole: false }
    }
}

impl<F: std::borrow::Borrow<File>> SparseReader<F> {
    /// Finds the next stretch (lseek(2), SEEK_DATA and SEEK_HOLE).
    fn look(&mut self) -> io::Result<()> {
        let file = self.file.borrow();
        let data = match rustix::fs::seek(file, SeekFrom::Data(self.at)) {
            // No more data up to the end.
            Err(Errno::NXIO) => file.metadata()?.len(),
            data => data?,
        };
        self.hole = data > self.at;
        self.until = match rustix::fs::seek(file, SeekFrom::Hole(self.at)) {
            _ if self.hole => data,
            Err(Errno::NXIO) => self.at,
            hole => hole?,
        };
        Ok(())
    }
}

impl<F: std::borrow::Borrow<File>> Read for SparseReader<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.until {
            self.look()?;
        }
        let most = buffer.len().min(usize::try_from(self.until - self.at).unwrap_or(usize::MAX));
        let count = match self.hole {
            true => {
                buffer[..most].fill(0);
                most
            }
            false => self.file.borrow().read_at(&mut buffer[..most], self.at)?,
        };
        self.at += count as u64;
        Ok(count)
    }
}
