//! A container's bundle (OCI runtime specification, bundle.md), taken back from whoever had it.
//!
//! CRI-O 1.17 gives the folder to containers' root, who could rename what is in it from then on. So the folder is the host
//! root's again before anything in it is read: by descriptor, without following links. What was put there in the meantime
//! is refused, and the configuration is CRI-O's other copy, in a folder that was never anybody else's.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::fault::{Fault, Result};

use super::container::{BundleOwner, COPIES};
use super::refusal::refused;
use super::walk::{Distrusted, walk};

const CONFIG: &str = "config.json";
/// Maximum size of a configuration, in bytes.
const LIMIT: u64 = 16 << 20;
/// Entries of a bundle that containers' root may own: they are mounted into containers.
pub(crate) const THEIRS: [&str; 4] = ["hostname", "passwd", "resolv.conf", "shm"];

/// A bundle that belongs to the host's root.
pub(super) struct Bundle {
    path: PathBuf,
    folder: OwnedFd,
    /// Whether others could write there before it was taken back.
    was_open: bool,
}

impl Bundle {
    /// Takes a bundle back; what is in it must be as CRI-O and conmon leave it.
    pub(super) fn take(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path).map_err(|e| Fault::io("find", path, e))?;
        let path = walk(&path, Distrusted::AllButRoot)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let io = |doing: &str, e: Errno| Fault::io(doing, &path, e);
        let folder = rustix::fs::openat(CWD, &path, flags, Mode::empty()).map_err(|e| io("open", e))?;
        let found = rustix::fs::fstat(&folder).map_err(|e| io("examine", e))?;
        let was_open = found.st_uid != 0 || found.st_mode & 0o022 != 0;
        rustix::fs::fchown(&folder, Some(rustix::fs::Uid::ROOT), Some(rustix::fs::Gid::ROOT))
            .map_err(|e| io("take", e))?;
        rustix::fs::fchmod(&folder, Mode::RWXU).map_err(|e| io("close", e))?;
        let bundle = Self { path, folder, was_open };
        bundle.check_entries()?;
        Ok(bundle)
    }

    /// Returns whose the bundle is.
    pub(super) fn whose(&self) -> BundleOwner {
        BundleOwner::of(&self.path)
    }

    /// Reads CRI-O's other copy of the configuration, which nobody else can write; of another bundle its own, if nobody
    /// else could have written there.
    pub(super) fn configuration(&self) -> Result<String> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (path, file) = match self.whose() {
            BundleOwner::Crios(id) => {
                let path =
                    walk(&Path::new(COPIES).join(id).join("userdata").join(CONFIG), Distrusted::AllButRoot)?;
                let file = rustix::fs::openat(CWD, &path, flags, Mode::empty());
                (path, file)
            }
            _ if self.was_open => {
                return Err(refused(format!(
                    "{} was not root's alone, and nothing vouches for what it holds",
                    self.path.display()
                )));
            }
            _ => (self.path.join(CONFIG), rustix::fs::openat(&self.folder, CONFIG, flags, Mode::empty())),
        };
        let file = file.map_err(|e| Fault::io("read", &path, e))?;
        let found = rustix::fs::fstat(&file).map_err(|e| Fault::io("examine", &path, e))?;
        check(CONFIG, &found).map_err(|fault| fault.context(path.display()))?;
        let mut text = String::new();
        let read = File::from(file).take(LIMIT + 1).read_to_string(&mut text);
        match read.map_err(|e| Fault::io("read", &path, e))? as u64 {
            length if length > LIMIT => {
                Err(refused(format!("{} has more than {LIMIT} bytes", path.display())))
            }
            _ => Ok(text),
        }
    }

    /// Replaces the configuration, by one rename.
    pub(super) fn replace(&self, text: &str) -> Result<()> {
        let scratch = format!(".{CONFIG}.hale.{}", std::process::id());
        let written = self.write(&scratch, text);
        if written.is_err() {
            let _ = rustix::fs::unlinkat(&self.folder, &scratch, AtFlags::empty());
        }
        written.map_err(|e| Fault::io("write", self.path.join(CONFIG), e))
    }

    fn write(&self, scratch: &str, text: &str) -> std::io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, scratch, flags, Mode::RUSR | Mode::WUSR)?;
        File::from(file).write_all(text.as_bytes())?;
        Ok(rustix::fs::renameat(&self.folder, scratch, &self.folder, CONFIG)?)
    }

    fn check_entries(&self) -> Result<()> {
        let io = |doing: &str, e: Errno| Fault::io(doing, &self.path, e);
        for entry in Dir::read_from(self.folder.as_fd()).map_err(|e| io("list", e))? {
            let entry = entry.map_err(|e| io("list", e))?;
            let name = entry.file_name().to_string_lossy();
            if matches!(name.as_ref(), "." | "..") {
                continue;
            }
            match rustix::fs::statat(&self.folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                // Gone since: of conmon's, for nobody else could take it away.
                Err(Errno::NOENT) => {}
                found => check(&name, &found.map_err(|e| io("examine", e))?)
                    .map_err(|fault| fault.context(self.path.display()))?,
            }
        }
        Ok(())
    }
}

/// Refuses what neither CRI-O nor conmon puts into a bundle: links, hard links, what belongs to others.
fn check(name: &str, found: &Stat) -> Result<()> {
    let kind = FileType::from_raw_mode(found.st_mode);
    let known = match kind {
        FileType::RegularFile => found.st_nlink == 1,
        FileType::Directory | FileType::Fifo | FileType::Socket => true,
        _ => false,
    };
    let is_theirs = THEIRS.contains(&name) && matches!(kind, FileType::RegularFile | FileType::Directory);
    if known && (found.st_uid == 0 || is_theirs) {
        return Ok(());
    }
    let what = format!(
        "{name:?} in it ({kind:?}, owner {}, {} names) is neither CRI-O's nor conmon's",
        found.st_uid, found.st_nlink
    );
    Err(refused(what).help("find the pod that mounts the runtime's folders, and delete it"))
}
