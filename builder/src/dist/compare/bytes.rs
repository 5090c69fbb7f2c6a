//! The first difference of two outputs that should be equal: the member, and the byte in it.

use std::fmt;
use std::io::Read;

use flate2::read::GzDecoder;

use crate::base::tree::{Contents, Kind, Tree};
use crate::base::{Digest, Result};
use crate::plan::Output;

/// The first difference: a way inwards (`data.tar.gz`, `./usr/bin/hale`), and what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Members from the outermost archive inwards; empty for the output itself.
    pub members: Vec<String>,
    /// The difference.
    pub what: DifferenceKind,
}

/// The difference of two members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DifferenceKind {
    /// From this byte on; `None` stands for the end.
    Byte {
        /// Counted from 0, in the innermost member.
        offset: u64,
        /// The byte on either side.
        found: (Option<u8>, Option<u8>),
    },
    /// A member that only one side has, or in another place.
    OneSided(String),
    /// Mode, owner or kind, as text on either side.
    Metadata(String, String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let byte = |byte: &Option<u8>| byte.map_or("the end".to_owned(), |byte| format!("{byte:#04x}"));
        if !self.members.is_empty() {
            write!(f, "{}: ", self.members.join(" > "))?;
        }
        match &self.what {
            DifferenceKind::Byte { offset, found: (left, right) } => {
                write!(f, "byte {offset}: {} in the first build, {} in the second", byte(left), byte(right))
            }
            DifferenceKind::OneSided(name) => write!(f, "{name} is there once only"),
            DifferenceKind::Metadata(left, right) => {
                write!(f, "{left} in the first build, {right} in the second")
            }
        }
    }
}

/// Finds the first difference of two outputs, each with the contents it was made into.
pub fn outputs(
    left: (&Output, &dyn Contents),
    right: (&Output, &dyn Contents),
) -> Result<Option<Difference>> {
    match (left.0, right.0) {
        _ if left.0 == right.0 => Ok(None),
        (Output::Tree { tree: a }, Output::Tree { tree: b }) => trees((a, left.1), (b, right.1)),
        (a, b) => contents((&a.digest(), left.1), (&b.digest(), right.1)),
    }
}

fn contents(left: (&Digest, &dyn Contents), right: (&Digest, &dyn Contents)) -> Result<Option<Difference>> {
    Ok(bytes(&left.1.read(left.0)?, &right.1.read(right.0)?))
}

fn trees(left: (&Digest, &dyn Contents), right: (&Digest, &dyn Contents)) -> Result<Option<Difference>> {
    let a = Tree::from_json(&left.1.read(left.0)?)?;
    let b = Tree::from_json(&right.1.read(right.0)?)?;
    let mut others = b.iter();
    for (path, node) in a.iter() {
        let Some((other_path, other)) = others.next() else { return Ok(Some(only(path.as_str()))) };
        if path != other_path {
            return Ok(Some(only(path.min(other_path).as_str())));
        }
        if let (Kind::File { content: x, .. }, Kind::File { content: y, .. }) = (&node.kind, &other.kind)
            && x != y
        {
            let inner = contents((x, left.1), (y, right.1))?;
            return Ok(inner.map(|inner| inner.inside(path.as_str())));
        }
        if node != other {
            let what = DifferenceKind::Metadata(format!("{node:?}"), format!("{other:?}"));
            return Ok(Some(Difference { members: vec![path.to_string()], what }));
        }
    }
    Ok(others.next().map(|(path, _)| only(path.as_str())))
}

fn only(name: &str) -> Difference {
    Difference { members: Vec::new(), what: DifferenceKind::OneSided(name.to_owned()) }
}

impl Difference {
    fn inside(mut self, member: &str) -> Self {
        self.members.insert(0, member.to_owned());
        self
    }
}

/// Finds the first difference of two byte strings. Looks inside what both sides hold as ar, gzip or tar.
pub fn bytes(left: &[u8], right: &[u8]) -> Option<Difference> {
    if left == right {
        return None;
    }
    let opened = match (open(left), open(right)) {
        (Some(left), Some(right)) => members(&left, &right),
        _ => None,
    };
    // An archive whose members all agree differs in its own framing.
    Some(opened.unwrap_or_else(|| raw(left, right)))
}

fn raw(left: &[u8], right: &[u8]) -> Difference {
    let offset = left.iter().zip(right).take_while(|(a, b)| a == b).count();
    let found = (left.get(offset).copied(), right.get(offset).copied());
    Difference { members: Vec::new(), what: DifferenceKind::Byte { offset: offset as u64, found } }
}

struct Member {
    name: String,
    meta: String,
    bytes: Vec<u8>,
}

fn members(left: &[Member], right: &[Member]) -> Option<Difference> {
    let mut others = right.iter();
    for member in left {
        let Some(other) = others.next() else { return Some(only(&member.name)) };
        if member.name != other.name {
            return Some(only(&member.name));
        }
        if let Some(inner) = bytes(&member.bytes, &other.bytes) {
            return Some(inner.inside(&member.name));
        }
        if member.meta != other.meta {
            let what = DifferenceKind::Metadata(member.meta.clone(), other.meta.clone());
            return Some(Difference { members: vec![member.name.clone()], what });
        }
    }
    others.next().map(|other| only(&other.name))
}

fn open(bytes: &[u8]) -> Option<Vec<Member>> {
    if bytes.starts_with(b"!<arch>\n") {
        return open_ar(bytes);
    }
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut inner = Vec::new();
        GzDecoder::new(bytes).read_to_end(&mut inner).ok()?;
        return Some(vec![Member { name: "gunzip".to_owned(), meta: String::new(), bytes: inner }]);
    }
    if is_tar(bytes) { open_tar(bytes) } else { None }
}

