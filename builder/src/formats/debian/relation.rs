//! Relations between packages (Debian Policy 7.1): `a (>= 1) | b:any, c [amd64]`.

use std::cmp::Ordering;
use std::fmt;

use super::version::Version;
use crate::base::name::{Arch, PackageName};
use crate::base::{Fault, Result};

/// How a version is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// `<<`
    Earlier,
    /// `<=`
    EarlierOrEqual,
    /// `=`
    Equal,
    /// `>=`
    LaterOrEqual,
    /// `>>`
    Later,
}

impl Test {
    /// Returns whether `version` passes the test against `bound`.
    pub fn passes(self, version: &Version, bound: &Version) -> bool {
        let order = version.cmp(bound);
        match self {
            Self::Earlier => order == Ordering::Less,
            Self::EarlierOrEqual => order != Ordering::Greater,
            Self::Equal => order == Ordering::Equal,
            Self::LaterOrEqual => order != Ordering::Less,
            Self::Later => order == Ordering::Greater,
        }
    }

    /// Returns the sign that Debian writes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Earlier => "<<",
            Self::EarlierOrEqual => "<=",
            Self::Equal => "=",
            Self::LaterOrEqual => ">=",
            Self::Later => ">>",
        }
    }

    const ALL: [Self; 5] =
        [Self::Earlier, Self::EarlierOrEqual, Self::Equal, Self::LaterOrEqual, Self::Later];
}

/// One package, perhaps in certain versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// A package's name, or a virtual one.
    pub name: PackageName,
    /// What the version must be.
    pub version: Option<(Test, Version)>,
}

impl Relation {
    /// Makes a relation that any version of a package satisfies.
    pub fn any(name: PackageName) -> Self {
        Self { name, version: None }
    }

    /// Returns whether a version satisfies the relation.
    pub fn allows(&self, version: &Version) -> bool {
        self.version.as_ref().is_none_or(|(test, bound)| test.passes(version, bound))
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            None => write!(f, "{}", self.name),
            Some((test, version)) => write!(f, "{} ({} {version})", self.name, test.as_str()),
        }
    }
}

/// Alternatives, in order of preference. An empty one cannot be satisfied.
pub type Clause = Vec<Relation>;

/// Reads the clauses of a field such as `Depends` for one architecture: relations of other
/// architectures fall away, and a clause of which nothing is left with them.
pub fn parse(text: &str, arch: Arch) -> Result<Vec<Clause>> {
    let mut clauses = Vec::new();
    for clause in text.split(',').map(str::trim).filter(|clause| !clause.is_empty()) {
        let mut alternatives = Vec::new();
        let mut restricted = false;
        for relation in clause.split('|') {
            match relation_for(relation.trim(), arch).map_err(|fault| fault.context(format!("{clause:?}")))? {
                Reading::Applies(relation) => alternatives.push(relation),
                Reading::OtherArch => restricted = true,
                Reading::Foreign => {}
            }
        }
        if !(restricted && alternatives.is_empty()) {
            clauses.push(alternatives);
        }
    }
    Ok(clauses)
}

enum Reading {
    Applies(Relation),
    /// `[arm64]` on amd64: as if it were not written.
    OtherArch,
    /// `libc6:arm64` on amd64: we install one architecture, so it cannot be had.
    Foreign,
}

fn relation_for(text: &str, arch: Arch) -> Result<Reading> {
    let wrong =
        |why: &str| Fault::integrity("not a relation").expected_found("`name (>= version)`", why.to_owned());
    let end = text.find([' ', '(', '[', '<']).unwrap_or(text.len());
    let (name, mut rest) = (&text[..end], text[end..].trim_start());
    let (name, qualifier) = name.split_once(':').unwrap_or((name, "any"));
    let name = PackageName::new(name).map_err(|fault| Fault::integrity(fault.what()).cause(&fault))?;
    let mut version = None;
    if let Some(test) = rest.strip_prefix('(') {
        let (test, tail) = test.split_once(')').ok_or_else(|| wrong("no `)`"))?;
        version = Some(version_test(test.trim())?);
        rest = tail.trim_start();
    }
    let mut applies = true;
    if let Some(list) = rest.strip_prefix('[') {
        let (list, tail) = list.split_once(']').ok_or_else(|| wrong("no `]`"))?;
        applies = arch_listed(list, arch);
        rest = tail.trim_start();
    }
    if !rest.is_empty() {
        return Err(wrong(&format!("{rest:?} at its end")));
    }
    Ok(match qualifier {
        _ if !applies => Reading::OtherArch,
        "any" | "native" => Reading::Applies(Relation { name, version }),
        other if other == arch.as_str() => Reading::Applies(Relation { name, version }),
        _ => Reading::Foreign,
    })
}

