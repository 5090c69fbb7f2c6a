//! A seed: what makes a flashed image one certain node.

use std::path::Path;

use walkdir::WalkDir;

use crate::base::tree::{Contents, Memory, Tree, TreePath};
use crate::base::{Fault, Result};
use crate::host::overwrite::SEED_LABEL;
use crate::pack::disk::fat::{self, Fat};
use crate::pack::disk::writer::BlockWriter;

/// The file that every seed has.
const IDENTITY: &str = "node.toml";
/// More than any seed needs; stops a wrong folder from being copied to a disk.
const MOST: u64 = 64 << 20;

/// The files of a seed.
#[derive(Clone, Debug)]
pub struct Seed {
    tree: Tree,
    contents: Memory,
}

impl Seed {
    /// Reads a folder: ordinary files and folders only, at most 64 MiB, with a `node.toml`.
    pub fn read(folder: &Path) -> Result<Self> {
        let (mut tree, mut contents, mut bytes) = (Tree::new(), Memory::default(), 0);
        for entry in WalkDir::new(folder).min_depth(1).sort_by_file_name() {
            let entry = entry.map_err(|e| Fault::user("cannot read the seed's folder").cause(e))?;
            let path = entry.path();
            if entry.file_type().is_dir() {
                continue;
            }
            if !entry.file_type().is_file() {
                return Err(Fault::user(format!("{} cannot be in a seed", path.display()))
                    .expected_found("files and folders", "something else"));
            }
            bytes += entry.metadata().map_err(|e| Fault::user("cannot read a seed's file").cause(e))?.len();
            if bytes > MOST {
                return Err(Fault::user(format!("{} is too big for a seed", folder.display()))
                    .expected_found(format!("at most {} MiB", MOST >> 20), "more"));
            }
            let inside = path.strip_prefix(folder).ok().and_then(Path::to_str);
            let inside = inside.ok_or_else(|| Fault::user(format!("{} is no UTF-8", path.display())))?;
            let content = std::fs::read(path).map_err(|e| Fault::io("read", path, e))?;
            tree.insert(TreePath::new(inside)?, contents.file(content, 0o600))?;
        }
        Self::new(tree, contents).map_err(|fault| fault.context(folder.display()))
    }

    /// Makes a seed of these files.
    pub fn new(tree: Tree, contents: Memory) -> Result<Self> {
        if tree.get(IDENTITY).is_none() {
            return Err(Fault::user("not a seed")
                .expected_found(format!("a file {IDENTITY}"), "none")
                .help(format!("write {IDENTITY}: it says which node this is")));
        }
        Ok(Self { tree, contents })
    }

    /// Returns how many bytes it takes as a file system.
    pub fn length(&self) -> u64 {
        fat::length(&self.tree)
    }

    /// Writes it as a file system: a partition, or the whole disk of a virtual machine.
    pub fn write(&self, out: &mut dyn BlockWriter) -> Result<()> {
        // Any serial number will do, and a fixed one gives the same bytes for the same files.
        let spec = Fat { serial: 0x4841_4c45, label: SEED_LABEL.into(), length: self.length() };
        fat::write(&spec, &self.tree, &self.contents as &dyn Contents, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_folder_becomes_a_seed_or_says_why_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pki/ca.crt");
        fs::create_dir(folder.path().join("pki")).unwrap();
        fs::write(&file, "certificate").unwrap();
        let refused = Seed::read(folder.path()).unwrap_err();
        assert!(refused.to_string().contains("node.toml"), "{refused}");
        fs::write(folder.path().join("node.toml"), "role = \"master\"\n").unwrap();
        let (seed, mut disk) = (Seed::read(folder.path()).unwrap(), Vec::new());
        seed.write(&mut disk).unwrap();
        assert_eq!((seed.length(), &disk[43..52]), (4 << 20, &b"HALE-SEED"[..]));
        let big = fs::File::create(folder.path().join("big")).unwrap();
        big.set_len(MOST + 1).unwrap();
        assert!(Seed::read(folder.path()).is_err(), "too big");
        fs::remove_file(folder.path().join("big")).unwrap();
        std::os::unix::fs::symlink("/etc/shadow", folder.path().join("link")).unwrap();
        assert!(Seed::read(folder.path()).is_err(), "a link");
        assert!(Seed::read(&folder.path().join("none")).is_err());
    }
}
