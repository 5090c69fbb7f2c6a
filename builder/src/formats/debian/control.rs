//! Control files: paragraphs of `Name: value` fields (deb822(5)), read and written.
//!
//! ```text
//! Package: crun            a field
//! Description: runtime     a field whose value goes on:
//!  fully in C              a continuation starts with a space or a tab
//!  .                       and a single dot is an empty line of it
//!                          an empty line ends the paragraph
//! ```

use std::fmt;
use std::ops::Range;

use memchr::memchr;

use crate::base::{Class, Fault, Place, Result};

/// A text to read, with the name and the class of fault that its errors carry.
#[derive(Clone, Copy, Debug)]
pub struct ControlText<'a> {
    /// What people call the text: a file's path, an archive member's name.
    pub file: &'a str,
    /// The text.
    pub text: &'a str,
    /// Whose fault an error in it is.
    pub class: Class,
}

/// Larger texts (package indices) are named by file and line alone, not quoted.
const QUOTED: usize = 1 << 20;

impl<'a> ControlText<'a> {
    /// Names a text that was signed or pinned: an error in it is one of integrity.
    pub fn integrity(file: &'a str, text: &'a str) -> Self {
        Self { file, text, class: Class::Integrity }
    }

    /// Names a text that the user wrote.
    pub fn user(file: &'a str, text: &'a str) -> Self {
        Self { file, text, class: Class::User }
    }

    /// Makes a fault at a span of the text.
    pub fn fault(&self, span: Range<usize>, what: impl Into<String>) -> Fault {
        self.locate(span, Fault::new(self.class, what))
    }

    /// Adds the place to a fault.
    pub fn locate(&self, span: Range<usize>, fault: Fault) -> Fault {
        if self.text.len() <= QUOTED {
            return fault.at(Place::new(self.file, self.text, span));
        }
        let line = Place::new("", &self.text[..span.start.min(self.text.len())], span).line();
        fault.context(format!("{}:{line}", self.file))
    }

    /// Finds the paragraphs' spans: stretches of lines that are not empty. Comment lines (`#`) stay in them.
    pub fn paragraphs(self) -> impl Iterator<Item = Range<usize>> + 'a {
        let mut start = 0;
        std::iter::from_fn(move || {
            let bytes = self.text.as_bytes();
            while bytes.get(start) == Some(&b'\n') {
                start += 1;
            }
            if start >= bytes.len() {
                return None;
            }
            let end = memchr::memmem::find(&bytes[start..], b"\n\n").map_or(bytes.len(), |at| start + at + 1);
            let span = start..end;
            start = end;
            Some(span)
        })
    }

    /// Reads the fields of one paragraph, without copying.
    pub fn fields(self, paragraph: Range<usize>) -> Fields<'a> {
        Fields { source: self, at: paragraph.start, end: paragraph.end }
    }

    /// Reads all paragraphs, with every field's place.
    pub fn read(self) -> Result<Vec<Paragraph>> {
        let mut paragraphs = Vec::new();
        for span in self.paragraphs() {
            let mut paragraph = Paragraph::default();
            for field in self.fields(span) {
                let field = field?;
                if paragraph.get(field.name).is_some() {
                    return Err(self.fault(field.span, format!("the field `{}` stands twice", field.name)));
                }
                let value = field.text();
                paragraph.fields.push(Field { name: field.name.to_owned(), value, span: field.span });
            }
            if !paragraph.fields.is_empty() {
                paragraphs.push(paragraph);
            }
        }
        Ok(paragraphs)
    }

    /// Reads the only paragraph.
    pub fn read_one(self) -> Result<Paragraph> {
        let mut paragraphs = self.read()?;
        match (paragraphs.pop(), paragraphs.is_empty()) {
            (Some(paragraph), true) => Ok(paragraph),
            (found, _) => Err(self
                .fault(0..0, "not a control file")
                .expected_found("one paragraph", paragraphs.len() + usize::from(found.is_some()))),
        }
    }
}

