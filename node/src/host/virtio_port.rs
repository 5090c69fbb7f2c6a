//! Virtio-serial ports: how a virtual machine sends text to its host.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use super::Host;

/// A virtio-serial port, whose other end is at the virtual machine's host.
#[derive(Debug)]
pub struct VirtioPort(File);

impl VirtioPort {
    /// Opens a port; returns `None` if the machine has none, as is normal.
    pub fn open(host: &dyn Host, path: &str) -> Option<Self> {
        // A port that nobody reads must not stop the node.
        let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
        OpenOptions::new().write(true).custom_flags(flags).open(host.path(path)).ok().map(Self)
    }

    /// Writes as much as the port takes at once. Nobody may be listening.
    pub fn try_put(&mut self, text: &str) {
        let _ = self.0.write_all(text.as_bytes());
    }

    /// Writes a text of any length. Gives up when nobody reads for two seconds.
    pub fn put(&mut self, host: &dyn Host, text: &str) {
        let (mut written, mut tries) = (0, 20);
        while written < text.len() {
            match self.0.write(&text.as_bytes()[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock && tries > 0 => {
                    tries -= 1;
                    host.pause(Duration::from_millis(100));
                }
                Err(_) => return,
            }
        }
    }
}
