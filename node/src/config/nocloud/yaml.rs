//! YAML, as far as cloud-init's files are written in it: a document of mappings, lists and scalars, each with its line.

use saphyr_parser::{Event, Parser, Span};

use crate::fault::{Fault, Result};

/// Mappings and lists inside each other, at most.
const DEEPEST: usize = 16;

/// A value and its line, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Yaml {
    /// Line in which it begins.
    pub(super) line: usize,
    /// What it is.
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text, whatever YAML would make of it.
    Scalar(String),
    /// Values in order.
    List(Vec<Yaml>),
    /// Keys and their values, in order.
    Mapping(Vec<(Yaml, Yaml)>),
}

impl Yaml {
    /// Reads one document; `file` is what messages call it.
    pub(super) fn parse(file: &str, text: &str) -> Result<Self> {
        let wrong = |line: usize, what: String| Fault::input(format!("{file}:{line}: {what}"));
        let mut events = Vec::new();
        for event in Parser::new_from_str(text) {
            let (event, span) =
                event.map_err(|error| wrong(error.marker().line(), format!("not YAML: {}", error.info())))?;
            match event {
                Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::Nothing => {}
                Event::DocumentEnd => break,
                other => events.push((other, span)),
            }
        }
        events.reverse();
        match events.pop() {
            None => Ok(Self { line: 1, kind: Kind::Mapping(Vec::new()) }),
            Some(first) => read(first, &mut events, 0).map_err(|(line, what)| wrong(line, what.to_owned())),
        }
    }

    /// Returns the text that it is.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// Returns its items: those of a list, or itself where a list may be left out.
    pub(super) fn items(&self) -> &[Self] {
        match &self.kind {
            Kind::List(items) => items,
            _ => std::slice::from_ref(self),
        }
    }

    /// Returns its keys and values; none if it is no mapping.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Self)> {
        let entries = match &self.kind {
            Kind::Mapping(entries) => entries.as_slice(),
            _ => &[],
        };
        entries.iter().filter_map(|(key, value)| Some((key.text()?, value)))
    }

    /// Returns the value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().find(|(found, _)| *found == key).map(|(_, value)| value)
    }
}

/// What is wrong, and in which line.
type Wrong = (usize, &'static str);

/// Reads the value that an event begins, from the rest of the events, the next of which is the last of the list.
fn read<'a>(
    (event, span): (Event<'a>, Span),
    rest: &mut Vec<(Event<'a>, Span)>,
    depth: usize,
) -> std::result::Result<Yaml, Wrong> {
    let line = span.start.line();
    if depth > DEEPEST {
        return Err((line, "too deep"));
    }
    let mut next = |end: &Event<'_>| match rest.pop() {
        Some((event, _)) if event == *end => Ok(None),
        Some(event) => read(event, rest, depth + 1).map(Some),
        None => Err((line, "it ends too early")),
    };
    let kind = match event {
        Event::Scalar(text, ..) => Kind::Scalar(text.into_owned()),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            while let Some(item) = next(&Event::SequenceEnd)? {
                items.push(item);
            }
            Kind::List(items)
        }
        Event::MappingStart(..) => {
            let mut entries = Vec::new();
            while let Some(key) = next(&Event::MappingEnd)? {
                let mut value = next(&Event::MappingEnd)?.ok_or((key.line, "a key without a value"))?;
                // A block begins below its key, by which people know it.
                value.line = key.line;
                entries.push((key, value));
            }
            Kind::Mapping(entries)
        }
        _ => return Err((line, "aliases are not read")),
    };
    Ok(Yaml { line, kind })
}
