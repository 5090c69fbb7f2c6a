//! What a program needs is what ldd(1) says, and it runs with nothing else around it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use builder::base::tree::{Memory, Node, Tree, TreePath};
use builder::pack::image::closure::closure;
use tests::forms::write_tree;
use tests::tools::{need_root, succeed, tool};

/// The loader and the libraries of a program, as ldd prints them: `libc.so.6 => /lib/… (0x…)`.
fn ldd(program: &str) -> BTreeSet<PathBuf> {
    let text = String::from_utf8(succeed(tool("ldd", "libc-bin").arg(program))).unwrap();
    let paths = text.split_whitespace().filter(|word| word.starts_with('/'));
    paths.map(|path| fs::canonicalize(path).unwrap()).collect()
}

/// Puts a path of this machine into the tree, and the links on the way to it.
fn take(tree: &mut Tree, memory: &mut Memory, path: &Path) {
    let mut at = PathBuf::from("/");
    for part in path.strip_prefix("/").unwrap().components() {
        at.push(part);
        let name = TreePath::new(at.strip_prefix("/").unwrap().to_str().unwrap()).unwrap();
        if let Ok(target) = fs::read_link(&at) {
            tree.replace(name, Node::symlink(target.to_str().unwrap())).unwrap();
            let rest = path.strip_prefix(&at).unwrap();
            return take(tree, memory, &at.parent().unwrap().join(target).join(rest));
        }
        if at.is_file() {
            let node = memory.file(fs::read(&at).unwrap(), 0o755);
            tree.replace(name, node).unwrap();
        }
    }
}

#[test]
fn a_program_runs_with_what_it_needs_and_nothing_else() {
    need_root();
    for (program, package, argument) in [
        ("/usr/bin/openssl", "openssl", "version"),
        ("/usr/bin/sha256sum", "coreutils", "--version"),
        ("/usr/bin/gpgv", "gpgv", "--version"),
    ] {
        succeed(tool(program.rsplit('/').next().unwrap(), package).arg(argument));
        let (mut tree, mut memory) = (Tree::new(), Memory::default());
        let expected = ldd(program);
        // More than is needed: what another program needs as well.
        for path in expected.iter().cloned().chain(ldd("/usr/bin/dpkg-deb")) {
            take(&mut tree, &mut memory, &path);
        }
        let folder = Path::new("/usr/lib/x86_64-linux-gnu");
        for entry in fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.path().is_symlink()) {
            if fs::canonicalize(entry.path()).is_ok_and(|real| expected.contains(&real)) {
                take(&mut tree, &mut memory, &entry.path());
            }
        }
        for path in [program, "/lib64/ld-linux-x86-64.so.2"] {
            take(&mut tree, &mut memory, Path::new(path));
        }
        let name = TreePath::new(&program[1..]).unwrap();
        let out = closure(&tree, &memory, &BTreeSet::from([name.clone()])).unwrap_or_else(|e| panic!("{e}"));
        let files = out.iter().filter(|(path, node)| {
            **path != name && matches!(node.kind, builder::base::tree::Kind::File { .. })
        });
        let found: BTreeSet<_> = files.map(|(path, _)| Path::new("/").join(path.as_str())).collect();
        assert_eq!(found, expected, "{program}");
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("root");
        fs::create_dir(&root).unwrap();
        write_tree(&out, &memory, &root);
        for file in found.iter().map(|path| path.as_path()).chain([Path::new(program)]) {
            let at = root.join(file.strip_prefix("/").unwrap());
            fs::set_permissions(at, fs::Permissions::from_mode(0o755)).unwrap();
        }
        succeed(tool("chroot", "coreutils").arg(&root).args([program, argument]));
    }
}
