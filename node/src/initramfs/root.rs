//! Finds the block device that `root=` of the command line names.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::fault::Fault;

/// Offset of ext4's superblock, and of what we read in it (kernel documentation, `filesystems/ext4/super`).
const SUPERBLOCK: u64 = 1024;
const MOUNTS: usize = 0x34;
const MOST_MOUNTS: usize = 0x36;
const MAGIC: usize = 0x38;
const STATE: usize = 0x3a;
const INTERVAL: usize = 0x44;
const INCOMPATIBLE: usize = 0x60;
const UUID: usize = 0x68;
const LABEL: usize = 0x78;
const ORPHANS: usize = 0xe8;

/// `STATE` of a file system that was left in order, and without errors or orphans.
const CLEAN: u16 = 1;
/// Of `INCOMPATIBLE`: the journal holds what the file system lacks.
const RECOVER: u32 = 4;

/// The value of `root=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RootDevice {
    /// `UUID=`: of an ext4 file system.
    Uuid([u8; 16]),
    /// `LABEL=`: of an ext4 file system.
    Label(String),
    /// A path of a device.
    Device(PathBuf),
}

impl FromStr for RootDevice {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        let refuse = || Fault::input(format!("root={text} is no UUID=, LABEL= or /dev/ path"));
        match text.split_once('=') {
            Some(("UUID", uuid)) => parse_uuid(uuid).map(Self::Uuid).ok_or_else(refuse),
            Some(("LABEL", label)) => Ok(Self::Label(label.to_owned())),
            None if text.starts_with("/dev/") => Ok(Self::Device(text.into())),
            _ => Err(refuse()),
        }
    }
}

impl fmt::Display for RootDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(uuid) => {
                let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
                write!(f, "UUID={hex}")
            }
            Self::Label(label) => write!(f, "LABEL={label}"),
            Self::Device(path) => write!(f, "{}", path.display()),
        }
    }
}

impl RootDevice {
    /// Returns the path of the device, if the kernel has found it by now.
    pub(super) fn find(&self) -> Option<PathBuf> {
        match self {
            Self::Device(path) => path.exists().then(|| path.clone()),
            _ => {
                let devices = block_devices().into_iter().map(|name| Path::new("/dev").join(name));
                devices.into_iter().find(|device| superblock(device).is_some_and(|block| self.is(&block)))
            }
        }
    }

    fn is(&self, superblock: &[u8; 1024]) -> bool {
        let label = &superblock[LABEL..LABEL + 16];
        let label = label.split(|byte| *byte == 0).next().unwrap_or_default();
        superblock[MAGIC..MAGIC + 2] == [0x53, 0xef]
            && match self {
                Self::Uuid(uuid) => superblock[UUID..UUID + 16] == *uuid,
                Self::Label(wanted) => label == wanted.as_bytes(),
                Self::Device(_) => false,
            }
    }
}

/// Returns the names of the block devices that the kernel has found, in order.
pub(super) fn block_devices() -> Vec<String> {
    let entries = fs::read_dir("/sys/class/block").into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| Some(entry.file_name().to_str()?.replace('!', "/"))).collect();
    names.sort();
    names
}

/// Returns whether the ext4 on a device needs no e2fsck: by the same signs by which `e2fsck -p` leaves one alone
/// (e2fsck(8)). Whatever we cannot tell is a reason to look.
pub(super) fn is_clean(device: &Path) -> bool {
    superblock(device).is_some_and(|block| clean(&block))
}

fn clean(block: &[u8; 1024]) -> bool {
    let short = |at: usize| u16::from_le_bytes([block[at], block[at + 1]]);
    let long = |at: usize| u32::from(short(at)) | u32::from(short(at + 2)) << 16;
    let counted = short(MOST_MOUNTS) as i16 > 0 && short(MOUNTS) >= short(MOST_MOUNTS);
    let timed = long(INTERVAL) != 0;
    let untouched = short(STATE) == CLEAN && long(INCOMPATIBLE) & RECOVER == 0 && long(ORPHANS) == 0;
    untouched && !counted && !timed
}

fn superblock(device: &Path) -> Option<[u8; 1024]> {
    let mut block = [0; 1024];
    File::open(device).ok()?.read_exact_at(&mut block, SUPERBLOCK).ok()?;
    Some(block)
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let digits: Option<Vec<u32>> = text.chars().filter(|c| *c != '-').map(|c| c.to_digit(16)).collect();
    let digits = digits?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect();
    if digits.len() == 32 { bytes.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_parsed_or_refused() {
        let uuid = "00010203-0405-0607-0809-0a0b0c0d0e0f";
        assert_eq!(parse_uuid(uuid), Some(std::array::from_fn(|index| index as u8)));
        for (text, fits) in [
            (format!("UUID={uuid}").as_str(), true),
            ("UUID=00", false),
            ("UUID=zz", false),
            ("LABEL=hale-root", true),
            ("/dev/vda3", true),
            ("vda3", false),
            ("PARTUUID=1", false),
        ] {
            assert_eq!(text.parse::<RootDevice>().is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn a_root_is_looked_at_unless_nothing_asks_for_it() {
        for (what, at, bytes, expected) in [
            ("left in order", STATE, &[1, 0][..], true),
            ("errors were found", STATE, &[3, 0], false),
            ("not left in order", STATE, &[0, 0], false),
            ("a journal to play", INCOMPATIBLE, &[0x44, 2, 0, 0], false),
            ("other features", INCOMPATIBLE, &[0x42, 2, 0, 0], true),
            ("an orphan", ORPHANS, &[0, 1, 0, 0], false),
            ("an interval", INTERVAL, &[0, 0, 1, 0], false),
            ("mounts are not counted", MOUNTS, &[9, 0, 0xff, 0xff], true),
            ("too many mounts", MOUNTS, &[9, 0, 9, 0], false),
            ("mounts are left", MOUNTS, &[9, 0, 10, 0], true),
        ] {
            let mut block = [0; 1024];
            block[STATE] = 1;
            block[at..at + bytes.len()].copy_from_slice(bytes);
            assert_eq!(clean(&block), expected, "{what}");
        }
    }

    #[test]
    fn a_superblock_is_known_by_uuid_or_label() {
        let mut block = [0; 1024];
        block[MAGIC..MAGIC + 2].copy_from_slice(&[0x53, 0xef]);
        block[UUID..UUID + 16].fill(7);
        block[LABEL..LABEL + 9].copy_from_slice(b"hale-root");
        let label = |text: &str| RootDevice::Label(text.into());
        assert!(RootDevice::Uuid([7; 16]).is(&block) && !RootDevice::Uuid([8; 16]).is(&block));
        assert!(label("hale-root").is(&block) && !label("hale").is(&block));
        block[MAGIC] = 0;
        assert!(!label("hale-root").is(&block), "not ext4");
    }
}
