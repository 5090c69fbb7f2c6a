//! What the programs changed, read from overlayfs's upper folder
//! (Documentation/filesystems/overlayfs.rst: a character device 0/0 stands for a removed path, the
//! attribute `user.overlay.opaque` for a directory whose lower contents are gone).

use std::collections::BTreeMap;
use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A path of the root tree and what stands there now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// The path, relative to the root.
    pub path: String,
    /// What stands there.
    pub now: Now,
}

/// What stands at a changed path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Now {
    /// Nothing any more.
    Gone,
    /// A directory; `fresh` when nothing of the lower tree shows below it.
    Dir {
        /// Owner and mode.
        owner: Owner,
        /// Whether the lower tree's contents are hidden.
        fresh: bool,
    },
    /// A regular file; its bytes are at the same path below `work/upper`.
    File {
        /// Owner and mode.
        owner: Owner,
    },
    /// A symbolic link.
    Symlink {
        /// Owner.
        owner: Owner,
        /// Where it points, as written.
        target: String,
    },
    /// Something that a tree cannot hold, in words.
    Odd(String),
}

/// Who owns a path, by ids inside, and who may do what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Owner inside.
    pub uid: u32,
    /// Group inside.
    pub gid: u32,
    /// Permission bits.
    pub mode: u16,
    /// Extended attributes, hex by name.
    pub xattrs: BTreeMap<String, String>,
}

/// Lists the changes, and gives every file of the work folder to the sandbox's root, readable: the user
/// outside can then take the bytes over, or remove them.
pub(super) fn hand_over(work: &Path) -> io::Result<Vec<FileChange>> {
    let mut changes = Vec::new();
    // All is listed before anything is changed: a file may have more names than one.
    walk(&work.join("upper"), None, &mut changes)?;
    seize_all(&work.join("upper"))?;
    seize_all(&work.join("overlay"))?;
    Ok(changes)
}

fn seize_all(folder: &Path) -> io::Result<()> {
    for entry in sorted(folder)? {
        let metadata = fs::symlink_metadata(&entry)?;
        seize(&entry, &metadata)?;
        if metadata.is_dir() {
            seize_all(&entry)?;
        }
    }
    Ok(())
}

fn walk(folder: &Path, below: Option<&str>, changes: &mut Vec<FileChange>) -> io::Result<()> {
    for entry in sorted(folder)? {
        let name = entry
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| io::Error::other(format!("{} is no UTF-8 name", entry.display())))?;
        let path = below.map_or_else(|| name.to_owned(), |below| format!("{below}/{name}"));
        let metadata = fs::symlink_metadata(&entry)?;
        changes.push(FileChange { path: path.clone(), now: now(&entry, &metadata)? });
        if metadata.is_dir() {
            walk(&entry, Some(&path), changes)?;
        }
    }
    Ok(())
}

fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries: io::Result<Vec<_>> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect();
    let mut entries = entries?;
    entries.sort();
    Ok(entries)
}

fn now(path: &Path, metadata: &Metadata) -> io::Result<Now> {
    let kind = metadata.file_type();
    if kind.is_char_device() && metadata.rdev() == 0 {
        return Ok(Now::Gone);
    }
    let (xattrs, fresh) = match attributes(path)? {
        Attributes::Plain { kept, opaque } => (kept, opaque),
        Attributes::Acl => return Ok(Now::Odd("a file with an access control list".to_owned())),
    };
    let mode = (metadata.mode() & 0o7777) as u16;
    let owner = Owner { uid: metadata.uid(), gid: metadata.gid(), mode, xattrs };
    Ok(if kind.is_dir() {
        Now::Dir { owner, fresh }
    } else if kind.is_file() {
        Now::File { owner }
    } else if kind.is_symlink() {
        let target = fs::read_link(path)?.into_os_string().into_string();
        let target = target.map_err(|odd| io::Error::other(format!("{odd:?} is no UTF-8 target")))?;
        Now::Symlink { owner, target }
    } else if kind.is_fifo() {
        Now::Odd("a fifo".to_owned())
    } else if kind.is_socket() {
        Now::Odd("a socket".to_owned())
    } else {
        Now::Odd("a device".to_owned())
    })
}

enum Attributes {
    Plain { kept: BTreeMap<String, String>, opaque: bool },
    Acl,
}

/// File capabilities are kept. Labels of the host's security module are not the tree's.
fn attributes(path: &Path) -> io::Result<Attributes> {
    let mut names = vec![0; rustix::fs::llistxattr_query(path)?];
    let length = rustix::fs::llistxattr(path, names.as_mut_slice())?;
    let (mut kept, mut opaque) = (BTreeMap::new(), false);
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        match name {
            b"user.overlay.opaque" => opaque = true,
            b"security.capability" => {
                let mut value = vec![0; rustix::fs::lgetxattr_query(path, name)?];
                let length = rustix::fs::lgetxattr(path, name, value.as_mut_slice())?;
                let hex = value[..length].iter().map(|byte| format!("{byte:02x}")).collect();
                kept.insert("security.capability".to_owned(), hex);
            }
            name if name.starts_with(b"system.posix_acl_") => return Ok(Attributes::Acl),
            _ => {}
        }
    }
    Ok(Attributes::Plain { kept, opaque })
}

/// Owner first: changing it clears set-id bits, which must not stay on a file of this user's.
fn seize(path: &Path, metadata: &Metadata) -> io::Result<()> {
    lchown(path, Some(0), Some(0))?;
    if metadata.is_dir() {
        fs::set_permissions(path, Permissions::from_mode(0o700))?;
    } else if metadata.is_file() {
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
    }
    Ok(())
}
