//! What programs need to run: themselves, their interpreter, and libraries of libraries, out of a larger tree.
//!
//! Read from the programs themselves (ELF-64 Object File Format, "Dynamic Linking"; ld.so(8)): `PT_INTERP`
//! names the loader, `DT_NEEDED` the libraries. What a program opens by itself later is not seen.

use std::collections::{BTreeSet, VecDeque};

use crate::base::{Fault, Result};
use crate::tree::{Contents, Kind, Tree, TreePath};

/// Where Debian's loader looks, once `/lib` is a link to `/usr/lib`.
const FOLDERS: [&str; 3] = ["usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib"];

/// More links in one path than this is a circle (path_resolution(7)).
const LINKS: usize = 40;

/// The programs and all that they need, at their own paths, with the links on the way.
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
        let needs = needs(&contents.read(content)?).map_err(|fault| fault.within(&file))?;
        out.replace(file.clone(), node.clone())?;
        wanted.extend(needs.interpreter.iter().map(TreePath::new).collect::<Result<Vec<_>>>()?);
        for library in needs.libraries {
            let path = find(tree, &library).ok_or_else(|| {
                Fault::user(format!("{file} needs {library}, which no package of its image has"))
                    .mend("link it statically, or take it from a package that depends on the library's")
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
    let mut rest: VecDeque<String> = parts(path).collect();
    let (mut at, mut links): (Vec<String>, usize) = (Vec::new(), 0);
    while let Some(part) = rest.pop_front() {
        if part == ".." {
            at.pop();
            continue;
        }
        at.push(part);
        let here = at.join("/");
        match tree.get(&here) {
            None => return Ok(None),
            Some(node) => {
                let Kind::Symlink { target } = &node.kind else { continue };
                out.replace(TreePath::new(here)?, node.clone())?;
                links += 1;
                if links > LINKS {
                    return Err(Fault::integrity(format!("{path} leads round in a circle")));
                }
                at.pop();
                if target.starts_with('/') {
                    at.clear();
                }
                for part in parts(target).collect::<Vec<_>>().into_iter().rev() {
                    rest.push_front(part);
                }
            }
        }
    }
    let file = TreePath::new(at.join("/"))?;
    let is_file = matches!(tree.get(file.as_str()).map(|node| &node.kind), Some(Kind::File { .. }));
    Ok(is_file.then_some(file))
}

fn parts(path: &str) -> impl Iterator<Item = String> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned)
}

/// What a program names.
#[derive(Debug, Default, PartialEq, Eq)]
struct Needs {
    /// The loader's path, without the first slash.
    interpreter: Option<String>,
    libraries: Vec<String>,
}

/// A segment of the program header (elf(5), `Elf64_Phdr`).
struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    size: u64,
}

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;

fn needs(elf: &[u8]) -> Result<Needs> {
    read(elf).ok_or_else(|| Fault::integrity("not a whole 64-bit little-endian ELF file"))
}

fn read(elf: &[u8]) -> Option<Needs> {
    // Class 64, data little-endian: elf(5), `e_ident`.
    if elf.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (at, size, count) = (number(elf, 32, 8)?, number(elf, 54, 2)?, number(elf, 56, 2)?);
    let segment = |index: u64| {
        let head = at.checked_add(index.checked_mul(size)?)?;
        let field = |offset: u64, length| number(elf, head.checked_add(offset)?, length);
        let kind = u32::try_from(field(0, 4)?).ok()?;
        Some(Segment { kind, offset: field(8, 8)?, address: field(16, 8)?, size: field(32, 8)? })
    };
    let segments: Vec<Segment> = (0..count).map(segment).collect::<Option<_>>()?;
    let of = |kind| segments.iter().find(|segment: &&Segment| segment.kind == kind);
    let interpreter = match of(PT_INTERP) {
        Some(segment) => Some(text(elf, segment.offset)?.trim_start_matches('/').to_owned()),
        None => None,
    };
    let Some(dynamic) = of(PT_DYNAMIC) else { return Some(Needs { interpreter, libraries: Vec::new() }) };
    let entries: Vec<(u64, u64)> = (0..dynamic.size / 16)
        .map(|index| {
            let entry = dynamic.offset.checked_add(index * 16)?;
            Some((number(elf, entry, 8)?, number(elf, entry.checked_add(8)?, 8)?))
        })
        .collect::<Option<_>>()?;
    let needed: Vec<u64> =
        entries.iter().filter(|(tag, _)| *tag == DT_NEEDED).map(|(_, value)| *value).collect();
    let strings = entries.iter().find(|(tag, _)| *tag == DT_STRTAB).map(|(_, value)| *value);
    let libraries = match (needed.is_empty(), strings) {
        (true, _) => Vec::new(),
        (false, strings) => {
            let table = offset_of(&segments, strings?)?;
            let name = |value: &u64| text(elf, table.checked_add(*value)?);
            needed.iter().map(name).collect::<Option<_>>()?
        }
    };
    Some(Needs { interpreter, libraries })
}

/// Where an address of memory is in the file.
fn offset_of(segments: &[Segment], address: u64) -> Option<u64> {
    let holds = |segment: &&Segment| {
        segment.kind == PT_LOAD
            && address.checked_sub(segment.address).is_some_and(|inside| inside < segment.size)
    };
    let segment = segments.iter().find(holds)?;
    segment.offset.checked_add(address - segment.address)
}

fn number(bytes: &[u8], at: u64, length: usize) -> Option<u64> {
    let at = usize::try_from(at).ok()?;
    let field = bytes.get(at..at.checked_add(length)?)?;
    Some(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn text(bytes: &[u8], at: u64) -> Option<String> {
    let rest = bytes.get(usize::try_from(at).ok()?..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    String::from_utf8(rest[..end].to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Memory, Node};

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
        dynamic.extend([DT_STRTAB, base + table, 0, 0]);
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
        assert_eq!(needs(&whole).unwrap().libraries, ["libc.so.6"]);
        // Only the closing null entry may be missed.
        for length in 0..whole.len() - 16 {
            assert!(needs(&whole[..length]).is_err(), "{length}");
        }
    }
}
