//! Bounds of a version, as a line's rules name them.

use std::fmt;
use std::str::FromStr;

use crate::base::digest::serde_as_text;
use crate::base::name::ComponentName;
use crate::base::{Fault, Result};
use crate::formats::debian::version::Version;

/// A comparison of one component's version: `crun >= 0.14`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The component.
    pub component: ComponentName,
    /// How.
    pub than: Comparison,
    /// With what.
    pub version: Version,
}

/// How versions are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Below,
    /// `>=`
    AtLeast,
}

impl Condition {
    /// Whether it holds for a version of its component.
    pub fn holds(&self, version: &Version) -> bool {
        match self.than {
            Comparison::Below => *version < self.version,
            Comparison::AtLeast => *version >= self.version,
        }
    }
}

impl FromStr for Condition {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        let wrong = || {
            Fault::user("not a condition")
                .expected_found("`NAME < VERSION` or `NAME >= VERSION`", format!("{text:?}"))
        };
        let [component, than, version] = words[..] else { return Err(wrong()) };
        let than = match than {
            "<" => Comparison::Below,
            ">=" => Comparison::AtLeast,
            _ => return Err(wrong()),
        };
        Ok(Self { component: component.parse()?, than, version: Version::new(version)? })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let than = match self.than {
            Comparison::Below => "<",
            Comparison::AtLeast => ">=",
        };
        write!(f, "{} {than} {}", self.component, self.version)
    }
}

serde_as_text!(Condition);
