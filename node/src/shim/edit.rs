//! The edit of a `config.json`'s text. No document is parsed and printed again: members are located by their
//! bytes, so nothing else can change, be lost or move.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::fault::{Class, Fault, Result};

#[cfg(any(test, fuzzing))]
mod others;

#[cfg(any(test, fuzzing))]
pub(crate) use others::others;

/// What a container gets that CRI-O 1.17 gave none of its own.
pub struct Defaults<'a> {
    /// `linux.seccomp`, as JSON.
    pub seccomp: &'a str,
    /// The name for a sandbox's `process.apparmorProfile`; `None` where the kernel knows no such profile, and crun
    /// would start nothing under it. Asked for when there is a sandbox to put it in.
    pub apparmor: &'a dyn Fn() -> Result<Option<String>>,
}

/// The edited text, or `None` when there is nothing to edit.
///
/// Drops `linux.resources.memory.limit` where it is 0, and sees to `linux.seccomp` as the pod asked:
///
/// | the pod asked for | what CRI-O 1.17 writes | what becomes of it |
/// |---|---|---|
/// | nothing | nothing | the default |
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
/// And `shared` becomes `slave`, in `linux.rootfsPropagation` and in the options of `mounts` (mount_namespaces(7)): crun
/// opens what it mounts before it enters the user namespace, so a pod whose `mountPropagation` is `Bidirectional`
/// would mount whatever it likes over the host's own folders. What the host mounts is still seen inside.
pub fn edit(text: &str, defaults: &Defaults) -> Result<Option<String>> {
    let root = Object::parse(text, 0..text.len())?;
    let mut edits: Vec<Edit> = Vec::new();
    for linux in root.objects("linux")? {
        for resources in linux.objects("resources")? {
            for memory in resources.objects("memory")? {
                let limits = memory.members.iter().enumerate().filter(|(_, m)| m.name == "limit");
                let zeros: Vec<usize> =
                    limits.filter(|(_, m)| &text[m.value.clone()] == "0").map(|(i, _)| i).collect();
                edits.extend(memory.without(&zeros).into_iter().map(|cut| (cut, String::new())));
            }
        }
        edits.extend(seccomp(&root, &linux, defaults.seccomp)?);
        edits.extend(linux.values("rootfsPropagation").filter_map(|value| one_way(text, value)));
    }
    edits.extend(mount_options(&root)?.into_iter().filter_map(|option| one_way(text, option)));
    edits.extend(apparmor(&root, defaults.apparmor)?);
    if edits.is_empty() {
        return Ok(None);
    }
    let mut edited = text.to_owned();
    edits.sort_by_key(|(range, _)| range.start);
    for (range, by) in edits.into_iter().rev() {
        edited.replace_range(range, &by);
    }
    Ok(Some(edited))
}

/// What to put in place of a propagation by which mounts would leave the container.
fn one_way(text: &str, propagation: Range<usize>) -> Option<Edit> {
    let by = match &text[propagation.clone()] {
        "\"shared\"" => "\"slave\"",
        "\"rshared\"" => "\"rslave\"",
        _ => return None,
    };
    Some((propagation, by.to_owned()))
}

/// Where the options of all mounts stand.
fn mount_options(root: &Object) -> Result<Vec<Range<usize>>> {
    let mut found = Vec::new();
    for mount in root.items("mounts")? {
        let mount = Object::parse(root.text, mount).map_err(|f| f.within("mounts"))?;
        found.extend(mount.items("options")?);
    }
    Ok(found)
}

/// Bytes, and what stands there instead.
type Edit = (Range<usize>, String);

/// What to put where so that `linux` has the seccomp profile that it should have.
fn seccomp(root: &Object, linux: &Object, profile: &str) -> Result<Option<Edit>> {
    let asked = asked(root)?;
    if asked == Asked::Unconfined {
        return Ok(None);
    }
    let profile = profile.trim();
    Object::parse(profile, 0..profile.len()).map_err(|f| f.within("the seccomp profile"))?;
    let over = |found: &str| found == "null" || asked == Asked::Default && found != profile;
    Ok(linux.put("seccomp", profile, over))
}

/// What to put where so that a sandbox has an AppArmor profile. It runs nothing but pause, which needs no privilege
/// whatever its pod may do; and CRI-O calls every pod privileged that has a namespace of the host's.
fn apparmor(root: &Object, profile: &dyn Fn() -> Result<Option<String>>) -> Result<Vec<Edit>> {
    let is_sandbox = annotated(root, "ContainerType", &["sandbox"])?;
    if !is_sandbox {
        return Ok(Vec::new());
    }
    let Some(profile) = profile()? else { return Ok(Vec::new()) };
    let quoted = Value::from(profile).to_string();
    let over = |found: &str| matches!(found, "null" | "\"\"");
    let processes = root.objects("process")?;
    Ok(processes.iter().filter_map(|process| process.put("apparmorProfile", &quoted, over)).collect())
}

/// What a pod asked for, as CRI-O wrote it down in the annotations.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// The default profile, by name.
    Default,
    /// No profile: by name, or by asking for a privileged container.
    Unconfined,
    /// Nothing, or a profile of its own.
    Other,
}

