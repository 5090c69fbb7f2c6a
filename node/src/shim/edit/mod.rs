//! The edit of a `config.json`'s text. No document is parsed and printed again: members are located by their
//! bytes, so nothing else can change, be lost or move.

use std::ops::Range;

use serde_json::{Value, json};

use crate::fault::Result;

use super::container::ContainerIds;
use super::exposure::MountEdits;
use super::refusal::refused;
use object::{Edit, JsonObject, words};
use propagation::one_way;

mod object;
#[cfg(any(test, fuzzing))]
mod others;
mod propagation;

#[cfg(any(test, fuzzing))]
pub(crate) use others::others;

/// Values for what CRI-O 1.17 leaves unset.
pub struct Defaults<'a> {
    /// `linux.seccomp`, as JSON.
    pub seccomp: &'a str,
    /// The name for a sandbox's `process.apparmorProfile`; `None` where the kernel knows no such profile, and crun
    /// would start nothing under it. Asked for when there is a sandbox to put it in.
    pub apparmor: &'a dyn Fn() -> Result<Option<String>>,
    /// How its mounts are edited.
    pub mounted: &'a MountEdits,
    /// Ids that its processes are to have.
    pub ids: ContainerIds,
}

/// Edits a configuration; returns `None` if there is nothing to edit.
///
/// Drops `linux.resources.memory.limit` where it is 0, and sees to `linux.seccomp` as the pod asked:
///
/// | the container | what CRI-O 1.17 writes | what becomes of it |
/// |---|---|---|
/// | a sandbox, of a privileged pod too | what the pod asked for | the default |
/// | asked for nothing | nothing | the default |
/// | `runtime/default` | its own file without any `errnoRet`, which its types do not have | the default |
/// | `localhost/…` | that file | that file |
/// | `unconfined`, or a privileged container | nothing | nothing: `hale doctor` names it |
///
/// And to `process.apparmorProfile`, which CRI-O 1.17 leaves out of each pod's sandbox:
///
/// | the container | what CRI-O 1.17 writes | what becomes of it |
/// |---|---|---|
/// | a sandbox, of a privileged pod too | nothing | the default, if the kernel knows it |
/// | any other | what the pod asked for; nothing for `unconfined` | that |
///
/// A sandbox is what has a user namespace of its own: containers join their sandbox's. What annotations say of it may be the
/// pod's word. crun acts on some of them as the host's root (`run.oci.*`, `org.systemd.property.*`), so of all
/// `annotations` only those of [`PASSED`] are left.
///
/// And `shared` becomes `slave`, in `linux.rootfsPropagation` and in the options of `mounts` (mount_namespaces(7)): crun
/// opens what it mounts before it enters the user namespace, so a pod whose `mountPropagation` is `Bidirectional`
/// would mount whatever it likes over the host's own folders. What the host mounts is still seen inside.
///
/// And what is to be hidden is covered by mounts behind all others; and a static pod's processes get its ids.
pub fn edit(text: &str, defaults: &Defaults) -> Result<Option<String>> {
    let root = JsonObject::parse(text, 0..text.len())?;
    let is_sandbox = is_sandbox(&root)?;
    let mut edits: Vec<Edit> = Vec::new();
    for linux in root.objects("linux")? {
        for resources in linux.objects("resources")? {
            edits.extend(zero_limits(&resources)?);
        }
        edits.extend(seccomp(&root, &linux, defaults.seccomp, is_sandbox)?);
        edits.extend(linux.values("rootfsPropagation").filter_map(|value| one_way(text, value)));
        edits.extend(maps(&linux, defaults.ids)?);
    }
    for (index, option) in mount_options(&root)? {
        edits.extend(one_way(text, option.clone()));
        let is_recursive = words(&text[option.clone()]).is_some_and(|word| word == "rbind");
        if is_recursive && defaults.mounted.alone.contains(&index) {
            edits.push((option, "\"bind\"".to_owned()));
        }
    }
    edits.extend(covers(&root, &defaults.mounted.hidden)?);
    for process in root.objects("process")? {
        edits.extend(user(&process, defaults.ids));
        edits.extend(apparmor(&process, defaults.apparmor, is_sandbox)?);
    }
    for annotations in root.objects("annotations")? {
        let foreign =
            annotations.members.iter().enumerate().filter(|(_, m)| !PASSED.contains(&m.name.as_str()));
        let foreign: Vec<usize> = foreign.map(|(index, _)| index).collect();
        edits.extend(annotations.without(&foreign).into_iter().map(|cut| (cut, String::new())));
    }
    Ok(applied(text, edits))
}

