//! The lock's text form: one way to write a lock, and a reader that takes nothing else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{
    Local, Lock, LockedFile, LockedInput, LockedOrigin, LockedPackage, LockedSource, LockedSuite, SCHEMA,
};
use crate::base::digest::Checksum;
use crate::base::name::{Arch, ComponentName, LineName, PackageName};
use crate::base::text::SourceText;
use crate::base::{Digest, Epoch, Fault, Result};
use crate::formats::debian::version::Version;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLock {
    schema: u32,
    /// Of the text below it. Written by hand into the text, because it covers what serde writes.
    #[serde(skip_serializing)]
    digest: Spanned<Digest>,
    line: LineName,
    arch: Arch,
    recipe: Digest,
    epoch: Epoch,
    #[serde(default)]
    suite: Vec<Spanned<LockedSuite>>,
    #[serde(default)]
    input: Vec<Spanned<RawInput>>,
    #[serde(default)]
    package: Vec<Spanned<LockedPackage>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    source: Vec<Spanned<LockedSource>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInput {
    component: ComponentName,
    version: Version,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<Checksum>,
    #[serde(skip_serializing_if = "Option::is_none")]
    registry: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<PackageName>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLocal {
    schema: u32,
    #[serde(default)]
    input: Vec<Spanned<RawInput>>,
}

/// The command that mends every lock.
const MEND: &str = "cargo xtask lock";

impl Lock {
    /// Reads a lock's text. It must be in the form that [`Lock::to_text`] writes, in its order.
    pub fn parse(text: SourceText<'_>) -> Result<Self> {
        // A lock is never mended by hand, whatever is wrong with it.
        Self::read(text).map_err(|fault| match fault.help_text() {
            Some(help) if help.contains(MEND) => fault,
            _ => fault.help(format!("make the lock anew: {MEND}")),
        })
    }

    fn read(text: SourceText<'_>) -> Result<Self> {
        check_schema(text)?;
        let raw: RawLock = text.toml()?;
        let suites = keyed(text, raw.suite, |suite| suite.name.clone())?;
        let packages = keyed(text, raw.package, |package| (package.name.clone(), package.arch))?;
        let inputs = inputs(text, raw.input)?;
        let sources = keyed(text, raw.source, |source| source.name.clone())?;
        let lock = Self {
            line: raw.line,
            arch: raw.arch,
            recipe: raw.recipe,
            epoch: raw.epoch,
            suites,
            inputs,
            packages,
            sources,
        };
        lock.check(text, &raw.digest)?;
        Ok(lock)
    }

    /// Writes the lock's text: sorted, minimal, the same for the same lock.
    pub fn to_text(&self) -> Result<String> {
        let raw = RawLock {
            schema: SCHEMA,
            digest: unplaced(Digest::of("")),
            line: self.line.clone(),
            arch: self.arch,
            recipe: self.recipe,
            epoch: self.epoch,
            suite: self.suites.values().cloned().map(unplaced).collect(),
            input: self.inputs.values().map(|input| unplaced(input.into())).collect(),
            package: self.packages.values().cloned().map(unplaced).collect(),
            source: self.sources.values().cloned().map(unplaced).collect(),
        };
        let body = toml::to_string(&raw).map_err(|e| Fault::bug("a lock has no TOML form").cause(e))?;
        let digest = Digest::of(&body);
        let head = format!("# Written by `cargo xtask lock {}`. Not for editing.", self.line);
        Ok(format!("{head}\ndigest = \"{digest}\"\n{body}"))
    }

    fn check(&self, text: SourceText<'_>, digest: &Spanned<Digest>) -> Result<()> {
        let help = format!("cargo xtask lock {}", self.line);
        for package in self.packages.values() {
            let at = || text.find(package.path.as_str());
            if !self.suites.contains_key(&package.suite) {
                let what = format!(
                    "`{}` comes from `{}`, which is no suite of the lock",
                    package.name, package.suite
                );
                return Err(text.fault(at(), what).help(help));
            }
            if package.arch != Arch::All && package.arch != self.arch {
                let fault = text.fault(at(), format!("`{}` is of another architecture", package.name));
                return Err(fault.expected_found(self.arch, package.arch).help(help));
            }
            if !package.path.as_str().starts_with("pool/") || package.size == 0 {
                let fault = text.fault(at(), format!("`{}` is at no place a package can be", package.name));
                return Err(fault.expected_found("a file below pool/", &package.path).help(help));
            }
        }
        for source in self.sources.values() {
            self.check_source(text, source).map_err(|fault| fault.help(&help))?;
        }
        let written = self.to_text()?;
        if written == text.text {
            return Ok(());
        }
        let place = digest.span();
        let (head, tail) = (text.text.get(..place.start), text.text.get(place.end..));
        if head.zip(tail).is_some_and(|(head, tail)| written.starts_with(head) && written.ends_with(tail)) {
            let fault = Fault::integrity("the lock is not the one that was written: its digest disagrees");
            let found = written.get(place.clone()).unwrap_or_default().trim_matches('"');
            return Err(fault.at(text.place(place)).expected_found(digest.get_ref(), found).help(help));
        }
        let same = written.bytes().zip(text.text.bytes()).take_while(|(a, b)| a == b).count();
        let end = text.text[same..].find('\n').map_or(text.text.len(), |length| same + length);
        Err(text.fault(same..end.max(same), "the lock was edited by hand").help(help))
    }
}

impl Lock {
    fn check_source(&self, text: SourceText<'_>, source: &LockedSource) -> Result<()> {
        let name = &source.name;
        let at = || text.find(&format!("[[source]]\nname = \"{name}\""));
        if !self.suites.contains_key(&source.suite) {
            let what = format!("`{name}` comes from `{}`, which is no suite of the lock", source.suite);
            return Err(text.fault(at(), what));
        }
        let description = |file: &&LockedFile| file.path.as_str().ends_with(".dsc");
        if source.file.iter().filter(description).count() != 1 {
            return Err(text.fault(at(), format!("`{name}` is no source package")));
        }
        match source.file.iter().find(|file| !file.path.as_str().starts_with("pool/") || file.size == 0) {
            None => Ok(()),
            Some(file) => {
                let fault = text.fault(at(), format!("`{name}` is at no place a package can be"));
                Err(fault.expected_found("a file below pool/", &file.path))
            }
        }
    }
}

impl Local {
    /// Reads a local lock's text.
    pub fn parse(text: SourceText<'_>) -> Result<Self> {
        check_schema(text)?;
        let raw: RawLocal = text.toml()?;
        let inputs = inputs(text, raw.input)?;
        if let Some(input) =
            inputs.values().find(|input| !matches!(input.from, LockedOrigin::Supplied { .. }))
        {
            let what = format!("`{}` is not something that was handed over", input.component);
            return Err(text.fault(0..0, what).help("cargo xtask input add"));
        }
        Ok(Self { inputs })
    }

    /// Returns the local lock's text.
    pub fn to_text(&self) -> Result<String> {
        let input = self.inputs.values().map(|input| unplaced(input.into())).collect();
        let body = toml::to_string(&RawLocal { schema: SCHEMA, input });
        let body = body.map_err(|e| Fault::bug("a local lock has no TOML form").cause(e))?;
        Ok(format!("# Written by `cargo xtask input`. This checkout's own; not for committing.\n{body}"))
    }
}

fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

/// A newer program's lock is told apart before its unknown keys are stumbled over.
fn check_schema(text: SourceText<'_>) -> Result<()> {
    #[derive(Deserialize)]
    struct Schema {
        schema: Spanned<u32>,
    }
    let found: Schema = text.toml()?;
    if *found.schema.get_ref() == SCHEMA {
        return Ok(());
    }
    let fault = text.fault(found.schema.span(), "a lock of another schema");
    Err(fault.expected_found(SCHEMA, found.schema.get_ref()).help(format!("make the lock anew: {MEND}")))
}

fn keyed<K: Ord, T>(
    text: SourceText<'_>,
    list: Vec<Spanned<T>>,
    key: impl Fn(&T) -> K,
) -> Result<BTreeMap<K, T>> {
    let mut map = BTreeMap::new();
    for item in list {
        let span = item.span();
        let item = item.into_inner();
        if map.last_key_value().is_some_and(|(last, _)| *last >= key(&item)) {
            return Err(text.fault(span, "an entry that stands here twice, or out of order"));
        }
        map.insert(key(&item), item);
    }
    Ok(map)
}

fn inputs(
    text: SourceText<'_>,
    list: Vec<Spanned<RawInput>>,
) -> Result<BTreeMap<ComponentName, LockedInput>> {
    let mut converted = Vec::new();
    for item in list {
        let span = item.span();
        let raw = item.into_inner();
        let place = (raw.url, raw.checksum, raw.registry, raw.repository, raw.digest, raw.file, raw.size);
        let from = match (place, raw.source) {
            ((Some(url), Some(checksum), None, None, None, None, size), None) => {
                LockedOrigin::Download { url, checksum, size }
            }
            ((None, None, Some(registry), Some(repository), Some(digest), None, None), None) => {
                LockedOrigin::Image { registry, repository, digest }
            }
            ((None, None, None, None, Some(digest), Some(file), Some(size)), None) => {
                LockedOrigin::Supplied { file, digest, size }
            }
            ((None, None, None, None, None, None, None), Some(source)) => {
                LockedOrigin::SourcePackage { source }
            }
            ((None, None, None, None, None, None, None), None) => LockedOrigin::Provided,
            _ => {
                return Err(text
                    .fault(span, format!("`{}` comes from nowhere we know", raw.component))
                    .expected_found(
                        "`url` and `checksum`, `registry`, `repository` and `digest`, `source`, or none of them",
                        "another combination",
                    ));
            }
        };
        converted
            .push(Spanned::new(span, LockedInput { component: raw.component, version: raw.version, from }));
    }
    keyed(text, converted, |input| input.component.clone())
}

impl From<&LockedInput> for RawInput {
    fn from(input: &LockedInput) -> Self {
        let mut raw = Self {
            component: input.component.clone(),
            version: input.version.clone(),
            url: None,
            checksum: None,
            registry: None,
            repository: None,
            digest: None,
            file: None,
            size: None,
            source: None,
        };
        match input.from.clone() {
            LockedOrigin::Download { url, checksum, size } => {
                (raw.url, raw.checksum, raw.size) = (Some(url), Some(checksum), size)
            }
            LockedOrigin::Image { registry, repository, digest } => {
                (raw.registry, raw.repository, raw.digest) = (Some(registry), Some(repository), Some(digest));
            }
            LockedOrigin::Supplied { file, digest, size } => {
                (raw.file, raw.digest, raw.size) = (Some(file), Some(digest), Some(size));
            }
            LockedOrigin::SourcePackage { source } => raw.source = Some(source),
            LockedOrigin::Provided => {}
        }
        raw
    }
}
