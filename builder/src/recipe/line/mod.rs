//! A line: components pinned together, `recipes/lines/NAME.toml`, and what must not be combined.

mod condition;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::component::OriginKind;
use crate::base::digest::Checksum;
use crate::base::name::{Arch, ComponentName, LineName, SuiteName};
use crate::base::text::{SourceText, distinct};
use crate::base::{Digest, Fault, Result};
use crate::formats::debian::version::Version;

pub use condition::{Comparison, Condition};

/// Components pinned together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its name, which is the file's.
    pub name: LineName,
    /// What it is, in one line.
    pub about: String,
    /// The architecture that is built.
    pub arch: Arch,
    /// The suites of Debian's archive that packages come from.
    pub suites: BTreeSet<SuiteName>,
    /// The number in our package versions: `1.17.17+hale1`. It grows when a package of ours changes
    /// and its upstream version does not.
    pub revision: u32,
    /// The component whose version is that of the line, and of the role packages: `kubelet`.
    pub named_by: ComponentName,
    /// The name of CRI-O's AppArmor profile, in which `{cri-o}` is CRI-O's version.
    pub apparmor_profile: String,
    /// Where images stand on a node: `registry.k8s.io`.
    pub image_repository: String,
    /// Arguments of the kernel besides `root=`, in order: consoles, the version of cgroups.
    pub kernel_arguments: Vec<String>,
    /// Versions and checksums, by component.
    pub pins: BTreeMap<ComponentName, Pin>,
    /// What must not be combined, by the rule's name.
    pub rules: BTreeMap<String, Rule>,
    /// Checksums that are never accepted, and why.
    pub rejected: BTreeMap<Checksum, String>,
    /// Refusing rules that this checkout overrides, and why.
    pub overrides: BTreeMap<String, String>,
}

/// A version of each component.
pub type Versions = BTreeMap<ComponentName, Version>;

/// A component's version and how its bytes are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pin {
    /// Debian's, in the version that the lock found; at least this one.
    Debian {
        /// The least version that will do.
        at_least: Version,
    },
    /// A published file, with a checksum for each architecture.
    Published {
        /// Upstream's version.
        version: Version,
        /// By architecture.
        checksums: BTreeMap<Arch, Checksum>,
    },
    /// An image, by the digest of its manifest (or list of manifests).
    Image {
        /// Its tag, by which Kubernetes calls it.
        tag: Version,
        /// The digest that it is pulled by.
        digest: Digest,
    },
    /// Compiled from a source package, in the version that the lock found.
    Source {
        /// Upstream's version.
        version: Version,
        /// The least version of the source package that will do.
        at_least: Version,
    },
    /// What the operator hands over; the local lock has the digest.
    Provided {
        /// Upstream's version.
        version: Version,
    },
}

impl Pin {
    /// The pinned version; for Debian's, the least that will do.
    pub fn version(&self) -> &Version {
        match self {
            Self::Debian { at_least } => at_least,
            Self::Published { version, .. } | Self::Source { version, .. } | Self::Provided { version } => {
                version
            }
            Self::Image { tag, .. } => tag,
        }
    }

    /// Where a component with this pin comes from.
    pub fn origin(&self) -> OriginKind {
        match self {
            Self::Debian { .. } => OriginKind::Debian,
            Self::Published { .. } => OriginKind::Download,
            Self::Image { .. } => OriginKind::Image,
            Self::Source { .. } => OriginKind::SourcePackage,
            Self::Provided { .. } => OriginKind::Provided,
        }
    }
}

/// What follows from a combination of versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// It holds when all of these do.
    pub when: Vec<Condition>,
    /// What the combination needs; without it the combination is refused.
    pub needs: Option<Need>,
    /// Why.
    pub because: String,
}

