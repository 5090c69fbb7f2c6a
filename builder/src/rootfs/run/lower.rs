//! A tree as files on disk, for the sandbox to read. In parallel: a root has tens of thousands of files.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rayon::prelude::*;

use crate::base::tree::{Contents, Kind, Node, Tree, TreePath};
use crate::base::{Epoch, Fault, Result};
use crate::host::sandbox::Special;

/// Files up to this many bytes are read whole before their file is made.
const SMALL: u64 = 1 << 16;

/// Writes the tree below `folder`, which must not exist; every file's time is `epoch`, because Python's
/// bytecode holds the time of its source. All of it belongs to this user: see [`specials`].
pub(crate) fn write(tree: &Tree, contents: &dyn Contents, epoch: Epoch, folder: &Path) -> Result<()> {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(epoch.seconds());
    make_folder(folder, 0o755)?;
    // A folder stands before what is in it.
    for (path, node) in tree.iter().filter(|(_, node)| node.is_dir()) {
        make_folder(&folder.join(path.as_str()), node.mode)?;
    }
    let rest: Vec<_> = tree.iter().filter(|(_, node)| !node.is_dir()).collect();
    rest.par_iter().with_min_len(64).try_for_each(|(path, node)| {
        let at = folder.join(path.as_str());
        write_one(node, contents, time, &at).map_err(|fault| fault.context(path))
    })
}

/// Lends a lower tree what a run needs and the result does not: mount points, and the program that init
/// scripts ask whether a service may start (invoke-rc.d(8)), which says no.
pub(crate) fn furnish(lower: &Path) -> Result<()> {
    let policy = lower.join("usr/sbin/policy-rc.d");
    let folders = ["dev", "proc", "run", "tmp", "usr/sbin"];
    let made = folders
        .iter()
        .try_for_each(|folder| fs::create_dir_all(lower.join(folder)))
        .and_then(|()| fs::write(&policy, "#!/bin/sh\nexit 101\n"))
        .and_then(|()| fs::set_permissions(&policy, Permissions::from_mode(0o755)));
    made.map_err(|e| Fault::io("furnish", lower, e))
}

/// Lists what this user may not set: other owners, and what a change of owner would take away again.
pub(crate) fn specials(tree: &Tree) -> Result<Vec<Special>> {
    tree.iter().filter(|(_, node)| is_special(node)).map(|(path, node)| special(path, node)).collect()
}

fn make_folder(path: &Path, mode: u16) -> Result<()> {
    // This user must be able to write into it, whatever its mode is to be in the tree.
    let mode = Permissions::from_mode(u32::from(mode | 0o700));
    fs::create_dir(path)
        .and_then(|()| fs::set_permissions(path, mode))
        .map_err(|e| Fault::io("make", path, e))
}

fn write_one(node: &Node, contents: &dyn Contents, time: SystemTime, at: &Path) -> Result<()> {
    match &node.kind {
        Kind::Symlink { target } => symlink(target, at).map_err(|e| Fault::io("make", at, e)),
        Kind::File { content, size } => {
            let mut reader = contents.open(content)?;
            let written = copy(&mut *reader, *size, at).and_then(|file| {
                file.set_permissions(Permissions::from_mode(u32::from(node.mode)))?;
                file.set_modified(time)
            });
            written.map_err(|e| Fault::io("write", at, e))
        }
        Kind::Dir => Ok(()),
    }
}

fn copy(reader: &mut dyn Read, size: u64, at: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(at)?;
    let mut buffer = vec![0; size.clamp(1, SMALL) as usize];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(file),
            count => file.write_all(&buffer[..count])?,
        }
    }
}

fn is_special(node: &Node) -> bool {
    let set_id = node.mode & 0o6000 != 0 && !matches!(node.kind, Kind::Symlink { .. });
    let unwritable = node.is_dir() && node.mode & 0o700 != 0o700;
    (node.uid, node.gid) != (0, 0) || set_id || unwritable || !node.xattrs.is_empty()
}

fn special(path: &TreePath, node: &Node) -> Result<Special> {
    let mode = (!matches!(node.kind, Kind::Symlink { .. })).then_some(node.mode);
    let xattrs = node.xattrs.iter().map(|(name, hex)| Ok((name.clone(), bytes(hex)?)));
    let xattrs = xattrs.collect::<Result<_>>()?;
    Ok(Special { path: path.to_string(), uid: node.uid, gid: node.gid, mode, xattrs })
}

fn bytes(hex: &str) -> Result<Vec<u8>> {
    let wrong = || Fault::integrity("an extended attribute that is not in hex");
    let digits: Option<Vec<u8>> = hex.chars().map(|c| Some(c.to_digit(16)? as u8)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0).ok_or_else(wrong)?;
    Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
