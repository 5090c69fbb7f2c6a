//! Files as block devices.

use std::path::{Path, PathBuf};

use crate::tools::{succeed, tool};

/// A file as a disk of this machine; detached when it is dropped.
#[derive(Debug)]
pub struct Loop(PathBuf);

impl Loop {
    /// Attaches a file.
    pub fn over(file: &Path) -> Self {
        let said = succeed(tool("losetup", "mount").args(["--find", "--show"]).arg(file));
        Self(PathBuf::from(String::from_utf8(said).expect("a path").trim()))
    }

    /// The device.
    pub fn device(&self) -> &Path {
        &self.0
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = tool("losetup", "mount").arg("--detach").arg(&self.0).status();
    }
}
