//! Holds: dpkg's own mark on each pinned package, so that no `dist-upgrade` moves it.

use std::time::Duration;

use crate::fault::{Fault, Result};
use crate::host::{Command, Host};

const MARK: &str = "/usr/bin/apt-mark";
/// Maximum wait for another package manager.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// Holds those of the packages that are installed, and returns them.
pub fn hold(host: &dyn Host, packages: &[&str], wait: bool) -> Result<Vec<String>> {
    mark(host, packages, "hold", wait)
}

/// Releases the packages: the supported way out. Returns those that were installed.
pub fn unhold(host: &dyn Host, packages: &[&str], wait: bool) -> Result<Vec<String>> {
    mark(host, packages, "unhold", wait)
}

/// Returns all packages that are held.
pub fn held(host: &dyn Host) -> Result<Vec<String>> {
    let text = host.run_checked(&Command::new(MARK, &["showhold"]))?;
    Ok(text.lines().map(|line| line.trim().to_owned()).collect())
}

/// Returns name and version of those of the packages that are installed.
pub fn versions(host: &dyn Host, packages: &[&str]) -> Result<Vec<(String, String)>> {
    let format = ["-W", "-f", "${Package} ${Version} ${db:Status-Status}\\n"];
    let arguments = [format.as_slice(), packages].concat();
    // It ends with 1 when one of them is unknown, and tells of the others.
    let output = host.run(&Command::new("/usr/bin/dpkg-query", &arguments))?;
    let line = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
        [name, version, "installed"] => Some((name.to_owned(), version.to_owned())),
        _ => None,
    };
    Ok(output.stdout.lines().filter_map(line).collect())
}

fn installed(host: &dyn Host, packages: &[&str]) -> Result<Vec<String>> {
    Ok(versions(host, packages)?.into_iter().map(|(name, _)| name).collect())
}

/// Marks packages with apt-mark(8); waits for another package manager that is at work, if `wait` says so.
fn mark(host: &dyn Host, packages: &[&str], how: &str, wait: bool) -> Result<Vec<String>> {
    let step = Duration::from_secs(5);
    let mut left = LOCK_TIMEOUT;
    loop {
        // Anew each time: whoever is at work may be installing what is pinned.
        let names = installed(host, packages)?;
        if names.is_empty() {
            return Ok(names);
        }
        let arguments: Vec<&str> = [how].into_iter().chain(names.iter().map(String::as_str)).collect();
        let output = host.run(&Command::new(MARK, &arguments))?;
        if output.success() {
            return Ok(names);
        }
        let busy = ["dpkg frontend lock", "Could not get lock", "is another process using it"];
        let busy = busy.iter().any(|part| output.stderr.contains(part));
        match left.checked_sub(step) {
            Some(rest) if busy && wait => left = rest,
            _ if busy => {
                return Err(Fault::transient("dpkg is busy").help("try again, or `hale hold --wait`"));
            }
            _ => return Err(Fault::machine(format!("apt-mark {how} failed: {}", output.stderr.trim()))),
        }
        host.pause(step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::role::RoleConfig;
    use crate::testing::fake::FakeHost;

    #[test]
    fn only_what_is_installed_is_held_and_dpkg_is_waited_for() {
        let role = RoleConfig::parse(include_str!("../../examples/role.toml")).unwrap();
        let packages = role.package_names();
        let host = FakeHost::new();
        host.installed.borrow_mut().insert("crun".into(), "1.8.1-1+deb12u1".into());
        host.dpkg_busy.set(3);
        assert!(hold(&host, &packages, false).unwrap_err().to_string().contains("dpkg is busy"));
        host.unpacked.borrow_mut().insert("kubelet".into(), "1.17.17-1".into());
        assert_eq!(hold(&host, &packages, true).unwrap(), ["crun", "kubelet"]);
        assert_eq!(held(&host).unwrap(), ["crun", "kubelet"]);
        assert_eq!(unhold(&host, &packages, true).unwrap(), ["crun", "kubelet"]);
        assert!(held(&host).unwrap().is_empty());
    }
}
