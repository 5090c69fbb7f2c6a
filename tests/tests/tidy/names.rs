//! One name, one meaning: what may not be called the same, and how identifiers are spelt.

use std::collections::BTreeMap;

use super::{code, files, report};

/// The sources of every crate, and the type names that may stand in it more than once: what a file says in its own
/// folder in its own way, as `Error` does elsewhere.
const CRATES: &[(&str, &[&str])] =
    &[("builder/src/", &[]), ("node/src/", &[]), ("xtask/src/", &[]), ("tests/src/", &[])];

/// The name of a type that others than this file see: `pub struct NAME`, `pub(crate) enum NAME`.
fn public_type(line: &str) -> Option<&str> {
    let mut words = line.trim_start().split(' ');
    if !words.next()?.starts_with("pub") || !["enum", "struct", "trait", "type"].contains(&words.next()?) {
        return None;
    }
    words.next()?.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

/// A file's lines without comments and the insides of strings.
fn identifiers(text: &str) -> impl Iterator<Item = (usize, String)> {
    let bare = |line: &str| line.split('"').step_by(2).collect::<Vec<_>>().join("\"");
    text.lines().enumerate().map(move |(number, line)| {
        let line = bare(line);
        (number + 1, line.split("//").next().unwrap_or_default().to_owned())
    })
}

#[test]
fn public_types_are_recognised() {
    let names = [
        ("pub struct Tree {", Some("Tree")),
        ("    pub(crate) enum Class<'a> {", Some("Class")),
        ("pub type Result<T> = X;", Some("Result")),
        ("struct Own {", None),
        ("pub fn tree() {", None),
    ];
    for (line, name) in names {
        assert_eq!(public_type(line), name, "{line}");
    }
    let text = format!("let license = \"{0}\"; // {0}\n", ["lice", "nce"].concat());
    assert_eq!(identifiers(&text).next().unwrap(), (1, "let license = \"; ".to_owned()));
}

#[test]
fn a_crate_has_no_public_type_name_twice() {
    let (files, mut findings) = (files(), Vec::new());
    for (source, shared) in CRATES {
        let mut places: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, text) in files.iter().filter(|(name, _)| name.starts_with(source)) {
            if name.ends_with(".rs") {
                code(text)
                    .lines()
                    .filter_map(public_type)
                    .for_each(|t| places.entry(t).or_default().push(name));
            }
        }
        assert!(places.len() > 5, "only {} types found below {source}", places.len());
        places.retain(|name, places| places.len() > 1 && !shared.contains(name));
        findings.extend(places.iter().map(|(name, places)| format!("{name}: {}", places.join(", "))));
    }
    report("a crate has no public type name twice", &findings);
}

#[test]
fn identifiers_are_spelt_in_one_way() {
    // Keys of recipes and of JSON keep theirs: they stand in strings. In halves, so that this list does not find itself.
    let words = [("lice", "nce"), ("col", "our"), ("behav", "iour"), ("initial", "ise")];
    let mut findings = Vec::new();
    for (name, text) in files().into_iter().filter(|(name, _)| name.ends_with(".rs")) {
        for (number, line) in identifiers(&text) {
            let found = words.iter().map(|(a, b)| format!("{a}{b}")).filter(|word| line.contains(word));
            findings.extend(found.map(|word| format!("{name}:{number}: {word}")));
        }
    }
    report("identifiers are spelt the American way", &findings);
}
