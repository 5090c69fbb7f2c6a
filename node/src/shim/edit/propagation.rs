//! Mount propagation goes one way: what a container mounts must not show outside.

use std::ops::Range;

use super::object::{Edit, words};

/// Returns the edit of a propagation by which mounts would leave the container.
pub(super) fn one_way(text: &str, propagation: Range<usize>) -> Option<Edit> {
    let by = match words(&text[propagation.clone()])?.as_str() {
        "shared" => "\"slave\"",
        "rshared" => "\"rslave\"",
        _ => return None,
    };
    Some((propagation, by.to_owned()))
}
