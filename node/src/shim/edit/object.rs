//! Members of a JSON text by their bytes, so that one can be changed and nothing else moves.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::fault::{Class, Fault, Result};

/// An edit: a range of bytes, and the text that replaces it.
pub(super) type Edit = (Range<usize>, String);

/// An object's members with the bytes of their values. A repeated name appears as often as it is written.
pub(super) struct JsonObject<'a> {
    pub(super) text: &'a str,
    open: usize,
    pub(super) members: Vec<JsonMember>,
}

pub(super) struct JsonMember {
    pub(super) name: String,
    pub(super) value: Range<usize>,
}

impl<'a> JsonObject<'a> {
    pub(super) fn parse(text: &'a str, range: Range<usize>) -> Result<Self> {
        let wrong = |e: serde_json::Error| Fault::new(Class::Integrity, format!("not a JSON object: {e}"));
        let slice = &text[range.clone()];
        let members: Members = serde_json::from_str(slice).map_err(wrong)?;
        let open = range.start + slice.find('{').unwrap_or(0);
        let member = |(name, raw): (String, &RawValue)| JsonMember { name, value: place(text, raw) };
        Ok(Self { text, open, members: members.0.into_iter().map(member).collect() })
    }

    /// Returns whether a member of that name has one of these texts as its value.
    pub(super) fn has(&self, name: &str, values: &[&str]) -> bool {
        let is_one = |text: String| values.contains(&text.as_str());
        self.members.iter().any(|m| m.name == name && words(&self.text[m.value.clone()]).is_some_and(is_one))
    }

    /// Returns the ranges of the values of that name; `null` counts as absent.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = Range<usize>> {
        let values = self.members.iter().filter(move |m| m.name == name).map(|m| m.value.clone());
        values.filter(|value| &self.text[value.clone()] != "null")
    }

    /// Parses the values of that name as objects; refuses anything else.
    pub(super) fn objects(&self, name: &str) -> Result<Vec<JsonObject<'a>>> {
        self.values(name)
            .map(|value| JsonObject::parse(self.text, value).map_err(|f| f.context(name)))
            .collect()
    }

    /// Returns the ranges of the items of the lists of that name; refuses anything but lists.
    pub(super) fn items(&self, name: &str) -> Result<Vec<Range<usize>>> {
        let lists = self.values(name).map(|value| items(self.text, value).map_err(|f| f.context(name)));
        Ok(lists.collect::<Result<Vec<_>>>()?.concat())
    }

    /// Returns the edit by which `name` is `value`: in place of the last one of that name if it is one to put it
    /// `over`, behind all members if there is none.
    pub(super) fn put(&self, name: &str, value: &str, over: impl Fn(&str) -> bool) -> Option<Edit> {
        if let Some(last) = self.members.iter().rfind(|m| m.name == name) {
            return over(&self.text[last.value.clone()]).then(|| (last.value.clone(), value.to_owned()));
        }
        let (at, comma) = match self.members.last() {
            Some(member) => (member.value.end, ","),
            None => (self.open + 1, ""),
        };
        Some((at..at, format!("{comma}\"{name}\":{value}")))
    }

    /// Returns the ranges of the members at `indices`, each with one of the commas beside it.
    pub(super) fn without(&self, indices: &[usize]) -> Vec<Range<usize>> {
        let kept: Vec<usize> = (0..self.members.len()).filter(|i| !indices.contains(i)).collect();
        let key_starts = |i: usize| {
            let before = if i == 0 { self.open + 1 } else { self.members[i - 1].value.end };
            before + self.text[before..].find('"').unwrap_or(0)
        };
        let cut = |&i: &usize| match (kept.iter().any(|k| *k > i), kept.iter().any(|k| *k < i)) {
            // A kept one follows: up to the next member's name.
            (true, _) => key_starts(i)..key_starts(i + 1),
            // The last ones: from the end of the value before, comma included.
            (false, true) => self.members[i - 1].value.end..self.members[i].value.end,
            // None is kept.
            (false, false) if i == 0 => key_starts(0)..self.members[0].value.end,
            (false, false) => self.members[i - 1].value.end..self.members[i].value.end,
        };
        indices.iter().map(cut).collect()
    }
}

/// Returns the ranges of a list's items.
pub(super) fn items(text: &str, list: Range<usize>) -> Result<Vec<Range<usize>>> {
    let wrong = |e: serde_json::Error| Fault::new(Class::Integrity, format!("not a JSON list: {e}"));
    let items: Vec<&RawValue> = serde_json::from_str(&text[list]).map_err(wrong)?;
    Ok(items.into_iter().map(|raw| place(text, raw)).collect())
}

/// Parses a JSON string; returns `None` for any other value.
pub(super) fn words(value: &str) -> Option<String> {
    serde_json::from_str(value).ok()
}

/// Returns the range of a value in the text that it was read from: it borrows from there, so its address tells.
fn place(text: &str, raw: &RawValue) -> Range<usize> {
    let start = raw.get().as_ptr().addr() - text.as_ptr().addr();
    start..start + raw.get().len()
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}
