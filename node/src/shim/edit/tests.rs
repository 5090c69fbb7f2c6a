use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

/// The name of an AppArmor profile; no kernel has one such, but what is quoted must be quoted.
const APPARMOR: &str = "a \"b\"";

fn edit(text: &str, seccomp: &str) -> Result<Option<String>> {
    super::edit(text, &Defaults { seccomp, apparmor: &|| Ok(Some(APPARMOR.to_owned())) })
}

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

/// What becomes of a `process`, by the kind of its container and whether it is privileged.
#[test]
fn a_sandbox_without_apparmor_gets_it() {
    let check = |kind: &str, privileged: &str, before: &str, expect: &str| {
        let text = |process: &str| {
            format!(
                r#"{{"process":{process},"annotations":{{"io.kubernetes.cri-o.PrivilegedRuntime":"{privileged}","io.kubernetes.cri-o.ContainerType":"{kind}"}}}}"#
            )
        };
        let edited = edit(&text(before), "{}").unwrap().unwrap_or(text(before));
        assert_eq!(edited, text(expect), "{kind} {privileged} {before}");
    };
    let sandbox = |before, expect| check("sandbox", "false", before, expect);
    sandbox("{}", r#"{"apparmorProfile":"a \"b\""}"#);
    sandbox(r#"{"args":["/pause"] }"#, r#"{"args":["/pause"],"apparmorProfile":"a \"b\"" }"#);
    sandbox(r#"{"apparmorProfile": "", "x":1}"#, r#"{"apparmorProfile": "a \"b\"", "x":1}"#);
    sandbox(r#"{"apparmorProfile":null}"#, r#"{"apparmorProfile":"a \"b\""}"#);
    sandbox(r#"{"apparmorProfile":"own"}"#, r#"{"apparmorProfile":"own"}"#);
    sandbox("null", "null");
    check("sandbox", "true", "{}", r#"{"apparmorProfile":"a \"b\""}"#);
    check("container", "false", "{}", "{}");
    check("", "false", r#"{"apparmorProfile":""}"#, r#"{"apparmorProfile":""}"#);
}

#[test]
fn only_a_sandbox_asks_what_the_kernel_knows() {
    let check = |kind: &str, apparmor: &dyn Fn() -> Result<Option<String>>, edits: Option<bool>| {
        let text =
            format!(r#"{{"process":{{}},"annotations":{{"io.kubernetes.cri-o.ContainerType":"{kind}"}}}}"#);
        let edited = super::edit(&text, &Defaults { seccomp: "{}", apparmor });
        assert_eq!(edited.ok().map(|edited| edited.is_some()), edits, "{kind}");
    };
    check("sandbox", &|| Ok(None), Some(false));
    check("sandbox", &|| Err(Fault::machine("no role")), None);
    check("container", &|| panic!("not asked"), Some(false));
}

#[test]
fn no_mount_leaves_a_container() {
    let check = |from: &str, expect: &str| {
        let edited = edit(from, "{}").unwrap();
        assert_eq!(edited.as_deref().unwrap_or(from), expect);
    };
    check(
        r#"{"mounts":[{"options":["rbind","rshared" , "ro"]},{"options":["shared"],"source":"shared"},{}]}"#,
        r#"{"mounts":[{"options":["rbind","rslave" , "ro"]},{"options":["slave"],"source":"shared"},{}]}"#,
    );
    check(
        r#"{"linux":{"seccomp":{},"rootfsPropagation":"rshared","x":"rshared"}}"#,
        r#"{"linux":{"seccomp":{},"rootfsPropagation":"rslave","x":"rshared"}}"#,
    );
    for same in [
        r#"{"mounts":[{"options":["rprivate","rslave","private","unbindable"]},{"options":null}]}"#,
        r#"{"mounts":null}"#,
        r#"{"annotations":{"options":["shared"]},"hooks":["rshared"]}"#,
        r#"{"linux":{"seccomp":{},"rootfsPropagation":"rprivate"}}"#,
    ] {
        check(same, same);
    }
}

#[test]
fn what_is_no_config_is_refused() {
    for bad in [
        "",
        "{",
        "[]",
        r#"{"linux":[]}"#,
        r#"{"linux":{"resources":1}}"#,
        "{} {}",
        r#"{"mounts":{}}"#,
        r#"{"mounts":[1]}"#,
        r#"{"mounts":[{"options":"shared"}]}"#,
    ] {
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
    "mounts":[{"destination":"/a","source":"/b","options":["rbind","rshared"]},{"options":[]}],
    "annotations":{"io.kubernetes.cri-o.SeccompProfilePath":"runtime/default","io.kubernetes.cri-o.PrivilegedRuntime":"false"},
    "linux":{"resources":{"memory":{"limit":0,"swap":0},"pids":{"limit":0}},"seccomp":{"defaultAction":"SCMP_ACT_ALLOW"}}}"#;

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
    fn the_edit_is_the_edit_of_the_document(rest in any_json(), memory in any_json(), other in any_json(), sandbox in any::<bool>(), pretty in any::<bool>()) {
        let memory = if memory.is_object() || memory.is_null() { memory } else { json!({"limit": 0, "of": memory}) };
        let process = json!({"args": other});
        let mut linux = Map::new();
        linux.insert("resources".into(), json!({"a": rest, "memory": memory, "z": 0}));
        linux.insert("other".into(), other.clone());
        let document = json!({"first": other, "linux": linux, "mounts": [{"options": ["rw", "rshared"], "of": rest}], "last": [0, {"limit": 0}], "process": process,
            "annotations": {"io.kubernetes.cri-o.ContainerType": if sandbox { "sandbox" } else { "container" }}});
        let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) }.unwrap();
        let edited = edit(&text, r#"{"p":[1]}"#).unwrap().unwrap();
        let mut expect = document;
        let memory = &mut expect["linux"]["resources"]["memory"];
        if memory.get("limit") == Some(&json!(0)) {
            memory.as_object_mut().unwrap().remove("limit");
        }
        expect["linux"]["seccomp"] = json!({"p": [1]});
        expect["mounts"][0]["options"][1] = "rslave".into();
        if sandbox {
            expect["process"]["apparmorProfile"] = APPARMOR.into();
        }
        prop_assert_eq!(serde_json::from_str::<Value>(&edited).unwrap(), expect);
        prop_assert_eq!(edit(&edited, r#"{"p":[1]}"#).unwrap(), None);
        let bytes = |s: &str| s.bytes().filter(|b| !b.is_ascii_whitespace()).count();
        prop_assert!(bytes(&edited) + 10 >= bytes(&text));
    }

    /// Whatever text comes: every member but the edited ones stays, as it was written, in its place.
    #[test]
    fn no_field_is_lost_or_moved(text in mutated(CONFIG)) {
        crate::fuzz::edit(&text);
    }

    #[test]
    fn no_text_panics(text in "\\PC*", profile in "\\PC*") {
        let _ = edit(&text, &profile);
    }
}
