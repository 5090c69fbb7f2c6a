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

/// What is wrong with a unit.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct UnitProblem {
    /// Name of the unit.
    pub unit: String,
    /// systemd's word for how it ended, such as `exit-code`.
    pub result: String,
    /// The last line that it logged since the boot; empty if it logged none.
    pub said: String,
}

/// Returns those of these units that failed, be they given up or tried again, each with the last thing that it said.
pub fn problems(host: &dyn Host, units: &[&str]) -> Result<Vec<UnitProblem>> {
    let text = show(host, &["Id", "ActiveState", "SubState", "Result"], units)?;
    let mut found = Vec::new();
    for unit in text.split("\n\n") {
        let value = |name: &str| {
            let line = unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.unwrap_or_default().to_owned()
        };
        let (active, sub, result) = (value("ActiveState"), value("SubState"), value("Result"));
        if active == "failed" || sub == "auto-restart" && result != "success" {
            let unit = value("Id");
            found.push(UnitProblem { said: last_line(host, &unit)?, unit, result });
        }
    }
    Ok(found)
}

/// Returns the last line of the journal that a unit's own processes logged since the boot.
fn last_line(host: &dyn Host, unit: &str) -> Result<String> {
    let of_unit = format!("_SYSTEMD_UNIT={unit}");
    let arguments = ["--quiet", "--no-pager", "--boot", "--output=cat", "--lines=1", &of_unit];
    let output = host.run(&Command::new("/usr/bin/journalctl", &arguments))?;
    Ok(output.stdout.lines().last().unwrap_or_default().trim().to_owned())
}
