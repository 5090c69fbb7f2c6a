//! What programs need to run: themselves, their interpreter, and libraries of libraries, out of a larger tree.
//!
//! Read from the programs themselves (ELF-64 Object File Format, "Dynamic Linking"; ld.so(8)): `PT_INTERP`
//! names the loader, `DT_NEEDED` the libraries. What a program opens by itself later is not seen.

use std::collections::{BTreeSet, VecDeque};

use goblin::elf::Elf;

use crate::base::tree::{Contents, Kind, Tree, TreePath};
use crate::base::{Fault, Result};

/// Where Debian's loader looks, once `/lib` is a link to `/usr/lib`.
const FOLDERS: [&str; 3] = ["usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib"];

/// Takes the programs and all that they need, at their own paths, with the links on the way.
pub fn closure(tree: &Tree, contents: &dyn Contents, programs: &BTreeSet<TreePath>) -> Result<Tree> {
    let mut out = Tree::new();
    let mut wanted: VecDeque<TreePath> = programs.iter().cloned().collect();
    let mut seen = BTreeSet::new();
    while let Some(path) = wanted.pop_front() {
        let file = follow(tree, path.as_str(), &mut out)?;
        let file = file.ok_or_else(|| Fault::user(format!("no program {path} in the packages")))?;
        if !seen.insert(file.clone()) {
            continue;
        }
        let Some(node) = tree.get(file.as_str()) else { continue };
        let Kind::File { content, .. } = &node.kind else { continue };
        let (interpreter, libraries) =
            needs(&contents.read(content)?).map_err(|fault| fault.context(&file))?;
        out.replace(file.clone(), node.clone())?;
        wanted.extend(interpreter);
        for library in libraries {
            let path = find(tree, &library).ok_or_else(|| {
                Fault::user(format!("{file} needs {library}, which no package of its image has"))
                    .help("link it statically, or take it from a package that depends on the library's")
            })?;
            wanted.push_back(path);
        }
    }
    Ok(out)
}

fn find(tree: &Tree, library: &str) -> Option<TreePath> {
    let mut places = FOLDERS.iter().map(|folder| format!("{folder}/{library}"));
    places.find(|path| tree.get(path).is_some()).and_then(|path| TreePath::new(path).ok())
}

/// The file that a path leads to; the links on the way are put into `out`.
fn follow(tree: &Tree, path: &str, out: &mut Tree) -> Result<Option<TreePath>> {
    let mut links = Vec::new();
    let end = tree.follow(path, &mut |link| links.push(link))?;
    for link in links {
        if let Some(node) = tree.get(link.as_str()) {
            out.replace(link, node.clone())?;
        }
    }
    let is_file =
        |path: &TreePath| matches!(tree.get(path.as_str()).map(|node| &node.kind), Some(Kind::File { .. }));
    Ok(end.filter(is_file))
}

/// The loader of a program, and the libraries that it names.
fn needs(bytes: &[u8]) -> Result<(Option<TreePath>, Vec<String>)> {
    let elf = Elf::parse(bytes).map_err(|e| Fault::integrity("not a program for Linux").cause(e))?;
    let interpreter = elf.interpreter.map(|path| TreePath::new(path.trim_start_matches('/'))).transpose()?;
    Ok((interpreter, elf.libraries.iter().map(|name| (*name).to_owned()).collect()))
}

#[cfg(test)]
mod tests {
    use goblin::elf::dynamic::{DT_NEEDED, DT_STRSZ, DT_STRTAB};
    use goblin::elf::program_header::{PT_DYNAMIC, PT_INTERP, PT_LOAD};

    use super::*;
    use crate::base::tree::{Memory, Node};

