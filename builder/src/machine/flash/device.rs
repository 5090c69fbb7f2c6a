//! A block device: what it is, and who uses it. From `/sys` and `/proc` (sysfs-block, proc(5)).

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::base::{Fault, Result};
use crate::pack::disk::gpt::SECTOR;

/// A whole disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its path.
    pub path: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
    /// Maker and model, as it says itself.
    pub model: String,
    /// Its serial number, as it says itself.
    pub serial: String,
    /// Whether it can be taken out.
    pub removable: bool,
    /// Its folder in `/sys`.
    folder: PathBuf,
}

impl Device {
    /// Returns how many bytes it can hold: its length, rounded down to whole sectors.
    pub(super) fn capacity(&self) -> u64 {
        self.bytes / SECTOR * SECTOR
    }

    pub(super) fn find(path: &Path) -> Result<Self> {
        let meta = fs::metadata(path).map_err(|e| Fault::io("look at", path, e))?;
        let (major, minor) = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
        Self::at(path, Path::new(&format!("/sys/dev/block/{major}:{minor}")))
    }

    fn at(path: &Path, folder: &Path) -> Result<Self> {
        if folder.join("partition").exists() {
            return Err(Fault::user(format!("{} is a partition", path.display()))
                .expected_found("a whole disk", "a part of one")
                .help("name the disk: an image has a partition table of its own"));
        }
        let text = |name: &str| {
            fs::read_to_string(folder.join(name)).map(|text| text.trim().to_owned()).unwrap_or_default()
        };
        if text("ro") == "1" {
            return Err(Fault::user(format!("{} cannot be written to", path.display()))
                .help("move the write protection switch"));
        }
        let sectors: u64 = text("size")
            .parse()
            .map_err(|_| Fault::machine(format!("{} has no size in /sys", path.display())))?;
        Ok(Self {
            path: path.to_owned(),
            bytes: sectors * 512,
            model: format!("{} {}", text("device/vendor"), text("device/model")).trim().to_owned(),
            serial: text("device/serial"),
            removable: text("removable") == "1",
            folder: folder.to_owned(),
        })
    }

    /// Returns the file that a loop device makes a disk.
    pub(super) fn backing_file(&self) -> Option<PathBuf> {
        let path = fs::read_to_string(self.folder.join("loop/backing_file")).ok()?;
        Some(PathBuf::from(path.trim_end_matches('\n')))
    }

    /// Refuses a disk of which any part is mounted, swapped to, or under another device.
    pub(super) fn check_unused(&self) -> Result<()> {
        let read = |path: &str| fs::read_to_string(path).map_err(|e| Fault::io("read", path, e));
        let (mounts, swaps) = (read("/proc/self/mountinfo")?, read("/proc/swaps")?);
        match self.user(&mounts, &swaps) {
            None => Ok(()),
            Some(user) => Err(Fault::user(format!("{} is in use", self.path.display()))
                .expected_found("a disk that nothing uses", user)
                .help("name another disk; lsblk shows what is where")),
        }
    }

    /// Who uses the disk or a partition of it.
    fn user(&self, mounts: &str, swaps: &str) -> Option<String> {
        for folder in self.parts() {
            let number = fs::read_to_string(folder.join("dev")).unwrap_or_default();
            // mountinfo: id, parent, major:minor, root, mount point, …
            let mounted = mounts.lines().find(|line| line.split(' ').nth(2) == Some(number.trim()));
            if let Some(point) = mounted.and_then(|line| line.split(' ').nth(4)) {
                return Some(format!("mounted at {point}"));
            }
            let name = folder.canonicalize().unwrap_or_else(|_| folder.clone());
            let name = name.file_name().map(|name| format!("/dev/{}", name.to_string_lossy()));
            let swap = |line: &str| line.split_whitespace().next().map(str::to_owned);
            if name.is_some() && swaps.lines().any(|line| swap(line) == name) {
                return Some("used as swap".to_owned());
            }
            let mut holders = fs::read_dir(folder.join("holders")).into_iter().flatten().flatten();
            if let Some(holder) = holders.next() {
                return Some(format!("part of {}", holder.file_name().to_string_lossy()));
            }
        }
        None
    }

    /// Its own folder and those of its partitions.
    fn parts(&self) -> Vec<PathBuf> {
        let inside = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut parts: Vec<PathBuf> = inside.filter(|path| path.join("partition").exists()).collect();
        parts.sort();
        parts.insert(0, self.folder.clone());
        parts
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_unknown = |text: &str| if text.is_empty() { "unknown".to_owned() } else { text.to_owned() };
        write!(
            f,
            "{}: {:.1} GB, model {}, serial {}, {}",
            self.path.display(),
            self.bytes as f64 / 1e9,
            or_unknown(&self.model),
            or_unknown(&self.serial),
            if self.removable { "removable" } else { "fixed" }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A made-up disk with one partition, as `/sys` would show it.
    fn disk() -> (tempfile::TempDir, Device) {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for (name, text) in [
            ("size", "2048\n"),
            ("ro", "0\n"),
            ("removable", "1\n"),
            ("dev", "8:0\n"),
            ("device/vendor", "ACME \n"),
            ("device/model", "Stick\n"),
            ("sda1/partition", "1\n"),
            ("sda1/dev", "8:1\n"),
        ] {
            write(name, text);
        }
        fs::create_dir(folder.path().join("sda1/holders")).unwrap();
        let device = Device::at(Path::new("/dev/sda"), folder.path()).unwrap();
        (folder, device)
    }

    #[test]
    fn every_kind_of_use_is_seen() {
        let (folder, device) = disk();
        let mounts = "22 1 8:2 / / rw - ext4 /dev/sda2 rw\n";
        let swaps = "Filename Type Size Used Priority\n/dev/sdb partition 1 0 -2\n";
        assert_eq!(device.user(mounts, swaps), None);
        let mounted = "22 1 8:1 / /boot/efi rw - vfat /dev/sda1 rw\n";
        assert_eq!(device.user(mounted, swaps).as_deref(), Some("mounted at /boot/efi"));
        let whole = "22 1 8:0 / /mnt rw - ext4 /dev/sda rw\n";
        assert_eq!(device.user(whole, swaps).as_deref(), Some("mounted at /mnt"));
        let swaps = "Filename Type Size Used Priority\n/dev/sda1 partition 1 0 -2\n";
        assert_eq!(device.user(mounts, swaps).as_deref(), Some("used as swap"));
        fs::write(folder.path().join("sda1/holders/dm-0"), "").unwrap();
        assert_eq!(device.user(mounts, "").as_deref(), Some("part of dm-0"));
    }

    #[test]
    fn a_disk_says_what_it_is() {
        let (folder, device) = disk();
        assert_eq!(device.bytes, 1 << 20);
        assert_eq!(device.to_string(), "/dev/sda: 0.0 GB, model ACME Stick, serial unknown, removable");
        assert!(Device::at(Path::new("/dev/sda1"), &folder.path().join("sda1")).is_err(), "a partition");
        fs::write(folder.path().join("ro"), "1").unwrap();
        assert!(Device::at(Path::new("/dev/sda"), folder.path()).is_err(), "write protected");
    }
}
