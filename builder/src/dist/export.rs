//! Puts a tree of the store where people find it: written beside its place, synced, and swapped in whole.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use walkdir::WalkDir;

use crate::base::tree::{Kind, Node, Tree, TreePath};
use crate::base::{Fault, Result};
use crate::host::atomic::{folder_of, sync_dir};
use crate::host::scratch::Scratch;
use crate::store::Store;

/// The file in each exported folder that names all else in it, a path a line: what may be replaced.
pub const MARK: &str = ".hale";
/// The mark's first line.
const TITLE: &str = "Hale wrote what is named here, and replaces it.";

/// Writes a tree to `to`, in the place of the last one there, and the mark with it. A folder in which anything
/// lies that neither the mark there names nor the tree has as it is, is refused, and stays as it was. Files that
/// are there already are linked, not written again; when everything is, nothing is touched. Owners are not set:
/// what is exported belongs to whoever runs the program.
pub fn export(store: &Store, tree: &Tree, to: &Path) -> Result<()> {
    let tree = &marked(store, tree)?;
    let to = &folder(to)?;
    let standing = Standing::find(store, tree, to)?;
    if standing.is_all(tree) {
        return Ok(());
    }
    standing.check_own(to)?;
    let parent = folder_of(to);
    fs::create_dir_all(parent).map_err(|e| Fault::io("make", parent, e))?;
    let scratch = Scratch::new(parent, ".hale-export-")?;
    let fresh = scratch.path().join("fresh");
    make_folder(&fresh, 0o755)?;
    for (path, node) in tree.iter() {
        let at = fresh.join(path.as_str());
        match &node.kind {
            Kind::Dir => make_folder(&at, node.mode)?,
            Kind::File { .. } if standing.lends(path, &to.join(path.as_str()), &at) => {}
            Kind::File { content, .. } => store.export(content, &at, node.mode.into())?,
            Kind::Symlink { target } => symlink(target, &at).map_err(|e| Fault::io("make", &at, e))?,
        }
    }
    for (path, _) in tree.iter().filter(|(_, node)| node.is_dir()) {
        sync_dir(&fresh.join(path.as_str()))?;
    }
    sync_dir(&fresh)?;
    swap(&fresh, to)?;
    sync_dir(parent)
}

/// The tree with its mark.
fn marked(store: &Store, tree: &Tree) -> Result<Tree> {
    let mut text = format!("{TITLE}\n");
    for (path, _) in tree.iter() {
        text.push_str(path.as_str());
        text.push('\n');
    }
    let mut tree = tree.clone();
    let node = Node::file(store.put_bytes(text.as_bytes())?, text.len() as u64, 0o644);
    tree.insert(TreePath::new(MARK)?, node)?;
    Ok(tree)
}

/// Returns the files that the mark in a folder names, and the mark; nothing if there is none.
fn named(folder: &Path) -> Result<BTreeSet<String>> {
    let path = folder.join(MARK);
    let text = match fs::read_to_string(&path) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => String::new(),
        text => text.map_err(|e| Fault::io("read", path, e))?,
    };
    let mut lines = text.lines();
    match lines.next() {
        Some(TITLE) => Ok(lines.chain([MARK]).map(str::to_owned).collect()),
        _ => Ok(BTreeSet::new()),
    }
}

/// Returns the folder to export to, links followed: a link that leads to it stays.
fn folder(to: &Path) -> Result<PathBuf> {
    let found = match fs::symlink_metadata(to) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(to.to_owned()),
        found => found.map_err(|e| Fault::io("look at", to, e))?,
    };
    let place = match found.is_symlink() {
        true => to.canonicalize().map_err(|e| Fault::io("follow", to, e))?,
        false => to.to_owned(),
    };
    match place.is_dir() {
        true => Ok(place),
        false => Err(Fault::user(format!("{} is no folder", to.display()))
            .expected_found("a folder, or nothing there", "something else")
            .help("name another folder with --dist, or move it away")),
    }
}

/// The files of a tree that lie in their places already, and others that do.
struct Standing {
    same: BTreeSet<TreePath>,
    other: Vec<PathBuf>,
}

impl Standing {
    /// Compares by permissions, length and digest.
    fn find(store: &Store, tree: &Tree, to: &Path) -> Result<Self> {
        let mut standing = Self { same: BTreeSet::new(), other: Vec::new() };
        for entry in WalkDir::new(to).sort_by_file_name() {
            let entry = match entry {
                Err(e) if e.depth() == 0 && e.io_error().is_some_and(is_absent) => break,
                entry => {
                    entry.map_err(|e| Fault::machine(format!("cannot list {}", to.display())).cause(e))?
                }
            };
            if entry.depth() == 0 {
                continue;
            }
            let name = entry.path().strip_prefix(to).ok().and_then(Path::to_str);
            let path = name.and_then(|name| TreePath::new(name).ok());
            let known = path.and_then(|path| Some((tree.get(path.as_str())?, path)));
            match known {
                Some((node, path)) if is_node(store, node, entry.path())? => drop(standing.same.insert(path)),
                _ => standing.other.push(entry.into_path()),
            }
        }
        Ok(standing)
    }

    fn is_all(&self, tree: &Tree) -> bool {
        self.other.is_empty() && self.same.len() == tree.len()
    }