/// Edits the `LinuxResources` of an update; returns `None` if there is nothing to edit. CRI-O 1.17 writes the zero
/// limit there, too.
pub(super) fn resources(text: &str) -> Result<Option<String>> {
    let resources = JsonObject::parse(text, 0..text.len())?;
    Ok(applied(text, zero_limits(&resources)?))
}

/// The annotations that reach crun. It needs none; these tell whoever asks it of a container what it is.
const PASSED: [&str; 3] = ["io.container.manager", "io.kubernetes.cri-o.ContainerID", PROFILE];

fn applied(text: &str, mut edits: Vec<Edit>) -> Option<String> {
    if edits.is_empty() {
        return None;
    }
    let mut edited = text.to_owned();
    edits.sort_by_key(|(range, _)| range.start);
    for (range, by) in edits.into_iter().rev() {
        edited.replace_range(range, &by);
    }
    Some(edited)
}

/// Returns the edits after which no memory limit is 0.
fn zero_limits(resources: &JsonObject) -> Result<Vec<Edit>> {
    let mut edits = Vec::new();
    for memory in resources.objects("memory")? {
        let limits = memory.members.iter().enumerate().filter(|(_, m)| m.name == "limit");
        let zeros = limits.filter(|(_, m)| &memory.text[m.value.clone()] == "0").map(|(index, _)| index);
        let zeros: Vec<usize> = zeros.collect();
        edits.extend(memory.without(&zeros).into_iter().map(|cut| (cut, String::new())));
    }
    Ok(edits)
}

