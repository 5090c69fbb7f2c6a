//! A small tree as a FAT file system, through the `fatfs` crate alone: the EFI system partition and
//! seed disks. Built in memory, because both are small; owners and modes are not FAT's to hold.
//!
//! Times are FAT's first moment, 1980-01-01: nothing reads them, and they cannot differ.

use std::io::{Cursor, Write};

use fatfs::{Dir, FatType, FileSystem, FormatVolumeOptions, FsOptions};

use crate::base::{Fault, Result};
use crate::tree::{Contents, Kind, Tree};

/// From this length on it is FAT32, which firmware expects of an EFI system partition on a disk.
const FAT32_FROM: u64 = 40 << 20;

/// What a file system is, apart from the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fat {
    /// The volume's serial number.
    pub serial: u32,
    /// The label: at most 11 capitals, digits and hyphens.
    pub label: String,
    /// Its length in bytes, a multiple of 512.
    pub length: u64,
}

/// The file system's bytes.
pub fn build(spec: &Fat, tree: &Tree, contents: &dyn Contents) -> Result<Vec<u8>> {
    let failed = |doing: &str| {
        let doing = format!("cannot {doing} the FAT file system {}", spec.label);
        move |e: std::io::Error| Fault::user(doing).because(e)
    };
    let length = usize::try_from(spec.length).map_err(|_| Fault::user("a FAT file system too big"))?;
    let mut disk = Cursor::new(vec![0; length]);
    fatfs::format_volume(&mut disk, options(spec)?).map_err(failed("make"))?;
    {
        let volume = FileSystem::new(&mut disk, FsOptions::new()).map_err(failed("open"))?;
        fill(&volume.root_dir(), tree, contents)?;
        volume.unmount().map_err(failed("finish"))?;
    }
    Ok(disk.into_inner())
}

fn options(spec: &Fat) -> Result<FormatVolumeOptions> {
    let fits = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-';
    if spec.label.is_empty() || spec.label.len() > 11 || !spec.label.chars().all(fits) {
        return Err(
            Fault::user("not a FAT label").versus("1 to 11 of A-Z 0-9 -", format!("{:?}", spec.label))
        );
    }
    let mut label = [b' '; 11];
    label[..spec.label.len()].copy_from_slice(spec.label.as_bytes());
    let options = FormatVolumeOptions::new().volume_id(spec.serial).volume_label(label);
    Ok(if spec.length >= FAT32_FROM {
        options.fat_type(FatType::Fat32).bytes_per_cluster(512)
    } else {
        options.fat_type(FatType::Fat16)
    })
}

fn fill(root: &Dir<'_, &mut Cursor<Vec<u8>>>, tree: &Tree, contents: &dyn Contents) -> Result<()> {
    for (path, node) in tree.iter() {
        let failed = |e: std::io::Error| Fault::user(format!("{path} does not fit")).because(e);
        match &node.kind {
            Kind::Dir => drop(root.create_dir(path.as_str()).map_err(failed)?),
            Kind::File { content, .. } => {
                let mut file = root.create_file(path.as_str()).map_err(failed)?;
                std::io::copy(&mut contents.open(content)?, &mut file).map_err(failed)?;
                file.flush().map_err(failed)?;
            }
            Kind::Symlink { .. } => {
                return Err(Fault::user(format!("{path} is a symbolic link"))
                    .versus("files and directories", "a link, which FAT cannot hold"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Memory, Node, TreePath};
    use std::io::Read;

    fn seed(length: u64) -> (Fat, Tree, Memory) {
        let (mut tree, mut contents) = (Tree::new(), Memory::default());
        for path in ["node.toml", "pki/ca.crt"] {
            tree.insert(TreePath::new(path).unwrap(), contents.file(path, 0o644)).unwrap();
        }
        (Fat { serial: 0x1234_5678, label: "HALE-SEED".into(), length }, tree, contents)
    }

    #[test]
    fn files_come_back() {
        for (length, kind) in [(8 << 20, FatType::Fat16), (64 << 20, FatType::Fat32)] {
            let (spec, tree, contents) = seed(length);
            let bytes = build(&spec, &tree, &contents).unwrap();
            assert!(bytes == build(&spec, &tree, &contents).unwrap(), "two runs differ");
            let volume = FileSystem::new(Cursor::new(bytes), FsOptions::new()).unwrap();
            assert_eq!((volume.fat_type(), volume.volume_id()), (kind, spec.serial));
            assert_eq!(volume.read_volume_label_from_root_dir().unwrap().as_deref(), Some("HALE-SEED"));
            let mut text = String::new();
            volume.root_dir().open_file("pki/ca.crt").unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "pki/ca.crt");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (spec, mut tree, mut contents) = seed(8 << 20);
        assert!(build(&Fat { label: "hale".into(), ..spec.clone() }, &tree, &contents).is_err());
        tree.insert(TreePath::new("big").unwrap(), contents.file(vec![0; 9 << 20], 0o644)).unwrap();
        assert!(build(&spec, &tree, &contents).is_err());
        tree.replace(TreePath::new("big").unwrap(), Node::symlink("node.toml")).unwrap();
        assert!(build(&spec, &tree, &contents).is_err());
    }
}