/// A field as it stands in the text.
pub struct RawField<'a> {
    /// Its name, as written.
    pub name: &'a str,
    /// Its value without the white space around it; continuation lines keep their first space.
    pub value: &'a str,
    /// Where the whole field stands.
    pub span: Range<usize>,
}

impl RawField<'_> {
    /// Returns the value as text: continuation lines without their first space, lone dots as empty lines.
    pub fn text(&self) -> String {
        let line = |(index, line): (usize, &str)| match line.trim_end() {
            line if index == 0 => line.to_owned(),
            line => line.get(1..).filter(|rest| *rest != ".").unwrap_or_default().to_owned(),
        };
        if !self.value.contains('\n') {
            return self.value.to_owned();
        }
        self.value.split('\n').enumerate().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// The fields of a paragraph, in order.
pub struct Fields<'a> {
    source: ControlText<'a>,
    at: usize,
    end: usize,
}

impl Fields<'_> {
    /// Where the line that starts at `at` ends: on its newline, or at the text's end.
    fn line_end(&self, at: usize) -> usize {
        memchr(b'\n', &self.source.text.as_bytes()[at..self.end]).map_or(self.end, |length| at + length)
    }

    /// Goes over comments, then says where the next field begins.
    fn skip_comments(&mut self) -> Option<usize> {
        while self.at < self.end && self.source.text.as_bytes()[self.at] == b'#' {
            self.at = (self.line_end(self.at) + 1).min(self.end);
        }
        (self.at < self.end).then_some(self.at)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<RawField<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.skip_comments()?;
        let bytes = self.source.text.as_bytes();
        let first_end = self.line_end(start);
        let mut end = first_end;
        while end + 1 < self.end && matches!(bytes[end + 1], b' ' | b'\t') {
            end = self.line_end(end + 1);
        }
        self.at = (end + 1).min(self.end);
        let colon = memchr(b':', &bytes[start..first_end]).map(|length| start + length);
        let Some(colon) = colon.filter(|colon| is_name(&bytes[start..*colon])) else {
            self.at = self.end;
            let fault = self.source.fault(start..first_end, "not a line of a control file");
            return Some(Err(
                fault.expected_found("`Name: value`", shown(&self.source.text[start..first_end]))
            ));
        };
        let value = self.source.text[colon + 1..end].trim_matches([' ', '\t', '\r']);
        Some(Ok(RawField { name: &self.source.text[start..colon], value, span: start..end }))
    }
}

/// A field's name is of printable ASCII without colon, and does not start with `#` or `-` (deb822(5)).
fn is_name(name: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_graphic() && *byte != b':';
    !name.is_empty() && !matches!(name[0], b'#' | b'-') && name.iter().all(fits)
}

fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(80).collect::<String>())
}

/// One field of a paragraph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name, as written.
    pub name: String,
    /// Its value; lines after the first are continuations, without their first space.
    pub value: String,
    /// Where it stood in the text that it was read from; empty if it was set.
    pub span: Range<usize>,
}

/// Fields in the order they are written. Names are compared without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paragraph {
    fields: Vec<Field>,
}

impl Paragraph {
    /// Makes an empty paragraph.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the fields in order.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter()
    }

    /// Returns a field with its place.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// Returns a field's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.field(name).map(|field| field.value.as_str())
    }

    /// Returns a field's value; refuses a paragraph without it.
    pub fn need(&self, name: &str) -> Result<&str> {
        self.get(name).ok_or_else(|| Fault::integrity(format!("the field `{name}` is missing")))
    }

    /// Sets a field in its place, or as the last one. An empty value takes the field away.
    pub fn set(&mut self, name: &str, value: impl Into<String>) -> Result<()> {
        let value = value.into();
        let first_line = value.split('\n').next().unwrap_or_default();
        if !is_name(name.as_bytes()) || first_line.trim() != first_line || value.contains('\r') {
            return Err(Fault::bug(format!("cannot write the field {name:?}")).cause(shown(&value)));
        }
        let at = self.fields.iter().position(|field| field.name.eq_ignore_ascii_case(name));
        match at {
            Some(at) if value.is_empty() => {
                self.fields.remove(at);
            }
            Some(at) => self.fields[at].value = value,
            None if value.is_empty() => {}
            None => self.fields.push(Field { name: name.to_owned(), value, span: 0..0 }),
        }
        Ok(())
    }
}