/// Returns whether the container has a user namespace of its own.
fn is_sandbox(root: &JsonObject) -> Result<bool> {
    for linux in root.objects("linux")? {
        for namespace in linux.items("namespaces")? {
            let namespace = JsonObject::parse(root.text, namespace).map_err(|f| f.context("namespaces"))?;
            let joined = namespace.values("path").any(|path| &root.text[path] != "\"\"");
            if namespace.has("type", &["user"]) && !joined {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Returns the edits by which a static pod's sandbox maps its last id to the control plane's. A map that is not the
/// site's is refused.
fn maps(linux: &JsonObject, ids: ContainerIds) -> Result<Vec<Edit>> {
    let ContainerIds::Mapped { first, ids, last } = ids else { return Ok(Vec::new()) };
    let one =
        |inside: u32, host: u32, size: u32| json!({"containerID": inside, "hostID": host, "size": size});
    let (from, to) = (json!([one(0, first, ids)]), json!([one(0, first, ids - 1), one(ids - 1, last, 1)]));
    let mut edits = Vec::new();
    for name in ["uidMappings", "gidMappings"] {
        let values: Vec<Range<usize>> = linux.values(name).collect();
        let [value] = values.as_slice() else {
            return Err(refused(format!("a static pod's sandbox has no {name}")));
        };
        match serde_json::from_str::<Value>(&linux.text[value.clone()]) {
            Ok(found) if found == from => edits.push((value.clone(), to.to_string())),
            Ok(found) if found == to => {}
            _ => return Err(refused(format!("{name} of a static pod's sandbox is not the site's, {from}"))),
        }
    }
    Ok(edits)
}

/// Returns the edit by which a process has its pod's id.
fn user(process: &JsonObject, ids: ContainerIds) -> Option<Edit> {
    let id = match ids {
        ContainerIds::Pods => return None,
        ContainerIds::Mapped { ids, .. } => ids - 1,
        ContainerIds::Last(id) => id,
    };
    let user = json!({"uid": id, "gid": id}).to_string();
    process.put("user", &user, |found| found != user)
}

/// Returns the edit by which each of these paths is covered by an empty, read-only file system.
fn covers(root: &JsonObject, hidden: &[String]) -> Result<Option<Edit>> {
    let present = root.items("mounts")?.into_iter().map(|mount| &root.text[mount]).collect::<Vec<_>>();
    let cover = |path: &String| {
        let options = ["nosuid", "nodev", "noexec", "ro", "mode=555", "size=4k"];
        json!({"destination": path, "type": "tmpfs", "source": "tmpfs", "options": options}).to_string()
    };
    let covers = hidden.iter().map(cover).filter(|cover| !present.contains(&cover.as_str()));
    let covers = covers.collect::<Vec<_>>().join(",");
    let Some(mounts) = root.values("mounts").last().filter(|_| !covers.is_empty()) else { return Ok(None) };
    let end = mounts.end - 1;
    let comma = if present.is_empty() { "" } else { "," };
    Ok(Some((end..end, format!("{comma}{covers}"))))
}

/// Returns the ranges of the options of all mounts, each with its mount's index.
fn mount_options(root: &JsonObject) -> Result<Vec<(usize, Range<usize>)>> {
    let mut found = Vec::new();
    for (index, mount) in root.items("mounts")?.into_iter().enumerate() {
        let mount = JsonObject::parse(root.text, mount).map_err(|f| f.context("mounts"))?;
        found.extend(mount.items("options")?.into_iter().map(|option| (index, option)));
    }
    Ok(found)
}

/// Returns the edit by which `linux` has the seccomp profile that it should have.
fn seccomp(root: &JsonObject, linux: &JsonObject, profile: &str, is_sandbox: bool) -> Result<Option<Edit>> {
    let request = if is_sandbox { SeccompRequest::Default } else { seccomp_request(root)? };
    if request == SeccompRequest::Unconfined {
        return Ok(None);
    }
    let profile = profile.trim();
    JsonObject::parse(profile, 0..profile.len()).map_err(|f| f.context("the seccomp profile"))?;
    let over = |found: &str| found == "null" || request == SeccompRequest::Default && found != profile;
    Ok(linux.put("seccomp", profile, over))
}

/// Returns the edit by which a sandbox has an AppArmor profile. It runs nothing but pause, which needs no privilege
/// whatever its pod may do; and CRI-O calls every pod privileged that has a namespace of the host's.
fn apparmor(
    process: &JsonObject,
    profile: &dyn Fn() -> Result<Option<String>>,
    is_sandbox: bool,
) -> Result<Option<Edit>> {
    if !is_sandbox {
        return Ok(None);
    }
    let Some(profile) = profile()? else { return Ok(None) };
    let quoted = Value::from(profile).to_string();
    Ok(process.put("apparmorProfile", &quoted, |found| matches!(found, "null" | "\"\"")))
}

/// The seccomp profile that a pod asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SeccompRequest {
    /// The default profile, by name.
    Default,
    /// No profile: by name, or by asking for a privileged container.
    Unconfined,
    /// Nothing, or a profile of its own.
    Other,
}

/// CRI-O 1.17's note of the profile that a container's pod asked for; empty when it asked for none. It writes it over whatever
/// the kubelet gave.
const PROFILE: &str = "io.kubernetes.cri-o.SeccompProfilePath";

fn seccomp_request(root: &JsonObject) -> Result<SeccompRequest> {
    for annotations in root.objects("annotations")? {
        if annotations.has(PROFILE, &["unconfined"]) {
            return Ok(SeccompRequest::Unconfined);
        }
        if annotations.has(PROFILE, &["runtime/default", "docker/default"]) {
            return Ok(SeccompRequest::Default);
        }
    }
    for process in root.objects("process")? {
        for capabilities in process.objects("capabilities")? {
            for capability in capabilities.items("bounding")? {
                if words(&root.text[capability]).is_some_and(|name| name == "CAP_SYS_ADMIN") {
                    return Ok(SeccompRequest::Unconfined);
                }
            }
        }
    }
    Ok(SeccompRequest::Other)
}

#[cfg(test)]
mod tests;
