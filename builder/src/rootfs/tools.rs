//! Programs that builds and tests need, run from the store: QEMU, its firmware, file system checks.
//!
//! They are a merged tree of Debian packages, never installed: no script of theirs runs. Their own
//! dynamic loader starts them with their own libraries (ld.so(8)), so the machine brings a kernel only.
//!
//! ```text
//! <store>/trees/<digest>/usr/bin/qemu-system-x86_64, ...
//! ```

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::base::tree::{Kind, Tree, TreePath};
use crate::base::{Digest, Epoch, Fault, Result};
use crate::rootfs;
use crate::store::Store;

/// Folders that programs are looked for in.
const PROGRAMS: [&str; 2] = ["usr/bin", "usr/sbin"];

/// Folders of QEMU's BIOS and option ROMs; Debian has them in packages of their own.
const ROMS: [&str; 3] = ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"];

/// Programs that builds and tests run: a tree of tools, laid out on disk.
#[derive(Clone, Debug)]
pub struct Tools {
    tree: Tree,
    folder: PathBuf,
    loader: PathBuf,
    libraries: OsString,
}

impl Tools {
    /// Lays the tree out in the store, once, and finds its loader.
    pub fn open(store: &Store, tree: &Digest, epoch: Epoch) -> Result<Self> {
        let nodes = store.tree(tree)?;
        let folder = store.checkout_tree(tree, |folder| rootfs::write_tree(&nodes, store, epoch, folder))?;
        let loader = loader(&nodes)?;
        let libraries = library_folders(&nodes).into_iter().map(|path| folder.join(path.as_str()));
        let libraries = std::env::join_paths(libraries)
            .map_err(|e| Fault::machine("the store's path cannot be a library path").cause(e))?;
        Ok(Self { loader: folder.join(loader.as_str()), tree: nodes, folder, libraries })
    }

    /// Returns where a file of the tools lies on disk; links are followed inside a tree.
    pub fn path(&self, path: &str) -> Result<PathBuf> {
        let found = self.tree.follow(path, &mut |_| {})?;
        found.map(|path| self.folder.join(path.as_str())).ok_or_else(|| missing(path))
    }

    /// Makes a command of a program, ready for its arguments. Its environment is that of the tools alone.
    pub fn command(&self, name: &str) -> Result<Command> {
        let program = PROGRAMS.iter().find_map(|folder| self.path(&format!("{folder}/{name}")).ok());
        let program = program.ok_or_else(|| missing(name))?;
        let mut command = self.started(name, &program)?;
        if name.starts_with("qemu-system-") {
            for folder in ROMS {
                // Absent where a package of its own would bring it.
                if let Ok(folder) = self.path(folder) {
                    command.arg("-L").arg(folder);
                }
            }
        }
        Ok(command)
    }

    /// Runs a program to its end; one that fails is a fault with its last words.
    pub fn run<A: AsRef<std::ffi::OsStr>>(
        &self,
        name: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Output> {
        let output = self.command(name)?.args(arguments).output();
        let output = output.map_err(|e| Fault::machine(format!("cannot start {name}")).cause(e))?;
        if output.status.success() {
            return Ok(output);
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Fault::machine(format!("{name} failed ({})", output.status)).cause(said))
    }

    /// The tree's own loader starts the program with the tree's own libraries.
    fn started(&self, name: &str, program: &Path) -> Result<Command> {
        let mut command = Command::new(&self.loader);
        command.arg("--library-path").arg(&self.libraries).args(["--argv0", name]).arg(program);
        command.env_clear().envs([("LC_ALL", "C"), ("TZ", "UTC"), ("PATH", "/nonexistent")]);
        let Some(libraries) = self.loader.parent() else { return Err(missing("the loader's folder")) };
        command.env("GCONV_PATH", libraries.join("gconv"));
        command.env("MKE2FS_CONFIG", self.folder.join("etc/mke2fs.conf"));
        command.env("QEMU_MODULE_DIR", libraries.join("qemu"));
        Ok(command)
    }
}

/// The dynamic loader, by the name that every architecture's has.
fn loader(tree: &Tree) -> Result<TreePath> {
    let is_loader =
        |path: &&TreePath| path.file_name().starts_with("ld-linux-") && path.as_str().starts_with("usr/lib/");
    let file =
        |path: &TreePath| matches!(tree.get(path.as_str()).map(|node| &node.kind), Some(Kind::File { .. }));
    let mut found = tree.iter().map(|(path, _)| path).filter(is_loader).filter(|path| file(path));
    found.next().cloned().ok_or_else(|| missing("a dynamic loader (the package libc6)"))
}

/// Every folder with a shared library in it.
fn library_folders(tree: &Tree) -> BTreeSet<TreePath> {
    let is_library = |path: &&TreePath| {
        path.as_str().starts_with("usr/lib/")
            && path.file_name().starts_with("lib")
            && path.file_name().contains(".so")
    };
    tree.iter().map(|(path, _)| path).filter(is_library).filter_map(TreePath::parent).collect()
}

fn missing(what: &str) -> Fault {
    Fault::user(format!("the tools tree has no {what}"))
        .help("add the package that brings it to recipes/groups/tools.toml, then `cargo xtask lock`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::Node;

    fn tree(entries: &[(&str, Option<&str>)]) -> Tree {
        let mut tree = Tree::new();
        for (path, target) in entries {
            let node = target.map_or_else(|| Node::file(Digest::of(""), 0, 0o755), Node::symlink);
            tree.insert(TreePath::new(*path).unwrap(), node).unwrap();
        }
        tree
    }

    #[test]
    fn loader_and_libraries() {
        let tree = tree(&[
            ("usr/lib64/ld-linux-x86-64.so.2", Some("/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")),
            ("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", None),
            ("usr/lib/x86_64-linux-gnu/libc.so.6", None),
            ("usr/lib/x86_64-linux-gnu/pulseaudio/libx-16.so", None),
            ("usr/share/doc/libx.so", None),
        ]);
        assert_eq!(loader(&tree).unwrap().as_str(), "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2");
        let folders: Vec<_> = library_folders(&tree).iter().map(TreePath::to_string).collect();
        assert_eq!(folders, ["usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/pulseaudio"]);
        assert!(loader(&Tree::new()).is_err());
    }
}
