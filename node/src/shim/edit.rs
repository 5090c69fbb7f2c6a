//! The edit of a `config.json`'s text. No document is parsed and printed again: members are located by their
//! bytes, so nothing else can change, be lost or move.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::fault::{Class, Fault, Result};

/// The edited text, or `None` when there is nothing to edit.
///
/// Drops `linux.resources.memory.limit` where it is 0, and sees to `linux.seccomp` as the pod asked:
///
/// | the pod asked for | what CRI-O 1.17 writes | what becomes of it |
/// |---|---|---|
/// | nothing | nothing | `profile` |
/// | `runtime/default` | its own file without any `errnoRet`, which its types do not have | `profile` |
/// | `localhost/…` | that file | that file |
/// | `unconfined`, or a privileged container | nothing | nothing: `hale doctor` names it |
pub fn edit(text: &str, profile: &str) -> Result<Option<String>> {
    let root = Object::parse(text, 0..text.len())?;
    let mut cuts: Vec<(Range<usize>, String)> = Vec::new();
    for linux in root.objects("linux")? {
        for resources in linux.objects("resources")? {
            for memory in resources.objects("memory")? {
                let limits = memory.members.iter().enumerate().filter(|(_, m)| m.name == "limit");
                let zeros: Vec<usize> =
                    limits.filter(|(_, m)| &text[m.value.clone()] == "0").map(|(i, _)| i).collect();
                cuts.extend(memory.without(&zeros).into_iter().map(|cut| (cut, String::new())));
            }
        }
        cuts.extend(seccomp(&root, &linux, profile)?);
    }
    if cuts.is_empty() {
        return Ok(None);
    }
    let mut edited = text.to_owned();
    cuts.sort_by_key(|(range, _)| range.start);
    for (range, by) in cuts.into_iter().rev() {
        edited.replace_range(range, &by);
    }
    Ok(Some(edited))
}

