//! Lint: renders every overlay for every role and reads each file by a strict schema of its own version.
//!
//! A key that the program would skip in silence, a value it would not take, a file that no schema knows, a
//! value nobody uses: each is an error at its line. Rendering keeps lines, so a fault in a rendered file
//! stands at the same line of the overlay's.

mod containers;
mod document;
mod kubernetes;
mod lines;
mod rules;
mod schema;
mod unit;

use std::collections::{BTreeMap, BTreeSet};

use super::Overlay;
use super::role_package::{COMMON, IMAGES, MACHINE};
use super::template::{Values, render};
use crate::base::name::OverlayName;
use crate::base::text::SourceText;
use crate::base::{Fault, Result};
use crate::lock::pins::RoleVersions;
use crate::recipe::line::Need;
use crate::recipe::{Files, Recipe, text_of};

/// The files that lint read.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct LintReport {
    /// Every file, by its path in the checkout, with the format it was read as.
    pub files: BTreeMap<String, &'static str>,
}

/// The format of a node's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    AptConf,
    AptPreferences,
    Cni,
    Crictl,
    Crio,
    Environment,
    Fstab,
    Journald,
    Kubernetes,
    Modprobe,
    ModulesLoad,
    Policy,
    Registries,
    Repart,
    Role,
    Shim,
    Storage,
    Sysctl,
    Sysusers,
    Tmpfiles,
    Unit,
}

/// The paths of each format's files: beginning and end.
const PLACES: &[(&str, &str, Format)] = &[
    ("etc/apt/apt.conf.d/", "", Format::AptConf),
    ("etc/apt/preferences.d/", "", Format::AptPreferences),
    ("etc/cni/net.d/", ".conf", Format::Cni),
    ("etc/containers/policy.json", "", Format::Policy),
    ("etc/containers/registries.conf", "", Format::Registries),
    ("etc/containers/storage.conf", "", Format::Storage),
    ("etc/crictl.yaml", "", Format::Crictl),
    ("etc/crio/crio.conf.d/", ".conf", Format::Crio),
    ("etc/default/kubelet", "", Format::Environment),
    ("etc/fstab", "", Format::Fstab),
    ("usr/lib/hale/role.toml", "", Format::Role),
    ("usr/lib/hale/shim.toml", "", Format::Shim),
    ("usr/lib/hale/", ".yaml", Format::Kubernetes),
    ("usr/lib/modprobe.d/", ".conf", Format::Modprobe),
    ("usr/lib/modules-load.d/", ".conf", Format::ModulesLoad),
    ("usr/lib/repart.d/", ".conf", Format::Repart),
    ("usr/lib/sysctl.d/", ".conf", Format::Sysctl),
    ("usr/lib/systemd/journald.conf.d/", ".conf", Format::Journald),
    ("usr/lib/systemd/system/", ".conf", Format::Unit),
    ("usr/lib/systemd/system/", ".mount", Format::Unit),
    ("usr/lib/systemd/system/", ".service", Format::Unit),
    ("usr/lib/systemd/system/", ".timer", Format::Unit),
    ("usr/lib/sysusers.d/", ".conf", Format::Sysusers),
    ("usr/lib/tmpfiles.d/", ".conf", Format::Tmpfiles),
];

impl Format {
    fn of(path: &str) -> Option<Self> {
        let fits = |(start, end, _): &&(&str, &str, Self)| path.starts_with(start) && path.ends_with(end);
        PLACES.iter().find(fits).map(|(.., format)| *format)
    }

    fn name(self) -> &'static str {
        match self {
            Self::AptConf => "apt.conf",
            Self::AptPreferences => "apt preferences",
            Self::Cni => "CNI 0.3.1",
            Self::Crictl => "crictl 1.17",
            Self::Crio => "CRI-O 1.17",
            Self::Environment => "environment",
            Self::Fstab => "fstab",
            Self::Journald => "journald.conf",
            Self::Kubernetes => "Kubernetes 1.17",
            Self::Modprobe => "modprobe.d",
            Self::ModulesLoad => "modules-load.d",
            Self::Policy => "containers policy",
            Self::Registries => "containers registries",
            Self::Repart => "repart.d",
            Self::Role => "role",
            Self::Shim => "shim",
            Self::Storage => "containers storage 1.19",
            Self::Sysctl => "sysctl.d",
            Self::Sysusers => "sysusers.d",
            Self::Tmpfiles => "tmpfiles.d",
            Self::Unit => "systemd unit",
        }
    }

    fn check(self, text: SourceText<'_>) -> Result<()> {
        let with = |document: document::YamlNode, schema: &schema::Schema| schema.check(text, &document, "");
        match self {
            Self::AptConf => lines::apt_conf(text),
            Self::AptPreferences => lines::apt_preferences(text),
            Self::Cni => with(document::json(text)?, &containers::CNI),
            Self::Crictl => with(document::yaml(text)?, &containers::CRICTL),
            Self::Crio => {
                let document = document::toml(text)?;
                containers::CRIO.check(text, &document, "")?;
                containers::crio_agrees(text, &document)
            }
            Self::Environment => lines::environment(text),
            Self::Fstab => lines::fstab(text),
            Self::Journald => lines::journald(text),
            Self::Kubernetes => kubernetes::check(text, &document::yaml(text)?),
            Self::Modprobe => lines::modprobe(text),
            Self::ModulesLoad => lines::modules(text),
            Self::Policy => with(document::json(text)?, &containers::POLICY),
            Self::Registries => with(document::toml(text)?, &containers::REGISTRIES),
            Self::Repart => lines::repart(text),
            Self::Role => {
                text.toml::<node::config::role::RoleConfig>()?;
                node::config::role::RoleConfig::parse(text.text)
                    .map(|_| ())
                    .map_err(|e| text.fault(0..0, e.to_string()))
            }
            Self::Shim => {
                text.toml::<node::config::shim::ShimConfig>()?;
                node::config::shim::ShimConfig::parse(text.text)
                    .map(|_| ())
                    .map_err(|e| text.fault(0..0, e.to_string()))
            }
            Self::Storage => with(document::toml(text)?, &containers::STORAGE),
            Self::Sysctl => lines::sysctl(text),
            Self::Sysusers => lines::sysusers(text),
            Self::Tmpfiles => lines::tmpfiles(text),
            Self::Unit => unit::check(text),
        }
    }
}

