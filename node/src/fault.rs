//! The node's one error: what went wrong, where, and the one thing to do about it.
//!
//! Apart from the builder's, because nothing on a node may depend on the builder.

use std::fmt;
use std::ops::Range;
use std::path::Path;

/// The node's result.
pub type Result<T> = std::result::Result<T, Fault>;

/// What can be done about a fault. `hale` branches on nothing else; the number is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The operator's input is missing: wait for it.
    Missing = 1,
    /// The operator's input is wrong.
    Input = 2,
    /// Something outside this node did not answer as hoped; trying again can help.
    Transient = 3,
    /// Bytes are not what they should be.
    Integrity = 4,
    /// A failure of this machine: disk, kernel, a program.
    Machine = 5,
}

#[derive(Debug)]
struct Inner {
    class: Class,
    place: Option<String>,
    what: String,
    help: Option<String>,
}

/// An error. Boxed, so that a `Result` stays one word.
#[derive(Debug)]
pub struct Fault(Box<Inner>);

impl Fault {
    /// Makes a fault of `class`; `what` is one clause without a full stop.
    pub fn new(class: Class, what: impl Into<String>) -> Self {
        Self(Box::new(Inner { class, place: None, what: what.into(), help: None }))
    }

    /// The operator's input is wrong.
    pub fn input(what: impl Into<String>) -> Self {
        Self::new(Class::Input, what)
    }

    /// Makes a fault that may pass by itself: trying again can help.
    pub fn transient(what: impl Into<String>) -> Self {
        Self::new(Class::Transient, what)
    }

    /// Makes a fault of this machine.
    pub fn machine(what: impl Into<String>) -> Self {
        Self::new(Class::Machine, what)
    }

    /// Makes a fault of an operating system error while `doing` something to `path`.
    pub fn io(doing: &str, path: impl AsRef<Path>, error: impl fmt::Display) -> Self {
        Self::machine(format!("cannot {doing} {}: {error}", path.as_ref().display()))
    }

    /// Adds the place: the line of `file` in which `span` begins.
    pub fn at(mut self, file: impl fmt::Display, text: &str, span: Range<usize>) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        self.0.place = Some(format!("{file}:{line}"));
        self
    }

    /// Adds what the operator can do about it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Puts a wider clause in front: `outer: what`.
    pub fn context(mut self, outer: impl fmt::Display) -> Self {
        self.0.what = format!("{outer}: {}", self.0.what);
        self
    }

    /// Returns what can be done about it.
    pub fn class(&self) -> Class {
        self.0.class
    }

    /// Returns the process's exit code.
    pub fn exit_code(&self) -> u8 {
        self.0.class as u8
    }
}

/// One line, whatever the causes contained: it goes to a console and into a journal.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one_line = |text: &str| text.split(['\n', '\r']).map(str::trim).collect::<Vec<_>>().join(" ");
        if let Some(place) = &self.0.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&one_line(&self.0.what))?;
        if let Some(help) = &self.0.help {
            write!(f, "; {}", one_line(help))?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

/// Parses a TOML document and names the line of what is wrong with it.
pub fn parse_toml<T: serde::de::DeserializeOwned>(file: &str, text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        let fault = Fault::input(error.message());
        fault.at(file, text, error.span().unwrap_or(0..0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_one_line_with_its_place() {
        let fault = Fault::input("a\nb").at("node.toml", "x\ny\nz", 4..5).help("say z");
        assert_eq!(fault.to_string(), "node.toml:3: a b; say z");
    }
}
