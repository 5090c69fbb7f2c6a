//! The store: every byte that a build reads or makes, by digest, and what each step made.
//!
//! ```text
//! <root>/                     0755, never a link, never writable by everybody
//!   lock                      held shared while a store is open, exclusively by gc and verify
//!   blobs/sha256/<hex>        contents, 0444: the OCI image layout's own shape
//!   steps/<id>                one line of JSON: the plan::Output of a step or an intermediate
//!   roots/<hex>               one line of JSON: an owner's path and the outputs that it keeps
//!   trees/<hex>/              a tree as files, to run programs from; a cache
//!   tmp/<pid>-<n>/            a process's unfinished files; its lock dies with the process
//!   tmp/partial/<checksum>    a download that was cut, to be resumed
//! ```
//!
//! A blob is written under `tmp/`, hashed on the way, synced, renamed without replacing, and its folder
//! synced; only then may a step name it. So a power cut leaves an unnamed blob at worst, and two
//! builders that make the same blob both succeed. Nothing here is a database: `steps` and `roots` can
//! be deleted and come back with the next build. Reads are checked against the digest.

mod batch;
mod blob;
mod intermediate;
mod layout;
mod maintenance;
mod sparse;
mod stats;
#[cfg(test)]
mod tests;
mod trees;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::tree::{Contents, Memory, Tree};
use crate::base::{Digest, Fault, Result, json};
use crate::host::atomic::{Temporary, sync_dir};
use crate::host::scratch::{Scratch, list};
use crate::plan::{Output, StepId};

pub use batch::Batch;
pub use blob::BlobWriter;
pub use maintenance::{Collected, Damage, Maintenance, VerifyReport};
pub use sparse::SparseWriter;
use stats::IoCounters;
pub use stats::IoStats;

/// An open store. Opening takes the shared lock; dropping gives it back.
pub struct Store {
    root: PathBuf,
    // None for gc and verify: they write nothing, and so work on a full disk.
    scratch: Option<Scratch>,
    counters: IoCounters,
    // Released when the file is closed, also by the kernel after a kill.
    _lock: File,
}

/// What `roots/<hex>` holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Root {
    owner: PathBuf,
    outputs: Vec<Output>,
}

impl Store {
    /// Opens the store at `root`, made if missing; waits while a gc runs. Refuses a root that is a link,
    /// that everybody may write to or that is another user's, and a file system that cannot rename
    /// without replacing, lock or keep permissions.
    pub fn open(root: &Path) -> Result<Self> {
        layout::make_root(root)?;
        let lock = layout::lock_file(root)?;
        lock.lock_shared().map_err(|e| Fault::io("lock", root.join("lock"), e))?;
        layout::make_folders(root)?;
        let scratch = Scratch::new(&root.join("tmp"), "")?;
        layout::probe(scratch.path())?;
        Ok(Self {
            root: root.to_owned(),
            scratch: Some(scratch),
            counters: IoCounters::default(),
            _lock: lock,
        })
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A folder of this process on the store's file system; it goes when the store is closed, or when
    /// the next one is opened after a kill.
    pub fn scratch(&self) -> &Path {
        self.scratch.as_ref().map_or(&self.root, Scratch::path)
    }

    fn temporary(&self) -> Result<(File, Temporary)> {
        Temporary::create(self.scratch_folder()?)
    }

    /// A path of this process's own on which nothing lies.
    fn fresh(&self) -> Result<PathBuf> {
        Ok(self.scratch_folder()?.fresh())
    }

    fn scratch_folder(&self) -> Result<&Scratch> {
        self.scratch.as_ref().ok_or_else(|| Fault::bug("a write into a store that is open for gc"))
    }

    /// The folder of resumable downloads.
    pub(crate) fn partial(&self) -> PathBuf {
        self.root.join("tmp").join(layout::PARTIAL)
    }

    /// Keeps all bytes of `reader`; gives their digest and length.
    pub fn put(&self, mut reader: impl Read) -> Result<(Digest, u64)> {
        let mut writer = self.writer()?;
        io::copy(&mut reader, &mut writer).map_err(|e| Fault::io("write into", &self.root, e))?;
        writer.commit()
    }

    /// Keeps all that a memory has.
    pub fn put_all(&self, memory: &Memory) -> Result<()> {
        memory.iter().try_for_each(|(_, bytes)| self.put_bytes(bytes).map(drop))
    }

    /// Keeps `bytes`.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest> {
        let content = self.counters.digest(bytes);
        if self.size_of(&content)? == Some(bytes.len() as u64) {
            return Ok(content);
        }
        Ok(self.put(bytes)?.0)
    }

    /// Makes a finished download a blob: its bytes have the digest `content`, as the caller has found.
    pub(crate) fn adopt(&self, path: &Path, file: &File, content: &Digest, size: u64) -> Result<()> {
        layout::seal(file, path)?;
        self.counters.wrote(size);
        self.publish(path, content, size)?;
        sync_dir(&self.blobs())
    }

    /// Moves a finished file to its blob's place.
    fn publish(&self, from: &Path, content: &Digest, size: u64) -> Result<()> {
        if layout::publish(from, &self.path_of(content), size)? {
            self.counters.added(size);
        }
        Ok(())
    }

    /// What has been hashed and written through this store since it was opened.
    pub fn io_stats(&self) -> IoStats {
        self.counters.io_stats()
    }

    /// Whether the bytes are there; their digest is checked when they are read.
    pub fn contains(&self, content: &Digest) -> bool {
        matches!(self.size_of(content), Ok(Some(_)))
    }