/// What a combination needs to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// The shim in front of crun.
    Shim,
    /// The legacy cgroup hierarchy.
    CgroupV1,
    /// `crio-wipe.service` masked, or every reboot deletes images.
    NoCrioWipe,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawLine {
    about: String,
    arch: Arch,
    suites: Vec<Spanned<SuiteName>>,
    revision: Spanned<u32>,
    named_by: Spanned<ComponentName>,
    apparmor_profile: String,
    image_repository: String,
    kernel_arguments: Spanned<Vec<String>>,
    pins: BTreeMap<ComponentName, Spanned<RawPin>>,
    #[serde(default)]
    rules: BTreeMap<String, RawRule>,
    #[serde(default)]
    rejected: BTreeMap<Checksum, String>,
    #[serde(default)]
    overrides: BTreeMap<Spanned<String>, Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawPin {
    version: Option<Version>,
    at_least: Option<Version>,
    source_at_least: Option<Version>,
    checksum: Option<BTreeMap<Arch, Spanned<Checksum>>>,
    digest: Option<Spanned<Digest>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    when: Spanned<Vec<Spanned<Condition>>>,
    needs: Option<Need>,
    because: String,
}

impl Line {
    /// Reads `recipes/lines/NAME.toml`.
    pub fn parse(name: LineName, text: SourceText<'_>) -> Result<Self> {
        let raw: RawLine = text.toml()?;
        let pins = pins(text, raw.pins, &raw.rejected)?;
        if *raw.revision.get_ref() == 0 {
            return Err(text.fault(raw.revision.span(), "a revision counts from 1"));
        }
        if !pins.contains_key(raw.named_by.get_ref()) {
            return Err(text.fault(raw.named_by.span(), format!("no pin for `{}`", raw.named_by.get_ref())));
        }
        let rules = rules(text, raw.rules, &pins)?;
        let line = Self {
            name,
            about: raw.about,
            arch: raw.arch,
            suites: distinct(text, raw.suites)?,
            revision: raw.revision.into_inner(),
            named_by: raw.named_by.into_inner(),
            apparmor_profile: raw.apparmor_profile,
            image_repository: raw.image_repository,
            kernel_arguments: raw.kernel_arguments.get_ref().clone(),
            overrides: overrides(text, raw.overrides, &rules)?,
            pins,
            rules,
            rejected: raw.rejected,
        };
        line.check_pins(text)?;
        line.check_arguments(text, raw.kernel_arguments.span())?;
        Ok(line)
    }

    /// The version of a role package: `1.17.17+hale1`.
    pub fn package_version(&self) -> Result<Version> {
        let pin = &self.pins[&self.named_by];
        Version::new(&format!("{}+hale{}", pin.version(), self.revision))
    }

    /// The pinned versions; for Debian's, the least that will do. A lock knows better
    /// (`Pinned`).
    pub fn versions(&self) -> Versions {
        self.pins.iter().map(|(name, pin)| (name.clone(), pin.version().clone())).collect()
    }

    /// What a combination needs.
    pub fn needs(&self, versions: &Versions) -> BTreeSet<Need> {
        self.rules.values().filter(|rule| rule.applies(versions)).filter_map(|rule| rule.needs).collect()
    }

    /// The name of CRI-O's AppArmor profile, which follows CRI-O's version.
    pub fn apparmor_profile(&self, versions: &Versions) -> String {
        let version = versions.get("cri-o").map_or("", Version::as_str);
        self.apparmor_profile.replace("{cri-o}", version)
    }

    /// Refuses a combination that a rule forbids and that no override allows, or that needs the legacy cgroups
    /// on a line that does not boot with them.
    pub fn check(&self, versions: &Versions) -> Result<()> {
        self.check_cgroups(versions)?;
        self.refusal(versions).map_or(Ok(()), |(name, rule)| Err(refused(name, rule)))
    }

    /// The refusing rules that a combination meets and that are overridden: the rule's name, what is wrong, and why it
    /// is taken all the same.
    pub fn overridden(&self, versions: &Versions) -> Vec<(&str, &str, &str)> {
        let met = self.overrides.iter().filter_map(|(name, reason)| {
            let rule = self.rules.get(name).filter(|rule| rule.applies(versions))?;
            Some((name.as_str(), rule.because.as_str(), reason.as_str()))
        });
        met.collect()
    }

    /// A line that needs the legacy cgroups asks systemd for them (systemd(1)).
    fn check_cgroups(&self, versions: &Versions) -> Result<()> {
        let legacy = "systemd.unified_cgroup_hierarchy=0";
        let asks = self.kernel_arguments.iter().any(|word| word == legacy);
        if !asks && self.needs(versions).contains(&Need::CgroupV1) {
            let fault = Fault::user(format!("line {} needs the legacy cgroups", self.name));
            return Err(fault.help(format!("add `{legacy}` to kernel-arguments")));
        }
        Ok(())
    }

    /// The first rule that refuses a combination.
    fn refusal(&self, versions: &Versions) -> Option<(&String, &Rule)> {
        let refuses = |(name, rule): &(&String, &Rule)| {
            rule.needs.is_none() && rule.applies(versions) && !self.overrides.contains_key(name.as_str())
        };
        self.rules.iter().find(refuses)
    }

    fn check_pins(&self, text: SourceText<'_>) -> Result<()> {
        let Some((name, rule)) = self.refusal(&self.versions()) else { return Ok(()) };
        let header = text.text.find(&format!("[rules.{name}]")).unwrap_or(0);
        let end = header + text.text[header..].find('\n').unwrap_or(0);
        Err(text.attach_span(header..end, refused(name, rule)))
    }

    /// An argument is one word; and the pinned versions have the cgroups that they need.
    fn check_arguments(&self, text: SourceText<'_>, at: std::ops::Range<usize>) -> Result<()> {
        let plain = |word: &String| !word.is_empty() && !word.contains([' ', '\t', '\n', '"', '\'']);
        if let Some(word) = self.kernel_arguments.iter().find(|word| !plain(word)) {
            return Err(text.fault(at, format!("not an argument of the kernel: {word:?}")));
        }
        self.check_cgroups(&self.versions()).map_err(|fault| text.attach_span(at, fault))
    }
}

impl Rule {
    fn applies(&self, versions: &Versions) -> bool {
        let holds = |condition: &Condition| {
            versions.get(&condition.component).is_some_and(|version| condition.holds(version))
        };
        self.when.iter().all(holds)
    }
}

fn refused(name: &str, rule: &Rule) -> Fault {
    let when: Vec<_> = rule.when.iter().map(Condition::to_string).collect();
    Fault::user(format!("refused by rule `{name}`: {}", when.join(" and ")))
        .cause(&rule.because)
        .help(format!("take another version, or give `{name} = \"REASON\"` under [overrides]"))
}

fn pins(
    text: SourceText<'_>,
    raw: BTreeMap<ComponentName, Spanned<RawPin>>,
    rejected: &BTreeMap<Checksum, String>,
) -> Result<BTreeMap<ComponentName, Pin>> {
    let refuse = |checksum: &Spanned<Checksum>| match rejected.get(checksum.get_ref()) {
        Some(why) => Err(text.fault(checksum.span(), "a rejected checksum").cause(why)),
        None => Ok(()),
    };
    let mut pins = BTreeMap::new();
    for (name, raw) in raw {
        let span = raw.span();
        let RawPin { version, at_least, source_at_least, checksum, digest } = raw.into_inner();
        let pin = match (version, at_least, source_at_least, checksum, digest) {
            (Some(version), None, None, Some(checksums), None) if !checksums.is_empty() => {
                checksums.values().try_for_each(refuse)?;
                let checksums = checksums.into_iter().map(|(arch, sum)| (arch, sum.into_inner())).collect();
                Pin::Published { version, checksums }
            }
            (Some(tag), None, None, None, Some(digest)) => {
                let span = digest.span();
                let digest = digest.into_inner();
                refuse(&Spanned::new(span, Checksum::Sha256(digest)))?;
                Pin::Image { tag, digest }
            }
            (Some(version), None, None, None, None) => Pin::Provided { version },
            (Some(version), None, Some(at_least), None, None) => Pin::Source { version, at_least },
            (None, Some(at_least), None, None, None) => Pin::Debian { at_least },
            _ => {
                return Err(text.fault(span, format!("the pin of `{name}` is none we know")).expected_found(
                    "`version` and `checksum` (a file), `version` and `digest` (an image), `version` (provided), `version` and `source-at-least` (compiled) or `at-least` (Debian's)",
                    "another combination",
                ));
            }
        };
        pins.insert(name, pin);
    }
    Ok(pins)
}

fn rules(
    text: SourceText<'_>,
    raw: BTreeMap<String, RawRule>,
    pins: &BTreeMap<ComponentName, Pin>,
) -> Result<BTreeMap<String, Rule>> {
    let mut rules = BTreeMap::new();
    for (name, raw) in raw {
        if raw.when.get_ref().is_empty() {
            return Err(text.fault(raw.when.span(), format!("rule `{name}` has no condition")));
        }
        for condition in raw.when.get_ref() {
            let component = &condition.get_ref().component;
            if !pins.contains_key(component) {
                return Err(text.fault(condition.span(), format!("no pin for `{component}`")));
            }
        }
        let when = raw.when.into_inner().into_iter().map(Spanned::into_inner).collect();
        rules.insert(name, Rule { when, needs: raw.needs, because: raw.because });
    }
    Ok(rules)
}

fn overrides(
    text: SourceText<'_>,
    raw: BTreeMap<Spanned<String>, Spanned<String>>,
    rules: &BTreeMap<String, Rule>,
) -> Result<BTreeMap<String, String>> {
    let mut overrides = BTreeMap::new();
    for (name, reason) in raw {
        if rules.get(name.get_ref()).is_none_or(|rule| rule.needs.is_some()) {
            let known: Vec<_> = rules.keys().map(String::as_str).collect();
            return Err(text.unknown_key(name.span(), name.get_ref(), &known));
        }
        if reason.get_ref().trim().is_empty() {
            return Err(text.fault(reason.span(), "an override without a reason"));
        }
        overrides.insert(name.into_inner(), reason.into_inner());
    }
    Ok(overrides)
}

#[cfg(test)]
mod tests;
