//! The machine under the node: the kernel's switches, the clock, space, units, and programs that were replaced.

use std::fs;

use crate::config::node::Bridge;
use crate::fault::{Fault, Result};
use crate::host::{Command, files, systemd};
use crate::kubernetes::context::Node;
use crate::network::{filter, uplink};

use super::containers;
use super::finding::Evidence;

/// Settings of the kernel, as sysctl.d(5) has them.
pub(crate) const SYSCTLS: &str = "/usr/lib/sysctl.d/60-hale.conf";

pub(super) fn sysctls(node: &Node) -> Result<Evidence> {
    let text = files::need(node.host, SYSCTLS)?;
    let settings: Vec<(&str, &str)> =
        text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')).collect();
    let differs = |(key, expected): &(&str, &str)| {
        let (key, expected) = (key.trim().trim_start_matches('-'), expected.trim());
        let path = node.host.path(&format!("/proc/sys/{}", key.replace('.', "/")));
        match fs::read_to_string(path) {
            Ok(found) if found.split_whitespace().eq(expected.split_whitespace()) => None,
            Ok(found) => Some(format!("{key} is {}, not {expected}", found.trim())),
            Err(error) => Some(format!("{key} is not {expected}: {error}")),
        }
    };
    let exceptions = settings.iter().filter_map(differs).collect();
    Ok(Evidence::new(exceptions, format!("{} settings of {SYSCTLS}", settings.len())))
}

/// File that systemd-timesyncd(8) touches each time that it got the time from a server.
pub(crate) const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";
/// Units that can set the clock.
const SOURCES: [&str; 4] =
    ["systemd-timesyncd.service", "chrony.service", "ntpsec.service", "openntpd.service"];

pub(super) fn clock(node: &Node) -> Result<Evidence> {
    if node.host.path(SYNCHRONIZED).exists() {
        return Ok(Evidence::new(Vec::new(), "a time server was heard since the boot"));
    }
    for unit in SOURCES {
        if systemd::is_active(node.host, unit)? {
            return Ok(Evidence::nothing(&format!("{unit} runs, and no time server was heard")));
        }
    }
    let what = format!("none of {} runs", SOURCES.join(", "));
    Ok(Evidence::new(vec![format!("{what}: systemctl start {}", SOURCES[0])], ""))
}

/// Checks that the filter in effect is the role's, and will be after a reboot.
pub(super) fn filter(node: &Node) -> Result<Evidence> {
    if node.config.network.bridge == Bridge::Use {
        return Ok(Evidence::nothing("the network is the machine owner's (network.bridge is \"use\")"));
    }
    let mut exceptions = Vec::new();
    if files::read(node.host, filter::PATH)?.as_deref() != Some(&filter::text(node)) {
        exceptions.push(format!("{} is not the role's with node.toml's: `hale network`", filter::PATH));
    }
    let listed = node.host.run(&Command::new("/usr/sbin/nft", &filter::LIST))?;
    if !listed.stdout.split_whitespace().eq(filter::table(node).split_whitespace()) {
        exceptions.push(format!("another filter is in effect: systemctl reload {}", filter::UNIT));
    }
    if !systemd::enabled_and_active(node.host, filter::UNIT)? {
        exceptions.push(format!("{} is not enabled, or does not run: `hale network`", filter::UNIT));
    }
    Ok(Evidence::new(exceptions, "the table is in effect as it is written, and will be after a reboot"))
}

pub(super) fn uplink(node: &Node) -> Result<Evidence> {
    Ok(match uplink::lacks(node)? {
        None => Evidence::nothing("node.toml has no [uplink]"),
        Some(lacks) => Evidence::new(lacks, "it has an address, a gateway and name servers"),
    })
}

/// Folders on whose file systems a node needs free space.
const PLACES: [&str; 4] = ["/", "/var/lib/containers", "/var/lib/etcd", "/var/lib/kubelet"];

/// Checks free space. With less the kubelet evicts pods (its `evictionHard`: 10 % of the space, 5 % of the inodes).
pub(super) fn space(node: &Node) -> Result<Evidence> {
    let mut exceptions = Vec::new();
    let mut least = 100;
    for place in PLACES.iter().filter(|place| node.host.path(place).is_dir()) {
        let space = node.host.space(place).map_err(|e| Fault::io("examine", place, e))?;
        least = least.min(space.bytes).min(space.inodes);
        for (left, enough, what) in [(space.bytes, 10, "space"), (space.inodes, 5, "inodes")] {
            if left < enough {
                exceptions.push(format!("{place} has {left} % of its {what} left, less than {enough} %"));
            }
        }
    }
    Ok(Evidence::new(exceptions, format!("{least} % are left, or more")))
}

pub(super) fn units(node: &Node) -> Result<Evidence> {
    let arguments = ["list-units", "--state=failed", "--plain", "--no-legend", "--no-pager"];
    let text = systemd::output(node.host, &arguments)?;
    let failed = text.lines().filter_map(|line| line.split_whitespace().next());
    let exceptions = failed.map(|unit| format!("{unit} failed: journalctl -u {unit}")).collect();
    Ok(Evidence::new(exceptions, "systemd knows of none that failed"))
}

/// Checks running programs of the host and of static pods: what another pod does with its programs is its own affair.
pub(super) fn programs(node: &Node) -> Result<Evidence> {
    let mut exceptions = Vec::new();
    let mut count = 0;
    for pid in containers::pids(node)? {
        let proc = node.host.path(&format!("/proc/{pid}"));
        let Ok(link) = fs::read_link(proc.join("exe")) else { continue };
        let cgroup = fs::read_to_string(proc.join("cgroup")).unwrap_or_default();
        if containers::is_container(&cgroup) && !containers::is_static(&cgroup) {
            continue;
        }
        count += 1;
        let link = link.to_string_lossy();
        // As proc_pid_exe(5) says. What was never a file, such as crun's copy of itself, is in no system folder.
        let Some(file) = link.strip_suffix(" (deleted)") else { continue };
        if ["/usr/", "/bin/", "/sbin/"].iter().any(|system| file.starts_with(system)) {
            let unit = cgroup.trim().rsplit('/').find(|part| part.ends_with(".service"));
            let mend =
                unit.map_or_else(|| "restart it".to_owned(), |unit| format!("systemctl restart {unit}"));
            exceptions.push(format!("{pid} runs a {file} that was replaced or removed: {mend}"));
        }
    }
    Ok(Evidence::new(exceptions, format!("{count} processes")))
}
