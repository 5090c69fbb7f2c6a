//! What an image holds: the bytes of each package's files, as dpkg's own lists in the root tree name them.

use std::collections::BTreeMap;

use builder::base::Result;
use builder::base::tree::{Contents, Kind, Tree, TreePath};

/// Where dpkg keeps the lists of files, one a package (dpkg-query(1)).
const LISTS: &str = "var/lib/dpkg/info";

/// The files of a root tree by the package that brought them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Composition {
    /// Packages with a file.
    pub(crate) packages: BTreeMap<String, Weight>,
    /// Files of no package: what was made when packages were installed, dpkg's own lists among it.
    pub(crate) made: Weight,
}

/// Files, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    pub(crate) files: usize,
    pub(crate) bytes: u64,
}

impl Weight {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

impl Composition {
    /// Weighs a root tree. A file that two packages name counts for the first.
    pub(crate) fn of(root: &Tree, contents: &dyn Contents) -> Result<Self> {
        let mut owners = BTreeMap::new();
        for (path, node) in root.iter() {
            let stem = path.as_str().strip_prefix(LISTS).and_then(|rest| rest.strip_suffix(".list"));
            let (Some(stem), Kind::File { content, .. }) = (stem, &node.kind) else { continue };
            // `libc6:amd64` where a package may stand beside itself.
            let package = stem.trim_start_matches('/').split(':').next().unwrap_or_default().to_owned();
            for line in String::from_utf8_lossy(&contents.read(content)?).lines() {
                if let Some(file) = place(root, line)? {
                    owners.entry(file).or_insert_with(|| package.clone());
                }
            }
        }
        let mut composition = Self::default();
        for (path, node) in root.iter() {
            let Kind::File { size, .. } = node.kind else { continue };
            match owners.get(path) {
                Some(package) => composition.packages.entry(package.clone()).or_default().add(size),
                None => composition.made.add(size),
            }
        }
        Ok(composition)
    }

    /// Adds everything together.
    pub(crate) fn whole(&self) -> Weight {
        self.packages.values().chain([&self.made]).fold(Weight::default(), |sum, weight| Weight {
            files: sum.files + weight.files,
            bytes: sum.bytes + weight.bytes,
        })
    }
}

/// Where a path of a list lies in the tree: packages still name `/lib`, which is a link to `/usr/lib`.
fn place(root: &Tree, line: &str) -> Result<Option<TreePath>> {
    let Some((folder, name)) = line.rsplit_once('/') else { return Ok(None) };
    let folder = match folder {
        "" => None,
        folder => match root.follow(folder, &mut |_| {})? {
            Some(folder) => Some(folder),
            None => return Ok(None),
        },
    };
    let path = folder.map_or_else(|| name.to_owned(), |folder| format!("{folder}/{name}"));
    // Directories end in nothing that is a path, such as `/.`.
    Ok(TreePath::new(path).ok())
}

#[cfg(test)]
mod tests {
    use builder::base::tree::{Memory, Node};

    use super::*;

    #[test]
    fn each_file_counts_once_where_it_came_from() {
        let (mut tree, mut memory) = (Tree::new(), Memory::default());
        let list = |name: &str| format!("{LISTS}/{name}.list");
        for (path, text) in [
            ("usr/lib/libc.so.6", "12345".to_owned()),
            ("usr/bin/own", "123".to_owned()),
            ("etc/made", "1".to_owned()),
            (&list("libc6:amd64"), "/.\n/lib\n/lib/libc.so.6\n/usr/bin/libc\n/not/here\n".to_owned()),
            (&list("own"), "/.\n/usr\n/usr/bin/own\n/lib/libc.so.6\n".to_owned()),
        ] {
            tree.insert(TreePath::new(path).unwrap(), memory.file(text, 0o644)).unwrap();
        }
        tree.insert(TreePath::new("lib").unwrap(), Node::symlink("usr/lib")).unwrap();
        // A link is the package's that ships it; what it leads to is not.
        tree.insert(TreePath::new("usr/bin/libc").unwrap(), Node::symlink("own")).unwrap();
        let composition = Composition::of(&tree, &memory).unwrap();
        let packages: Vec<_> =
            composition.packages.iter().map(|(name, w)| (name.as_str(), w.bytes)).collect();
        assert_eq!(packages, [("libc6", 5), ("own", 3)]);
        assert_eq!(composition.made.files, 3, "etc/made and dpkg's two lists");
        assert_eq!(composition.whole().bytes, tree.file_bytes());
    }
}
