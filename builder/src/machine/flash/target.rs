//! The target of an image: an ordinary file, or a block device that nothing uses.

use std::fmt;
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, FallocateFlags, OFlags, fadvise, fallocate};

use super::device::Device;
use crate::base::{Fault, Result};
use crate::host::overwrite::{Form, Overwrite};
use crate::pack::disk::writer::BlockWriter;
use crate::plan::DiskFormat;
use crate::store::Store;

/// An open target. Opening one changes nothing on it.
#[derive(Debug)]
pub struct Target {
    file: File,
    path: PathBuf,
    /// `None`: an ordinary file, as long as it needs to be.
    device: Option<Device>,
}

impl Target {
    /// Opens a file (made if missing) or a block device. A device must be whole, writable and in
    /// nobody's use: not mounted, not swap, not under another device. The kernel's own refusal
    /// (`O_EXCL`, open(2)) stands behind our checks. A file must be empty or a disk of ours, unless `overwrite`
    /// says that it may be lost.
    pub fn open(path: &Path, overwrite: Overwrite) -> Result<Self> {
        let kind = match std::fs::metadata(path) {
            Ok(found) => Some(found.file_type()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(Fault::io("look at", path, e)),
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let device = match kind {
            Some(kind) if kind.is_block_device() => {
                let device = Device::find(path)?;
                device.check_unused()?;
                options.custom_flags(OFlags::EXCL.bits() as i32);
                Some(device)
            }
            Some(kind) if !kind.is_file() => {
                return Err(Fault::user(format!("{} cannot be flashed", path.display()))
                    .expected_found("a file or a block device", "something else")
                    .help("name another one; lsblk shows the disks"));
            }
            None if path.starts_with("/dev") => {
                return Err(
                    Fault::user(format!("no device {}", path.display())).help("lsblk shows the disks")
                );
            }
            _ => {
                options.create(true);
                None
            }
        };
        let file = options.open(path).map_err(|e| Fault::io("open", path, e))?;
        if device.is_none() {
            Form::Disk(DiskFormat::Raw).check_file(path, &file, overwrite)?;
        }
        Ok(Self { file, path: path.to_owned(), device })
    }

    /// Refuses a target that is a file of the store, by whatever name, or that a loop device makes one.
    pub fn check_outside(&self, store: &Store) -> Result<()> {
        for file in self.files()? {
            if store.holds(&file)? {
                return Err(Fault::user(format!("{self} is a file of the store {}", store.root().display()))
                    .expected_found("a file or a disk of its own", "another name of one that is kept")
                    .help("name another file"));
            }
        }
        Ok(())
    }

    /// Refuses to write over what is read.
    pub(super) fn check_apart(&self, image: &Path, source: &File) -> Result<()> {
        let read = source.metadata().map_err(|e| Fault::io("look at", image, e))?;
        let is_source = |file: &Metadata| (file.dev(), file.ino()) == (read.dev(), read.ino());
        if !self.files()?.iter().any(is_source) {
            return Ok(());
        }
        Err(Fault::user(format!("{self} is the image itself"))
            .expected_found("another file or disk", format!("another name of {}", image.display()))
            .help("name another file"))
    }

    /// The file that is written to, and what lies behind a loop device (`loop/backing_file` in `/sys`).
    fn files(&self) -> Result<Vec<Metadata>> {
        let own = self.file.metadata().map_err(|e| Fault::io("look at", &self.path, e))?;
        let behind = self.device.as_ref().and_then(Device::backing_file);
        let behind = behind.and_then(|path| std::fs::metadata(path).ok());
        Ok([own].into_iter().chain(behind).collect())
    }

    /// Describes the device for the person who is asked; `None` for an ordinary file.
    pub fn device(&self) -> Option<&Device> {
        self.device.as_ref()
    }

    /// Lets nobody else read a file that gets a seed: there are secrets in it.
    pub(super) fn close_to_others(&self) -> Result<()> {
        if self.device.is_some() {
            return Ok(());
        }
        let closed = self.file.set_permissions(Permissions::from_mode(0o600));
        closed.map_err(|e| Fault::io("close", &self.path, e))
    }

    /// Returns the length that a disk which needs `least` bytes gets here.
    pub(super) fn length_for(&self, least: u64) -> Result<u64> {
        match &self.device {
            None => {
                self.file.set_len(least).map_err(|e| Fault::io("lengthen", &self.path, e))?;
                Ok(least)
            }
            Some(device) if device.capacity() < least => Err(Fault::user(format!("{self} is too small"))
                .expected_found(format!("{least} bytes"), device.bytes)),
            Some(device) => Ok(device.capacity()),
        }
    }

    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, offset).map_err(|e| self.lost("write", e))
    }

    pub(super) fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(bytes, offset).map_err(|e| self.lost("read back", e))
    }

    /// Makes a stretch zero without sending zeros where the disk or file system can do it itself.
    pub(super) fn clear(&self, offset: u64, length: u64) -> Result<()> {
        if length == 0 {
            return Ok(());
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if fallocate(&self.file, flags, offset, length).is_ok() {
            return Ok(());
        }
        let zeros = vec![0; 1 << 20];
        let mut done = 0;
        while done < length {
            let want = (length - done).min(zeros.len() as u64);
            self.write(offset + done, &zeros[..want as usize])?;
            done += want;
        }
        Ok(())
    }

    /// Sends everything so far to the disk; reading starts from there, not from memory.
    pub(super) fn settle(&self) -> Result<()> {
        self.file.sync_all().map_err(|e| self.lost("write", e))?;
        // Advice only: without it we would compare memory with memory, which is no error.
        let _ = fadvise(&self.file, 0, None, Advice::DontNeed);
        Ok(())
    }

    fn lost(&self, doing: &str, error: io::Error) -> Fault {
        Fault::io(doing, &self.path, error).help("check that the disk is still there, then flash it again")
    }
}

impl BlockWriter for &Target {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}
