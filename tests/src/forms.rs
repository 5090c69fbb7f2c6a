//! A bundle's forms, each unpacked by the program that its users have and not by our own readers.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;

use builder::base::Digest;
use builder::base::tree::{Contents, Kind, Memory, Tree, TreePath};

use crate::tools::{is_root, prefixed, put, succeed, tool};

/// A path's mode, owner, and what is there: `dir`, `file DIGEST` or `link TARGET`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// Permission bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// What is there.
    pub what: String,
}

/// Everything below a root, without the root itself.
pub type FileTree = BTreeMap<String, FileFacts>;

/// What a tree promises.
pub fn of_tree(tree: &Tree) -> FileTree {
    let form = tree.iter().map(|(path, node)| {
        let what = match &node.kind {
            Kind::Dir => "dir".to_owned(),
            Kind::File { content, .. } => format!("file {content}"),
            Kind::Symlink { target } => format!("link {target}"),
        };
        (path.to_string(), FileFacts { mode: node.mode.into(), owner: (node.uid, node.gid), what })
    });
    form.collect()
}

/// What packages hold together, unpacked by dpkg-deb in this order.
pub fn of_debs<'a>(debs: impl IntoIterator<Item = &'a Path>) -> FileTree {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let mut listed = Listing::new();
    for deb in debs {
        succeed(tool("dpkg-deb", "dpkg").arg("--extract").arg(deb).arg(scratch.path()));
        let archive = succeed(tool("dpkg-deb", "dpkg").arg("--fsys-tarfile").arg(deb));
        listed.extend(list(&archive, &[]));
    }
    unpacked(scratch.path(), &listed)
}

/// What an image of a layout holds, unpacked by umoci.
pub fn of_layout(layout: &Path, reference: &str) -> FileTree {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let bundle = scratch.path().join("bundle");
    let mut umoci = tool("umoci", "umoci");
    umoci.arg("unpack").args((!is_root()).then_some("--rootless"));
    let image = format!("{}:{reference}", layout.display());
    succeed(umoci.args(["--image", &image]).arg(&bundle));
    let inspected =
        succeed(tool("skopeo", "skopeo").args(["inspect", "--raw"]).arg(prefixed("oci:", Path::new(&image))));
    let manifest: serde_json::Value = serde_json::from_slice(&inspected).expect("skopeo prints JSON");
    let mut listed = Listing::new();
    for layer in manifest["layers"].as_array().expect("a manifest has layers") {
        let digest = layer["digest"].as_str().expect("a layer has a digest");
        let blob = std::fs::read(layout.join("blobs").join(digest.replace(':', "/"))).expect("the layer");
        listed.extend(list(&blob, &["--gzip"]));
    }
    unpacked(&bundle.join("rootfs"), &listed)
}

/// Modes and owners by path.
type Listing = BTreeMap<String, (u32, (u32, u32))>;

/// What GNU tar reads from an archive.
fn list(archive: &[u8], options: &[&str]) -> Listing {
    let mut tar = tool("tar", "tar");
    tar.args(["--list", "--verbose", "--numeric-owner", "--quoting-style=literal", "--file=-"]).args(options);
    let mut child = tar.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("tar starts");
    let mut input = child.stdin.take().expect("a pipe");
    let output = std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(archive).expect("tar reads its input"));
        child.wait_with_output().expect("tar ends")
    });
    assert!(output.status.success(), "tar refuses the archive");
    let text = String::from_utf8(output.stdout).expect("names are UTF-8");
    let entries = text.lines().map(listed).filter(|(path, _)| !path.is_empty());
    entries.collect()
}

/// `-rw-r----- 0/10000000 6 2025-11-15 10:07 ./etc/hale.conf`
fn listed(line: &str) -> (String, (u32, (u32, u32))) {
    let mut rest = line;
    let mut next = || {
        let (word, tail) = rest.trim_start().split_once(' ').unwrap_or_else(|| panic!("tar prints {line:?}"));
        rest = tail;
        word
    };
    let (mode, owner, _size, _date, _time) = (next(), next(), next(), next(), next());
    let name = if mode.starts_with('l') { rest.split(" -> ").next().unwrap_or(rest) } else { rest };
    let name = name.strip_prefix("./").unwrap_or(name).trim_end_matches('/');
    let (uid, gid) = owner.split_once('/').expect("tar prints owner and group");
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("tar prints {line:?}"));
    (name.to_owned(), (bits(mode), (number(uid), number(gid))))
}

