//! What a store costs: counted, so that a bench can hold it against what a build needs at least.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::base::Digest;

/// Bytes that went through a store since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IoStats {
    /// Hashed: what was written, what was read back and checked, and what was asked for by its bytes.
    pub hashed: u64,
    /// Written to the disk, into the store or out of it.
    pub written: u64,
    /// Of the written ones, those of blobs that were not there before: no build writes less.
    pub added: u64,
}

/// The counters; threads share them.
#[derive(Default)]
pub(super) struct IoCounters {
    hashed: AtomicU64,
    written: AtomicU64,
    added: AtomicU64,
}

impl IoCounters {
    /// Digests `bytes`, and counts them.
    pub(super) fn digest(&self, bytes: &[u8]) -> Digest {
        self.hashed(bytes.len() as u64);
        Digest::of(bytes)
    }

    pub(super) fn hashed(&self, bytes: u64) {
        self.hashed.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts a blob that was written, and hashed on the way.
    pub(super) fn wrote(&self, bytes: u64) {
        self.hashed(bytes);
        self.wrote_out(bytes);
    }

    /// Counts a blob that was copied out of the store.
    pub(super) fn wrote_out(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn added(&self, bytes: u64) {
        self.added.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn io_stats(&self) -> IoStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        IoStats { hashed: get(&self.hashed), written: get(&self.written), added: get(&self.added) }
    }
}
