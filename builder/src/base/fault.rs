//! One error for the whole library: what went wrong, where, what was expected, what mends it.
//!
//! The class decides the exit code and is the only thing callers branch on; everything else is for
//! the person who reads it. `xtask` draws it.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;

/// The library's result.
pub type Result<T> = std::result::Result<T, Fault>;

/// Whose fault it is. The number is the process's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The user's input: a recipe, a lock, a flag.
    User = 2,
    /// A remote: a mirror that is gone, slow, or lies about itself.
    Remote = 3,
    /// Integrity: bytes that are not what was pinned or signed.
    Integrity = 4,
    /// This machine: disk, permission, kernel, a missing tool.
    Machine = 5,
    /// Our bug.
    Bug = 6,
}

/// A span in a text file that the user wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's path as the user knows it.
    pub file: String,
    /// The file's whole text.
    pub text: String,
    /// Bytes of `text` that are wrong.
    pub span: Range<usize>,
}

impl Place {
    /// Names a span of a file's text.
    pub fn new(file: impl Into<String>, text: impl Into<String>, span: Range<usize>) -> Self {
        Self { file: file.into(), text: text.into(), span }
    }

    /// Returns the number of the span's first line, counted from 1.
    pub fn line(&self) -> usize {
        let start = self.span.start.min(self.text.len());
        self.text.as_bytes()[..start].iter().filter(|b| **b == b'\n').count() + 1
    }
}

#[derive(Clone, Debug)]
struct Inner {
    class: Class,
    what: String,
    place: Option<Place>,
    expected_found: Option<(String, String)>,
    causes: Vec<String>,
    help: Option<String>,
}

/// An error. Boxed, so that a `Result` stays one word.
#[derive(Clone, Debug)]
pub struct Fault(Box<Inner>);

impl Fault {
    /// Makes a fault of `class`; `what` is one clause without a full stop.
    pub fn new(class: Class, what: impl Into<String>) -> Self {
        let what = plain(what.into());
        Self(Box::new(Inner {
            class,
            what,
            place: None,
            expected_found: None,
            causes: Vec::new(),
            help: None,
        }))
    }

    /// Makes a fault of the user's input.
    pub fn user(what: impl Into<String>) -> Self {
        Self::new(Class::User, what)
    }

    /// Makes a fault of a remote.
    pub fn remote(what: impl Into<String>) -> Self {
        Self::new(Class::Remote, what)
    }

    /// Makes a fault of bytes that are not what they should be.
    pub fn integrity(what: impl Into<String>) -> Self {
        Self::new(Class::Integrity, what)
    }

    /// Makes a fault of this machine.
    pub fn machine(what: impl Into<String>) -> Self {
        Self::new(Class::Machine, what)
    }

    /// Makes a fault of our own.
    pub fn bug(what: impl Into<String>) -> Self {
        Self::new(Class::Bug, what)
    }

    /// Makes a fault of an operating system error while `doing` something to `path`. A fault that travelled through a
    /// reader or writer as an `io::Error` comes out as itself.
    pub fn io(doing: &str, path: impl AsRef<Path>, error: io::Error) -> Self {
        let doing = format!("cannot {doing} {}", path.as_ref().display());
        error.downcast().unwrap_or_else(|error| Self::machine(doing).cause_io(&error))
    }

    /// Says where in the user's file it is.
    pub fn at(mut self, place: Place) -> Self {
        self.0.place = Some(Place { file: plain(place.file), ..place });
        self
    }

    /// Says what was expected and what was found.
    pub fn expected_found(mut self, expected: impl fmt::Display, found: impl fmt::Display) -> Self {
        self.0.expected_found = Some((plain(expected.to_string()), plain(found.to_string())));
        self
    }

    /// Adds a deeper reason.
    pub fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.0.causes.push(plain(cause.to_string()));
        self
    }

    /// Adds an operating system error as a deeper reason. A full disk says what mends it.
    pub fn cause_io(self, error: &io::Error) -> Self {
        let fault = self.cause(error);
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                fault.help("free some space, or run `cargo xtask gc`")
            }
            _ => fault,
        }
    }

    /// Says what mends it: a command, or one thing to do.
    pub fn help(mut self, how: impl Into<String>) -> Self {
        self.0.help = Some(plain(how.into()));
        self
    }

    /// Puts a wider clause in front: `reading the lock: unknown key`.
    pub fn context(mut self, outer: impl fmt::Display) -> Self {
        self.0.what = format!("{}: {}", plain(outer.to_string()), self.0.what);
        self
    }

    /// Returns the class: whose fault it is.
    pub fn class(&self) -> Class {
        self.0.class
    }

    /// Returns the process's exit code.
    pub fn exit_code(&self) -> u8 {
        self.0.class as u8
    }

    /// Returns the clause that says what is wrong.
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// Returns the place in a file of the user's, if one is to blame.
    pub fn place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }

    /// Returns what was expected and what was found.
    pub fn mismatch(&self) -> Option<(&str, &str)> {
        self.0.expected_found.as_ref().map(|(e, f)| (e.as_str(), f.as_str()))
    }

    /// Returns the deeper reasons, outermost first.
    pub fn causes(&self) -> &[String] {
        &self.0.causes
    }

    /// Returns the command or the change that helps.
    pub fn help_text(&self) -> Option<&str> {
        self.0.help.as_deref()
    }
}

/// The text with all that would move a terminal's cursor, or hide what is said, written out: servers, archives and
/// scripts speak through faults, too. Lines and tabs stay.
fn plain(text: String) -> String {
    // Unicode Standard Annex 9, section 2: what turns the direction of writing.
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let hidden = |c: char| c.is_control() && c != '\n' && c != '\t' || turns(c);
    if !text.contains(hidden) {
        return text;
    }
    let shown = |c: char| if hidden(c) { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.0.place {
            write!(f, "{}:{}: ", place.file, place.line())?;
        }
        f.write_str(&self.0.what)?;
        for cause in &self.0.causes {
            write!(f, ": {cause}")?;
        }
        if let Some((expected, found)) = &self.0.expected_found {
            write!(f, " (expected {expected}, found {found})")?;
        }
        if let Some(help) = &self.0.help {
            write!(f, "; {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_says_what_mends_it() {
        // ENOSPC, EDQUOT, EACCES.
        for (number, mends) in [(28, true), (122, true), (13, false)] {
            let fault = Fault::io("write", "x", io::Error::from_raw_os_error(number));
            assert_eq!(fault.help_text().is_some(), mends, "{fault}");
        }
    }

    /// Servers, archives and scripts put their words into faults, which end up on a terminal.
    #[test]
    fn nothing_that_moves_a_terminal_is_in_a_fault() {
        let bad = "a\x1b]0;owned\x07\x1b[2Jb\rc\x08\x7fd\u{9b}2Je\u{202e}f\n\tg";
        let fault = Fault::remote(bad).context(bad).cause(bad).expected_found(bad, bad).help(bad);
        let fault = fault.at(Place::new(bad, "", 0..0));
        let texts = [fault.to_string(), fault.place().unwrap().file.clone()];
        for text in texts.iter().map(String::as_str).chain(fault.causes().iter().map(String::as_str)) {
            let moves = |c: char| c.is_control() && c != '\n' && c != '\t' || c == '\u{202e}';
            assert!(!text.contains(moves), "{text:?}");
            assert!(
                text.contains(r"a\u{1b}]0;owned\u{7}\u{1b}[2Jb\rc\u{8}\u{7f}d") && text.contains("f\n\tg"),
                "{text}"
            );
        }
    }
}
