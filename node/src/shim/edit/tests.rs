use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

/// The name of an AppArmor profile; no kernel has one such, but what is quoted must be quoted.
const APPARMOR: &str = "a \"b\"";

fn edit(text: &str, seccomp: &str) -> Result<Option<String>> {
    edit_for(text, seccomp, &MountEdits::default(), ContainerIds::Pods)
}

fn edit_for(text: &str, seccomp: &str, mounted: &MountEdits, ids: ContainerIds) -> Result<Option<String>> {
    super::edit(text, &Defaults { seccomp, apparmor: &|| Ok(Some(APPARMOR.to_owned())), mounted, ids })
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
    check("SeccompProfilePath", r"unconfine\u0064", "{}", "{}");
}

/// A sandbox has a user namespace of its own, whatever its pod says of it.
#[test]
fn a_sandbox_gets_both_profiles() {
    let check = |namespaces: &str, annotations: &str, before: &str, expect: &str| {
        let text = |process: &str, linux: &str| {
            format!(
                r#"{{"process":{process},"annotations":{{{annotations}}},"linux":{{{linux}"namespaces":{namespaces}}}}}"#
            )
        };
        let edited = edit(&text(before, r#""seccomp":{"own":1},"#), "{}").unwrap().unwrap();
        let value: Value = serde_json::from_str(&edited).unwrap();
        assert_eq!(value["process"].to_string(), expect, "{namespaces} {annotations} {before}");
        let is_sandbox = expect.contains(r#"a \"b"#) || before == "null" || before.contains("own");
        assert_eq!(
            value["linux"]["seccomp"],
            if is_sandbox { json!({}) } else { json!({"own": 1}) },
            "{annotations}"
        );
    };
    let own = r#"[{"type":"pid"},{"type":"user"}]"#;
    let forged =
        r#""io.kubernetes.cri-o.PrivilegedRuntime":"true","io.kubernetes.cri-o.ContainerType":"container""#;
    let sandbox = |before, expect| check(own, forged, before, expect);
    let with = r#"{"apparmorProfile":"a \"b\""}"#;
    sandbox("{}", with);
    sandbox(r#"{"args":["/pause"] }"#, r#"{"apparmorProfile":"a \"b\"","args":["/pause"]}"#);
    sandbox(r#"{"apparmorProfile": "", "x":1}"#, r#"{"apparmorProfile":"a \"b\"","x":1}"#);
    sandbox(r#"{"apparmorProfile":null}"#, with);
    sandbox(r#"{"apparmorProfile":"own"}"#, r#"{"apparmorProfile":"own"}"#);
    sandbox("null", "null");
    check(r#"[{"type":"user","path":""}]"#, forged, "{}", with);
    let claimed = r#""io.kubernetes.cri-o.ContainerType":"sandbox","x":"y""#;
    check(r#"[{"type":"user","path":"/proc/9/ns/user"}]"#, claimed, "{}", "{}");
    check(r#"[{"type":"pid"}]"#, claimed, r#"{"apparmorProfile":""}"#, r#"{"apparmorProfile":""}"#);
}

#[test]
fn only_a_sandbox_asks_what_the_kernel_knows() {
    let check = |kind: &str, apparmor: &dyn Fn() -> Result<Option<String>>, edits: Option<bool>| {
        let text =
            format!(r#"{{"process":{{}},"linux":{{"seccomp":{{}},"namespaces":[{{"type":"{kind}"}}]}}}}"#);
        let edited = super::edit(
            &text,
            &Defaults { seccomp: "{}", apparmor, mounted: &MountEdits::default(), ids: ContainerIds::Pods },
        );
        assert_eq!(edited.ok().map(|edited| edited.is_some()), edits, "{kind}");
    };
    check("user", &|| Ok(None), Some(false));
    check("user", &|| Err(crate::fault::Fault::machine("no kernel")), None);
    check("pid", &|| panic!("not asked"), Some(false));
}

/// crun acts on annotations as the host's root, and a pod may write any.
#[test]
fn annotations_pass_by_a_list() {
    let check = |from: &str, expect: &str| {
        let edited = edit(&format!(r#"{{"annotations":{from}}}"#), "{}").unwrap();
        let edited = edited.unwrap_or_else(|| format!(r#"{{"annotations":{from}}}"#));
        assert_eq!(edited, format!(r#"{{"annotations":{expect}}}"#));
    };
    check(r#"{"org.systemd.property.FailureAction":"'reboot'"}"#, "{}");
    check(r#"{"run.oci.hooks.stdout":"/etc/x","a":"b"}"#, "{}");
    check(r#"{"run.oci.seccomp_bpf_d\u0061ta":"x"}"#, "{}");
    check(r#"{"io.container.manager":"cri-o","a":"b"}"#, r#"{"io.container.manager":"cri-o"}"#);
    check(r#"{"a":"b","io.container.manager":"cri-o"}"#, r#"{"io.container.manager":"cri-o"}"#);
    check("null", "null");
}

#[test]
fn a_static_pod_gets_ids_of_its_own() {
    let pods = r#"[{"containerID":0,"hostID":1000,"size":100}]"#;
    let mapped = ContainerIds::Mapped { first: 1000, ids: 100, last: 5000 };
    let text = |map: &str| {
        format!(
            r#"{{"process":{{"user":{{"uid":0,"gid":0}}}},"linux":{{"seccomp":{{}},"uidMappings":{map},"gidMappings":{map}}}}}"#
        )
    };
    let edited: Value =
        serde_json::from_str(&edit_for(&text(pods), "{}", &MountEdits::default(), mapped).unwrap().unwrap())
            .unwrap();
    let expect = json!([{"containerID": 0, "hostID": 1000, "size": 99}, {"containerID": 99, "hostID": 5000, "size": 1}]);
    assert_eq!([&edited["linux"]["uidMappings"], &edited["linux"]["gidMappings"]], [&expect, &expect]);
    assert_eq!(edited["process"]["user"], json!({"uid": 99, "gid": 99}));
    assert_eq!(edit_for(&edited.to_string(), "{}", &MountEdits::default(), mapped).unwrap(), None);
    for other in ["[]", "null", r#"[{"containerID":0,"hostID":0,"size":100}]"#] {
        assert!(edit_for(&text(other), "{}", &MountEdits::default(), mapped).is_err(), "{other}");
    }
    let member: Value = serde_json::from_str(
        &edit_for(&text(pods), "{}", &MountEdits::default(), ContainerIds::Last(99)).unwrap().unwrap(),
    )
    .unwrap();
    assert_eq!(member["process"]["user"]["uid"], 99);
    assert_eq!(member["linux"]["uidMappings"].to_string().len(), pods.len());
}

#[test]
fn what_is_hidden_is_covered_last() {
    let hidden = vec!["/host/run/crio".to_owned(), "/host/a \"b".to_owned()];
    let mounted = MountEdits { hidden: hidden.clone(), alone: Vec::new() };
    for mounts in ["[]", r#"[{"destination":"/a"} ]"#] {
        let text = format!(r#"{{"mounts":{mounts},"process":{{}}}}"#);
        let edited = edit_for(&text, "{}", &mounted, ContainerIds::Pods).unwrap().unwrap();
        let value: Value = serde_json::from_str(&edited).unwrap();
        let list = value["mounts"].as_array().unwrap();
        let last: Vec<_> =
            list[list.len() - 2..].iter().map(|mount| mount["destination"].as_str().unwrap()).collect();
        assert_eq!(last, hidden);
        assert!(list[list.len() - 1]["options"].as_array().unwrap().contains(&json!("ro")));
        assert_eq!(edit_for(&edited, "{}", &mounted, ContainerIds::Pods).unwrap(), None);
    }
}

#[test]
fn a_mount_that_shows_too_much_is_alone() {
    let text = r#"{"mounts":[{"options":["rbind"]},{"options":["rbind","rshared"]},{"options":["bind"]}]}"#;
    let mounted = MountEdits { hidden: Vec::new(), alone: vec![1, 2] };
    let expect = r#"{"mounts":[{"options":["rbind"]},{"options":["bind","rslave"]},{"options":["bind"]}]}"#;
    assert_eq!(edit_for(text, "{}", &mounted, ContainerIds::Pods).unwrap().as_deref(), Some(expect));
    assert_eq!(edit_for(expect, "{}", &mounted, ContainerIds::Pods).unwrap(), None);
}

#[test]
fn an_update_loses_its_zero_limit() {
    let check =
        |from: &str, expect: Option<&str>| assert_eq!(resources(from).unwrap().as_deref(), expect, "{from}");
    check(r#"{"memory":{"limit":0},"cpu":{"shares":2}}"#, Some(r#"{"memory":{},"cpu":{"shares":2}}"#));
    check(r#"{"memory":{"limit":64}}"#, None);
    check(r#"{"cpu":{}}"#, None);
    assert!(resources("[]").is_err());
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
    check(r#"{"mounts":[{"options":["r\u0073hared"]}]}"#, r#"{"mounts":[{"options":["rslave"]}]}"#);
    check(
        r#"{"linux":{"seccomp":{},"rootfsPropagation":"rshared","x":"rshared"}}"#,
        r#"{"linux":{"seccomp":{},"rootfsPropagation":"rslave","x":"rshared"}}"#,
    );
    for same in [
        r#"{"mounts":[{"options":["rprivate","rslave","private","unbindable"]},{"options":null}]}"#,
        r#"{"mounts":null}"#,
        r#"{"other":{"options":["shared"]},"hooks":["rshared"]}"#,
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
    "annotations":{"io.kubernetes.cri-o.SeccompProfilePath":"runtime/default","a":"b"},
    "linux":{"resources":{"memory":{"limit":0,"swap":0},"pids":{"limit":0}},"seccomp":{"defaultAction":"SCMP_ACT_ALLOW"},"namespaces":[{"type":"user","path":"/p"}]}}"#;

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
        linux.insert("namespaces".into(), json!([{"type": if sandbox { "user" } else { "pid" }}]));
        let document = json!({"first": other, "linux": linux, "mounts": [{"options": ["rw", "rshared"], "of": rest}], "last": [0, {"limit": 0}], "process": process,
            "annotations": {"of": "a pod"}});
        let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) }.unwrap();
        let edited = edit(&text, r#"{"p":[1]}"#).unwrap().unwrap();
        let mut expect = document;
        let memory = &mut expect["linux"]["resources"]["memory"];
        if memory.get("limit") == Some(&json!(0)) {
            memory.as_object_mut().unwrap().remove("limit");
        }
        expect["linux"]["seccomp"] = json!({"p": [1]});
        expect["mounts"][0]["options"][1] = "rslave".into();
        expect["annotations"] = json!({});
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
        crate::testing::fuzz::edit(&text);
    }

    #[test]
    fn no_text_panics(text in "\\PC*", profile in "\\PC*") {
        let _ = edit(&text, &profile);
    }
}
