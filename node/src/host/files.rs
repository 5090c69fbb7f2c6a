//! Files of the node: written whole or not at all, read with a limit, never through a link.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::fault::{Class, Fault, Result};
use crate::host::Host;

/// Maximum size of a file that is read, in bytes.
const LIMIT: u64 = 4 << 20;

/// Writes a file atomically, owned by root: scratch, sync, rename, sync of the directory, which is made (0755) if
/// missing.
pub fn write(host: &dyn Host, absolute: &str, bytes: &[u8], mode: u32) -> Result<()> {
    write_as(host, absolute, bytes, Access { mode, group: 0 })
}

/// Writes a file as [`write`] does, for a group.
fn write_as(host: &dyn Host, absolute: &str, bytes: &[u8], access: Access) -> Result<()> {
    let path = host.path(absolute);
    host.before_change(&path)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    make_directory(host, directory, 0o755)?;
    let scratch = scratch(&path);
    let written = write_scratch(&scratch, bytes, access.mode);
    let moved = written.and_then(|()| {
        host.chown(&scratch, 0, access.group)?;
        host.rename(&scratch, &path)
    });
    if let Err(error) = moved {
        let _ = fs::remove_file(&scratch);
        return Err(full_or(error, "write", &path));
    }
    sync(directory)
}

/// Writes a file that everybody may read, or removes it if it is to have no text; returns whether anything changed.
pub fn put(host: &dyn Host, absolute: &str, text: Option<&str>) -> Result<bool> {
    if read(host, absolute)?.as_deref() == text {
        return Ok(false);
    }
    match text {
        Some(text) => write(host, absolute, text.as_bytes(), 0o644)?,
        None => remove(host, absolute)?,
    }
    Ok(true)
}

/// Who may read a file of root's: its permission bits, and its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Permission bits.
    pub mode: u32,
    /// Id of the group.
    pub group: u32,
}

impl Access {
    /// Root alone.
    pub const ROOT_ONLY: Self = Self { mode: 0o600, group: 0 };
    /// Everybody.
    pub const ROOT_READABLE: Self = Self { mode: 0o644, group: 0 };
}

/// Writes a file unless it has this text and may be read so; returns whether it did.
pub fn update(host: &dyn Host, absolute: &str, text: &str, access: Access) -> Result<bool> {
    let path = host.path(absolute);
    if read(host, absolute)?.is_some_and(|found| found == text) {
        let metadata = fs::symlink_metadata(&path).map_err(|e| Fault::io("examine", &path, e))?;
        let owner = host.owner(&path).map_err(|e| Fault::io("examine", &path, e))?;
        if (metadata.permissions().mode() & 0o7777, owner) == (access.mode, (0, access.group)) {
            return Ok(false);
        }
    }
    write_as(host, absolute, text.as_bytes(), access)?;
    Ok(true)
}

/// `.name.hale` beside a path: what is there after a power cut is nobody's and is overwritten.
fn scratch(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.hale"))
}

fn write_scratch(scratch: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    match fs::remove_file(scratch) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(scratch)?;
    // The mode at creation is subject to the umask.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a fault of writing; for a full disk, with what to do.
fn full_or(error: std::io::Error, doing: &str, path: &Path) -> Fault {
    let fault = Fault::io(doing, path, &error);
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            Fault::transient(fault.to_string()).help("free some space; it goes on by itself")
        }
        _ => fault,
    }
}

/// Makes a directory and its parents, owned by root.
pub fn make_directory(host: &dyn Host, path: &Path, mode: u32) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    host.before_change(path)?;
    let made = fs::DirBuilder::new().recursive(true).mode(mode).create(path);
    // The mode at creation is subject to the umask.
    let made = made.and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)));
    made.map_err(|e| full_or(e, "make directory", path))
}

/// Reads a regular file's text, at most 4 MiB; returns `None` if there is no file. Refuses links.
pub fn read(host: &dyn Host, absolute: &str) -> Result<Option<String>> {
    read_limited(&host.path(absolute), LIMIT)
}