    /// An ELF file that names libraries, and a loader unless it is itself one.
    fn elf(interpreter: &str, libraries: &[&str]) -> Vec<u8> {
        let mut strings = vec![0];
        let at = |text: &str, strings: &mut Vec<u8>| {
            let offset = strings.len() as u64;
            strings.extend(text.as_bytes());
            strings.push(0);
            offset
        };
        let interpreter_at = at(interpreter, &mut strings);
        let needed: Vec<u64> = libraries.iter().map(|name| at(name, &mut strings)).collect();
        let (table, base) = (64 + 3 * 56, 0x40_0000_u64);
        let dynamic_at = table + strings.len() as u64;
        let mut dynamic: Vec<u64> = needed.iter().flat_map(|offset| [DT_NEEDED, *offset]).collect();
        dynamic.extend([DT_STRTAB, base + table, DT_STRSZ, strings.len() as u64, 0, 0]);
        let length = dynamic_at + 8 * dynamic.len() as u64;
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(64, 0);
        bytes[32] = 64;
        (bytes[54], bytes[56]) = (56, 3);
        let segments = [
            (PT_LOAD, 0, base, length),
            (
                if interpreter.is_empty() { 0 } else { PT_INTERP },
                table + interpreter_at,
                0,
                interpreter.len() as u64 + 1,
            ),
            (PT_DYNAMIC, dynamic_at, 0, 8 * dynamic.len() as u64),
        ];
        for (kind, offset, address, size) in segments {
            bytes.extend(kind.to_le_bytes());
            bytes.extend([0; 4]);
            for number in [offset, address, 0, size, size, 0] {
                bytes.extend(number.to_le_bytes());
            }
        }
        bytes.extend(strings);
        bytes.extend(dynamic.into_iter().flat_map(u64::to_le_bytes));
        bytes
    }

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    #[test]
    fn the_program_its_loader_and_libraries_of_libraries_come_along_and_nothing_else() {
        let (mut tree, mut memory) = (Tree::new(), Memory::default());
        let folder = "usr/lib/x86_64-linux-gnu";
        for (name, bytes) in [
            ("usr/bin/tool".to_owned(), elf("/lib64/ld.so.2", &["liba.so.1"])),
            (format!("{folder}/liba.so.1.0"), elf("/lib64/ld.so.2", &["libc.so.6", "liba.so.1"])),
            (format!("{folder}/libc.so.6"), elf("/lib64/ld.so.2", &[])),
            (format!("{folder}/ld.so"), elf("", &[])),
            (format!("{folder}/libother.so"), elf("", &[])),
        ] {
            let node = memory.file(bytes, 0o755);
            tree.insert(path(&name), node).unwrap();
        }
        for (name, target) in [
            ("lib", "usr/lib"),
            ("lib64", "usr/lib64"),
            ("usr/lib64/ld.so.2", "/lib/x86_64-linux-gnu/ld.so"),
            ("usr/lib/x86_64-linux-gnu/liba.so.1", "liba.so.1.0"),
        ] {
            tree.insert(path(name), Node::symlink(target)).unwrap();
        }
        let programs = BTreeSet::from([path("usr/bin/tool")]);
        let out = closure(&tree, &memory, &programs).unwrap();
        let found: Vec<_> = out.iter().filter(|(_, node)| !node.is_dir()).map(|(p, _)| p.as_str()).collect();
        let expected = [
            "lib",
            "lib64",
            "usr/bin/tool",
            "usr/lib/x86_64-linux-gnu/ld.so",
            "usr/lib/x86_64-linux-gnu/liba.so.1",
            "usr/lib/x86_64-linux-gnu/liba.so.1.0",
            "usr/lib/x86_64-linux-gnu/libc.so.6",
            "usr/lib64/ld.so.2",
        ];
        assert_eq!(found, expected);
        tree.remove(&path("usr/lib/x86_64-linux-gnu/libc.so.6"));
        let fault = closure(&tree, &memory, &programs).unwrap_err();
        assert!(fault.what().contains("liba.so.1.0 needs libc.so.6"), "{fault}");
        tree.replace(path("usr/lib/x86_64-linux-gnu/liba.so.1"), Node::symlink("liba.so.1")).unwrap();
        assert!(closure(&tree, &memory, &programs).unwrap_err().what().contains("in a circle"));
    }

    #[test]
    fn a_file_that_is_cut_short_is_refused() {
        let whole = elf("/lib64/ld.so.2", &["libc.so.6"]);
        assert_eq!(needs(&whole).unwrap().1, ["libc.so.6"]);
        // Only the closing null entry may be missed.
        for length in 0..whole.len() - 16 {
            assert!(needs(&whole[..length]).is_err(), "{length}");
        }
    }
}
