//! Container processes, by the control group that CRI-O puts them in: `crio-<id>.scope`. What escaped its
//! user namespace is still there, so it is found and told of.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::Path;

use crate::config::role::UserConfig;
use crate::fault::{Fault, Result};
use crate::kubernetes::context::Node;

use super::finding::Evidence;

/// A process as `/proc` shows it.
struct Process {
    pid: u32,
    name: String,
    status: String,
    uid_map: String,
    gid_map: String,
    is_static: bool,
    apparmor: String,
}

impl Process {
    /// Returns the value of a line of `/proc/PID/status`.
    fn field(&self, name: &str) -> &str {
        let line = self.status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim()
    }

    fn describe(&self, what: &str) -> String {
        format!("{} ({}) {what}", self.pid, self.name)
    }
}

/// Returns whether a control group is a container's: `crio-<id>.scope`, or one that the container made below.
pub(super) fn is_container(cgroup: &str) -> bool {
    let mut ids = cgroup.split(['/', '\n']).filter_map(|part| part.strip_prefix("crio-"));
    ids.any(|id| !id.starts_with("conmon-"))
}

/// Returns whether a control group is a static pod's, by the name that the kubelet gives it: the pod's UID is an MD5 of
/// its manifest (pkg/kubelet/config/common.go), where the API server makes a UUID with its hyphens, whatever was asked
/// for.
pub(super) fn is_static(cgroup: &str) -> bool {
    let uids = cgroup.split(['/', '-', '\n']).filter_map(|part| part.strip_prefix("pod"));
    let mut uids = uids.map(|uid| uid.strip_suffix(".slice").unwrap_or(uid));
    uids.any(|uid| uid.len() == 32 && uid.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Returns the ids of all processes, in order.
pub(super) fn pids(node: &Node) -> Result<BTreeSet<u32>> {
    let proc = node.host.path("/proc");
    let entries = fs::read_dir(&proc).map_err(|e| Fault::io("list", &proc, e))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

fn processes(node: &Node) -> Result<Vec<Process>> {
    let proc = node.host.path("/proc");
    Ok(pids(node)?.into_iter().filter_map(|pid| process(&proc, pid)).collect())
}

/// Reads a container's process; returns `None` for any other, or one that ended meanwhile.
fn process(proc: &Path, pid: u32) -> Option<Process> {
    // A process chooses the bytes of its name.
    let read = |name: &str| {
        let bytes = fs::read(proc.join(pid.to_string()).join(name)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    let cgroup = read("cgroup")?;
    if !is_container(&cgroup) {
        return None;
    }
    let name = read("comm")?.trim_end_matches('\n').to_owned();
    let apparmor = read("attr/current").unwrap_or_default().trim_end_matches(['\0', '\n']).to_owned();
    let map = |name: &str| Some(read(name)?.split_whitespace().collect::<Vec<_>>().join(" "));
    Some(Process {
        pid,
        name,
        status: read("status")?,
        uid_map: map("uid_map")?,
        gid_map: map("gid_map")?,
        is_static: is_static(&cgroup),
        apparmor,
    })
}

/// Judges every container's process; where there is none yet, there is nothing to judge.
fn each(node: &Node, judge: impl Fn(&Process) -> Option<String>) -> Result<Evidence> {
    let processes = processes(node)?;
    if processes.is_empty() {
        return Ok(Evidence::nothing("there is no container process"));
    }
    let exceptions = processes.iter().filter_map(|process| Some(process.describe(&judge(process)?)));
    Ok(Evidence::new(exceptions.collect(), format!("{} processes", processes.len())))
}

/// A user namespace's map, as `/proc` shows it (user_namespaces(7)), and the host's ids that its processes run as.
struct Map {
    text: String,
    ids: Range<u32>,
}

/// Returns the allowed maps: that of pods, whose processes run as any of its ids, and those of static pods, whose
/// processes run as the one id that no other pod has.
fn maps(user: &UserConfig) -> [Map; 3] {
    let (first, last) = (user.first_id, user.ids - 1);
    let own = |id: u32| Map { text: format!("0 {first} {last} {last} {id} 1"), ids: id..id + 1 };
    let pods = Map { text: format!("0 {first} {}", user.ids), ids: first..first.saturating_add(user.ids) };
    [pods, own(user.control_plane_id), own(user.etcd_id())]
}

pub(super) fn mapped(node: &Node) -> Result<Evidence> {
    let maps = maps(&node.role.user);
    each(node, |process| {
        let may = if process.is_static { maps.as_slice() } else { &maps[..1] };
        let Some(map) = may.iter().find(|map| map.text == process.uid_map) else {
            return Some(format!("has the map {}, not {}", process.uid_map, maps[0].text));
        };
        if process.gid_map != process.uid_map {
            return Some(format!("has the map {} for groups, not {}", process.gid_map, map.text));
        }
        let mut all = process.field("Uid").split_whitespace().chain(process.field("Gid").split_whitespace());
        let inside = |id: &str| id.parse().is_ok_and(|id| map.ids.contains(&id));
        all.find(|id| !inside(id)).map(|id| format!("runs as {id}"))
    })
}

/// The sets of capabilities of a process (capabilities(7)).
const SETS: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];

pub(super) fn capable(node: &Node) -> Result<Evidence> {
    let mask = node.role.capability_mask();
    each(node, |process| {
        let within =
            |set: &&str| u64::from_str_radix(process.field(set), 16).is_ok_and(|has| has & !mask == 0);
        let set = SETS.iter().find(|set| !within(set))?;
        Some(format!("has {set} {}, and may have {mask:016x}", process.field(set)))
    })
}

pub(super) fn confined(node: &Node) -> Result<Evidence> {
    let expected = format!("{} (enforce)", node.role.runtime.apparmor_profile);
    each(node, |process| (process.apparmor != expected).then(|| format!("runs under {:?}", process.apparmor)))
}

pub(super) fn filtered(node: &Node) -> Result<Evidence> {
    each(node, |process| {
        let mode = process.field("Seccomp");
        (mode != "2").then(|| format!("has seccomp mode {mode}"))
    })
}
