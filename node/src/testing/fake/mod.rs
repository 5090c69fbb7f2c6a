//! A host for tests: a temporary root, a power cut after any number of changes, and programs that leave
//! what the real ones were recorded to leave (`node/testdata/`).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use crate::fault::Result;
use crate::host::{Command, CommandOutput, Host, Space};

mod machine;
mod programs;
mod recorded;

pub(crate) use machine::{FakeHost, InjectedFault, NOW, SlowJoin, TOKEN};
pub(crate) use programs::grammar;
pub(crate) use recorded::{ENDS_SOON, recorded};

impl Host for FakeHost {
    fn root(&self) -> &Path {
        self.root.path()
    }

    fn run(&self, command: &Command) -> Result<CommandOutput> {
        let before = self.commands.borrow().len();
        self.commands.borrow_mut().push(command.line());
        let injected = self.injected.borrow().get(&before).copied();
        match injected {
            Some(InjectedFault::Rejects) => {
                return Ok(CommandOutput { code: Some(1), ..CommandOutput::default() });
            }
            Some(InjectedFault::DoesNothing) => {
                return Ok(CommandOutput { code: Some(0), ..CommandOutput::default() });
            }
            _ => {}
        }
        let output = programs::run(self, command)?;
        let holds_secret = [TOKEN, "client-key-data"].iter().any(|secret| output.stdout.contains(secret));
        assert!(command.secret || !holds_secret, "a log gets a secret of {}", command.line());
        let code = match injected {
            Some(InjectedFault::ReportsFailure) => Some(1),
            Some(InjectedFault::TimesOut) => None,
            _ => output.code,
        };
        Ok(CommandOutput { code, ..output })
    }

    fn chown(&self, path: &Path, uid: u32, gid: u32) -> std::io::Result<()> {
        let inode = fs::symlink_metadata(path)?.ino();
        self.owners.borrow_mut().insert(path.to_owned(), (inode, uid, gid));
        Ok(())
    }

    fn owner(&self, path: &Path) -> std::io::Result<(u32, u32)> {
        let inode = fs::symlink_metadata(path)?.ino();
        let owners = self.owners.borrow();
        let known = owners.get(path).filter(|(known, ..)| *known == inode);
        Ok(known.map_or((0, 0), |(_, uid, gid)| (*uid, *gid)))
    }

    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        fs::rename(from, to)?;
        let mut owners = self.owners.borrow_mut();
        let moved: Vec<_> = owners.keys().filter(|path| path.starts_with(from)).cloned().collect();
        for old in moved {
            let owner = owners.remove(&old).unwrap();
            owners.insert(to.join(old.strip_prefix(from).unwrap()), owner);
        }
        Ok(())
    }

    fn datagram(&self, _to: std::net::SocketAddrV4, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        let address = self.resolved.get().ok_or(std::io::ErrorKind::TimedOut)?;
        Ok(crate::bootstrap::phases::dns::reply(bytes, address))
    }

    fn space(&self, _absolute: &str) -> std::io::Result<Space> {
        Ok(self.space.get())
    }

    fn now(&self) -> i64 {
        self.clock.get()
    }

    fn pause(&self, time: Duration) {
        self.clock.set(self.clock.get() + i64::try_from(time.as_secs()).unwrap());
    }

    fn before_change(&self, _path: &Path) -> Result<()> {
        self.spend()
    }
}
