//! systemd, by systemctl(1).

use crate::fault::Result;

use super::{Command, Host};

const SYSTEMCTL: &str = "/usr/bin/systemctl";

/// Runs systemctl(1), for at most five minutes.
pub fn systemctl(host: &dyn Host, arguments: &[&str]) -> Result<()> {
    host.run_checked(&Command::new(SYSTEMCTL, arguments).minutes(5)).map(drop)
}

/// Runs systemctl(1) and returns what it prints.
pub fn output(host: &dyn Host, arguments: &[&str]) -> Result<String> {
    host.run_checked(&Command::new(SYSTEMCTL, arguments))
}

/// Returns whether a unit runs now.
pub fn is_active(host: &dyn Host, unit: &str) -> Result<bool> {
    Ok(host.run(&Command::new(SYSTEMCTL, &["--quiet", "is-active", unit]))?.success())
}

/// Returns whether a unit runs now and will after a reboot.
pub fn enabled_and_active(host: &dyn Host, unit: &str) -> Result<bool> {
    let enabled = host.run(&Command::new(SYSTEMCTL, &["--quiet", "is-enabled", unit]))?.success();
    Ok(enabled && is_active(host, unit)?)
}

/// Returns properties of units, or of systemd itself if there are none: `NAME=VALUE` lines, an empty line between two
/// units.
pub fn show(host: &dyn Host, properties: &[&str], units: &[&str]) -> Result<String> {
    let properties = format!("--property={}", properties.join(","));
    output(host, &[&["show", &properties], units].concat())
}
