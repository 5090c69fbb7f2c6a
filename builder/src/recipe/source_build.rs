//! Builds of Debian's source packages, `recipes/sources/NAME.toml`.
//!
//! Which components come from it, a line's pins say; which version it has, and which versions of what its
//! build needs, the lock.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::base::Result;
use crate::base::name::{GroupName, PackageName};
use crate::base::text::SourceText;
use crate::base::tree::TreePath;

/// A source package that components are compiled from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceBuild {
    /// A description, in one line.
    pub about: String,
    /// Debian packages that the build needs, besides those that are essential.
    pub needs: BTreeSet<PackageName>,
    /// The build.
    pub compilation: Compilation,
}

/// A build in an unpacked source package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compilation {
    /// The program that compiles it, and its arguments; it runs at the top of the source.
    pub command: Vec<String>,
    /// Its environment, besides one that is the same for all.
    pub environment: BTreeMap<String, String>,
    /// The programs that it makes, below the top of the source.
    pub outputs: BTreeSet<TreePath>,
}

/// The package that unpacks source packages (dpkg-source(1)), whatever else a build needs.
const UNPACKER: &str = "dpkg-dev";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    about: String,
    needs: BTreeSet<PackageName>,
    command: Spanned<Vec<String>>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    outputs: Spanned<BTreeSet<TreePath>>,
}

impl SourceBuild {
    /// Reads `recipes/sources/NAME.toml`.
    pub fn parse(text: SourceText<'_>) -> Result<Self> {
        let raw: Raw = text.toml()?;
        if raw.command.get_ref().is_empty() {
            return Err(text.fault(raw.command.span(), "a build without a command"));
        }
        let outputs = raw.outputs.get_ref();
        let names: BTreeSet<&str> = outputs.iter().map(TreePath::file_name).collect();
        if names.is_empty() || names.len() != outputs.len() {
            let fault = text.fault(raw.outputs.span(), "not the programs of a build");
            return Err(fault.expected_found("one or more, each with a name of its own", outputs.len()));
        }
        let compilation = Compilation {
            command: raw.command.into_inner(),
            environment: raw.environment,
            outputs: raw.outputs.into_inner(),
        };
        Ok(Self { about: raw.about, needs: raw.needs, compilation })
    }

    /// Returns the relations of what its build needs.
    pub fn relations(&self) -> BTreeSet<String> {
        self.needs.iter().map(PackageName::to_string).chain([UNPACKER.to_owned()]).collect()
    }
}

/// Returns the name under which the lock marks what the build of a source package needs.
pub fn group(package: &PackageName) -> Result<GroupName> {
    GroupName::new(format!("source-{package}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "about = \"x\"\nneeds = [\"golang-go\"]\ncommand = [\"make\"]\noutputs = [\"out/a\", \"b\"]\n";

    #[test]
    fn what_makes_no_sense_is_refused_where_it_stands() {
        let read = |text: &str| SourceBuild::parse(SourceText::new("recipes/sources/x.toml", text));
        let relations: Vec<_> = read(TEXT).unwrap().relations().into_iter().collect();
        assert_eq!(relations, ["dpkg-dev", "golang-go"]);
        for (from, to, what) in [
            ("[\"make\"]", "[]", "without a command"),
            ("\"out/a\", ", "\"out/b\", ", "each with a name of its own"),
            ("[\"out/a\", \"b\"]", "[]", "not the programs"),
            ("out/a", "../a", "cannot be in a tree"),
            ("about", "abuot", "unknown"),
        ] {
            let fault = read(&TEXT.replace(from, to)).unwrap_err();
            assert!(fault.to_string().contains(what) && fault.place().is_some(), "{what}: {fault}");
        }
    }
}
