//! systemd, by systemctl(1).

use crate::fault::Result;

use super::{Call, World};

const SYSTEMCTL: &str = "/usr/bin/systemctl";

/// Asks systemd for something.
pub fn systemctl(world: &dyn World, arguments: &[&str]) -> Result<()> {
    world.ask(&Call::new(SYSTEMCTL, arguments).minutes(5)).map(drop)
}

/// What systemctl(1) prints of what systemd knows at once.
pub fn ask(world: &dyn World, arguments: &[&str]) -> Result<String> {
    world.ask(&Call::new(SYSTEMCTL, arguments))
}

/// Whether a unit runs now.
pub fn is_active(world: &dyn World, unit: &str) -> Result<bool> {
    Ok(world.run(&Call::new(SYSTEMCTL, &["--quiet", "is-active", unit]))?.success())
}

/// Whether a unit runs now and will after a reboot.
pub fn enabled_and_active(world: &dyn World, unit: &str) -> Result<bool> {
    let enabled = world.run(&Call::new(SYSTEMCTL, &["--quiet", "is-enabled", unit]))?.success();
    Ok(enabled && is_active(world, unit)?)
}

/// What systemd says of units, or without any of itself: `NAME=VALUE` lines, with an empty line between two units.
pub fn show(world: &dyn World, properties: &[&str], units: &[&str]) -> Result<String> {
    let properties = format!("--property={}", properties.join(","));
    ask(world, &[&["show", &properties], units].concat())
}
