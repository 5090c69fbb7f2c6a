//! Plain words: what the field calls otherwise, and what no type is called any more.

use super::{files, report};

/// What is not written, and what is in its place.
const WORDS: &[(&str, &str)] = &[
    ("amongst", "among"),
    ("first root", "initramfs"),
    ("hitherto", "until now"),
    ("other people's", "third-party"),
    ("somebody else's program", "third-party program"),
    ("somebody else's release", "upstream release"),
    ("thereof", "of it"),
    ("way of belief", "chain of trust"),
    ("whence", "from where"),
    ("whilst", "while"),
];

/// Names of types that meant nothing to whoever knows the field, and those that they have now.
const TYPES: &[(&str, &str)] = &[
    ("Desk", "TestCheckout"),
    ("Fate", "FetchOutcome"),
    ("Lack", "MissingComponent"),
    ("Parting", "Divergence"),
    ("Shop", "StepRunner"),
    ("Spoilt", "InjectedFault"),
    ("Ware", "BundlePackage"),
    ("Workshop", "StepRunner"),
];

/// Words of a text from a place on, without the signs of comments and lists.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let signs = |c: char| !c.is_alphanumeric() && !['_', '\''].contains(&c);
    let lines = text.lines().enumerate();
    let words = lines.flat_map(move |(at, line)| line.split(signs).map(move |word| (at + 1, word)));
    words.filter(|(_, word)| !word.is_empty())
}

/// The lines at which one of these stands, be it broken over two lines.
fn found<'a>(text: &str, list: &'a [(&'a str, &'a str)]) -> Vec<(usize, &'a str, &'a str)> {
    let words: Vec<(usize, &str)> = words(text).collect();
    let mut found = Vec::new();
    for (old, new) in list {
        let sought: Vec<&str> = old.split(' ').collect();
        let stands = |at: &&[(usize, &str)]| at.iter().map(|(_, word)| *word).eq(sought.iter().copied());
        found.extend(words.windows(sought.len()).filter(stands).map(|at| (at[0].0, *old, *new)));
    }
    found
}

/// What is found in a file: words in any case, since a sentence may begin with one, types as they are written.
fn findings(name: &str, text: &str) -> Vec<String> {
    let (lower, is_code) = (text.to_lowercase(), name.ends_with(".rs"));
    let types = if is_code { found(text, TYPES) } else { Vec::new() };
    let all = found(&lower, WORDS).into_iter().chain(types);
    all.map(|(line, old, new)| format!("{name}:{line}: {old}, which is {new}")).collect()
}

#[test]
fn words_are_found_over_lines_and_types_as_they_are_written() {
    let text = "/// Whence it is: the first\n    /// root.\nfn desk(shop: Fate) {}\n// a first rooted tree\n";
    let lines: Vec<usize> = found(&text.to_lowercase(), WORDS).iter().map(|(line, ..)| *line).collect();
    assert_eq!(lines, [1, 1]);
    assert_eq!(found(text, TYPES), [(3, "Fate", "FetchOutcome")]);
    assert_eq!((findings("a.rs", text).len(), findings("a.md", text).len()), (3, 2));
}

#[test]
fn the_fields_own_words_are_used() {
    // What lies in overlays are bytes of packages: a better comment there is a new version of them.
    let is_prose = |name: &str| [".rs", ".md", ".toml"].iter().any(|end| name.ends_with(end));
    let own = |name: &str| name == "tests/tests/tidy/words.rs" || name.starts_with("overlays/");
    let files = files().into_iter().filter(|(name, _)| is_prose(name) && !own(name));
    let findings: Vec<String> = files.flat_map(|(name, text)| findings(&name, &text)).collect();
    report("things are called as the field calls them", &findings);
}
