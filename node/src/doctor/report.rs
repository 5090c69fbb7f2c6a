//! The report of a boot once the bootstrap is done: how units came up, and the doctor's findings.
//! One JSON line, sent to a virtio port (`commands/progress.rs`).

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Result};
use crate::host::{files, systemd};
use crate::kubernetes::context::Node;
use crate::text::terminal::plain;

use super::examine;
use super::finding::Finding;

/// The report. Times are microseconds since the kernel started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BootReport {
    /// Time at which the report was made.
    pub uptime: u64,
    /// Time at which systemd began to run on the root.
    pub userspace: u64,
    /// Time at which the boot had nothing left to start; 0 if something still is.
    pub finished: u64,
    /// Units that came up, in the order in which they began.
    pub units: Vec<UnitStart>,
    /// What the doctor found.
    pub findings: Vec<Finding>,
}

/// The start of one unit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitStart {
    /// Time at which it began.
    pub began: u64,
    /// Time at which it was up.
    pub active: u64,
    /// Its name.
    pub name: String,
}

/// Makes the report of a node.
pub fn of(node: &Node) -> Result<BootReport> {
    let findings = examine(node);
    let manager =
        systemd::show(node.host, &["UserspaceTimestampMonotonic", "FinishTimestampMonotonic"], &[])?;
    let mut units = units(&systemd::show(node.host, &["Id", BEGAN, ACTIVE], &["*"])?);
    units.sort();
    Ok(BootReport {
        uptime: uptime(&files::need(node.host, UPTIME)?)?,
        userspace: number(&manager, "UserspaceTimestampMonotonic"),
        finished: number(&manager, "FinishTimestampMonotonic"),
        units,
        findings,
    })
}

/// Seconds since the kernel started, with two decimals (proc_uptime(5)).
const UPTIME: &str = "/proc/uptime";
/// When a unit was last begun (org.freedesktop.systemd1(5)).
const BEGAN: &str = "InactiveExitTimestampMonotonic";
/// When it was last up.
const ACTIVE: &str = "ActiveEnterTimestampMonotonic";

fn value<'a>(block: &'a str, name: &str) -> Option<&'a str> {
    block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

/// Returns a time, 0 if there is none.
fn number(block: &str, name: &str) -> u64 {
    value(block, name).and_then(|value| value.parse().ok()).unwrap_or_default()
}

/// Parses the units that are up. A device is up when the kernel shows it: it is not started.
fn units(text: &str) -> Vec<UnitStart> {
    let unit = |block: &str| {
        let name = plain(value(block, "Id")?);
        let (began, active) = (number(block, BEGAN), number(block, ACTIVE));
        (began > 0 && active >= began && !name.ends_with(".device")).then_some(UnitStart {
            began,
            active,
            name,
        })
    };
    text.split("\n\n").filter_map(unit).collect()
}

fn uptime(text: &str) -> Result<u64> {
    let seconds = text.split(' ').next().and_then(|word| word.split_once('.'));
    let parsed = seconds.and_then(|(whole, part)| {
        let parts: u64 = (part.len() == 2).then(|| part.parse().ok())??;
        whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(parts * 10_000)
    });
    parsed.ok_or_else(|| Fault::machine(format!("{UPTIME} is not read")))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;
    use crate::config::node::NodeConfig;
    use crate::config::role::RoleConfig;
    use crate::testing::fake::FakeHost;

    #[test]
    fn units_that_came_up_are_told_in_order() {
        let role = RoleConfig::parse(include_str!("../../examples/role.toml")).unwrap();
        let (host, config) = (FakeHost::of(&role, "10.0.3.1"), NodeConfig::default());
        host.make("/proc/uptime", "526.07 900.00\n");
        let report = of(&Node::new(&host, &role, &config).unwrap()).unwrap();
        let names: Vec<&str> = report.units.iter().map(|unit| unit.name.as_str()).collect();
        assert_eq!(names, ["-.mount", "kubelet.service"]);
        assert_eq!((report.uptime, report.userspace, report.finished), (526_070_000, 2_500_000, 0));
        assert!(
            report.findings.len() > 10
                && report.findings.iter().any(|finding| finding.verdict == Verdict::No)
        );
        let line = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<BootReport>(&line).unwrap(), report);
    }

    #[test]
    fn an_uptime_has_two_decimals() {
        for (text, expect) in [
            ("0.00 0.00\n", Some(0)),
            ("7.05 1.00\n", Some(7_050_000)),
            ("7.5 1.00\n", None),
            ("7 1\n", None),
            ("-1.00 1\n", None),
            ("99999999999999999999.00 1\n", None),
            ("", None),
        ] {
            assert_eq!(uptime(text).ok(), expect, "{text:?}");
        }
    }
}
