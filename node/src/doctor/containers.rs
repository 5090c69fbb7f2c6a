//! Container processes, by the control group that CRI-O puts them in: `crio-<id>.scope`. What escaped its
//! user namespace is still there, so it is found and told of.

use std::fs;
use std::ops::Range;
use std::path::Path;

use crate::fault::{Fault, Result};
use crate::node::Node;
use crate::role::User;

use super::Evidence;

/// A process as `/proc` shows it.
struct Process {
    pid: u32,
    name: String,
    status: String,
    uid_map: String,
    gid_map: String,
    apparmor: String,
}

impl Process {
    /// A line of `/proc/PID/status`.
    fn field(&self, name: &str) -> &str {
        let line = self.status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim()
    }

    fn told(&self, what: &str) -> String {
        format!("{} ({}) {what}", self.pid, self.name)
    }
}

fn processes(node: &Node) -> Result<Vec<Process>> {
    let proc = node.world.path("/proc");
    let entries = fs::read_dir(&proc).map_err(|e| Fault::io("list", &proc, e))?;
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(pids.filter_map(|pid| process(&proc, pid)).collect())
}

/// `None` for a process that is no container's, or that ended meanwhile.
fn process(proc: &Path, pid: u32) -> Option<Process> {
    let read = |name: &str| fs::read_to_string(proc.join(pid.to_string()).join(name)).ok();
    let is_container = |line: &str| {
        let last = line.rsplit('/').next().unwrap_or_default();
        last.strip_prefix("crio-").is_some_and(|rest| !rest.starts_with("conmon-"))
    };
    // A container may make groups of its own below.
    let inside = |line: &str| line.split('/').any(is_container);
    if !read("cgroup")?.lines().any(inside) {
        return None;
    }
    let name = read("comm")?.trim().to_owned();
    let apparmor = read("attr/current").unwrap_or_default().trim_end_matches(['\0', '\n']).to_owned();
    let map = |name: &str| Some(read(name)?.split_whitespace().collect::<Vec<_>>().join(" "));
    Some(Process {
        pid,
        name,
        status: read("status")?,
        uid_map: map("uid_map")?,
        gid_map: map("gid_map")?,
        apparmor,
    })
}

/// Judges every process; no process at all proves nothing.
fn each(node: &Node, judge: impl Fn(&Process) -> Option<String>) -> Result<Evidence> {
    let processes = processes(node)?;
    let none = processes.is_empty().then(|| "there is no container process to judge by".to_owned());
    let exceptions = processes.iter().filter_map(|process| Some(process.told(&judge(process)?)));
    Ok(Evidence::new(exceptions.chain(none).collect(), format!("{} processes", processes.len())))
}

/// A user namespace's map, as `/proc` shows it (user_namespaces(7)), and the host's ids that its processes run as.
struct Map {
    text: String,
    ids: Range<u32>,
}

/// The maps that there may be: that of pods, whose processes run as any of its ids, and those of static pods, whose
/// processes run as the one id that no other pod has.
fn maps(user: &User) -> [Map; 3] {
    let (first, last) = (user.first_id, user.ids - 1);
    let own = |id: u32| Map { text: format!("0 {first} {last} {last} {id} 1"), ids: id..id + 1 };
    let pods = Map { text: format!("0 {first} {}", user.ids), ids: first..first.saturating_add(user.ids) };
    [pods, own(user.control_plane_id), own(user.etcd_id())]
}

pub(super) fn mapped(node: &Node) -> Result<Evidence> {
    let maps = maps(&node.role.user);
    each(node, |process| {
        let Some(map) = maps.iter().find(|map| map.text == process.uid_map) else {
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

pub(super) fn capable(node: &Node) -> Result<Evidence> {
    let mask = node.role.capability_mask();
    each(node, |process| {
        let text = process.field("CapEff");
        let within = u64::from_str_radix(text, 16).is_ok_and(|effective| effective & !mask == 0);
        (!within).then(|| format!("has {text}, and may have {mask:016x}"))
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