    /// Refuses a folder in which something lies that is neither the same nor named by the mark.
    fn check_own(&self, to: &Path) -> Result<()> {
        let named = named(to)?;
        let is_named = |path: &Path| {
            let name = path.strip_prefix(to).ok().and_then(Path::to_str);
            name.is_some_and(|name| named.contains(name))
        };
        let strange: Vec<&PathBuf> = self.other.iter().filter(|path| !is_named(path)).collect();
        let Some(first) = strange.first() else { return Ok(()) };
        let count = match strange.len() {
            1 => first.display().to_string(),
            more => format!("{} and {} more", first.display(), more - 1),
        };
        Err(Fault::user(format!("{} would be lost: it was not put there by Hale", first.display()))
            .expected_found(format!("nothing in {} but what Hale put there", to.display()), count)
            .help(format!("name another folder with --dist, or move it away: mv {0} {0}.old", to.display())))
    }

    /// Links the file that is there already to `at`; no if there is none, or no link can be made.
    fn lends(&self, path: &TreePath, there: &Path, at: &Path) -> bool {
        self.same.contains(path) && fs::hard_link(there, at).is_ok()
    }
}

fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// Returns whether the file at `path` is the one that `node` describes.
fn is_node(store: &Store, node: &Node, path: &Path) -> Result<bool> {
    let metadata = fs::symlink_metadata(path).map_err(|e| Fault::io("look at", path, e))?;
    let mode = metadata.permissions().mode() & 0o7777 == u32::from(node.mode);
    match &node.kind {
        Kind::Dir => Ok(metadata.is_dir() && mode),
        Kind::File { content, size } => {
            let looks = metadata.is_file() && mode && metadata.len() == *size;
            Ok(looks && store.is_copy(path, content)?)
        }
        Kind::Symlink { target } => {
            Ok(fs::read_link(path).is_ok_and(|found| found.as_os_str() == target.as_str()))
        }
    }
}

/// A folder with exactly these permissions, whatever the umask.
fn make_folder(path: &Path, mode: u16) -> Result<()> {
    fs::create_dir(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode.into())))
        .map_err(|e| Fault::io("make", path, e))
}

/// Brings `fresh` to `to` in one step; what was there before is then at `fresh`. A file system that
/// cannot exchange two folders gets two renames, between which there is nothing at `to`.
fn swap(fresh: &Path, to: &Path) -> Result<()> {
    loop {
        match renameat_with(CWD, fresh, CWD, to, RenameFlags::EXCHANGE) {
            Ok(()) => return Ok(()),
            Err(Errno::NOENT) => {}
            Err(Errno::INVAL | Errno::NOSYS | Errno::XDEV) => {
                let old = fresh.with_extension("old");
                fs::rename(to, &old).map_err(|e| Fault::io("move away", to, e))?;
            }
            Err(error) => return Err(Fault::io("replace", to, error.into())),
        }
        match fs::rename(fresh, to) {
            // Another builder was faster: its folder is there now, to be exchanged.
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            moved => return moved.map_err(|e| Fault::io("put in place", to, e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    use crate::base::tree::Memory;

    /// The same tree again touches nothing; whatever was done to its place is undone.
    fn stays_or_comes_back(store: &Store, tree: &Tree, to: &Path, text: &str) {
        let file = to.join("pool").join(text);
        let number = |path: &Path| fs::symlink_metadata(path).unwrap().ino();
        let before = number(to);
        export(store, tree, to).unwrap();
        assert_eq!(number(to), before, "the same tree was written again");
        let mode = |mode| fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let damages: [&dyn Fn(); 4] = [
            &|| fs::write(&file, "xxx").unwrap(),
            &|| mode(0o600),
            &|| fs::remove_file(&file).unwrap(),
            &|| {
                fs::remove_file(to.join("link")).unwrap();
                symlink("elsewhere", to.join("link")).unwrap();
            },
        ];
        for (index, damage) in damages.iter().enumerate() {
            damage();
            export(store, tree, to).unwrap();
            assert!(Standing::find(store, &marked(store, tree).unwrap(), to).unwrap().other.is_empty());
            assert_eq!(fs::read_to_string(to.join("link").join(text)).unwrap(), text, "damage {index}");
        }
    }

    #[test]
    fn an_export_takes_the_place_of_the_last_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let to = dir.path().join("dist/repo");
        for text in ["one", "two"] {
            let (mut tree, mut memory) = (Tree::new(), Memory::default());
            tree.insert(TreePath::new(format!("pool/{text}")).unwrap(), memory.file(text, 0o644)).unwrap();
            tree.insert(TreePath::new("link").unwrap(), Node::symlink("pool")).unwrap();
            store.put_all(&memory).unwrap();
            export(&store, &tree, &to).unwrap();
            assert_eq!(fs::read_to_string(to.join("link").join(text)).unwrap(), text);
            assert_eq!(fs::read_dir(to.join("pool")).unwrap().count(), 1);
            assert_eq!(fs::read_dir(to.parent().unwrap()).unwrap().count(), 1, "something was left behind");
            stays_or_comes_back(&store, &tree, &to, text);
        }
        // What cannot be written leaves what is there.
        let mut broken = Tree::new();
        let node = Node::file(crate::base::Digest::of("nowhere"), 7, 0o644);
        broken.insert(TreePath::new("file").unwrap(), node).unwrap();
        assert!(export(&store, &broken, &to).is_err());
        assert!(to.join("pool/two").is_file());
        assert_eq!(fs::read_dir(to.parent().unwrap()).unwrap().count(), 1, "something was left behind");
    }
}
