//! Resolves paths, and refuses those that a distrusted user could make lead elsewhere.

use std::collections::VecDeque;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use crate::fault::{Fault, Result};

use super::refusal::refused;

/// Maximum number of links that are followed, as in the kernel (path_resolution(7)).
const LINKS: u32 = 40;
/// Others may remove from a folder with this bit only what is theirs (inode(7)).
const STICKY: u32 = 0o1000;

/// Users who must not be able to change where a path leads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Distrusted {
    /// Everybody but root: what only CRI-O and conmon have to do with.
    AllButRoot,
    /// Containers, by the host's ids that they may have: the first, and how many. The host's own users look after themselves.
    Pods(u32, u32),
}

impl Distrusted {
    fn is(self, id: u32) -> bool {
        match self {
            Self::AllButRoot => id != 0,
            Self::Pods(first, ids) => id.checked_sub(first).is_some_and(|offset| offset < ids),
        }
    }
}

/// Resolves a path to one without links, `.` and `..`. What is behind a part that does not exist is not looked at.
///
/// Refuses the path if a distrusted user could rename what is looked up in any folder on the way: else the path
/// could lead elsewhere by the time that it is used.
pub(super) fn walk(path: &Path, distrusted: Distrusted) -> Result<PathBuf> {
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
            // Only who may write into the folder can make it.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                check_folder(&walked, None, distrusted)?;
                return Ok(next.join(rest.iter().collect::<PathBuf>()));
            }
            Err(e) => return Err(Fault::io("examine", &next, e)),
        };
        check_folder(&walked, Some(&entry), distrusted)?;
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
fn check_folder(folder: &Path, entry: Option<&Metadata>, distrusted: Distrusted) -> Result<()> {
    let metadata = fs::symlink_metadata(folder).map_err(|e| Fault::io("examine", folder, e))?;
    let mode = metadata.mode();
    let by_group = mode & 0o020 != 0 && distrusted.is(metadata.gid());
    let kept = mode & STICKY != 0 && entry.is_some_and(|entry| !distrusted.is(entry.uid()));
    let shared = (by_group || mode & 0o002 != 0) && !kept;
    if !distrusted.is(metadata.uid()) && !shared {
        return Ok(());
    }
    let (uid, gid, mode) = (metadata.uid(), metadata.gid(), mode & 0o7777);
    let what = format!("a container could change what {folder:?} holds (it is {uid}:{gid} {mode:04o})");
    Err(refused(what).help(format!("chown root:root {0} && chmod go-w {0}", folder.display())))
}
