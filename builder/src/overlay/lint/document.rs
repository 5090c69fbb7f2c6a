//! A document of keys and values with the span of each: TOML, YAML and JSON in one shape.

use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle};
use toml::de::{DeTable, DeValue};

use crate::base::Result;
use crate::base::text::SourceText;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct YamlNode {
    pub(super) span: Range<usize>,
    pub(super) value: Value,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Bool(bool),
    Integer(i64),
    Text(String),
    List(Vec<YamlNode>),
    /// In the order written; no key stands twice.
    Table(Vec<MappingEntry>),
    /// A value that no file of ours has: null, floats, dates.
    Other(&'static str),
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct MappingEntry {
    pub(super) key: String,
    pub(super) span: Range<usize>,
    pub(super) node: YamlNode,
}

impl YamlNode {
    /// Returns the values of a table.
    pub(super) fn entries(&self) -> impl Iterator<Item = &YamlNode> {
        let entries = match &self.value {
            Value::Table(entries) => entries.as_slice(),
            _ => &[],
        };
        entries.iter().map(|entry| &entry.node)
    }

    /// Returns the value of a table's key.
    pub(super) fn get(&self, key: &str) -> Option<&YamlNode> {
        match &self.value {
            Value::Table(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node),
            _ => None,
        }
    }

    /// Returns the text that it is, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the spans of all keys, at every depth.
    pub(super) fn keys(&self) -> Vec<Range<usize>> {
        match &self.value {
            Value::List(items) => items.iter().flat_map(YamlNode::keys).collect(),
            Value::Table(entries) => {
                entries.iter().flat_map(|e| std::iter::once(e.span.clone()).chain(e.node.keys())).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Reads TOML.
pub(super) fn toml(text: SourceText<'_>) -> Result<YamlNode> {
    let table = DeTable::parse(text.text).map_err(|error| text.toml_fault(&error))?;
    Ok(YamlNode { span: table.span(), value: from_table(table.get_ref()) })
}

fn from_table(table: &DeTable<'_>) -> Value {
    let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let name: &std::borrow::Cow<'_, str> = key.get_ref();
        MappingEntry { key: name.to_string(), span: key.span(), node: from_toml(value) }
    };
    Value::Table(table.iter().map(entry).collect())
}

fn from_toml(node: &toml::Spanned<DeValue<'_>>) -> YamlNode {
    let value = match node.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Value::Other("a huge number"), Value::Integer),
        DeValue::Array(items) => Value::List(items.iter().map(from_toml).collect()),
        DeValue::Table(table) => from_table(table),
        DeValue::Float(_) => Value::Other("a float"),
        DeValue::Datetime(_) => Value::Other("a date"),
    };
    YamlNode { span: node.span(), value }
}

/// Reads JSON: by JSON's own rules first, then for the spans as the YAML that it also is.
pub(super) fn json(text: SourceText<'_>) -> Result<YamlNode> {
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text.text) {
        let start: usize =
            text.text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        let at = (start + error.column().saturating_sub(1)).min(text.text.len());
        return Err(text.fault(at..at, "not JSON").cause(error));
    }
    yaml(text)
}

/// Reads YAML: one document, no anchors, no tags, plain scalars by YAML 1.2's core schema.
pub(super) fn yaml(text: SourceText<'_>) -> Result<YamlNode> {
    let mut reader = Yaml { text, events: Vec::new() };
    for event in Parser::new_from_str(text.text) {
        let (event, span) = event.map_err(|error| {
            let at = byte(text.text, error.marker().index());
            text.fault(at..at, "not YAML").cause(error.info())
        })?;
        let range = byte(text.text, span.start.index())..byte(text.text, span.end.index());
        match event {
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::Nothing => {}
            other => reader.events.push((other, range)),
        }
    }
    reader.events.reverse();
    let Some(first) = reader.events.pop() else {
        return Err(text.fault(0..0, "an empty document"));
    };
    let node = reader.node(first)?;
    match reader.events.pop() {
        None => Ok(node),
        Some((_, span)) => Err(text.fault(span, "a second document in one file")),
    }
}

/// The parser counts characters; a span counts bytes.
fn byte(text: &str, index: usize) -> usize {
    text.char_indices().nth(index).map_or(text.len(), |(at, _)| at)
}

struct Yaml<'a> {
    text: SourceText<'a>,
    /// Events still to come, the next one last.
    events: Vec<(Event<'a>, Range<usize>)>,
}

impl<'a> Yaml<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Range<usize>)> {
        let end = self.text.text.len();
        self.events.pop().ok_or_else(|| self.text.fault(end..end, "the document ends too early"))
    }

    fn node(&mut self, (event, span): (Event<'a>, Range<usize>)) -> Result<YamlNode> {
        let plain = |anchor: usize, tagged: bool| {
            let unfit = anchor != 0 || tagged;
            if unfit {
                Err(self.text.fault(span.clone(), "anchors and tags are not for configuration"))
            } else {
                Ok(())
            }
        };
        match event {
            Event::Scalar(value, style, anchor, tag) => {
                plain(anchor, tag.is_some())?;
                let value =
                    if style == ScalarStyle::Plain { core(&value) } else { Value::Text(value.into_owned()) };
                Ok(YamlNode { span, value })
            }
            Event::SequenceStart(anchor, tag) => {
                plain(anchor, tag.is_some())?;
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => return Ok(YamlNode { span, value: Value::List(items) }),
                        event => items.push(self.node(event)?),
                    }
                }
            }
            Event::MappingStart(anchor, tag) => {
                plain(anchor, tag.is_some())?;
                let mut entries: Vec<MappingEntry> = Vec::new();
                loop {
                    match self.next()? {
                        (Event::MappingEnd, _) => return Ok(YamlNode { span, value: Value::Table(entries) }),
                        event => entries.push(self.entry(event, &entries)?),
                    }
                }
            }
            _ => Err(self.text.fault(span, "aliases are not for configuration")),
        }
    }

    fn entry(
        &mut self,
        (event, span): (Event<'a>, Range<usize>),
        before: &[MappingEntry],
    ) -> Result<MappingEntry> {
        let Event::Scalar(key, _, 0, None) = event else {
            return Err(self.text.fault(span, "a key that is no word"));
        };
        if before.iter().any(|entry| entry.key == key) {
            return Err(self.text.fault(span, format!("`{key}` stands here twice")).help("take one out"));
        }
        let value = self.next()?;
        Ok(MappingEntry { key: key.into_owned(), span, node: self.node(value)? })
    }
}

/// A plain scalar by the core schema (YAML 1.2.2, 10.3.2). What YAML 1.1 would read differently from 1.2
/// (`yes`, `on`, `0755`) is refused, because Kubernetes' reader is a 1.1 one.
fn core(text: &str) -> Value {
    match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "" | "~" | "null" | "Null" | "NULL" => Value::Other("null"),
        "yes" | "no" | "on" | "off" | "y" | "n" | "Yes" | "No" | "On" | "Off" | "YES" | "NO" | "ON"
        | "OFF" | "Y" | "N" | "True" | "False" | "TRUE" | "FALSE" => {
            Value::Other("a word that two YAMLs read differently")
        }
        number if number.parse::<i64>().is_ok_and(|value| value.to_string() == number) => {
            number.parse().map_or(Value::Other("a number"), Value::Integer)
        }
        number if number.starts_with(|c: char| c.is_ascii_digit()) && number.parse::<f64>().is_ok() => {
            Value::Other("a number that two YAMLs read differently")
        }
        word => Value::Text(word.to_owned()),
    }
}
