//! Files that appear whole or not at all: written beside their place, synced, renamed, and their folder synced.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use tempfile::TempPath;

use super::scratch::Scratch;
use crate::base::{Fault, Result};
use crate::pack::disk::writer::{BlockWriter, filled};

/// Writes a file outside the store whole or not at all, in the place of an older one: a hidden neighbour, synced,
/// renamed.
pub fn write_whole(to: &Path, mode: u32, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    written_beside(to, mode, write)?.replace(to)
}

/// Writes a file as [`write_whole`] does, but replaces nothing; returns whether there was nothing.
pub(crate) fn write_new(
    to: &Path,
    mode: u32,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<bool> {
    let temporary = written_beside(to, mode, write)?;
    let moved = match rename_new(temporary.path(), to) {
        // A file system that cannot do that can link, which replaces nothing either.
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            fs::hard_link(temporary.path(), to)
        }
        moved => moved,
    };
    match moved {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        moved => {
            moved.map_err(|e| Fault::io("write", to, e))?;
            sync_dir(folder_of(to)).map(|()| true)
        }
    }
}

fn written_beside(
    to: &Path,
    mode: u32,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<Temporary> {
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let beside = Temporary::beside(folder_of(to), &name);
    let (mut file, temporary) = beside.map_err(|e| Fault::io("make", to, e))?;
    let written = write(&mut file)
        .and_then(|()| file.flush())
        .and_then(|()| file.set_permissions(Permissions::from_mode(mode)))
        .and_then(|()| file.sync_all());
    written.map_err(|e| Fault::io("write", to, e))?;
    Ok(temporary)
}

/// Returns the folder that a file is in.
pub(crate) fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| Fault::io("sync", folder, e))
}

/// Renames, and fails with `AlreadyExists` when the new name is taken.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

/// A file in the scratch folder that is removed unless it is renamed to its place.
pub(crate) struct Temporary(PathBuf);

impl Temporary {
    /// Makes an empty file, and the guard that removes it.
    pub(crate) fn create(scratch: &Scratch) -> Result<(File, Self)> {
        let path = scratch.fresh();
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|e| Fault::io("make", &path, e))?;
        Ok((file, Self(path)))
    }

    /// Makes an empty file in a folder that others may write to: under a name on which nothing lies, no link either.
    fn beside(folder: &Path, name: &str) -> io::Result<(File, Self)> {
        for number in 0u64.. {
            let path = folder.join(format!(".{name}.{}-{number}", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                file => return file.map(|file| (file, Self(path))),
            }
        }
        Err(io::Error::other("no name left"))
    }

    /// Returns its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Moves the file to its place, over an older one, and syncs the folder.
    pub(crate) fn replace(self, to: &Path) -> Result<()> {
        fs::rename(&self.0, to).map_err(|e| Fault::io("move into place", to, e))?;
        sync_dir(folder_of(to))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is nothing to remove.
        let _ = fs::remove_file(&self.0);
    }
}

/// A file that gets its name when it is whole. Until then it is `.hale-NAME` beside it, locked: of what a killed
/// process left, the next one makes its own.
pub struct AtomicFile {
    file: File,
    temporary: TempPath,
    to: PathBuf,
    mode: u16,
}

impl AtomicFile {
    /// Begins beside `to`, whose directory is made if it is missing. Waits while another process publishes it.
    pub fn new(to: &Path) -> Result<Self> {
        let parent = folder_of(to);
        std::fs::create_dir_all(parent).map_err(|e| Fault::io("make", parent, e))?;
        let name = to.file_name().ok_or_else(|| Fault::user(format!("{} names no file", to.display())))?;
        let path = parent.join([OsStr::new(".hale-"), name].join(OsStr::new("")));
        let file = locked(&path).map_err(|e| Fault::io("make", &path, e))?;
        let failed = |e| Fault::io("make", &path, e);
        let temporary = TempPath::try_from_path(&path).map_err(failed)?;
        file.set_len(0).map_err(failed)?;
        Ok(Self { file, temporary, to: to.to_owned(), mode: 0o644 })
    }

    /// Makes the same for a file that nobody else may read.
    pub fn secret(to: &Path) -> Result<Self> {
        Ok(Self { mode: 0o600, ..Self::new(to)? })
    }

    /// Returns its path until it is whole.
    pub(crate) fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Puts all of `source` from `at` on, and gives where it ends; `from` is what a fault calls it.
    pub fn copy(&mut self, source: &mut dyn Read, from: &Path, mut at: u64) -> Result<u64> {
        let mut buffer = vec![0; 1 << 20];
        loop {
            let count = source.read(&mut buffer).map_err(|e| Fault::io("read", from, e))?;
            if count == 0 {
                return Ok(at);
            }
            self.write_at(at, &buffer[..count]).map_err(|e| Fault::io("write", &self.to, e))?;
            at += count as u64;
        }
    }

    /// Sets the length, makes everything durable, and gives it its name.
    pub fn commit(self, length: u64) -> Result<()> {
        let to = self.to;
        let failed = |e| Fault::io("write", &to, e);
        self.file.set_len(length).map_err(failed)?;
        rustix::fs::fchmod(&self.file, rustix::fs::Mode::from_raw_mode(self.mode.into()))
            .map_err(|e| failed(e.into()))?;
        self.file.sync_all().map_err(failed)?;
        self.temporary.persist(&to).map_err(|e| failed(e.error))?;
        sync_dir(folder_of(&to))
    }
}

/// Opens a file that no other process has open here, made if it is missing.
fn locked(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW.bits() as i32;
    loop {
        let file = OpenOptions::new().write(true).create(true).mode(0o600).custom_flags(flags).open(path)?;
        match file.lock() {
            // A file system without locks, a phone's or another machine's: there two at once are not told apart.
            Err(e) if e.kind() == io::ErrorKind::Unsupported => return Ok(file),
            locked => locked?,
        }
        // Whoever had the lock before may have given the file its name, and another file may stand here now.
        if std::fs::metadata(path).is_ok_and(|here| file.metadata().is_ok_and(|own| own.ino() == here.ino()))
        {
            return Ok(file);
        }
    }
}

impl BlockWriter for AtomicFile {
    /// Leaves holes where whole blocks are zero.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        for (start, piece) in filled(bytes, 1 << 16) {
            self.file.write_all_at(piece, offset + start)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// In a folder that others write to, a link may lie under any name that can be guessed.
    #[test]
    fn a_foreign_link_is_not_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let (to, other) = (folder.path().join("page.html"), folder.path().join("other"));
        fs::write(&other, "a file of the user's").unwrap();
        for end in ["", "-0", ".0"] {
            let name = format!(".page.html.{}{end}", std::process::id());
            symlink(&other, folder.path().join(name)).unwrap();
        }
        write_whole(&to, 0o644, |file| file.write_all(b"a page")).unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "a file of the user's");
        assert_eq!(fs::read_to_string(&to).unwrap(), "a page");
        assert!(fs::symlink_metadata(&to).unwrap().is_file());
    }

    #[test]
    fn what_is_there_stays_where_nothing_may_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("key");
        assert!(write_new(&to, 0o600, |file| file.write_all(b"first")).unwrap());
        assert!(!write_new(&to, 0o600, |file| file.write_all(b"second")).unwrap());
        assert_eq!(fs::read_to_string(&to).unwrap(), "first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something was left behind");
    }
}
