//! `cargo xtask test`: every test there is. What CI runs, and all that it runs.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use builder::base::{Fault, Result};
use clap::Args;

use crate::context::Context;

/// Tools that tests hold our output against, and the Debian package that brings each.
const ORACLES: &[(&str, &str)] = &[
    ("apt-cache", "apt"),
    ("apt-config", "apt"),
    ("apt-ftparchive", "apt-utils"),
    ("apt-get", "apt"),
    ("ar", "binutils"),
    ("bash", "bash"),
    ("chroot", "coreutils"),
    ("conmon", "conmon"),
    ("cp", "coreutils"),
    ("crun", "crun"),
    ("debsums", "debsums"),
    ("debugfs", "e2fsprogs"),
    ("dpkg", "dpkg"),
    ("dpkg-deb", "dpkg"),
    ("dumpe2fs", "e2fsprogs"),
    ("e2fsck", "e2fsprogs"),
    ("fsck.erofs", "erofs-utils"),
    ("fsck.vfat", "dosfstools"),
    ("git", "git"),
    ("gpg", "gnupg"),
    ("gpgconf", "gpgconf"),
    ("gpgv", "gpgv"),
    ("gzip", "gzip"),
    ("ip", "iproute2"),
    ("ldd", "libc-bin"),
    ("losetup", "mount"),
    ("man", "man-db"),
    ("mcopy", "mtools"),
    ("md5sum", "coreutils"),
    ("mdir", "mtools"),
    ("mke2fs", "e2fsprogs"),
    ("mmdebstrap", "mmdebstrap"),
    ("mount", "mount"),
    ("mtype", "mtools"),
    ("newuidmap", "uidmap"),
    ("nsenter", "util-linux"),
    ("nft", "nftables"),
    ("openssl", "openssl"),
    ("perl", "perl-base"),
    ("podman", "podman"),
    ("python3", "python3"),
    ("qemu-img", "qemu-utils"),
    ("readelf", "binutils"),
    ("setpriv", "util-linux"),
    ("script", "bsdutils"),
    ("sgdisk", "gdisk"),
    ("sh", "dash"),
    ("sha256sum", "coreutils"),
    ("skopeo", "skopeo"),
    ("ssh-keygen", "openssh-client"),
    ("sshd", "openssh-server"),
    ("strace", "strace"),
    ("sudo", "sudo"),
    ("systemd-analyze", "systemd"),
    ("systemd-sysusers", "systemd"),
    ("systemd-tmpfiles", "systemd"),
    ("tar", "tar"),
    ("umoci", "umoci"),
    ("umount", "mount"),
    ("unshare", "util-linux"),
    ("visudo", "sudo"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
];

/// Arguments of `test`.
#[derive(Args)]
pub(crate) struct Test {
    /// Print the Debian packages that the tests need, and stop.
    #[arg(long)]
    oracles: bool,
    /// Only tests whose names hold this.
    filter: Option<String>,
}

impl Test {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        if self.oracles {
            println!("{}", packages(|_| true).join(" "));
            return Ok(());
        }
        let missing = packages(|tool| !is_here(tool));
        if !missing.is_empty() {
            return Err(Fault::machine("tools that the tests compare us with are missing")
                .help(format!("apt-get install {}", missing.join(" "))));
        }
        run(cargo(context)?.args(self.filter))
    }
}

/// Makes `cargo test` of everything, ready for more arguments.
pub(crate) fn cargo(context: &Context) -> Result<Command> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    cargo.args(["test", "--workspace"]).current_dir(context.root()?);
    // What cargo tells this program of its own package makes build scripts that look at it run again.
    let told = |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|part| name.starts_with(part));
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in names.filter(|name| told(name)) {
        cargo.env_remove(name);
    }
    Ok(cargo)
}

/// Runs tests to a good end.
pub(crate) fn run(cargo: &mut Command) -> Result<()> {
    let status = cargo.status().map_err(|e| Fault::io("run", "cargo", e))?;
    if status.success() { Ok(()) } else { Err(Fault::user("tests failed")) }
}

/// The packages of the oracles that `wanted` names, each once.
fn packages(wanted: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let wanted = ORACLES.iter().filter(|(tool, _)| wanted(tool)).map(|(_, package)| *package);
    BTreeSet::from_iter(wanted).into_iter().collect()
}

fn is_here(tool: &str) -> bool {
    let search = std::env::var_os("PATH").unwrap_or_default();
    let administrators = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&search).chain(administrators).any(|directory| directory.join(tool).is_file())
}
