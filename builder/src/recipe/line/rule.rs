//! Rules: which components must not be combined, and what a combination needs.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::pin::Pin;
use crate::base::digest::serde_as_text;
use crate::base::name::ComponentName;
use crate::base::text::SourceText;
use crate::base::{Fault, Result};
use crate::formats::debian::version::Version;

/// A version of each component.
pub type Versions = BTreeMap<ComponentName, Version>;

/// The consequence of a combination of versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// It holds when all of these do.
    pub when: Vec<Condition>,
    /// The need of the combination; without one the combination is refused.
    pub needs: Option<Need>,
    /// The reason, for people.
    pub because: String,
}

/// A need of a combination.
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

/// A comparison of one component's version: `crun >= 0.14`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The component.
    pub component: ComponentName,
    /// The test.
    pub than: Comparison,
    /// The version that it is compared with.
    pub version: Version,
}

/// A comparison of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Below,
    /// `>=`
    AtLeast,
}

impl Condition {
    /// Returns whether it holds for a version of its component.
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    when: Spanned<Vec<Spanned<Condition>>>,
    needs: Option<Need>,
    because: String,
}

impl Rule {
    /// Returns whether a combination meets all conditions.
    pub(super) fn applies(&self, versions: &Versions) -> bool {
        let holds = |condition: &Condition| {
            versions.get(&condition.component).is_some_and(|version| condition.holds(version))
        };
        self.when.iter().all(holds)
    }
}

/// Returns the fault of a combination that a rule refuses.
pub(super) fn refused(name: &str, rule: &Rule) -> Fault {
    let when: Vec<_> = rule.when.iter().map(Condition::to_string).collect();
    Fault::user(format!("refused by rule `{name}`: {}", when.join(" and ")))
        .cause(&rule.because)
        .help(format!("take another version, or give `{name} = \"REASON\"` under [overrides]"))
}

/// Reads the rules of a line; each speaks of pinned components.
pub(super) fn rules(
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

/// Reads the overrides of a line; each names a refusing rule and gives a reason.
pub(super) fn overrides(
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