impl fmt::Display for Paragraph {
    /// Each field on its lines; no empty line at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for field in &self.fields {
            write!(f, "{}:", field.name)?;
            for (index, line) in field.value.split('\n').enumerate() {
                match line {
                    "" if index == 0 => writeln!(f)?,
                    "" => writeln!(f, " .")?,
                    line => writeln!(f, " {line}")?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Vec<Paragraph>> {
        ControlText::integrity("control", text).read()
    }

    #[test]
    fn paragraphs_and_fields() {
        let text =
            "# head\nPackage: a\nDescription: short\n long\n .\n  indented\n\n\nPackage:b\nX:\n one\n\ttwo";
        let paragraphs = read(text).unwrap();
        assert_eq!(paragraphs.len(), 2);
        assert_eq!(paragraphs[0].get("description"), Some("short\nlong\n\n indented"));
        assert_eq!(paragraphs[1].get("Package"), Some("b"));
        assert_eq!(paragraphs[1].get("X"), Some("\none\ntwo"));
        let expect = "Package: a\nDescription: short\n long\n .\n  indented\n";
        assert_eq!(paragraphs[0].to_string(), expect);
        assert_eq!(paragraphs[1].to_string(), "Package: b\nX:\n one\n two\n");
    }

    #[test]
    fn faults_name_the_line() {
        for (text, line, what) in [
            ("Package: a\nno colon here\n", 2, "not a line"),
            (" continuation first\n", 1, "not a line"),
            ("A: 1\nB: 2\na: 3\n", 3, "twice"),
            ("A: 1\n\nB b: 2\n", 3, "not a line"),
            ("A: 1\n-B: 2\n", 2, "not a line"),
            ("é: 1\n", 1, "not a line"),
        ] {
            let fault = read(text).unwrap_err();
            assert!(fault.what().contains(what), "{fault}");
            assert_eq!(fault.place().unwrap().line(), line, "{text:?}");
            assert_eq!(fault.class(), Class::Integrity);
        }
        let long = format!("A: {}\nbad\n", "x".repeat(QUOTED));
        assert!(read(&long).unwrap_err().what().starts_with("control:2: "));
        assert!(ControlText::user("x", "").read_one().is_err());
        assert!(ControlText::user("x", "A: 1\n\nB: 2\n").read_one().is_err());
    }

    #[test]
    fn setting() {
        let mut paragraph = Paragraph::new();
        paragraph.set("A", "1").unwrap();
        paragraph.set("B", "2\n\nx").unwrap();
        paragraph.set("a", "3").unwrap();
        assert_eq!(paragraph.to_string(), "A: 3\nB: 2\n .\n x\n");
        paragraph.set("b", "").unwrap();
        assert_eq!(paragraph.to_string(), "A: 3\n");
        for (name, value) in [("a b", "1"), ("", "1"), ("A", " 1"), ("A", "1\r"), ("A:", "1")] {
            assert!(paragraph.set(name, value).is_err(), "{name:?} {value:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(values in proptest::collection::vec("[a-z:#]([a-z :#]{0,6}[a-z])?(\n[a-z ]{0,5}[a-z])*", 1..4)) {
            let mut paragraph = Paragraph::new();
            for (index, value) in values.iter().enumerate() {
                paragraph.set(&format!("Field-{index}"), value.clone()).unwrap();
            }
            let again = ControlText::integrity("x", &paragraph.to_string()).read_one().unwrap();
            for (index, value) in values.iter().enumerate() {
                prop_assert_eq!(again.get(&format!("Field-{index}")).unwrap(), value);
            }
        }

        #[test]
        fn nothing_panics(text in "[A: \n.#\t\r-é]{0,40}") {
            let _ = read(&text);
        }
    }
}
