//! The shim's edit of any text: no panic, valid JSON stays valid, and no field is lost or moved.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const PROFILE: &str = r#"{"p":1}"#;

fuzz_target!(|text: &str| {
    let Ok(Some(edited)) = node::shim::edit(text, PROFILE) else { return };
    let value: Result<Value, _> = serde_json::from_str(text);
    let Ok(value) = value else { return };
    let after: Value = serde_json::from_str(&edited).expect("what was JSON is JSON");
    // What is there apart from the two edits, in the order of the text, is there still.
    let outside = |value: &Value| {
        let mut value = value.clone();
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
    let without = edited.replace(&format!("\"seccomp\":{PROFILE}"), "");
    let mut rest = text.chars();
    let is_left = without.chars().filter(|c| *c != ',').all(|c| rest.any(|other| other == c));
    assert!(is_left || text.contains("seccomp"), "something moved: {edited}");
    assert_eq!(node::shim::edit(&edited, PROFILE).ok(), Some(None), "a second edit finds nothing");
});