fn version_test(text: &str) -> Result<(Test, Version)> {
    let end = text.find(|c| !matches!(c, '<' | '=' | '>')).unwrap_or(text.len());
    let (sign, version) = text.split_at(end);
    let test = Test::ALL.into_iter().find(|test| test.as_str() == sign);
    let test = test.ok_or_else(|| {
        Fault::integrity("not a test").expected_found("<<, <=, =, >= or >>", format!("{text:?}"))
    })?;
    let version =
        Version::new(version.trim()).map_err(|fault| Fault::integrity(fault.what()).cause(&fault))?;
    Ok((test, version))
}

/// `amd64 linux-any` or `!arm64`. Wildcards of other kernels do not occur among what we install.
fn arch_listed(list: &str, arch: Arch) -> bool {
    let ours = |word: &str| word == arch.as_str() || matches!(word, "any" | "linux-any");
    let mut words = list.split_whitespace().peekable();
    match words.peek() {
        Some(word) if word.starts_with('!') => !words.any(|word| ours(word.trim_start_matches('!'))),
        _ => words.any(ours),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String> {
        let clauses = parse(text, Arch::Amd64)?;
        let clause = |clause: &Clause| clause.iter().map(Relation::to_string).collect::<Vec<_>>().join(" | ");
        Ok(clauses.iter().map(clause).collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn relations() {
        for (text, expect) in [
            ("", ""),
            (" , ", ""),
            ("a1", "a1"),
            ("libc6 (>= 2.36),\n  zlib1g(<<1:2~)", "libc6 (>= 2.36), zlib1g (<< 1:2~)"),
            ("default-mta | mail-transport-agent", "default-mta | mail-transport-agent"),
            ("python3:any (>= 3.9~), perl:native", "python3 (>= 3.9~), perl"),
            ("a1 [amd64 arm64], b1 [arm64], c1 [!arm64], d1 [!amd64], e1 [linux-any]", "a1, c1, e1"),
            ("a1 [arm64] | b1", "b1"),
            ("a1:arm64 | b1:amd64", "b1"),
            ("a1 (= 1.0) | b1 (>> 2)", "a1 (= 1.0) | b1 (>> 2)"),
        ] {
            assert_eq!(shown(text).unwrap(), expect, "{text}");
        }
        assert_eq!(parse("a1:arm64", Arch::Amd64).unwrap(), [Clause::new()]);
        for bad in [
            "a1 (1.0)",
            "a1 (< 1.0)",
            "a1 (>= )",
            "a1 (>= 1.0",
            "A",
            "a1 b1",
            "a1 [amd64",
            "a1 <!nocheck>",
            "| a1",
            "${x:Depends}",
        ] {
            assert!(parse(bad, Arch::Amd64).is_err(), "{bad}");
        }
    }

    #[test]
    fn version_tests() {
        let relation = |text: &str| parse(text, Arch::Amd64).unwrap()[0][0].clone();
        let version = |text: &str| Version::new(text).unwrap();
        for (text, below, at, above) in [
            ("xx (<< 2)", true, false, false),
            ("xx (<= 2)", true, true, false),
            ("xx (= 2)", false, true, false),
            ("xx (>= 2)", false, true, true),
            ("xx (>> 2)", false, false, true),
            ("xx", true, true, true),
        ] {
            let allows = ["1", "2", "3"].map(|v| relation(text).allows(&version(v)));
            assert_eq!(allows, [below, at, above], "{text}");
        }
    }
}
