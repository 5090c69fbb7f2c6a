//! Many blobs that become durable together.
//!
//! A sync costs the disk a flush, whatever the file's size. A root tree has ten thousand files, most of
//! them small; one `syncfs` for all of them takes a fortieth of the time that a sync for each takes
//! (`store-worker write` and `store-worker batch` in the tests do the same work in either way). The order
//! stays: written, synced, then renamed into place.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::Store;
use super::blob::Checked;
use super::layout;
use crate::base::digest::Hashing;
use crate::base::tree::{Contents, Tree};
use crate::base::{Digest, Fault, Result};
use crate::formats::archive::Sink;
use crate::host::atomic::{Temporary, sync_dir};

/// Blobs that wait for one common sync. Threads may share it. Dropped without [`Batch::commit`], it
/// leaves nothing.
pub struct Batch<'s> {
    store: &'s Store,
    // Opened before the first write: syncfs(2) reports the write errors since its descriptor's opening.
    disk: File,
    waiting: Mutex<BTreeMap<Digest, (Temporary, u64)>>,
}

impl Store {
    /// Begins a batch: many blobs that become durable together.
    pub fn batch(&self) -> Result<Batch<'_>> {
        Batch::new(self)
    }
}

impl<'s> Batch<'s> {
    pub(super) fn new(store: &'s Store) -> Result<Self> {
        let disk = File::open(store.scratch()).map_err(|e| Fault::io("open", store.scratch(), e))?;
        Ok(Self { store, disk, waiting: Mutex::default() })
    }

    /// Takes all bytes of `reader`; gives their digest and length. Before [`Batch::commit`] they can be read
    /// from the batch alone.
    pub fn put(&self, mut reader: impl Read) -> Result<(Digest, u64)> {
        let (file, temporary) = self.store.temporary()?;
        let mut out = Hashing::new(file);
        let copied = io::copy(&mut reader, &mut out).and_then(|_| out.flush());
        copied.map_err(|e| Fault::io("write into", self.store.root(), e))?;
        let (file, content, size) = out.into_parts();
        self.store.counters.wrote(size);
        layout::freeze(&file, temporary.path())?;
        if self.store.size_of(&content)? != Some(size) {
            self.waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(content)
                .or_insert((temporary, size));
        }
        Ok((content, size))
    }

    /// Takes `bytes`, without writing what is there already.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest> {
        let content = self.store.counters.digest(bytes);
        let here = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&content);
        if here || self.store.size_of(&content)? == Some(bytes.len() as u64) {
            return Ok(content);
        }
        Ok(self.put(bytes)?.0)
    }

    /// Takes a tree's JSON, as [`Store::put_tree`] keeps it.
    pub fn put_tree(&self, tree: &Tree) -> Result<Digest> {
        self.put_bytes(&tree.to_json()?)
    }

    /// Makes durable what was put so far, so that [`Batch::commit`] has less to wait for.
    pub fn write_out(&self) -> Result<()> {
        rustix::fs::syncfs(&self.disk).map_err(|e| Fault::io("sync", self.store.root(), e.into()))
    }

    /// Makes all of them durable, then visible.
    pub fn commit(mut self) -> Result<()> {
        let waiting = std::mem::take(self.waiting.get_mut().unwrap_or_else(PoisonError::into_inner));
        if waiting.is_empty() {
            return Ok(());
        }
        self.write_out()?;
        waiting.par_iter().try_for_each(|(content, (temporary, size))| {
            self.store.publish(temporary.path(), content, *size)
        })?;
        sync_dir(&self.store.blobs())
    }
}

/// The bytes that wait, and the store's.
impl Contents for Batch<'_> {
    fn open(&self, content: &Digest) -> Result<Box<dyn Read + '_>> {
        match self.waiting.lock().unwrap_or_else(PoisonError::into_inner).get(content) {
            Some((waiting, _)) => Ok(Box::new(Checked::open(waiting.path(), content, &self.store.counters)?)),
            None => self.store.open(content),
        }
    }
}

/// Unpacks into the store: a member's bytes become a blob.
impl Sink for &Batch<'_> {
    fn keep(&mut self, content: &mut dyn Read) -> Result<(Digest, u64)> {
        self.put(content)
    }
}
