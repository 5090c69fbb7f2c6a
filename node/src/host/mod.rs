//! Host abstraction: root directory, commands, clock. Tests use a fake.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::fault::{Fault, Result};

pub mod apt;
mod command;
pub mod files;
pub mod ip;
pub mod openssl;
pub mod run_dir;
pub mod seed;
pub mod systemd;
pub mod virtio_port;

pub use command::{Command, CommandOutput, OUTPUT_LIMIT};

/// Free space of a file system, in percent; one that counts no inodes has 100 % of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Free bytes.
    pub bytes: u64,
    /// Free inodes.
    pub inodes: u64,
}

/// The machine that `hale` acts on. Everything that changes it goes through here.
pub trait Host {
    /// Returns the directory that stands for `/`.
    fn root(&self) -> &Path;

    /// Runs a command to its end or its time limit; fails only if it cannot be started.
    fn run(&self, command: &Command) -> Result<CommandOutput>;

    /// Changes owner and group of a path; of a link, not of its target.
    fn chown(&self, path: &Path, uid: u32, gid: u32) -> std::io::Result<()>;

    /// Returns owner and group of a path.
    fn owner(&self, path: &Path) -> std::io::Result<(u32, u32)>;

    /// Renames a path, replacing what was there.
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        std::fs::rename(from, to)
    }

    /// Sends a datagram and returns the first answer; tries three times, five seconds each.
    fn datagram(&self, to: std::net::SocketAddrV4, bytes: &[u8]) -> std::io::Result<Vec<u8>>;

    /// Returns the free space of the file system that a path is on.
    fn space(&self, absolute: &str) -> std::io::Result<Space> {
        let found = rustix::fs::statvfs(self.path(absolute))?;
        let percent = |left: u64, all: u64| left.saturating_mul(100).checked_div(all).unwrap_or(100);
        Ok(Space {
            bytes: percent(found.f_bavail, found.f_blocks),
            inodes: percent(found.f_favail, found.f_files),
        })
    }

    /// Returns the seconds since 1970.
    fn now(&self) -> i64;

    /// Sleeps.
    fn pause(&self, time: Duration);

    /// Is called before every change of a file. A fake can cut the power here.
    fn before_change(&self, _path: &Path) -> Result<()> {
        Ok(())
    }

    /// Returns an absolute path, below [`Host::root`].
    fn path(&self, absolute: &str) -> PathBuf {
        self.root().join(absolute.trim_start_matches('/'))
    }

    /// Returns an absolute path, below [`Host::root`], as an argument for a program.
    fn argument(&self, absolute: &str) -> String {
        self.path(absolute).to_string_lossy().into_owned()
    }

    /// Runs a command that must succeed and returns its standard output.
    fn run_checked(&self, command: &Command) -> Result<String> {
        let output = self.run(command)?;
        if output.success() {
            return Ok(output.stdout);
        }
        let reason = output.reason();
        Err(match output.code {
            Some(code) => Fault::machine(format!("{} failed with {code}: {reason}", command.name())),
            None => {
                Fault::transient(format!("{} took more than {:?}: {reason}", command.name(), command.limit))
            }
        })
    }
}

/// The machine that this process runs on.
#[derive(Debug)]
pub struct RealHost {
    root: PathBuf,
    log: Option<PathBuf>,
}

impl RealHost {
    /// Takes `/` as the root; logs the output of commands to files in `log`.
    pub fn new(log: Option<PathBuf>) -> Self {
        Self { root: PathBuf::from("/"), log }
    }
}

impl Host for RealHost {
    fn root(&self) -> &Path {
        &self.root
    }

    fn run(&self, command: &Command) -> Result<CommandOutput> {
        let started = Instant::now();
        let output = command::run(command)?;
        if let Some(directory) = &self.log {
            // A full disk must not fail what the log is about.
            let _ = command::append_log(directory, command, &output, started.elapsed());
        }
        Ok(output)
    }

    fn chown(&self, path: &Path, uid: u32, gid: u32) -> std::io::Result<()> {
        std::os::unix::fs::lchown(path, Some(uid), Some(gid))
    }

    fn owner(&self, path: &Path) -> std::io::Result<(u32, u32)> {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::symlink_metadata(path)?;
        Ok((metadata.uid(), metadata.gid()))
    }

    fn datagram(&self, to: std::net::SocketAddrV4, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.connect(to)?;
        let mut answer = vec![0; 1500];
        let mut last = std::io::Error::from(std::io::ErrorKind::TimedOut);
        for _ in 0..3 {
            socket.send(bytes)?;
            match socket.recv(&mut answer) {
                Ok(length) => return Ok(answer[..length].to_vec()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    #[expect(clippy::disallowed_methods, reason = "the node lives in time; only what is built does not")]
    fn now(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_run_to_its_end_or_its_limit() {
        let log = tempfile::tempdir().unwrap();
        let host = RealHost::new(Some(log.path().to_owned()));
        let shell = |script: &str| Command::new("/bin/sh", &["-c", script]);
        let output = host.run(&shell("echo out; echo err >&2; exit 3")).unwrap();
        assert_eq!(output, CommandOutput { code: Some(3), stdout: "out\n".into(), stderr: "err\n".into() });
        let mut slow = shell("sleep 60 & sleep 60");
        slow.limit = Duration::from_millis(50);
        assert_eq!(host.run(&slow).unwrap().code, None);
        assert_eq!(host.run_checked(&slow).unwrap_err().class(), crate::fault::Class::Transient);
        assert!(host.run(&Command::new("/nowhere", &[])).is_err());
        host.run(&shell("echo hidden-$((40+2))").secret()).unwrap();
        let kept = std::fs::read_to_string(log.path().join("sh.log")).unwrap();
        assert!(kept.contains("out\n") && kept.contains("exit 3") && !kept.contains("hidden-42"), "{kept}");
    }

    #[test]
    fn endless_output_is_cut() {
        let host = RealHost::new(None);
        let output = host.run(&Command::new("/usr/bin/head", &["-c", "3000000", "/dev/zero"])).unwrap();
        assert_eq!((output.code, output.stdout.len() as u64), (Some(0), OUTPUT_LIMIT));
    }
}
