//! Finds out whether the processor itself can run guests. That there is a `/dev/kvm` proves nothing: under some
//! hypervisors it opens, even makes a machine, and then never runs it, or has the kernel play one instruction
//! after the other, a thousand times slower. So a guest that counts is run, and must say in time that it did.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::base::{Fault, Result};
use crate::rootfs::tools::Tools;

/// The way in which guests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// On the processor.
    Kvm,
    /// Emulated: some ten times slower.
    Tcg,
}

/// The program that runs guests.
pub(super) const QEMU: &str = "qemu-system-x86_64";
/// Longer than any firmware takes to reach the boot sector on a processor, and to count there.
const PATIENCE: Duration = Duration::from_secs(10);
/// `isa-debug-exit` ends QEMU with twice the written number and one.
const ALIVE: i32 = 2 * 0x15 + 1;
/// Counts from 2^25 down, then says so.
const GUEST: [u8; 17] = [
    0x66, 0xb9, 0x00, 0x00, 0x00, 0x02, // mov ecx, 0x2000000
    0x66, 0x49, 0x75, 0xfc, // dec ecx; jnz to it
    0xba, 0x01, 0x05, 0xb0, 0x15, 0xee, 0xf4, // mov dx, 0x501; mov al, 0x15; out dx, al; hlt
];

impl Accelerator {
    /// Chooses KVM if it really runs a guest here, else emulation.
    pub fn probe(tools: &Tools) -> Result<Self> {
        if !Path::new("/dev/kvm").exists() {
            return Ok(Self::Tcg);
        }
        Ok(if Self::Kvm.lives(tools)? { Self::Kvm } else { Self::Tcg })
    }

    /// Returns QEMU's arguments for it.
    pub(super) fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }

    /// Returns how much longer things take than on a processor of this century.
    pub fn patience(self, limit: Duration) -> Duration {
        match self {
            Self::Kvm => limit,
            Self::Tcg => limit * 10,
        }
    }

    /// Whether a guest runs: its boot sector ends QEMU with a number of its own.
    fn lives(self, tools: &Tools) -> Result<bool> {
        let failed = |e| Fault::machine("cannot try a guest").cause(e);
        let folder = tempfile::tempdir().map_err(failed)?;
        let disk = folder.path().join("disk");
        let mut sectors = vec![0; 64 * 512];
        sectors[..GUEST.len()].copy_from_slice(&GUEST);
        sectors[510..512].copy_from_slice(&[0x55, 0xaa]);
        std::fs::write(&disk, sectors).map_err(failed)?;
        let mut command = tools.command(QEMU)?;
        command.args(self.arguments()).args(["-nodefaults", "-display", "none", "-m", "16"]);
        command.args(["-device", "isa-debug-exit,iobase=0x501,iosize=2", "-drive"]);
        command.arg(format!("if=ide,format=raw,file={}", disk.display()));
        ends_with(command, ALIVE, PATIENCE)
    }
}

fn ends_with(mut command: Command, code: i32, limit: Duration) -> Result<bool> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let failed = |e| Fault::machine("cannot run QEMU").cause(e);
    let mut child = command.spawn().map_err(failed)?;
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Ok(status.code() == Some(code));
        }
        if began.elapsed() > limit {
            let _ = child.kill();
            child.wait().map_err(failed)?;
            return Ok(false);
        }
        sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_end_counts() {
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        let limit = Duration::from_millis(300);
        assert!(ends_with(shell("exit 43"), 43, Duration::from_secs(10)).unwrap());
        assert!(!ends_with(shell("exit 1"), 43, Duration::from_secs(10)).unwrap());
        assert!(!ends_with(shell("exec sleep 60"), 43, limit).unwrap(), "one that hangs");
    }
}
