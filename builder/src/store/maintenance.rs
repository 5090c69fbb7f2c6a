//! What needs the store alone: collecting what nobody keeps, and mending what is damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use super::stats::IoCounters;
use super::{Root, Store, blob, layout};
use crate::base::tree::Kind;
use crate::base::{Digest, Fault, Result};
use crate::host::atomic::sync_dir;
use crate::host::scratch::list;
use crate::plan::{Output, StepId};

/// A file of `steps/`, and the record in it if it is one.
type StepFile = (PathBuf, Option<(StepId, Output)>);

/// A store that nobody else has open.
pub struct Maintenance {
    store: Store,
}

/// What a collection did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Blobs that stay.
    pub kept: u64,
    /// Their bytes.
    pub kept_bytes: u64,
    /// Blobs that go, and downloads that were cut.
    pub removed: u64,
    /// Their bytes.
    pub removed_bytes: u64,
    /// Step records that go.
    pub steps: u64,
    /// Trees that lie there as files and go: they are laid out again when they are needed.
    pub trees: u64,
    /// Owners of roots that are no more.
    pub gone: Vec<PathBuf>,
}

/// One thing that was wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The file in the store.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
    /// Steps whose record went with it: the next build or fetch makes them anew.
    pub steps: Vec<StepId>,
    /// Owners of roots that it belongs to.
    pub owners: Vec<PathBuf>,
}

/// What a verification read and found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Blobs that were read.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What was wrong, in the order of paths. All of it has been removed.
    pub damaged: Vec<Damage>,
}

impl Damage {
    fn new(path: PathBuf, what: &str) -> Self {
        Self { path, what: what.to_owned(), steps: Vec::new(), owners: Vec::new() }
    }
}

impl Store {
    /// Opens the store for gc and verify, when nobody else has it open.
    pub fn open_exclusive(root: &Path) -> Result<Maintenance> {
        layout::make_root(root)?;
        let lock = layout::lock_file(root)?;
        match lock.try_lock() {
            Ok(()) => {
                layout::make_folders(root)?;
                let counters = IoCounters::default();
                Ok(Maintenance::new(Self { root: root.to_owned(), scratch: None, counters, _lock: lock }))
            }
            Err(fs::TryLockError::WouldBlock) => {
                Err(Fault::machine(format!("the store {} is in use by a build or a fetch", root.display()))
                    .help("wait until that has ended, then run the command again"))
            }
            Err(fs::TryLockError::Error(e)) => Err(Fault::io("lock", root.join("lock"), e)),
        }
    }
}

impl Maintenance {
    pub(super) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Removes every blob and step record that no root reaches, trees that are laid out as files, and
    /// unfinished downloads. With `dry_run` it only counts. A damaged tree below a root stops it: its
    /// contents are unknown.
    pub fn gc(&self, dry_run: bool) -> Result<Collected> {
        let mut report = Collected { trees: self.clear_trees(dry_run)?, ..Collected::default() };
        let mut keep = BTreeSet::new();
        for (path, root) in self.roots()? {
            if root.owner.symlink_metadata().is_err() {
                report.gone.push(root.owner);
                remove(&path, dry_run)?;
                continue;
            }
            for output in &root.outputs {
                keep.extend(self.reach(output)?);
            }
        }
        for (path, step) in self.steps()? {
            let kept = step.is_some_and(|(_, output)| keep.contains(&output.digest()));
            if !kept {
                report.steps += 1;
                remove(&path, dry_run)?;
            }
        }
        // Before the blobs go, so that no power cut leaves a record without its blob.
        sync_dir(&self.store.steps())?;
        self.sweep(&keep, dry_run, &mut report)?;
        Ok(report)
    }

    /// Removes the trees that are laid out as files; says how many.
    fn clear_trees(&self, dry_run: bool) -> Result<u64> {
        let trees = list(&self.store.trees())?;
        trees.iter().try_for_each(|tree| remove(tree, dry_run))?;
        Ok(trees.len() as u64)
    }

    fn sweep(&self, keep: &BTreeSet<Digest>, dry_run: bool, report: &mut Collected) -> Result<()> {
        let downloads = list(&self.store.partial())?;
        for path in list(&self.store.blobs())?.into_iter().chain(downloads) {
            let size = fs::symlink_metadata(&path).map_err(|e| Fault::io("look at", &path, e))?.len();
            if named(&path).is_some_and(|content| keep.contains(&content)) {
                report.kept += 1;
                report.kept_bytes += size;
            } else {
                report.removed += 1;
                report.removed_bytes += size;
                remove(&path, dry_run)?;
            }
        }
        sync_dir(&self.store.blobs())
    }

