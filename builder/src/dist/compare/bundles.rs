//! Differences between two bundles: packages, files, modes, owners, lines of configuration, sizes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;

use serde::Serialize;

use crate::base::tree::{Contents, Kind, Memory, Node};
use crate::base::{Fault, Result};
use crate::formats::debian::deb::{UnpackLimits, UnpackedDeb};

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BundleChange {
    /// A package's name, or a path on the node.
    pub what: String,
    /// The earlier value, in words; nothing when it is new.
    pub old: Option<String>,
    /// The value now; nothing when it is gone.
    pub new: Option<String>,
    /// Lines that are gone (`-`) and new (`+`), for texts.
    pub lines: Vec<String>,
}

/// A bundle's packages, opened.
#[derive(Default)]
struct Opened {
    packages: BTreeMap<String, (String, u64)>,
    files: BTreeMap<String, Node>,
    contents: Memory,
}

/// Compares the packages in two folders: all differences, packages first, then paths.
pub fn diff(old: &Path, new: &Path) -> Result<Vec<BundleChange>> {
    let (old, new) = (open(old)?, open(new)?);
    let mut changes = Vec::new();
    for name in names(&old.packages, &new.packages) {
        let say = |(version, size): &(String, u64)| format!("{version}, {size} bytes");
        let (was, is) = (old.packages.get(name), new.packages.get(name));
        if was != is {
            changes.push(change(name, was.map(say), is.map(say), Vec::new()));
        }
    }
    for path in names(&old.files, &new.files) {
        let (was, is) = (old.files.get(path), new.files.get(path));
        if was != is {
            let lines = match (was, is) {
                (Some(was), Some(is)) => lines(&text(was, &old.contents), &text(is, &new.contents)),
                _ => Vec::new(),
            };
            changes.push(change(&format!("/{path}"), was.map(words), is.map(words), lines));
        }
    }
    Ok(changes)
}

fn names<'a, T>(old: &'a BTreeMap<String, T>, new: &'a BTreeMap<String, T>) -> BTreeSet<&'a String> {
    old.keys().chain(new.keys()).collect()
}

fn change(what: &str, old: Option<String>, new: Option<String>, lines: Vec<String>) -> BundleChange {
    BundleChange { what: what.to_owned(), old, new, lines }
}

fn words(node: &Node) -> String {
    let kind = match &node.kind {
        Kind::Dir => "directory".to_owned(),
        Kind::File { content, size } => format!("{size} bytes, {}", content.short()),
        Kind::Symlink { target } => format!("link to {target}"),
    };
    format!("{kind}, {:04o}, {}:{}", node.mode, node.uid, node.gid)
}

fn open(dist: &Path) -> Result<Opened> {
    let entries = fs::read_dir(dist).map_err(|e| {
        Fault::user(format!("no bundle in {}", dist.display())).cause(e).help("cargo xtask build all")
    })?;
    let mut opened = Opened::default();
    for entry in entries {
        let path = entry.map_err(|e| Fault::io("list", dist, e))?.path();
        if path.extension().is_none_or(|ending| ending != "deb") {
            continue;
        }
        let file = File::open(&path).map_err(|e| Fault::io("open", &path, e))?;
        let size = file.metadata().map_err(|e| Fault::io("examine", &path, e))?.len();
        let name = path.display().to_string();
        let deb = UnpackedDeb::read(&name, file, UnpackLimits::for_size(size), &mut opened.contents)?;
        opened.packages.insert(deb.name.to_string(), (deb.version.to_string(), size));
        opened.files.extend(deb.tree.iter().map(|(path, node)| (path.to_string(), node.clone())));
    }
    if opened.packages.is_empty() {
        return Err(Fault::user(format!("no packages in {}", dist.display())).help("cargo xtask build all"));
    }
    Ok(opened)
}

/// The file's text; nothing when it is none.
fn text(node: &Node, contents: &Memory) -> String {
    let Kind::File { content, .. } = &node.kind else { return String::new() };
    contents.read(content).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

fn lines(old: &str, new: &str) -> Vec<String> {
    let diff = similar::TextDiff::from_lines(old, new);
    let signed = |change: similar::Change<&str>| match change.tag() {
        similar::ChangeTag::Equal => None,
        similar::ChangeTag::Delete => Some(format!("-{}", change.value().trim_end())),
        similar::ChangeTag::Insert => Some(format!("+{}", change.value().trim_end())),
    };
    diff.iter_all_changes().filter_map(signed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::{Tree, TreePath};
    use crate::pack::package::deb;

    fn bundle(version: &str, text: &str, mode: u16) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let (mut tree, mut memory) = (Tree::new(), Memory::default());
        tree.insert(TreePath::new("etc/f").unwrap(), memory.file(text, mode)).unwrap();
        let control = format!(
            "Package: thing\nVersion: {version}\nArchitecture: all\nMaintainer: x <x@hale.invalid>\nDescription: x\n"
        );
        fs::write(folder.path().join("thing.deb"), deb::sample(&control, &tree, &memory)).unwrap();
        folder
    }

    #[test]
    fn packages_modes_and_lines_are_told() {
        let (old, new) = (bundle("1", "a\nb\n", 0o644), bundle("2", "a\nc\n", 0o600));
        let changes = diff(old.path(), new.path()).unwrap();
        assert_eq!(changes[0].what, "thing");
        assert_eq!((changes[1].what.as_str(), changes[1].lines.join(" ")), ("/etc/f", "-b +c".to_owned()));
        assert!(changes[1].new.as_ref().unwrap().contains("0600"));
        assert!(diff(old.path(), old.path()).unwrap().is_empty());
        assert!(diff(old.path(), Path::new("/nowhere")).is_err());
    }
}