/// Whether a tar header stands at the beginning: its oldest form has no magic, but every form has the sum of
/// its bytes, the sum's own field counted as spaces (POSIX.1-2017, pax, "ustar Interchange Format").
fn is_tar(bytes: &[u8]) -> bool {
    let Some(header) = bytes.first_chunk::<512>() else { return false };
    let field = String::from_utf8_lossy(&header[148..156]);
    let written = u32::from_str_radix(field.trim_matches(['\0', ' ']), 8);
    let plain = header[..148].iter().chain(&header[156..]).map(|byte| u32::from(*byte));
    written == Ok(plain.sum::<u32>() + 8 * u32::from(b' '))
}

fn open_ar(bytes: &[u8]) -> Option<Vec<Member>> {
    let mut archive = ar::Archive::new(bytes);
    let mut members = Vec::new();
    while let Some(entry) = archive.next_entry() {
        let mut entry = entry.ok()?;
        let header = entry.header();
        let name = String::from_utf8_lossy(header.identifier()).into_owned();
        let meta =
            format!("mode {:o}, {}:{}, time {}", header.mode(), header.uid(), header.gid(), header.mtime());
        let mut inner = Vec::new();
        entry.read_to_end(&mut inner).ok()?;
        members.push(Member { name, meta, bytes: inner });
    }
    Some(members)
}

fn open_tar(bytes: &[u8]) -> Option<Vec<Member>> {
    let mut archive = tar::Archive::new(bytes);
    let mut members = Vec::new();
    for entry in archive.entries().ok()? {
        let mut entry = entry.ok()?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let header = entry.header();
        let number =
            |number: std::io::Result<u64>| number.map_or("?".to_owned(), |number| number.to_string());
        let meta = format!(
            "{:?} mode {:o}, {}:{}, time {}",
            header.entry_type(),
            header.mode().unwrap_or(0),
            number(header.uid()),
            number(header.gid()),
            number(header.mtime())
        );
        let mut inner = Vec::new();
        entry.read_to_end(&mut inner).ok()?;
        members.push(Member { name, meta, bytes: inner });
    }
    Some(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::{Memory, Node, TreePath};

    fn tarball(files: &[(&str, &str, u64)]) -> Vec<u8> {
        tarball_of(tar::Header::new_ustar, files)
    }

    fn tarball_of(header: fn() -> tar::Header, files: &[(&str, &str, u64)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, text, time) in files {
            let mut header = header();
            header.set_size(text.len() as u64);
            header.set_mtime(*time);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            builder.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn deb(data: &[u8]) -> Vec<u8> {
        let mut builder = ar::Builder::new(Vec::new());
        for (name, bytes) in [("debian-binary", &b"2.0\n"[..]), ("data.tar", data)] {
            builder.append(&ar::Header::new(name.into(), bytes.len() as u64), bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn the_way_inwards_is_named() {
        let check = |left: Vec<u8>, right: Vec<u8>, expect: &str| {
            assert_eq!(
                bytes(&left, &right).map_or("equal".to_owned(), |difference| difference.to_string()),
                expect
            );
        };
        let base = tarball(&[("a", "same", 7), ("b", "one", 7)]);
        check(deb(&base), deb(&base), "equal");
        let changed = tarball(&[("a", "same", 7), ("b", "ore", 7)]);
        check(deb(&base), deb(&changed), "data.tar > b: byte 1: 0x6e in the first build, 0x72 in the second");
        let longer = tarball(&[("a", "same", 7), ("b", "ones", 7)]);
        check(base.clone(), longer, "b: byte 3: the end in the first build, 0x73 in the second");
        check(base.clone(), tarball(&[("a", "same", 7)]), "b is there once only");
        let later = tarball(&[("a", "same", 8), ("b", "one", 7)]);
        check(
            base,
            later,
            "a: Regular mode 644, 0:0, time 7 in the first build, Regular mode 644, 0:0, time 8 in the second",
        );
        // As cargo-deb writes it: without the magic.
        let old = |text| tarball_of(tar::Header::new_old, &[("b", text, 7)]);
        check(old("one"), old("ore"), "b: byte 1: 0x6e in the first build, 0x72 in the second");
        check(b"plain".to_vec(), b"plane".to_vec(), "byte 3: 0x69 in the first build, 0x6e in the second");
    }

    #[test]
    fn trees_are_compared_path_by_path() {
        let mut memory = Memory::default();
        let mut output = |text: &str, mode: u16, path: &str| {
            let mut tree = Tree::new();
            tree.insert(TreePath::new(path).unwrap(), memory.file(text, mode)).unwrap();
            let json = tree.to_json().unwrap();
            let Node { kind: Kind::File { content, .. }, .. } = memory.file(json, 0o644) else {
                unreachable!()
            };
            Output::Tree { tree: content }
        };
        let (a, b) = (output("x", 0o644, "etc/f"), output("y", 0o644, "etc/f"));
        let (c, d) = (output("x", 0o600, "etc/f"), output("x", 0o644, "etc/g"));
        let say = |right: &Output| outputs((&a, &memory), (right, &memory)).unwrap().unwrap().to_string();
        assert_eq!(say(&b), "etc/f: byte 0: 0x78 in the first build, 0x79 in the second");
        assert!(say(&c).starts_with("etc/f: Node"));
        assert_eq!(say(&d), "etc/f is there once only");
        assert_eq!(outputs((&a, &memory), (&a, &memory)).unwrap(), None);
    }
}
