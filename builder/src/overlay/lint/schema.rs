//! Schemas as data: what a document may hold, key by key, and a checker that points at what it may not.

use super::document::{Value, YamlNode};
use crate::base::text::{SourceText, one_of};
use crate::base::{Fault, Result};

/// The values that a place may have.
#[derive(Clone, Copy)]
pub(super) enum Schema {
    /// `true` or `false`.
    Bool,
    /// A whole number between the two, both included.
    Integer(i64, i64),
    /// Text that passes a test, and what the test asks for.
    Text(&'static str, fn(&str) -> bool),
    /// One of a few words.
    Word(&'static [&'static str]),
    /// A list.
    List(&'static Schema),
    /// A table whose keys are free.
    Map(&'static Schema),
    /// A table whose keys are these.
    Table(&'static [FieldRule]),
}

/// A key of a table: its name, what it holds, whether it must be there.
pub(super) type FieldRule = (&'static str, &'static Schema, bool);

/// Describes a key that may be there.
pub(super) const fn may(name: &'static str, schema: &'static Schema) -> FieldRule {
    (name, schema, false)
}

/// Describes a key that must be there.
pub(super) const fn must(name: &'static str, schema: &'static Schema) -> FieldRule {
    (name, schema, true)
}

/// Any text.
pub(super) const TEXT: Schema = Schema::Text("text", |_| true);
/// A count or a size.
pub(super) const COUNT: Schema = Schema::Integer(0, i64::MAX);
/// A TCP port; 0 switches it off.
pub(super) const PORT: Schema = Schema::Integer(0, 65_535);
/// Texts.
pub(super) const TEXTS: Schema = Schema::List(&TEXT);
/// An absolute path.
pub(super) const PATH: Schema = Schema::Text("an absolute path", is_path);
/// An IP address.
pub(super) const ADDRESS: Schema =
    Schema::Text("an IP address", |text| text.parse::<std::net::IpAddr>().is_ok());
/// `ADDRESS:PORT`.
pub(super) const ENDPOINT: Schema =
    Schema::Text("ADDRESS:PORT", |text| text.parse::<std::net::SocketAddr>().is_ok());
/// A network, `ADDRESS/PREFIX`.
pub(super) const NETWORK: Schema =
    Schema::Text("a network such as 10.0.3.0/24", |text| text.parse::<ipnet::IpNet>().is_ok());
/// A duration of Go's: `4h0m0s`.
pub(super) const DURATION: Schema = Schema::Text("a duration such as 1h30m", is_duration);

fn is_path(text: &str) -> bool {
    text.starts_with('/') && !text.split('/').any(|part| part == "..") && !text.contains('\0')
}

fn is_duration(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let unit = rest[number..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| number + at);
        if number == 0 || !["h", "m", "s", "ms", "us", "ns"].contains(&&rest[number..unit]) {
            return false;
        }
        rest = &rest[unit..];
    }
    !text.is_empty()
}

impl Schema {
    /// Refuses the first thing in `node` that may not stand there. `path` names it for people.
    pub(super) fn check(&self, text: SourceText<'_>, node: &YamlNode, path: &str) -> Result<()> {
        let wrong = |expected: &str| Err(mismatch(text, node, path, expected));
        match (self, &node.value) {
            (Self::Bool, Value::Bool(_)) => Ok(()),
            (Self::Bool, _) => wrong("true or false"),
            (Self::Integer(low, high), Value::Integer(number)) if (low..=high).contains(&number) => Ok(()),
            (Self::Integer(low, i64::MAX), _) => wrong(&format!("a whole number from {low}")),
            (Self::Integer(low, high), _) => wrong(&format!("a whole number from {low} to {high}")),
            (Self::Text(_, test), Value::Text(found)) if test(found) => Ok(()),
            (Self::Text(rule, _), _) => wrong(rule),
            (Self::Word(words), Value::Text(found)) if words.contains(&found.as_str()) => Ok(()),
            (Self::Word(words), _) => wrong(&one_of(words)),
            (Self::List(inner), Value::List(items)) => {
                items.iter().try_for_each(|item| inner.check(text, item, path))
            }
            (Self::List(_), _) => wrong("a list"),
            (Self::Map(inner), Value::Table(entries)) => {
                entries.iter().try_for_each(|entry| inner.check(text, &entry.node, &entry.key))
            }
            (Self::Table(fields), Value::Table(_)) => table(text, node, path, fields),
            (Self::Map(_) | Self::Table(_), _) => wrong("a table"),
        }
    }
}

fn table(text: SourceText<'_>, node: &YamlNode, path: &str, fields: &[FieldRule]) -> Result<()> {
    let Value::Table(entries) = &node.value else { return Ok(()) };
    let known: Vec<_> = fields.iter().map(|(name, ..)| *name).collect();
    if let Some(entry) = entries.iter().find(|entry| !known.contains(&entry.key.as_str())) {
        return Err(text.unknown_key(entry.span.clone(), &entry.key, &known));
    }
    for (name, schema, _) in fields {
        if let Some(inner) = node.get(name) {
            schema.check(text, inner, name)?;
        }
    }
    match fields.iter().find(|(name, _, needed)| *needed && node.get(name).is_none()) {
        None => Ok(()),
        Some((name, ..)) => {
            let within = if path.is_empty() { String::new() } else { format!(" in `{path}`") };
            Err(text.fault(node.span.clone(), format!("`{name}` is missing{within}")))
        }
    }
}

fn mismatch(text: SourceText<'_>, node: &YamlNode, path: &str, expected: &str) -> Fault {
    let found = match &node.value {
        Value::Bool(value) => value.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Text(found) => format!("{:?}", found.chars().take(80).collect::<String>()),
        Value::List(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
        Value::Other(what) => (*what).to_owned(),
    };
    text.fault(node.span.clone(), format!("`{path}` has a value that it cannot have"))
        .expected_found(expected, found)
}
