//! `cargo xtask test`: every test there is. What CI runs, and all that it runs.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use builder::base::{Fault, Result};
use clap::Args;

use crate::context::Context;

/// Tools that tests hold our output against, and the Debian package that brings each.
const ORACLES: &[(&str, &str)] = &[
    ("apt-ftparchive", "apt-utils"),
    ("debsums", "debsums"),
    ("dpkg-deb", "dpkg"),
    ("e2fsck", "e2fsprogs"),
    ("fsck.vfat", "dosfstools"),
    ("gpgv", "gpgv"),
    ("mcopy", "mtools"),
    ("newuidmap", "uidmap"),
    ("qemu-img", "qemu-utils"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("sgdisk", "gdisk"),
    ("skopeo", "skopeo"),
    ("systemd-analyze", "systemd"),
    ("umoci", "umoci"),
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
            let packages: Vec<_> = ORACLES.iter().map(|(_, package)| *package).collect();
            println!("{}", packages.join(" "));
            return Ok(());
        }
        let missing = missing_oracles();
        if !missing.is_empty() {
            return Err(Fault::machine("tools that the tests compare us with are missing")
                .mend(format!("apt-get install {}", missing.join(" "))));
        }
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
        cargo.args(["test", "--workspace"]).args(self.filter).current_dir(&context.root);
        let status = cargo.status().map_err(|e| Fault::io("run", "cargo", e))?;
        if status.success() { Ok(()) } else { Err(Fault::user("tests failed")) }
    }
}

fn missing_oracles() -> Vec<&'static str> {
    let search = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<_> = std::env::split_paths(&search)
        .chain(["/usr/sbin", "/sbin"].into_iter().map(|directory| Path::new(directory).to_owned()))
        .collect();
    let found = |tool: &str| directories.iter().any(|directory| directory.join(tool).is_file());
    ORACLES.iter().filter(|(tool, _)| !found(tool)).map(|(_, package)| *package).collect()
}
