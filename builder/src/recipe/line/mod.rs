//! A line: components pinned together, `recipes/lines/NAME.toml`, and what must not be combined.

mod pin;
mod rule;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::base::digest::Checksum;
use crate::base::name::{Arch, ComponentName, LineName, SuiteName};
use crate::base::text::{SourceText, distinct};
use crate::base::{Fault, Result};
use crate::formats::debian::version::Version;
use pin::{RawPin, pins};
use rule::{RawRule, overrides, refused, rules};

pub use pin::Pin;
pub use rule::{Comparison, Condition, Need, Rule, Versions};

/// Components pinned together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its name, which is the file's.
    pub name: LineName,
    /// A description, in one line.
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
    /// The registry of images on a node: `registry.k8s.io`.
    pub image_repository: String,
    /// Arguments of the kernel besides `root=`, in order: consoles, the version of cgroups.
    pub kernel_arguments: Vec<String>,
    /// Versions and checksums, by component.
    pub pins: BTreeMap<ComponentName, Pin>,
    /// Rules on what must not be combined, by name.
    pub rules: BTreeMap<String, Rule>,
    /// Checksums that are never accepted, and why.
    pub rejected: BTreeMap<Checksum, String>,
    /// Refusing rules that this checkout overrides, and why.
    pub overrides: BTreeMap<String, String>,
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

    /// Returns the version of a role package: `1.17.17+hale1`.
    pub fn package_version(&self) -> Result<Version> {
        let pin = &self.pins[&self.named_by];
        Version::new(&format!("{}+hale{}", pin.version(), self.revision))
    }

    /// Returns the pinned versions; for Debian's, the least that will do. A lock knows better
    /// (`RoleVersions`).
    pub fn versions(&self) -> Versions {
        self.pins.iter().map(|(name, pin)| (name.clone(), pin.version().clone())).collect()
    }

    /// Returns the needs of a combination.
    pub fn needs(&self, versions: &Versions) -> BTreeSet<Need> {
        self.rules.values().filter(|rule| rule.applies(versions)).filter_map(|rule| rule.needs).collect()
    }

    /// Returns the name of CRI-O's AppArmor profile, which follows CRI-O's version.
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

    /// Returns the refusing rules that a combination meets and that are overridden: the rule's name, what is wrong,
    /// and why it is taken all the same.
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

#[cfg(test)]
mod tests;
