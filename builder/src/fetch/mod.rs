//! Fetching: what the lock names, by digest, from wherever it can be had.
//!
//! Nobody is trusted: a mirror, a redirect, a registry or a file may say what it likes, and only bytes
//! with the locked checksum enter the store. Every place is asked in order and judged on its own.

mod attempt;
mod download;
mod http;
pub mod locked;
pub mod mirror;
mod partial;
pub mod provide;
mod registry;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::base::digest::Checksum;
use crate::base::progress::Progress;
use crate::base::{Class, Fault, Result, Url};
use crate::plan::{Output, StepId};
use crate::store::Store;

use attempt::PinnedBytes;
pub use http::{Client, FetchLimits};
pub use registry::ImageRef;
pub use registry::image::{Descriptor, Parts, parts};

/// Inputs that are fetched at the same time.
const AT_ONCE: usize = 4;

/// One input, as pinned by the lock.
#[derive(Clone, Debug)]
pub struct FetchRequest {
    /// For people: `kubelet 1.17.17`.
    pub name: String,
    /// Where it can be had.
    pub source: Locations,
    /// Its length in bytes, when the lock knows it. For an image, the manifest's.
    pub size: Option<u64>,
    /// What its bytes hash to; for an image, the manifest's SHA-256. `None` for what the operator has not
    /// handed over yet.
    pub checksum: Option<Checksum>,
    /// What to do when it cannot be had.
    pub help: String,
}

/// Where an input comes from.
#[derive(Clone, Debug)]
pub enum Locations {
    /// A file, from the first of these places that has it.
    Urls(Vec<Url>),
    /// An OCI image.
    Image(ImageRef),
    /// The operator hands it over.
    Provided,
}

/// What became of the inputs, each list in the order in which they were asked for.
#[derive(Debug, Default)]
pub struct FetchSummary {
    /// Names of those that the store had.
    pub present: Vec<String>,
    /// Those that were fetched now.
    pub fetched: Vec<Fetched>,
    /// Names of those that could not be had, why, and what mends it.
    pub missing: Vec<(String, Fault)>,
    /// All that is there: what a root of the store should keep.
    pub outputs: Vec<Output>,
}

/// An input that was fetched.
#[derive(Debug)]
pub struct Fetched {
    /// Its name.
    pub name: String,
    /// Its length in bytes; for an image with all its layers.
    pub bytes: u64,
    /// Who served it.
    pub from: Url,
    /// Who failed to before, and how.
    pub refused: Vec<Fault>,
}

impl FetchSummary {
    /// The fault that decides the exit code: the gravest of those that an operator did not have to
    /// provide. `None` when all that can be had is there.
    pub fn gravest(&self) -> Option<&Fault> {
        let faults = self.missing.iter().map(|(_, fault)| fault);
        faults.filter(|fault| fault.class() != Class::User).max_by_key(|fault| fault.class())
    }
}

impl FetchRequest {
    /// What the store has of it: nothing, or all that belongs to it.
    pub fn present(&self, store: &Store) -> Result<Option<Vec<Output>>> {
        let Some(checksum) = self.checksum else { return Ok(None) };
        let Some(output) = store.output(&StepId::of_input(checksum)?)? else { return Ok(None) };
        match &self.source {
            Locations::Image(image) => image.present(store, output),
            Locations::Urls(_) | Locations::Provided => Ok(Some(vec![output])),
        }
    }
}

enum FetchOutcome {
    Present(Vec<Output>),
    Fetched(Vec<Output>, Fetched),
    Missing(Fault),
}

/// Fetches all of `wanted` that the store does not have, some at a time. What cannot be had is in the
/// summary; an error is only what stops everything: this machine's own failure.
pub fn fetch(
    store: &Store,
    client: &Client,
    wanted: &[FetchRequest],
    progress: &dyn Progress,
) -> Result<FetchSummary> {
    let next = AtomicUsize::new(0);
    let outcomes: Mutex<Vec<(usize, Result<FetchOutcome>)>> = Mutex::default();
    let work = || {
        while let Some((index, one)) = take(&next, wanted) {
            let outcome = fetch_one(store, client, one, progress);
            if outcome.is_err() {
                next.store(wanted.len(), Ordering::Relaxed);
            }
            outcomes.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((index, outcome));
        }
    };
    std::thread::scope(|scope| (0..AT_ONCE.min(wanted.len())).for_each(|_| drop(scope.spawn(work))));
    let mut outcomes = outcomes.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    outcomes.sort_by_key(|(index, _)| *index);
    let mut summary = FetchSummary::default();
    for (index, outcome) in outcomes {
        summary.add(&wanted[index].name, outcome?);
    }
    Ok(summary)
}

fn take<'w>(next: &AtomicUsize, wanted: &'w [FetchRequest]) -> Option<(usize, &'w FetchRequest)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    wanted.get(index).map(|one| (index, one))
}

impl FetchSummary {
    fn add(&mut self, name: &str, outcome: FetchOutcome) {
        match outcome {
            FetchOutcome::Present(outputs) => {
                self.present.push(name.to_owned());
                self.outputs.extend(outputs);
            }
            FetchOutcome::Fetched(outputs, fetched) => {
                self.fetched.push(fetched);
                self.outputs.extend(outputs);
            }
            FetchOutcome::Missing(fault) => self.missing.push((name.to_owned(), fault)),
        }
    }
}

fn fetch_one(
    store: &Store,
    client: &Client,
    wanted: &FetchRequest,
    progress: &dyn Progress,
) -> Result<FetchOutcome> {
    if let Some(outputs) = wanted.present(store)? {
        return Ok(FetchOutcome::Present(outputs));
    }
    let got = match (&wanted.source, &wanted.checksum) {
        (Locations::Urls(places), Some(checksum)) => {
            let file = PinnedBytes { checksum, size: wanted.size };
            download::from_places(store, client, file, places, None, progress)
        }
        (Locations::Image(image), Some(checksum)) => {
            image.pull(store, client, PinnedBytes { checksum, size: wanted.size }, progress)
        }
        _ => Err(Fault::user("you have to provide it")),
    };
    match got {
        Ok(got) => {
            let fetched =
                Fetched { name: wanted.name.clone(), bytes: got.bytes, from: got.from, refused: got.refused };
            progress.log(&format!("{}: fetched from {}", fetched.name, fetched.from));
            Ok(FetchOutcome::Fetched(got.outputs, fetched))
        }
        Err(fault) if matches!(fault.class(), Class::Machine | Class::Bug) => {
            Err(fault.context(&wanted.name))
        }
        Err(fault) => {
            progress.log(&format!("{}: {}", wanted.name, fault.what()));
            Ok(FetchOutcome::Missing(fault.help(&wanted.help)))
        }
    }
}