/// What to put where so that `linux` has the seccomp profile that it should have.
fn seccomp(root: &Object, linux: &Object, profile: &str) -> Result<Option<(Range<usize>, String)>> {
    let asked = asked(root)?;
    if asked == Asked::Unconfined {
        return Ok(None);
    }
    let profile = profile.trim();
    Object::parse(profile, 0..profile.len()).map_err(|f| f.within("the seccomp profile"))?;
    let mut present = linux.members.iter().filter(|m| m.name == "seccomp");
    if let Some(last) = present.next_back() {
        let found = &linux.text[last.value.clone()];
        let ours = found == "null" || asked == Asked::Default && found != profile;
        return Ok(ours.then(|| (last.value.clone(), profile.to_owned())));
    }
    let (at, comma) = match linux.members.last() {
        Some(member) => (member.value.end, ","),
        None => (linux.open + 1, ""),
    };
    Ok(Some((at..at, format!("{comma}\"seccomp\":{profile}"))))
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
    for annotations in root.objects("annotations")? {
        if annotations.has("io.kubernetes.cri-o.PrivilegedRuntime", &["true"])
            || annotations.has(PROFILE, &["unconfined"])
        {
            return Ok(Asked::Unconfined);
        }
        if annotations.has(PROFILE, &["runtime/default", "docker/default"]) {
            return Ok(Asked::Default);
        }
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
const PROFILE: &str = "io.kubernetes.cri-o.SeccompProfilePath";

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
        // A raw value borrows from `slice`, so its address tells where it stands.
        let begin = |raw: &RawValue| raw.get().as_ptr().addr() - text.as_ptr().addr();
        let member = |(name, raw): (String, &RawValue)| {
            let start = begin(raw);
            Member { name, value: start..start + raw.get().len() }
        };
        Ok(Self { text, open, members: members.0.into_iter().map(member).collect() })
    }

    /// Whether a member of that name is one of these texts. Escapes do not matter: CRI-O prints none here.
    fn has(&self, name: &str, values: &[&str]) -> bool {
        let quoted = |m: &Member| self.text[m.value.clone()].trim_matches('"').to_owned();
        self.members.iter().any(|m| m.name == name && values.contains(&quoted(m).as_str()))
    }

    /// The members of that name that are objects; `null` counts as absent, anything else is refused.
    fn objects(&self, name: &str) -> Result<Vec<Object<'a>>> {
        let named = self.members.iter().filter(|m| m.name == name && &self.text[m.value.clone()] != "null");
        named.map(|m| Object::parse(self.text, m.value.clone()).map_err(|f| f.within(name))).collect()
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
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    #[test]
    fn the_zero_limit_goes_and_nothing_else_moves() {
        let check = |from: &str, expect: &str| {
            let text = |memory: &str| {
                format!(
                    r#"{{ "z":1, "linux" : {{"seccomp":{{}},"resources":{{ "memory":{memory}, "pids":{{"limit":0}}}}}},"a":[ ]}}"#
                )
            };
            let edited = edit(&text(from), "{}").unwrap().unwrap_or(text(from));
            assert_eq!(edited, text(expect));
            assert!(serde_json::from_str::<Value>(&edited).is_ok());
        };
        check(r#"{"limit":0}"#, "{}");
        check(r#"{ "limit" : 0 }"#, "{  }");
        check(r#"{"limit":0,"swap":0}"#, r#"{"swap":0}"#);
        check(r#"{"swap":0 , "limit":0 }"#, r#"{"swap":0 }"#);
        check(r#"{"a":1,"limit":0, "b":2}"#, r#"{"a":1,"b":2}"#);
        check(r#"{"limit":0,"limit":0}"#, "{}");
        check(r#"{"limit":0,"a":1,"limit":0,"limit":0}"#, r#"{"a":1}"#);
        check(r#"{"limit":1}"#, r#"{"limit":1}"#);
        check(r#"{"limit":"0"}"#, r#"{"limit":"0"}"#);
        check("null", "null");
        check(r#"{"l\u0069mit":0,"x":"\"limit\":0,"}"#, r#"{"x":"\"limit\":0,"}"#);
    }

    #[test]
    fn a_container_without_a_profile_gets_it() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(edit(text, "{\"p\":1}\n").unwrap().as_deref(), expect, "{text}");
        };
        check(r#"{"linux":{}}"#, Some(r#"{"linux":{"seccomp":{"p":1}}}"#));
        check(r#"{"linux":{"a":1 }}"#, Some(r#"{"linux":{"a":1,"seccomp":{"p":1} }}"#));
        check(r#"{"linux":{"seccomp":null,"a":1}}"#, Some(r#"{"linux":{"seccomp":{"p":1},"a":1}}"#));
        check(r#"{"linux":{"seccomp":{"own":1}}}"#, None);
        check(r#"{"process":{"capabilities":{"bounding":["CAP_CHOWN","CAP_SYS_ADMIN"]}},"linux":{}}"#, None);
        check("{}", None);
    }

    #[test]
    fn what_a_pod_asked_for_by_name_is_what_it_gets() {
        let check = |name: &str, value: &str, before: &str, expect: &str| {
            let text = |linux: &str| {
                format!(r#"{{"annotations":{{"io.kubernetes.cri-o.{name}":"{value}"}},"linux":{linux}}}"#)
            };
            let edited = edit(&text(before), r#"{"p":1}"#).unwrap().unwrap_or(text(before));
            assert_eq!(edited, text(expect), "{name} {value}");
        };
        check("SeccompProfilePath", "", "{}", r#"{"seccomp":{"p":1}}"#);
        check("SeccompProfilePath", "runtime/default", r#"{"seccomp":{"q":1}}"#, r#"{"seccomp":{"p":1}}"#);
        check("SeccompProfilePath", "docker/default", r#"{"seccomp":{"q":1}}"#, r#"{"seccomp":{"p":1}}"#);
        check("SeccompProfilePath", "localhost//x", r#"{"seccomp":{"q":1}}"#, r#"{"seccomp":{"q":1}}"#);
        check("SeccompProfilePath", "unconfined", "{}", "{}");
        check("PrivilegedRuntime", "true", "{}", "{}");
        check("PrivilegedRuntime", "false", "{}", r#"{"seccomp":{"p":1}}"#);
    }

    #[test]
    fn what_is_no_config_is_refused() {
        for bad in ["", "{", "[]", r#"{"linux":[]}"#, r#"{"linux":{"resources":1}}"#, "{} {}"] {
            assert!(edit(bad, "{}").is_err(), "{bad}");
        }
        assert!(edit(r#"{"linux":{}}"#, "no profile").is_err());
    }

    /// Any JSON, with names and numbers that the edit looks for among them.
    fn any_json() -> impl Strategy<Value = Value> {
        let name = || prop_oneof![Just("limit".to_owned()), Just("memory".to_owned()), "\\PC{0,6}"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            Just(json!(0)),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 8, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((name(), inner), 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// What CRI-O writes, in small.
    const CONFIG: &str = r#"{"ociVersion":"1.0.1","process":{"args":["/pause"],"capabilities":{"bounding":["CAP_CHOWN"]}},
        "annotations":{"io.kubernetes.cri-o.SeccompProfilePath":"runtime/default","io.kubernetes.cri-o.PrivilegedRuntime":"false"},
        "linux":{"resources":{"memory":{"limit":0,"swap":0},"pids":{"limit":0}},"seccomp":{"defaultAction":"SCMP_ACT_ALLOW"}}}"#;

    /// Every member of every object in order, by its path, with its text; without the two that are edited.
    fn others(text: &str) -> Vec<(String, String)> {
        fn walk(text: &str, range: Range<usize>, path: &str, found: &mut Vec<(String, String)>) {
            let edited = path == "/linux/seccomp" || path == "/linux/resources/memory/limit";
            match Object::parse(text, range.clone()) {
                _ if edited => {}
                Ok(object) => {
                    found.push((path.to_owned(), "{".to_owned()));
                    for member in object.members {
                        walk(text, member.value, &format!("{path}/{}", member.name), found);
                    }
                }
                Err(_) => found.push((path.to_owned(), text[range].to_owned())),
            }
        }
        let mut found = Vec::new();
        walk(text, 0..text.len(), "", &mut found);
        found
    }

    /// A text with a few of its pieces doubled, dropped or put elsewhere.
    fn mutated(text: &'static str) -> impl Strategy<Value = String> {
        let cut = || (0..text.len(), 1usize..40);
        prop::collection::vec((cut(), 0..text.len(), any::<bool>()), 0..4).prop_map(move |cuts| {
            cuts.into_iter().fold(text.to_owned(), |text, ((start, length), to, keep)| {
                let start = start.min(text.len());
                let piece = text[start..(start + length).min(text.len())].to_owned();
                let rest = if keep { text } else { text[..start].to_owned() + &text[start + piece.len()..] };
                let to = to.min(rest.len());
                format!("{}{piece}{}", &rest[..to], &rest[to..])
            })
        })
    }

    proptest! {
        /// The edit on text and the same edit on a parsed document agree, and the order of all names with it.
        #[test]
        fn the_edit_is_the_edit_of_the_document(rest in any_json(), memory in any_json(), other in any_json(), pretty in any::<bool>()) {
            let memory = if memory.is_object() || memory.is_null() { memory } else { json!({"limit": 0, "of": memory}) };
            let mut linux = Map::new();
            linux.insert("resources".into(), json!({"a": rest, "memory": memory, "z": 0}));
            linux.insert("other".into(), other.clone());
            let document = json!({"first": other, "linux": linux, "last": [0, {"limit": 0}]});
            let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) }.unwrap();
            let edited = edit(&text, r#"{"p":[1]}"#).unwrap().unwrap();
            let mut expect = document;
            let memory = &mut expect["linux"]["resources"]["memory"];
            if memory.get("limit") == Some(&json!(0)) {
                memory.as_object_mut().unwrap().remove("limit");
            }
            expect["linux"]["seccomp"] = json!({"p": [1]});
            prop_assert_eq!(serde_json::from_str::<Value>(&edited).unwrap(), expect);
            prop_assert_eq!(edit(&edited, r#"{"p":[1]}"#).unwrap(), None);
            let bytes = |s: &str| s.bytes().filter(|b| !b.is_ascii_whitespace()).count();
            prop_assert!(bytes(&edited) + 10 >= bytes(&text));
        }

        /// Whatever text comes: every member but the two stays, as it was written, in its place.
        #[test]
        fn no_field_is_lost_or_moved(text in mutated(CONFIG)) {
            if let Ok(Some(edited)) = edit(&text, r#"{"p":[1]}"#) {
                prop_assert_eq!(others(&edited), others(&text));
                prop_assert_eq!(edit(&edited, r#"{"p":[1]}"#).unwrap(), None);
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC*", profile in "\\PC*") {
            let _ = edit(&text, &profile);
        }
    }
}
