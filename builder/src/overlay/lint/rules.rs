//! Demands of the line's rules on files, beside their own schemas: the crun that CRI-O calls, and the AppArmor profile,
//! whose name follows CRI-O's version. A file that says it by itself, and not by the line's value, must say the same.

use super::document::{self, YamlNode};
use crate::base::Result;
use crate::base::text::SourceText;
use crate::overlay::template::Values;
use crate::recipe::line::{Line, Need};

/// Reads a rendered file that the rules are about.
pub(super) fn check(path: &str, text: SourceText<'_>, line: &Line, values: &Values) -> Result<()> {
    let agrees = |node: Option<&YamlNode>, value: &str| match node {
        Some(node) => agrees(text, node, line, values, value),
        None => Ok(()),
    };
    if path.starts_with("etc/crio/crio.conf.d/") {
        let document = document::toml(text)?;
        let runtime = document.get("crio").and_then(|crio| crio.get("runtime"));
        agrees(runtime.and_then(|runtime| runtime.get("apparmor_profile")), "line.apparmor-profile")?;
        let runtimes = runtime.and_then(|runtime| runtime.get("runtimes"));
        runtimes
            .iter()
            .flat_map(|runtimes| runtimes.entries())
            .try_for_each(|runtime| agrees(runtime.get("runtime_path"), "line.crun"))?;
    }
    if path == node::config::role::RoleConfig::PATH.trim_start_matches('/') {
        let document = document::toml(text)?;
        let runtime = document.get("runtime");
        agrees(runtime.and_then(|runtime| runtime.get("apparmor-profile")), "line.apparmor-profile")?;
        agrees(runtime.and_then(|runtime| runtime.get("shim")), "line.shim")?;
    }
    Ok(())
}

/// Whether what stands there is what the line has.
fn agrees(text: SourceText<'_>, node: &YamlNode, line: &Line, values: &Values, value: &str) -> Result<()> {
    let found = text.text[node.span.clone()].trim_matches('"');
    let expected = values.get(value).unwrap_or_default();
    if found == expected {
        return Ok(());
    }
    let rule = line
        .rules
        .iter()
        .find(|(_, rule)| rule.needs == Some(Need::Shim))
        .filter(|_| value != "line.apparmor-profile");
    let fault = match rule {
        Some((name, rule)) => {
            text.fault(node.span.clone(), format!("against rule `{name}`")).cause(&rule.because)
        }
        None => text.fault(
            node.span.clone(),
            "not the profile that this line's CRI-O loads: its name follows CRI-O's version",
        ),
    };
    Err(fault.expected_found(expected, found).help(format!("write `{{{{ {value} }}}}`")))
}
