//! systemd, by systemctl(1).

use crate::fault::Result;

use super::{Command, Host};

const SYSTEMCTL: &str = "/usr/bin/systemctl";

/// Asks systemd for something.
pub fn systemctl(host: &dyn Host, arguments: &[&str]) -> Result<()> {
    host.run_checked(&Command::new(SYSTEMCTL, arguments).minutes(5)).map(drop)
}

/// What systemctl(1) prints of what systemd knows at once.
pub fn output(host: &dyn Host, arguments: &[&str]) -> Result<String> {
    host.run_checked(&Command::new(SYSTEMCTL, arguments))
}

/// Whether a unit runs now.
pub fn is_active(host: &dyn Host, unit: &str) -> Result<bool> {
    Ok(host.run(&Command::new(SYSTEMCTL, &["--quiet", "is-active", unit]))?.success())
}

/// Whether a unit runs now and will after a reboot.
pub fn enabled_and_active(host: &dyn Host, unit: &str) -> Result<bool> {
    let enabled = host.run(&Command::new(SYSTEMCTL, &["--quiet", "is-enabled", unit]))?.success();
    Ok(enabled && is_active(host, unit)?)
}

/// What systemd says of units, or without any of itself: `NAME=VALUE` lines, with an empty line between two units.
pub fn show(host: &dyn Host, properties: &[&str], units: &[&str]) -> Result<String> {
    let properties = format!("--property={}", properties.join(","));
    output(host, &[&["show", &properties], units].concat())
}
