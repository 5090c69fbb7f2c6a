//! A copy of the checkout, to build from in another place.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use builder::base::{Digest, Fault, Result};

/// Copies what git would commit, the files of each folder in another order than they were made in.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let list = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(from)
        .output()
        .map_err(|e| Fault::io("run", "git", e))?;
    if !list.status.success() {
        let said = String::from_utf8_lossy(&list.stderr).trim().to_owned();
        let fault = Fault::machine(format!("git cannot list the files of {}", from.display())).cause(said);
        return Err(fault.help("work in a clone of the project"));
    }
    let names = String::from_utf8(list.stdout).map_err(|_| Fault::user("a file name that is not UTF-8"))?;
    let mut names: Vec<&str> = names.split_terminator('\0').collect();
    // What the checkout was handed over is not git's, and belongs to the build.
    let local: Vec<_> = local_locks(from)?;
    names.extend(local.iter().map(String::as_str));
    names.sort_by_key(|name| Digest::of(name));
    for name in names {
        let (source, target) = (from.join(name), to.join(name));
        let Ok(metadata) = fs::symlink_metadata(&source) else { continue };
        let parent = target.parent().unwrap_or(to);
        fs::create_dir_all(parent).map_err(|e| Fault::io("make", parent, e))?;
        let copied = if metadata.is_symlink() {
            fs::read_link(&source).and_then(|link| std::os::unix::fs::symlink(link, &target))
        } else {
            fs::copy(&source, &target).map(drop)
        };
        copied.map_err(|e| Fault::io("copy", &source, e))?;
    }
    Ok(())
}

fn local_locks(root: &Path) -> Result<Vec<String>> {
    let folder = PathBuf::from("recipes/lines");
    let entries = fs::read_dir(root.join(&folder)).map_err(|e| Fault::io("list", root.join(&folder), e))?;
    let names = entries.flatten().map(|entry| folder.join(entry.file_name()).to_string_lossy().into_owned());
    Ok(names.filter(|name| name.ends_with(".local.lock")).collect())
}
