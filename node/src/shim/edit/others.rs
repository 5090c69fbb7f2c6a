//! What an edit must leave alone, for who tests it.

use std::ops::Range;

use super::Object;

/// The members that are edited.
const EDITED: [&str; 3] = ["/linux/seccomp", "/linux/resources/memory/limit", "/process/apparmorProfile"];

/// Every member of every object in order, by its path, with its text; without those that are edited.
pub(crate) fn others(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(text, 0..text.len(), "", &mut found);
    found
}

fn walk(text: &str, range: Range<usize>, path: &str, found: &mut Vec<(String, String)>) {
    if EDITED.contains(&path) {
        return;
    }
    match Object::parse(text, range.clone()) {
        Ok(object) => {
            found.push((path.to_owned(), "{".to_owned()));
            for member in object.members {
                walk(text, member.value, &format!("{path}/{}", member.name), found);
            }
        }
        Err(_) => found.push((path.to_owned(), text[range].to_owned())),
    }
}
