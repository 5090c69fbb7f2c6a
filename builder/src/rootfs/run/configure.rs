//! The programs that turn unpacked packages into configured ones, and their environment.

use crate::base::{Epoch, Result};
use crate::host::sandbox::Run;
use crate::rootfs::package::UnpackedPackage;

/// Seconds that a maintainer script may take, and dpkg over all of them.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For one script that is run by itself.
    pub script: u64,
    /// For dpkg over all packages, and for unpacking a source package.
    pub dpkg: u64,
    /// For compiling a source package.
    pub compile: u64,
}

impl Default for Timeouts {
    /// Measured: the slowest script takes under 10 s, all of them under 60 s, on two slow cores; Kubernetes
    /// compiles in 10 min there.
    fn default() -> Self {
        Self { script: 120, dpkg: 900, compile: 4 * 3600 }
    }
}

/// The folder in which the sandbox shows packages that dpkg is to install.
pub(crate) const PACKAGES: &str = "/run/packages";

/// Plans `preinst install` of every package that has one, as dpkg would have run it on unpacking
/// (Debian Policy 6.5), then `dpkg --configure`.
pub(crate) fn configure(packages: &[UnpackedPackage], epoch: Epoch, limits: Timeouts) -> Result<Vec<Run>> {
    let mut with_preinst: Vec<_> =
        packages.iter().filter(|package| package.members.contains_key("preinst")).collect();
    // base-passwd's makes /etc/passwd, without which the others cannot name an owner.
    with_preinst.sort_by_key(|package| (package.name.as_str() != "base-passwd", package.name.clone()));
    let mut runs = Vec::new();
    for package in with_preinst {
        let script = format!("/var/lib/dpkg/info/{}.preinst", package.stem()?);
        let mut environment = environment(epoch);
        for (name, value) in [
            ("DPKG_MAINTSCRIPT_PACKAGE", package.name.as_str()),
            ("DPKG_MAINTSCRIPT_ARCH", package.control.need("Architecture")?),
            ("DPKG_MAINTSCRIPT_NAME", "preinst"),
            ("DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT", "1"),
            ("DPKG_ROOT", ""),
            ("DPKG_ADMINDIR", "/var/lib/dpkg"),
        ] {
            environment.push((name.to_owned(), value.to_owned()));
        }
        runs.push(Run {
            what: format!("the preinst of {}", package.name),
            command: vec![script, "install".to_owned()],
            environment,
            limit: limits.script,
        });
    }
    runs.push(dpkg("configuring the packages", &["--configure", "--pending"], epoch, limits));
    Ok(runs)
}

/// Has dpkg install the files that the sandbox shows under [`PACKAGES`].
pub(crate) fn install(epoch: Epoch, limits: Timeouts) -> Run {
    dpkg("installing the role's packages", &["--install", "--recursive", PACKAGES], epoch, limits)
}

fn dpkg(what: &str, arguments: &[&str], epoch: Epoch, limits: Timeouts) -> Run {
    // One failure is enough to know; nobody is there to answer a question.
    let options = ["/usr/bin/dpkg", "--abort-after=1", "--force-unsafe-io", "--force-confold"];
    let command = options.iter().chain(arguments).map(|word| (*word).to_owned()).collect();
    Run { what: what.to_owned(), command, environment: environment(epoch), limit: limits.dpkg }
}

/// Returns the environment, the same whoever builds.
pub(crate) fn environment(epoch: Epoch) -> Vec<(String, String)> {
    let epoch = epoch.seconds().to_string();
    [
        ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("HOME", "/root"),
        // Our images boot with an initramfs that the builder writes (initramfs-tools's kernel hook).
        ("INITRD", "No"),
        ("LC_ALL", "C.UTF-8"),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("SHELL", "/bin/sh"),
        ("SOURCE_DATE_EPOCH", &epoch),
        ("SYSTEMD_OFFLINE", "1"),
        ("TZ", "UTC"),
        ("USER", "root"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}