    /// The length of a blob in bytes, or `None` when it is not there.
    pub fn size_of(&self, content: &Digest) -> Result<Option<u64>> {
        let path = self.path_of(content);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() => Ok(Some(found.len())),
            Ok(_) => Err(layout::foreign(&path)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Fault::io("look at", path, e)),
        }
    }

    /// Whether a file is one of the store's, by whatever name it was found.
    pub fn holds(&self, file: &fs::Metadata) -> Result<bool> {
        let is_file = |path: &PathBuf| {
            let here = fs::symlink_metadata(path);
            here.is_ok_and(|here| (here.dev(), here.ino()) == (file.dev(), file.ino()))
        };
        let folders = [self.blobs(), self.steps(), self.roots(), self.root.clone()];
        for folder in folders {
            if list(&folder)?.iter().any(is_file) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where a blob is or would be. Prefer [`Contents::open`], which checks what it reads.
    pub fn path_of(&self, content: &Digest) -> PathBuf {
        self.blobs().join(content.hex())
    }

    /// Keeps a tree's JSON; its files' contents must be kept first.
    pub fn put_tree(&self, tree: &Tree) -> Result<Digest> {
        self.put_bytes(&tree.to_json()?)
    }

    /// Reads a tree back.
    pub fn tree(&self, digest: &Digest) -> Result<Tree> {
        Tree::from_json(&self.read(digest)?).map_err(|fault| fault.context(digest))
    }

    /// What a step made, if its output is still there.
    pub fn output(&self, step: &StepId) -> Result<Option<Output>> {
        let Some(output) = self.recorded(step)? else { return Ok(None) };
        let there = match output {
            Output::Blob { content, size } => self.size_of(&content)? == Some(size),
            Output::Tree { tree } => self.size_of(&tree)?.is_some(),
        };
        Ok(there.then_some(output))
    }

    /// Registers what a step made. The output's blobs must be there; they are durable before this is.
    pub fn record(&self, step: &StepId, output: &Output) -> Result<()> {
        let digest = output.digest();
        if !self.contains(&digest) {
            return Err(Fault::bug(format!("step {step} names {digest}, which is not in the store")));
        }
        // Another builder may have renamed the blob in and not yet have synced the folder.
        sync_dir(&self.blobs())?;
        let line = json::canonical(output)?;
        self.write_line(&self.steps().join(step.to_string()), &line)
    }

    /// Registers what many steps made, as [`Store::record`] does for one, with one sync for all.
    pub fn record_all(&self, made: &[(StepId, Output)]) -> Result<()> {
        let disk = File::open(self.scratch()).map_err(|e| Fault::io("open", self.scratch(), e))?;
        let mut waiting = Vec::new();
        for (step, output) in made {
            let (mut file, temporary) = self.temporary()?;
            let path = self.steps().join(step.to_string());
            let written = file.write_all(&json::canonical(output)?).and_then(|()| file.write_all(b"\n"));
            written.map_err(|e| Fault::io("write", &path, e))?;
            layout::freeze(&file, &path)?;
            waiting.push((temporary, path));
        }
        sync_dir(&self.blobs())?;
        rustix::fs::syncfs(&disk).map_err(|e| Fault::io("sync", &self.root, e.into()))?;
        for (temporary, path) in &waiting {
            fs::rename(temporary.path(), path).map_err(|e| Fault::io("move into place", path, e))?;
        }
        sync_dir(&self.steps())
    }

    /// Makes gc keep `outputs`, trees with their contents, as long as the file or folder `owner` (an
    /// absolute path) exists; replaces what the same owner kept before.
    pub fn add_root(&self, owner: &Path, outputs: &[Output]) -> Result<()> {
        if !owner.is_absolute() {
            return Err(Fault::bug(format!("a root's owner must be absolute: {}", owner.display())));
        }
        let name = Digest::of(owner.as_os_str().as_encoded_bytes()).hex();
        let line = json::canonical(&Root { owner: owner.to_owned(), outputs: outputs.to_vec() })?;
        self.write_line(&self.roots().join(name), &line)
    }

    /// Returns what `owner` keeps, in the order in which it was given to [`Store::add_root`].
    pub fn root_of(&self, owner: &Path) -> Result<Vec<Output>> {
        let path = self.roots().join(Digest::of(owner.as_os_str().as_encoded_bytes()).hex());
        match fs::read(&path) {
            Ok(bytes) => {
                let root: Root = serde_json::from_slice(&bytes).map_err(|e| {
                    Fault::integrity(format!("{} is no root", path.display()))
                        .cause(e)
                        .help("cargo xtask verify")
                })?;
                Ok(root.outputs)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(Fault::io("read", path, e)),
        }
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    fn steps(&self) -> PathBuf {
        self.root.join("steps")
    }

    fn trees(&self) -> PathBuf {
        self.root.join("trees")
    }

    fn roots(&self) -> PathBuf {
        self.root.join("roots")
    }

    /// The record of a step. One that cannot be read counts as none: the step runs again.
    fn recorded(&self, step: &StepId) -> Result<Option<Output>> {
        let path = self.steps().join(step.to_string());
        match fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Fault::io("read", path, e)),
        }
    }

    /// Writes a small file of the store whole; replaces an older one.
    fn write_line(&self, path: &Path, line: &[u8]) -> Result<()> {
        let (mut file, temporary) = self.temporary()?;
        let written = file.write_all(line).and_then(|()| file.write_all(b"\n"));
        written.map_err(|e| Fault::io("write", path, e))?;
        layout::seal(&file, path)?;
        temporary.replace(path)
    }
}
