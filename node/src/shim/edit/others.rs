//! What an edit must leave alone, for who tests it.

use std::ops::Range;

use super::object::{JsonObject, items};
use super::propagation::one_way;

/// The members that are edited, beside the options of mounts: of those the words for propagation alone.
const EDITED: [&str; 5] = [
    "/annotations",
    "/linux/seccomp",
    "/linux/resources/memory/limit",
    "/linux/rootfsPropagation",
    "/process/apparmorProfile",
];

/// Returns every member of every object in order, by its path, with its text; without those that are edited.
pub(crate) fn others(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(text, 0..text.len(), "", &mut found);
    found
}

fn walk(text: &str, range: Range<usize>, path: &str, found: &mut Vec<(String, String)>) {
    if EDITED.contains(&path) {
        return;
    }
    let is_option = path.starts_with("/mounts/") && path.contains("/options/");
    if let Ok(object) = JsonObject::parse(text, range.clone()) {
        found.push((path.to_owned(), "{".to_owned()));
        for member in object.members {
            walk(text, member.value, &format!("{path}/{}", member.name), found);
        }
    } else if let Ok(items) = items(text, range.clone()) {
        found.push((path.to_owned(), "[".to_owned()));
        for (index, item) in items.into_iter().enumerate() {
            walk(text, item, &format!("{path}/{index}"), found);
        }
    } else if let Some((_, by)) = one_way(text, range.clone()).filter(|_| is_option) {
        found.push((path.to_owned(), by));
    } else {
        found.push((path.to_owned(), text[range].to_owned()));
    }
}
