use super::*;
use crate::base::Digest;
use crate::base::tree::Memory;

const EPOCH: u64 = 1_763_201_230;

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

/// One of everything that a header can hold.
fn sample() -> (Tree, Memory) {
    let (mut tree, mut memory) = (Tree::new(), Memory::default());
    let long = format!("usr/share/{}/{}", "d".repeat(200), "f".repeat(200));
    let mut put = |name: &str, node: Node| tree.insert(path(name), node).unwrap();
    put("etc/hale/config", memory.file("a = 1\n", 0o640).owned_by(0, 10_000_000));
    put("etc/empty", memory.file("", 0o600));
    put("var/lib/etcd", Node::dir(0o700).owned_by(10_000_000, 10_000_000));
    put("var/lib/pods", Node::dir(0o2750).owned_by(0, u32::MAX));
    put("usr/bin/tool", memory.file(vec![7; 1024], 0o4755));
    put("usr/bin/other", Node::symlink("../lib/tool"));
    put("usr/bin/far", Node::symlink(format!("../../{long}")));
    put(&long, memory.file("deep", 0o644));
    put("usr/share/ünïcode", memory.file("u", 0o644).owned_by(2_097_151, 2_097_152));
    (tree, memory)
}

fn archive(tree: &Tree, memory: &Memory, style: Style) -> Vec<u8> {
    let mut out = Vec::new();
    write(tree, memory, Epoch::new(EPOCH).unwrap(), style, &mut out).unwrap();
    out
}

/// Reads an archive back into a tree with another library's reader.
fn read_back(bytes: &[u8]) -> Tree {
    let mut tree = Tree::new();
    for entry in tar::Archive::new(bytes).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = String::from_utf8(entry.path_bytes().to_vec()).unwrap();
        let name = name.strip_prefix("./").unwrap_or(&name).trim_end_matches('/').to_owned();
        assert_eq!(entry.header().mtime().unwrap(), EPOCH, "{name}");
        let mut node = match entry.header().entry_type() {
            EntryType::Directory => Node::dir(0),
            EntryType::Symlink => {
                Node::symlink(String::from_utf8(entry.link_name_bytes().unwrap().to_vec()).unwrap())
            }
            _ => {
                let (digest, size) = Digest::of_reader(&mut entry).unwrap();
                Node::file(digest, size, 0)
            }
        };
        for extension in entry.pax_extensions().unwrap().into_iter().flatten() {
            let extension = extension.unwrap();
            if let Some(key) = extension.key().unwrap().strip_prefix("SCHILY.xattr.") {
                let hex = extension.value_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
                node.xattrs.insert(key.to_owned(), hex);
            }
        }
        let header = entry.header();
        node.mode = header.mode().unwrap() as u16;
        node = node.owned_by(header.uid().unwrap() as u32, header.gid().unwrap() as u32);
        if !name.is_empty() {
            tree.insert(path(&name), node).unwrap();
        }
    }
    tree
}

#[test]
fn both_styles_hold_the_whole_tree() {
    let (tree, memory) = sample();
    assert_eq!(read_back(&archive(&tree, &memory, Style::Deb)), tree);
    assert_eq!(read_back(&archive(&tree, &memory, Style::Layer)), tree);
}

#[test]
fn layers_carry_extended_attributes_and_debs_refuse_them() {
    let (mut tree, memory) = sample();
    let node = tree.get_mut("usr/bin/tool").unwrap();
    node.xattrs.insert("security.capability".into(), "0100000200040d003d00ff".into());
    assert_eq!(read_back(&archive(&tree, &memory, Style::Layer)), tree);
    let refused = write(&tree, &memory, Epoch::new(EPOCH).unwrap(), Style::Deb, io::sink()).unwrap_err();
    assert!(
        refused.what().contains("usr/bin/tool has the extended attribute security.capability"),
        "{refused}"
    );
    for bad in ["0", "zz", "ü"] {
        tree.get_mut("usr/bin/tool").unwrap().xattrs.insert("user.x".into(), bad.into());
        assert!(
            write(&tree, &memory, Epoch::new(EPOCH).unwrap(), Style::Layer, io::sink()).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn a_content_of_another_length_is_refused() {
    let memory = &mut Memory::default();
    let Kind::File { content, .. } = memory.file("four", 0o644).kind else { unreachable!() };
    for (size, found) in [(3, "more"), (5, "4")] {
        let mut tree = Tree::new();
        tree.insert(path("f"), Node::file(content, size, 0o644)).unwrap();
        let fault = write(&tree, memory, Epoch::new(0).unwrap(), Style::Layer, io::sink()).unwrap_err();
        assert_eq!(fault.mismatch(), Some((size.to_string().as_str(), found)));
        assert_eq!(fault.class(), crate::base::Class::Integrity);
    }
}

#[test]
fn golden() {
    let (tree, memory) = sample();
    for (style, expect) in [
        (Style::Deb, "d35288497f391e725ea8833238d84e78c09a99327c92efb79796361cd4181167"),
        (Style::Layer, "0416b6873967cbae8f2ce553d2037dfc40d2131e4333236ee75f6fdd6479ef66"),
    ] {
        let found = Digest::of(archive(&tree, &memory, style)).hex();
        assert_eq!(
            found, expect,
            "{style:?}: the archive's bytes changed, so every .deb or layer changes: if that is meant, put \
             the new digest here and say why in the commit"
        );
    }
}

#[test]
fn a_record_counts_its_own_length() {
    for (key, length, expect) in [("k", 1, 6), ("k", 93, 99), ("k", 94, 101), ("path", 4096, 4107)] {
        let bytes = record(key, &vec![b'x'; length]);
        assert_eq!((bytes.len(), bytes.starts_with(format!("{expect} ").as_bytes())), (expect, true));
    }
}