/// Reads a regular file's text, at most `limit` bytes; returns `None` if there is no file. Refuses links.
pub fn read_limited(path: &Path, limit: u64) -> Result<Option<String>> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Fault::io("read", path, error)),
    };
    if !metadata.is_file() {
        return Err(Fault::input(format!("{} is no regular file", path.display())));
    }
    let nofollow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let file = fs::OpenOptions::new().read(true).custom_flags(nofollow).open(path);
    let file = file.map_err(|e| Fault::io("read", path, e))?;
    let mut bytes = Vec::new();
    let read = file.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|e| Fault::io("read", path, e))?;
    if bytes.len() as u64 > limit {
        return Err(Fault::input(format!("{} has more than {limit} bytes", path.display())));
    }
    let text =
        String::from_utf8(bytes).map_err(|_| Fault::input(format!("{} is no UTF-8", path.display())))?;
    Ok(Some(text))
}

/// Reads the text of a file that must exist.
pub fn need(host: &dyn Host, absolute: &str) -> Result<String> {
    read(host, absolute)?.ok_or_else(|| Fault::machine(format!("{absolute} is missing")))
}

/// Removes a file, or a directory with all that is in it, if it exists.
pub fn remove(host: &dyn Host, absolute: &str) -> Result<()> {
    let path = host.path(absolute);
    let Ok(metadata) = fs::symlink_metadata(&path) else { return Ok(()) };
    host.before_change(&path)?;
    let removed = if metadata.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
    removed.map_err(|e| Fault::io("remove", &path, e))?;
    sync(path.parent().unwrap_or(Path::new("/")))
}

/// Moves another program's file or directory into its place in one step: syncs it all, then renames it.
pub fn promote(host: &dyn Host, scratch: &str, place: &str) -> Result<()> {
    let (from, to) = (host.path(scratch), host.path(place));
    sync_all(&from)?;
    host.before_change(&to)?;
    host.rename(&from, &to).map_err(|e| Fault::io("rename to", &to, e))?;
    sync(to.parent().unwrap_or(Path::new("/")))
}

/// Syncs a file, or a directory with all that is in it.
pub fn sync_all(path: &Path) -> Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
        for entry in fs::read_dir(path).map_err(|e| Fault::io("list", path, e))? {
            sync_all(&entry.map_err(|e| Fault::io("list", path, e))?.path())?;
        }
    }
    sync(path)
}

/// Syncs one file or directory; skips links and what does not exist.
pub fn sync(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_symlink() => {}
        _ => return Ok(()),
    }
    let synced = fs::File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|e| full_or(e, "sync", path))
}

/// Refuses a file that anybody but root could have read or written.
pub fn check_private(host: &dyn Host, absolute: &str) -> Result<()> {
    let path = host.path(absolute);
    let metadata = fs::symlink_metadata(&path).map_err(|e| Fault::io("examine", &path, e))?;
    let (uid, _) = host.owner(&path).map_err(|e| Fault::io("examine", &path, e))?;
    let mode = metadata.permissions().mode() & 0o777;
    if uid == 0 && mode & 0o077 == 0 {
        return Ok(());
    }
    let what = format!("{absolute} has mode {mode:04o} and owner {uid}; it holds secrets");
    Err(Fault::new(Class::Input, what).help(format!("chown root {absolute} && chmod 0600 {absolute}")))
}

/// Replaces a file of secrets: puts the new text in place, then zeroes the old bytes.
///
/// Zeroing reaches the blocks of a file system that writes in place; it cannot reach a flash's spare ones.
pub fn overwrite(host: &dyn Host, absolute: &str, bytes: &[u8]) -> Result<()> {
    let path = host.path(absolute);
    let old = fs::OpenOptions::new().write(true).open(&path).map_err(|e| Fault::io("open", &path, e))?;
    write(host, absolute, bytes, 0o600)?;
    let length = old.metadata().map_or(0, |metadata| metadata.len());
    let zeroed = std::io::copy(&mut std::io::repeat(0).take(length), &mut &old).and_then(|_| old.sync_all());
    zeroed.map_err(|e| Fault::io("wipe", &path, e))
}
