//! Mounts, as the kernel lists them (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::fault::{Fault, Result};

/// A place of a file system, whatever path leads there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The device's number, as the kernel writes it.
    device: String,
    /// The path from the file system's own root.
    path: PathBuf,
}

impl Place {
    /// Returns the relative path from here to `other`, if that lies below; empty if it is the same place.
    pub(super) fn way_to<'a>(&self, other: &'a Place) -> Option<&'a Path> {
        if self.device != other.device { None } else { other.path.strip_prefix(&self.path).ok() }
    }
}

struct Mount {
    place: Place,
    at: PathBuf,
}

/// All mounts, in the order in which they were made over each other.
pub(super) struct Mounts(Vec<Mount>);

impl Mounts {
    /// Reads the mounts of this process.
    pub(super) fn read() -> Result<Self> {
        let path = "/proc/self/mountinfo";
        Self::parse(&std::fs::read(path).map_err(|e| Fault::io("read", path, e))?)
    }

    fn parse(text: &[u8]) -> Result<Self> {
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let mount = |line: &[u8]| {
            let mut fields = line.split(|byte| *byte == b' ').skip(2);
            let device = String::from_utf8_lossy(fields.next()?).into_owned();
            let root = unescape(fields.next()?);
            Some(Mount { place: Place { device, path: root }, at: unescape(fields.next()?) })
        };
        let mounts: Option<Vec<Mount>> = lines.map(mount).collect();
        mounts.map(Self).ok_or_else(|| Fault::machine("cannot read the kernel's list of mounts"))
    }

    /// Returns the place that a path without links shows.
    pub(super) fn place(&self, path: &Path) -> Option<Place> {
        let deepest = |found: Option<&'_ Mount>| found.map_or(0, |mount| mount.at.components().count());
        let over = self.0.iter().filter(|mount| path.starts_with(&mount.at));
        let mount =
            over.fold(
                None,
                |found, mount| if deepest(Some(mount)) >= deepest(found) { Some(mount) } else { found },
            )?;
        let below = path.strip_prefix(&mount.at).ok()?;
        Some(Place { device: mount.place.device.clone(), path: mount.place.path.join(below) })
    }

    /// Returns what is mounted below a path without links.
    pub(super) fn below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a Place> {
        let is_below = move |mount: &&Mount| mount.at.starts_with(path) && mount.at != path;
        self.0.iter().filter(is_below).map(|mount| &mount.place)
    }
}

/// Decodes space, tab, newline and backslash, which are written as `\` and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let digits =
            after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => (bytes.push(byte), rest = &after[3..]),
            None => (bytes.push(*first), rest = after),
        };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "22 1 254:1 / / rw - ext4 /dev/vda1 rw\n\
        23 22 0:21 / /run rw,nosuid shared:5 - tmpfs tmpfs rw\n\
        24 22 254:1 /srv/a\\040b /mnt rw - ext4 /dev/vda1 rw\n\
        25 23 0:30 / /run/x rw - tmpfs tmpfs rw\n\
        26 22 0:31 / /mnt rw - tmpfs tmpfs rw\n";

    #[test]
    fn a_path_is_a_place_of_what_is_mounted_last() {
        let mounts = Mounts::parse(TEXT.as_bytes()).unwrap();
        let check = |path: &str, device: &str, expect: &str| {
            let place = Place { device: device.into(), path: expect.into() };
            assert_eq!(mounts.place(Path::new(path)), Some(place), "{path}");
        };
        check("/", "254:1", "/");
        check("/runner", "254:1", "/runner");
        check("/run/crio", "0:21", "/crio");
        check("/run/x/y", "0:30", "/y");
        check("/mnt/z", "0:31", "/z");
        let below: Vec<_> = mounts.below(Path::new("/run")).map(|place| place.device.as_str()).collect();
        assert_eq!(below, ["0:30"]);
        assert!(Mounts::parse(b"22 1 254:1\n").is_err());
        assert_eq!(unescape(b"/a\\040b\\134\\0"), Path::new("/a b\\\\0"));
    }
}