    /// Reads every blob; removes those that are not what their name says, and with them the records of
    /// the steps that they belong to. Records whose blobs are missing go too, and so do trees that are laid
    /// out as files, which have no digest to be held against.
    pub fn verify(&self) -> Result<VerifyReport> {
        self.clear_trees(false)?;
        let blobs = list(&self.store.blobs())?;
        let checked: Vec<(u64, Option<String>)> =
            blobs.par_iter().map(|path| check(path)).collect::<Result<_>>()?;
        let mut report = VerifyReport { blobs: blobs.len() as u64, ..VerifyReport::default() };
        let mut wrong: BTreeMap<PathBuf, String> = BTreeMap::new();
        for (path, (size, damage)) in blobs.into_iter().zip(checked) {
            report.bytes += size;
            if let Some(what) = damage {
                remove(&path, false)?;
                wrong.insert(path, what);
            }
        }
        report.damaged = self.forget(wrong)?;
        sync_dir(&self.store.steps())?;
        sync_dir(&self.store.blobs())?;
        Ok(report)
    }

    /// Removes the step records that need a blob that is not there; says for each such blob whom it
    /// belonged to.
    fn forget(&self, wrong: BTreeMap<PathBuf, String>) -> Result<Vec<Damage>> {
        let mut damages: BTreeMap<PathBuf, Damage> =
            wrong.into_iter().map(|(path, what)| (path.clone(), Damage::new(path, &what))).collect();
        for (path, step) in self.steps()? {
            let Some((id, output)) = step else {
                remove(&path, false)?;
                damages.insert(path.clone(), Damage::new(path, "not a step record"));
                continue;
            };
            let lost = self.lost(&output)?;
            if !lost.is_empty() {
                remove(&path, false)?;
            }
            for blob in lost {
                damages.entry(blob.clone()).or_insert_with(|| Damage::new(blob, "missing")).steps.push(id);
            }
        }
        for (_, root) in self.roots()? {
            let mut lost = BTreeSet::new();
            for output in &root.outputs {
                lost.extend(self.lost(output)?);
            }
            for blob in lost {
                let damage = damages.entry(blob.clone()).or_insert_with(|| Damage::new(blob, "missing"));
                damage.owners.push(root.owner.clone());
            }
        }
        Ok(damages.into_values().collect())
    }

    /// The places of an output's blobs that are not there.
    fn lost(&self, output: &Output) -> Result<Vec<PathBuf>> {
        let reached = self.reach(output)?.into_iter();
        Ok(reached.filter(|blob| !self.store.contains(blob)).map(|blob| self.store.path_of(&blob)).collect())
    }

    /// All blobs of an output: itself, and a tree's contents.
    fn reach(&self, output: &Output) -> Result<BTreeSet<Digest>> {
        let mut blobs = BTreeSet::from([output.digest()]);
        if let Output::Tree { tree } = output
            && self.store.contains(tree)
        {
            let nodes = self.store.tree(tree)?;
            blobs.extend(nodes.iter().filter_map(|(_, node)| match node.kind {
                Kind::File { content, .. } => Some(content),
                _ => None,
            }));
        }
        Ok(blobs)
    }

    fn roots(&self) -> Result<Vec<(PathBuf, Root)>> {
        let paths = list(&self.store.roots())?;
        let read = |path: PathBuf| {
            let bytes = fs::read(&path).map_err(|e| Fault::io("read", &path, e))?;
            let root = serde_json::from_slice(&bytes).map_err(|e| {
                // Failing is safer than collecting what it kept.
                Fault::integrity(format!("{} is not a root of the store", path.display()))
                    .cause(e)
                    .help(format!("remove it, and fetch and build again: rm {}", path.display()))
            })?;
            Ok((path, root))
        };
        paths.into_iter().map(read).collect()
    }

    fn steps(&self) -> Result<Vec<StepFile>> {
        let paths = list(&self.store.steps())?;
        let read = |path: PathBuf| {
            let id =
                path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<StepId>().ok());
            let output = id.map(|id| self.store.recorded(&id)).transpose()?.flatten();
            Ok((path, id.zip(output)))
        };
        paths.into_iter().map(read).collect()
    }
}

/// The digest that a blob's file name says.
fn named(path: &Path) -> Option<Digest> {
    path.file_name().and_then(|name| name.to_str()).and_then(|name| Digest::from_hex(name).ok())
}

/// Reads a file of `blobs/`; gives its length and what is wrong with it.
fn check(path: &Path) -> Result<(u64, Option<String>)> {
    let found = fs::symlink_metadata(path).map_err(|e| Fault::io("look at", path, e))?;
    let Some(content) = named(path) else { return Ok((found.len(), Some("not a digest".to_owned()))) };
    if !found.is_file() {
        return Ok((0, Some("no regular file".to_owned())));
    }
    let (actual, size) = blob::digest_of_file(path)?;
    let damage = (actual != content).then(|| format!("its bytes have {actual}"));
    Ok((size, damage))
}

fn remove(path: &Path, dry_run: bool) -> Result<()> {
    if dry_run {
        return Ok(());
    }
    let folder = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    let removed = if folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(|e| Fault::io("remove", path, e))
}