fn asked(root: &Object) -> Result<Asked> {
    if annotated(root, PRIVILEGED, &["true"])? || annotated(root, PROFILE, &["unconfined"])? {
        return Ok(Asked::Unconfined);
    }
    if annotated(root, PROFILE, &["runtime/default", "docker/default"])? {
        return Ok(Asked::Default);
    }
    for process in root.objects("process")? {
        for capabilities in process.objects("capabilities")? {
            let bounding = capabilities.members.iter().filter(|m| m.name == "bounding");
            if bounding.map(|m| &root.text[m.value.clone()]).any(|list| list.contains("\"CAP_SYS_ADMIN\"")) {
                return Ok(Asked::Unconfined);
            }
        }
    }
    Ok(Asked::Other)
}

/// CRI-O 1.17's note of the profile that a pod asked for; empty when it asked for none.
const PROFILE: &str = "SeccompProfilePath";
/// Its note of whether a pod is privileged.
const PRIVILEGED: &str = "PrivilegedRuntime";

/// Whether CRI-O noted one of these values under `name`, among the annotations.
fn annotated(root: &Object, name: &str, values: &[&str]) -> Result<bool> {
    let name = format!("io.kubernetes.cri-o.{name}");
    Ok(root.objects("annotations")?.iter().any(|annotations| annotations.has(&name, values)))
}

/// An object's members with the bytes of their values. A repeated name appears as often as it is written.
struct Object<'a> {
    text: &'a str,
    open: usize,
    members: Vec<Member>,
}

struct Member {
    name: String,
    value: Range<usize>,
}

impl<'a> Object<'a> {
    fn parse(text: &'a str, range: Range<usize>) -> Result<Self> {
        let wrong = |e: serde_json::Error| Fault::new(Class::Integrity, format!("not a JSON object: {e}"));
        let slice = &text[range.clone()];
        let members: Members = serde_json::from_str(slice).map_err(wrong)?;
        let open = range.start + slice.find('{').unwrap_or(0);
        let member = |(name, raw): (String, &RawValue)| Member { name, value: place(text, raw) };
        Ok(Self { text, open, members: members.0.into_iter().map(member).collect() })
    }

    /// Whether a member of that name is one of these texts. Escapes do not matter: CRI-O prints none here.
    fn has(&self, name: &str, values: &[&str]) -> bool {
        let quoted = |m: &Member| self.text[m.value.clone()].trim_matches('"').to_owned();
        self.members.iter().any(|m| m.name == name && values.contains(&quoted(m).as_str()))
    }

    /// The bytes of the values of that name; `null` counts as absent.
    fn values(&self, name: &str) -> impl Iterator<Item = Range<usize>> {
        let values = self.members.iter().filter(move |m| m.name == name).map(|m| m.value.clone());
        values.filter(|value| &self.text[value.clone()] != "null")
    }

    /// The values of that name as objects; anything else is refused.
    fn objects(&self, name: &str) -> Result<Vec<Object<'a>>> {
        self.values(name).map(|value| Object::parse(self.text, value).map_err(|f| f.within(name))).collect()
    }

    /// The bytes of the items of the values of that name; what is no list is refused.
    fn items(&self, name: &str) -> Result<Vec<Range<usize>>> {
        let lists = self.values(name).map(|value| items(self.text, value).map_err(|f| f.within(name)));
        Ok(lists.collect::<Result<Vec<_>>>()?.concat())
    }

    /// What to put where so that `name` is `value`: in place of the last one of that name if it is one to put it `over`,
    /// behind all members if there is none.
    fn put(&self, name: &str, value: &str, over: impl Fn(&str) -> bool) -> Option<Edit> {
        if let Some(last) = self.members.iter().rfind(|m| m.name == name) {
            return over(&self.text[last.value.clone()]).then(|| (last.value.clone(), value.to_owned()));
        }
        let (at, comma) = match self.members.last() {
            Some(member) => (member.value.end, ","),
            None => (self.open + 1, ""),
        };
        Some((at..at, format!("{comma}\"{name}\":{value}")))
    }

    /// What to cut so that the members at `indices` are gone, each with one of the commas beside it.
    fn without(&self, indices: &[usize]) -> Vec<Range<usize>> {
        let kept: Vec<usize> = (0..self.members.len()).filter(|i| !indices.contains(i)).collect();
        let key_starts = |i: usize| {
            let before = if i == 0 { self.open + 1 } else { self.members[i - 1].value.end };
            before + self.text[before..].find('"').unwrap_or(0)
        };
        let cut = |&i: &usize| match (kept.iter().any(|k| *k > i), kept.iter().any(|k| *k < i)) {
            // A kept one follows: up to the next member's name.
            (true, _) => key_starts(i)..key_starts(i + 1),
            // The last ones: from the end of the value before, comma included.
            (false, true) => self.members[i - 1].value.end..self.members[i].value.end,
            // None is kept.
            (false, false) if i == 0 => key_starts(0)..self.members[0].value.end,
            (false, false) => self.members[i - 1].value.end..self.members[i].value.end,
        };
        indices.iter().map(cut).collect()
    }
}

/// The bytes of a list's items.
fn items(text: &str, list: Range<usize>) -> Result<Vec<Range<usize>>> {
    let wrong = |e: serde_json::Error| Fault::new(Class::Integrity, format!("not a JSON list: {e}"));
    let items: Vec<&RawValue> = serde_json::from_str(&text[list]).map_err(wrong)?;
    Ok(items.into_iter().map(|raw| place(text, raw)).collect())
}

/// Where a value stands in the text that it was read from: it borrows from there, so its address tells.
fn place(text: &str, raw: &RawValue) -> Range<usize> {
    let start = raw.get().as_ptr().addr() - text.as_ptr().addr();
    start..start + raw.get().len()
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests;
