use super::*;
use crate::base::tree::Memory;
use fatfs::{FatType, FileSystem, FsOptions};
use std::io::Cursor;

fn seed(length: u64) -> (Fat, Tree, Memory) {
    let (mut tree, mut contents) = (Tree::new(), Memory::default());
    for path in ["EFI/BOOT/BOOTX64.EFI", "node.toml", "pki/a long name.crt", "pki/a long nametag", "EMPTY"] {
        let bytes = if path == "EMPTY" { String::new() } else { path.repeat(200) };
        tree.insert(TreePath::new(path).unwrap(), contents.file(bytes, 0o644)).unwrap();
    }
    (Fat { serial: 0x1234_5678, label: "HALE-SEED".into(), length }, tree, contents)
}

fn bytes(spec: &Fat, tree: &Tree, contents: &Memory) -> Result<Vec<u8>> {
    let mut disk = Vec::new();
    write(spec, tree, contents, &mut disk)?;
    disk.resize(spec.length as usize, 0);
    Ok(disk)
}

/// Another implementation reads what we wrote; fsck.vfat is asked in `tests/tests/formats/disk.rs`.
#[test]
fn files_come_back() {
    for (length, kind) in [
        (4 << 20, FatType::Fat16),
        (16 << 20, FatType::Fat16),
        (39 << 20, FatType::Fat16),
        (64 << 20, FatType::Fat32),
    ] {
        let (spec, tree, contents) = seed(length);
        let volume =
            FileSystem::new(Cursor::new(bytes(&spec, &tree, &contents).unwrap()), FsOptions::new()).unwrap();
        assert_eq!((volume.fat_type(), volume.volume_id()), (kind, spec.serial));
        assert_eq!(volume.read_volume_label_from_root_dir().unwrap().as_deref(), Some("HALE-SEED"));
        for (path, node) in tree.iter().filter(|(_, node)| !node.is_dir()) {
            let mut found = Vec::new();
            volume.root_dir().open_file(path.as_str()).unwrap().read_to_end(&mut found).unwrap();
            let Kind::File { content, .. } = &node.kind else { continue };
            assert!(found == contents.read(content).unwrap(), "{path} at {length}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let (spec, tree, contents) = seed(8 << 20);
    for label in ["hale", "", "TWELVE-CHARS"] {
        assert!(bytes(&Fat { label: label.into(), ..spec.clone() }, &tree, &contents).is_err(), "{label}");
    }
    for length in [LEAST - 512, LEAST + 1, MOST + 512] {
        assert!(bytes(&Fat { length, ..spec.clone() }, &tree, &contents).is_err(), "{length}");
    }
    let with = |path: &str, node: Node, contents: &Memory| {
        let mut tree = tree.clone();
        tree.insert(TreePath::new(path).unwrap(), node).unwrap();
        bytes(&spec, &tree, contents)
    };
    let mut more = contents.clone();
    let (big, small) = (more.file(vec![0; 8 << 20], 0o644), more.file("x", 0o644));
    assert!(with("big", big, &more).is_err(), "more than there is room");
    assert!(with("link", Node::symlink("node.toml"), &more).is_err());
    assert!(with("NODE.TOML", small.clone(), &more).is_err(), "differs by case");
    assert!(with("a:b", small.clone(), &more).is_err());
    assert!(with("a.", small.clone(), &more).is_err());
    assert!(with("fits", small, &more).is_ok());
}
