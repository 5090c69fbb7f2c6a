//! A text file that a person wrote: its name, its text, and faults that point into it.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;

use super::{Fault, Place, Result};

/// A file's path as the user knows it, and its whole text.
#[derive(Clone, Copy, Debug)]
pub struct SourceText<'a> {
    /// The path, relative to the checkout.
    pub file: &'a str,
    /// The whole text.
    pub text: &'a str,
}

impl<'a> SourceText<'a> {
    /// Names a text.
    pub fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text }
    }

    /// Returns the place of a span of it.
    pub fn place(&self, span: Range<usize>) -> Place {
        Place::new(self.file, self.text, span)
    }

    /// Returns the place of `words`; the file's start when they are not in it.
    pub fn find(&self, words: &str) -> Range<usize> {
        self.text.find(words).map_or(0..0, |start| start..start + words.len())
    }

    /// Makes a fault of the user's at a span.
    pub fn fault(&self, span: Range<usize>, what: impl Into<String>) -> Fault {
        Fault::user(what).at(self.place(span))
    }

    /// Moves `fault` to a span of this text.
    pub fn attach_span(&self, span: Range<usize>, fault: Fault) -> Fault {
        fault.at(self.place(span))
    }

    /// Makes the fault of an unknown key, which names the nearest of those that are known.
    pub fn unknown_key(&self, span: Range<usize>, key: &str, known: &[&str]) -> Fault {
        self.unknown("key", span, key, known)
    }

    fn unknown(&self, what: &str, span: Range<usize>, word: &str, known: &[&str]) -> Fault {
        let fault = self.fault(span, format!("unknown {what} `{word}`"));
        match nearest(word, known) {
            Some(near) => fault.help(format!("write `{near}`")),
            None => fault.expected_found(one_of(known), format!("`{word}`")),
        }
    }

    /// Reads TOML into a type that denies unknown keys.
    pub fn toml<T: DeserializeOwned>(&self) -> Result<T> {
        toml::from_str(self.text).map_err(|error| self.toml_fault(&error))
    }

    /// Turns a TOML error into a fault at its place.
    pub fn toml_fault(&self, error: &toml::de::Error) -> Fault {
        let span = error.span().unwrap_or(0..0);
        let message = error.message().trim();
        let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        match names.split_first() {
            Some((key, known)) if message.starts_with("unknown field") => self.unknown_key(span, key, known),
            Some((key, _)) if message.starts_with("missing field") => {
                self.fault(span, format!("`{key}` is missing"))
            }
            Some((word, known)) if message.starts_with("unknown variant") => {
                self.unknown("value", span, word, known)
            }
            _ => self.fault(span, message.lines().next().unwrap_or("not TOML").to_owned()),
        }
    }
}

/// Makes a set of a list; refuses what is in it twice.
pub fn distinct<T: Ord + Display>(
    text: SourceText<'_>,
    list: impl IntoIterator<Item = Spanned<T>>,
) -> Result<BTreeSet<T>> {
    let mut set = BTreeSet::new();
    for item in list {
        let span = item.span();
        let item = item.into_inner();
        if set.contains(&item) {
            return Err(text.fault(span, format!("`{item}` stands here twice")).help("take one out"));
        }
        set.insert(item);
    }
    Ok(set)
}

/// Lists names as a choice: "`a`", "`a` or `b`", "`a`, `b` or `c`"; no more than a person can read.
pub fn one_of(names: &[&str]) -> String {
    match names {
        [] => "nothing here".to_owned(),
        [only] => format!("`{only}`"),
        [init @ .., last] if names.len() <= 12 => {
            let init: Vec<_> = init.iter().map(|name| format!("`{name}`")).collect();
            format!("{} or `{last}`", init.join(", "))
        }
        many => format!("one of {} known names", many.len()),
    }
}

/// Finds the name that `word` most likely means: at most two edits away, or a third of its length.
pub fn nearest<'a>(word: &str, names: &[&'a str]) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(2);
    let distance = |name: &&str| edits(&word.to_lowercase(), &name.to_lowercase());
    names.iter().copied().min_by_key(distance).filter(|name| distance(name) <= limit)
}

/// The least number of characters to insert, delete or exchange (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let exchange = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = exchange.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Bridge {
        name: String,
        mtu: Option<u16>,
    }

    #[test]
    fn toml_faults_point_at_the_word() {
        for (text, line, what, help) in [
            ("name = \"a\"\nnmae = 1\n", 2, "unknown key `nmae`", Some("write `name`")),
            ("name = \"a\"\nqqqqqqq = 1\n", 2, "unknown key `qqqqqqq`", None),
            ("mtu = 1\n", 1, "`name` is missing", None),
            ("name = \"a\"\n\nmtu = \"x\"", 3, "invalid type: string \"x\", expected u16", None),
            ("name = \"a\"\nname = \"b\"\n", 2, "duplicate key", None),
        ] {
            let fault = SourceText::new("recipes/x.toml", text).toml::<Bridge>().unwrap_err();
            let place = fault.place().unwrap();
            assert_eq!((place.line(), fault.what(), fault.help_text()), (line, what, help), "{text}");
        }
    }

    #[test]
    fn the_nearest_name_is_near() {
        let names = ["healthzPort", "healthzBindAddress", "readOnlyPort"];
        assert_eq!(nearest("healthzBindAdress", &names), Some("healthzBindAddress"));
        assert_eq!(nearest("readonlyport", &names), Some("readOnlyPort"));
        assert_eq!(nearest("zzz", &names), None);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