/// Reads one rendered file of a node by its format's schema.
pub fn check_file(path: &str, text: SourceText<'_>) -> Result<&'static str> {
    let Some(format) = Format::of(path) else {
        let what = format!("no schema knows /{path}");
        return Err(text
            .fault(0..0, what)
            .help("add one in builder/src/overlay/lint, or put the file where one is known"));
    };
    format.check(text)?;
    Ok(format.name())
}

/// Lints every overlay for every role of a recipe.
pub fn lint(files: &Files, recipe: &Recipe) -> Result<LintReport> {
    let mut report = LintReport::default();
    let mut used = BTreeSet::new();
    let mut every = None;
    let common = Overlay::parse(files, &OverlayName::new(COMMON)?)?;
    check_wipe(recipe, &common)?;
    let machine = Overlay::parse(files, &OverlayName::new(MACHINE)?)?;
    let images = Overlay::parse(files, &OverlayName::new(IMAGES)?)?;
    for role in recipe.roles.values() {
        let own = Overlay::parse(files, &role.overlay)?;
        let pinned = RoleVersions::new(recipe, role, None)?;
        let values = Values::new(recipe, &pinned, None)?;
        let mut lint =
            |overlay, values: &Values| lint_overlay(overlay, recipe, values, &mut used, &mut report);
        [&common, &machine, &images].into_iter().try_for_each(|overlay| lint(overlay, &values))?;
        let values = Values::new(recipe, &pinned, Some((role, &pinned.packages)))?;
        lint(&own, &values)?;
        every = Some(values);
    }
    check_used(files, every.iter().flat_map(Values::names), &used)?;
    Ok(report)
}

fn lint_overlay(
    overlay: &Overlay,
    recipe: &Recipe,
    values: &Values,
    used: &mut BTreeSet<String>,
    report: &mut LintReport,
) -> Result<()> {
    for (path, file, text) in render(overlay, values, used)?.texts {
        let format = check_file(path.as_str(), SourceText::new(&file, &text))?;
        rules::check(path.as_str(), SourceText::new(&file, &text), &recipe.line, values)?;
        report.files.insert(file, format);
    }
    Ok(())
}

/// A value of the site that no file takes would be a promise that nothing keeps.
fn check_used<'a>(
    files: &Files,
    names: impl Iterator<Item = &'a str>,
    used: &BTreeSet<String>,
) -> Result<()> {
    // Taken in another form.
    let through = |name: &str| match name {
        "host.swap" => used.contains("host.fail-swap-on"),
        "containers.registries" => used.contains("containers.registry-scopes"),
        _ => false,
    };
    let site = text_of(files, "recipes/site.toml")?;
    for name in names {
        let Some((table, key)) = name.split_once('.') else { continue };
        if !["network", "users", "containers", "host"].contains(&table)
            || used.contains(name)
            || through(name)
        {
            continue;
        }
        let start = site.find(&format!("[{table}]")).start;
        let at = site.text[start..].find(&format!("\n{key} =")).map(|offset| start + offset + 1);
        if let Some(at) = at {
            let fault = site.fault(at..at + key.len(), format!("no overlay uses `{name}`"));
            return Err(fault.help(format!("write `{{{{ {name} }}}}` where it belongs, or take it out")));
        }
    }
    Ok(())
}

fn check_wipe(recipe: &Recipe, common: &Overlay) -> Result<()> {
    let masked = common.links.get("etc/systemd/system/crio-wipe.service").is_some_and(|to| to == "/dev/null");
    if masked || !recipe.line.needs(&recipe.line.versions()).contains(&Need::NoCrioWipe) {
        return Ok(());
    }
    Err(Fault::user("crio-wipe.service is not masked: this CRI-O would delete its images at every boot")
        .help("link etc/systemd/system/crio-wipe.service to /dev/null in overlays/common.toml"))
}

#[cfg(test)]
mod tests;