/// `-rwsr-x--T` as permission bits.
fn bits(mode: &str) -> u32 {
    let mut bits = 0;
    for (index, letter) in mode.bytes().skip(1).take(9).enumerate() {
        if !matches!(letter, b'-' | b'S' | b'T') {
            bits |= 0o400 >> index;
        }
        if matches!(letter, b's' | b'S' | b't' | b'T') {
            bits |= [0o4000, 0o2000, 0o1000][index / 3];
        }
    }
    bits
}

/// What lies under `root`. Owners are the archive's word unless root unpacked it: then both must agree.
fn unpacked(root: &Path, listed: &Listing) -> FileTree {
    let mut form = FileTree::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1) {
        let entry = entry.expect("an unpacked tree can be read");
        let path = entry.path();
        let name = path.strip_prefix(root).expect("below the root").to_str().expect("UTF-8").to_owned();
        let lstat = path.symlink_metadata().expect("lstat");
        let what = if lstat.is_dir() {
            "dir".to_owned()
        } else if lstat.is_symlink() {
            format!("link {}", path.read_link().expect("a link").display())
        } else {
            format!("file {}", Digest::of(std::fs::read(path).expect("a file")))
        };
        let &(mode, owner) = listed.get(&name).unwrap_or_else(|| panic!("{name} is in no archive"));
        if !lstat.is_symlink() {
            assert_eq!(
                lstat.permissions().mode() & 0o7777,
                mode,
                "mode of {name} on disk and in the archive"
            );
        }
        if is_root() {
            assert_eq!((lstat.uid(), lstat.gid()), owner, "owner of {name} on disk and in the archive");
        }
        form.insert(name, FileFacts { mode, owner, what });
    }
    form
}

/// Fails with every path that differs, and how.
pub fn assert_same(left_name: &str, left: &FileTree, right_name: &str, right: &FileTree) {
    let paths = left.keys().chain(right.keys()).collect::<std::collections::BTreeSet<_>>();
    let differ = paths.into_iter().filter(|path| left.get(*path) != right.get(*path));
    let lines: Vec<_> = differ
        .map(|path| {
            format!("{path}\n  {left_name}: {:?}\n  {right_name}: {:?}", left.get(path), right.get(path))
        })
        .collect();
    assert!(lines.is_empty(), "the forms differ:\n{}", lines.join("\n"));
}

/// Writes a small tree to disk: a layout, a repository.
pub fn write_tree(tree: &Tree, contents: &dyn Contents, to: &Path) {
    for (path, node) in tree.iter() {
        let at = to.join(path.as_str());
        match &node.kind {
            Kind::Dir => std::fs::create_dir_all(&at).expect("a directory can be made"),
            Kind::File { content, .. } => put(&at, contents.read(content).expect("the tree's contents")),
            Kind::Symlink { target } => std::os::unix::fs::symlink(target, &at).expect("a link can be made"),
        }
    }
}

/// A tree with one of everything that a role's bundle may hold.
pub fn sample() -> (Tree, Memory) {
    use builder::base::tree::Node;
    let (mut tree, mut memory) = (Tree::new(), Memory::default());
    let deep = format!("usr/share/{}/{}", "d".repeat(120), "f".repeat(120));
    let mut put = |path: &str, node: Node| {
        tree.insert(TreePath::new(path).expect("a path"), node).expect("no clash");
    };
    put("etc/hale/node.toml", memory.file("role = \"master\"\n", 0o640).owned_by(0, 10_000_000));
    put("etc/hale/empty", memory.file("", 0o600));
    put("usr/bin/hale", memory.file(vec![7; 70_000], 0o755));
    put("usr/bin/crun", Node::symlink("hale"));
    put("usr/bin/deep", Node::symlink(format!("../../{deep}")));
    put("usr/lib/setuid", memory.file("s", 0o4755));
    put("usr/share/ü and space", memory.file("u", 0o644).owned_by(2_097_151, 2_097_152));
    put(&deep, memory.file("deep", 0o644));
    put("var/lib/etcd", Node::dir(0o700).owned_by(10_000_000, 10_000_000));
    put("var/lib/kubelet/pods", Node::dir(0o2750).owned_by(0, 10_000_000));
    put("var/tmp", Node::dir(0o1777));
    (tree, memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_as_letters() {
        for (letters, expect) in [
            ("-rw-r-----", 0o640),
            ("drwxr-sr-x", 0o2755),
            ("-rwsr-xr-x", 0o4755),
            ("drwxrwxrwt", 0o1777),
            ("-r-S-wS--T", 0o7420),
            ("lrwxrwxrwx", 0o777),
        ] {
            assert_eq!(bits(letters), expect, "{letters}");
        }
    }
}
