//! The shim's edit of any text: no panic, valid JSON stays valid, and no field is lost or moved.
#![no_main]

use libfuzzer_sys::fuzz_target;
use node::fault::Result;
use node::shim::Defaults;
use serde_json::Value;

const PROFILE: &str = r#"{"p":1}"#;

fn edit(text: &str) -> Result<Option<String>> {
    node::shim::edit(text, &Defaults { seccomp: PROFILE, apparmor: &|| Ok(Some("q".to_owned())) })
}

fuzz_target!(|text: &str| {
    let Ok(Some(edited)) = edit(text) else { return };
    let Ok(value) = serde_json::from_str::<Value>(text) else { return };
    let after: Value = serde_json::from_str(&edited).expect("what was JSON is JSON");
    // What is there apart from the edits, in the order of the text, is there still.
    let outside = |value: &Value| {
        let mut value = value.clone();
        if let Some(process) = value.get_mut("process").and_then(Value::as_object_mut) {
            process.remove("apparmorProfile");
        }
        if let Some(linux) = value.get_mut("linux").and_then(Value::as_object_mut) {
            linux.remove("seccomp");
            if let Some(memory) = linux.get_mut("resources").and_then(|r| r.get_mut("memory")) {
                if let Some(memory) = memory.as_object_mut() {
                    memory.remove("limit");
                }
            }
        }
        value
    };
    assert_eq!(outside(&value), outside(&after));
    let without = edited.replace(&format!("\"seccomp\":{PROFILE}"), "").replace("\"apparmorProfile\":\"q\"", "");
    let mut rest = text.chars();
    let is_left = without.chars().filter(|c| *c != ',').all(|c| rest.any(|other| other == c));
    let replaced = text.contains("seccomp") || text.contains("apparmorProfile");
    assert!(is_left || replaced, "something moved: {edited}");
    assert_eq!(edit(&edited).ok(), Some(None), "a second edit finds nothing");
});
