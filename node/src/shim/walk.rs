//! Where a path leads, if nobody but the host's root can change that.

use std::collections::VecDeque;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use crate::fault::{Fault, Result};

use super::refused;

/// The most links that are followed, as in the kernel (path_resolution(7)).
const LINKS: u32 = 40;
/// Others may remove from a folder with this bit only what is theirs (inode(7)).
const STICKY: u32 = 0o1000;

/// A path without links, `.` and `..`. What is behind a part that is not there is not looked at.
///
/// Every folder that decides where the path leads must be root's and let nobody else rename what is looked up in it: else the
/// path could lead elsewhere by the time that it is used.
pub(super) fn walk(path: &Path) -> Result<PathBuf> {
    if !path.is_absolute() {
        return Err(refused(format!("{path:?} is no absolute path")));
    }
    let mut rest = parts(path);
    let mut walked = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = rest.pop_front() {
        if part == Path::new("..") {
            walked.pop();
            continue;
        }
        let next = walked.join(&part);
        let entry = match fs::symlink_metadata(&next) {
            Ok(entry) => entry,
            // Only who may write into the folder can make it, and that is root.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                check_folder(&walked, None)?;
                return Ok(next.join(rest.iter().collect::<PathBuf>()));
            }
            Err(e) => return Err(Fault::io("examine", &next, e)),
        };
        check_folder(&walked, Some(&entry))?;
        if !entry.is_symlink() {
            walked = next;
            continue;
        }
        links += 1;
        if links > LINKS {
            return Err(refused(format!("{path:?} leads through too many links")));
        }
        let target = fs::read_link(&next).map_err(|e| Fault::io("read", &next, e))?;
        if target.is_absolute() {
            walked = PathBuf::from("/");
        }
        parts(&target).into_iter().rev().for_each(|part| rest.push_front(part));
    }
    Ok(walked)
}

fn parts(path: &Path) -> VecDeque<PathBuf> {
    let named = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    named.map(|part| PathBuf::from(part.as_os_str())).collect()
}

/// Refuses a folder in which others could put something else in an entry's place.
fn check_folder(folder: &Path, entry: Option<&Metadata>) -> Result<()> {
    let metadata = fs::symlink_metadata(folder).map_err(|e| Fault::io("examine", folder, e))?;
    let shared = metadata.mode() & 0o022 != 0;
    let kept = metadata.mode() & STICKY != 0 && entry.is_some_and(|entry| entry.uid() == 0);
    if metadata.uid() == 0 && (!shared || kept) {
        return Ok(());
    }
    let what = format!(
        "others than root can change what {folder:?} holds (owner {}, mode {:04o})",
        metadata.uid(),
        metadata.mode() & 0o7777
    );
    Err(refused(what).mend(format!("chown root {0} && chmod go-w {0}", folder.display())))
}
