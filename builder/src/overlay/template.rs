//! Rendering: `{{ values }}` of an overlay's files become the site's, the line's and the role's.
//!
//! No conditions, no loops, no escapes: a value stands where its name stood. No value has a line break, so
//! a line of the rendered file is the same line of the overlay's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use node::config::apt::{AptSource, Suite};
use serde::Serialize;

use super::Overlay;
use crate::base::name::{ComponentName, PackageName};
use crate::base::text::SourceText;
use crate::base::tree::{Memory, Node, Tree, TreePath};
use crate::base::{Fault, Result, json};
use crate::formats::debian::version::Version;
use crate::lock::pins::RoleVersions;
use crate::recipe::Recipe;
use crate::recipe::component::{Origin, Product};
use crate::recipe::line::Need;
use crate::recipe::role::Role;
use crate::recipe::site::ImageSource;

/// The values of `{{ names }}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values(BTreeMap<String, String>);

impl Values {
    /// Collects the values of files: the site's by their path in `site.toml`, the line's with what is pinned, and
    /// with a role that role's own. Lists are written as JSON, which TOML and YAML read too.
    pub fn new(
        recipe: &Recipe,
        pinned: &RoleVersions,
        role: Option<(&Role, &BTreeMap<PackageName, Version>)>,
    ) -> Result<Self> {
        let (mut values, versions) = (site_values(recipe)?, &pinned.versions);
        let mut set = |name: &str, value: String| values.insert(name.to_owned(), value);
        let shim = recipe.line.needs(versions).contains(&Need::Shim);
        set("line.name", recipe.line.name.to_string());
        set("line.image-repository", recipe.line.image_repository.clone());
        set("line.apparmor-profile", recipe.line.apparmor_profile(versions));
        set("line.shim", shim.to_string());
        set("line.conmon", if shim { "/usr/lib/hale/conmon" } else { "/usr/bin/conmon" }.to_owned());
        set("line.crun", if shim { "/usr/lib/hale/crun" } else { "/usr/bin/crun" }.to_owned());
        for (name, version) in versions {
            set(&format!("version.{name}"), version.to_string());
            if let Some(tag) = image_tag(recipe, name, version) {
                set(&format!("tag.{name}"), tag);
            }
        }
        for (name, (package, version)) in &pinned.parts {
            set(&format!("package.{name}"), package.to_string());
            set(&format!("package-version.{name}"), version.to_string());
        }
        if let Some((role, packages)) = role {
            let pods = recipe.site.pods.get(role.name.as_str());
            let pods = pods.ok_or_else(|| Fault::bug(format!("no pod range for role `{}`", role.name)))?;
            set("pods.first", pods.first.to_string());
            set("pods.last", pods.last.to_string());
            set("pods.range", pods.to_string());
            set("role.name", role.name.to_string());
            set("role.kube-proxy", role.kube_proxy.to_string());
            set("role.packages", list(packages));
        }
        match values.iter().find(|(_, value)| value.contains(['\n', '\r'])) {
            Some((name, _)) => Err(Fault::user(format!("the value `{name}` has a line break"))),
            None => Ok(Self(values)),
        }
    }

    /// Returns all names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns the text that a name stands for.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Puts values in the place of their names; adds the names to `used`.
    pub fn render(&self, text: SourceText<'_>, used: &mut BTreeSet<String>) -> Result<String> {
        let mut out = String::with_capacity(text.text.len());
        let mut at = 0;
        while let Some(open) = text.text[at..].find("{{").map(|offset| at + offset) {
            out.push_str(&text.text[at..open]);
            let line_end = text.text[open..].find('\n').map_or(text.text.len(), |offset| open + offset);
            let Some(close) = text.text[open..line_end].find("}}").map(|offset| open + offset) else {
                return Err(text.fault(open..line_end, "`{{` without `}}` on its line"));
            };
            let name = text.text[open + 2..close].trim();
            let Some(value) = self.0.get(name) else {
                let known: Vec<_> = self.names().collect();
                let fault = text.fault(open..close + 2, format!("unknown value `{name}`"));
                return Err(match crate::base::text::nearest(name, &known) {
                    Some(near) => fault.help(format!("write `{{{{ {near} }}}}`")),
                    None => fault.expected_found(
                        "a value of recipes/site.toml, the line or the role",
                        format!("`{name}`"),
                    ),
                });
            };
            used.insert(name.to_owned());
            out.push_str(value);
            at = close + 2;
        }
        out.push_str(&text.text[at..]);
        Ok(out)
    }
}

/// An overlay with its values in.
#[derive(Clone, Debug, Default)]
pub struct Rendered {
    /// The tree; every file is root's.
    pub tree: Tree,
    /// Its files' bytes.
    pub contents: Memory,
    /// The rendered texts, for lint: path on the node, path in the checkout, text.
    pub texts: Vec<(TreePath, String, String)>,
}

/// Renders an overlay.
pub fn render(overlay: &Overlay, values: &Values, used: &mut BTreeSet<String>) -> Result<Rendered> {
    let mut rendered = Rendered::default();
    for (path, mode) in &overlay.directories {
        rendered.tree.insert(path.clone(), Node::dir(*mode))?;
    }
    for (path, target) in &overlay.links {
        rendered.tree.insert(path.clone(), Node::symlink(target))?;
    }
    for (path, file) in &overlay.files {
        let text = values.render(SourceText::new(&file.file, &file.text), used)?;
        let node = rendered.contents.file(text.as_bytes(), file.mode);
        rendered.tree.insert(path.clone(), node)?;
        rendered.texts.push((path.clone(), file.file.clone(), text));
    }
    Ok(rendered)
}

/// Returns the tag that Kubernetes calls a component's image by.
pub fn image_tag(recipe: &Recipe, name: &ComponentName, version: &Version) -> Option<String> {
    let component = recipe.components.get(name)?;
    match (&component.from, &component.becomes) {
        (Origin::Image { tag, .. }, _) => Some(tag.replace("{version}", version.as_str())),
        (_, Product::Image(image)) => Some(image.tag(version)),
        _ => None,
    }
}

fn site_values(recipe: &Recipe) -> Result<BTreeMap<String, String>> {
    let site = &recipe.site;
    let mut values = BTreeMap::new();
    flatten("network", &site.network, &mut values)?;
    flatten("users", &site.users, &mut values)?;
    flatten("containers", &site.containers, &mut values)?;
    flatten("host", &site.host, &mut values)?;
    // kubeadm gives the cluster's DNS the tenth address of the service subnet.
    let dns = Ipv4Addr::from(u32::from(site.network.service_subnet.network()) + 10);
    values.insert("network.dns-address".to_owned(), dns.to_string());
    let mapping = format!("0:{}:{}", site.users.first_id, site.users.count);
    values.insert("containers.registry-scopes".to_owned(), registry_scopes(&site.containers.registries)?);
    values.insert("users.mapping".to_owned(), mapping);
    values.insert("users.etcd-id".to_owned(), site.users.etcd_id().to_string());
    values.insert("apt.sources".to_owned(), sources(&site.apt));
    values.insert("host.fail-swap-on".to_owned(), (!site.host.swap).to_string());
    Ok(values)
}

/// The scopes of `docker` in `policy.json`: what is listed is taken, and nothing else.
fn registry_scopes(registries: &[ImageSource]) -> Result<String> {
    let name = |source: &ImageSource| if source.as_str() == "*" { String::new() } else { source.to_string() };
    let accept = serde_json::json!([{ "type": "insecureAcceptAnything" }]);
    let scopes: BTreeMap<String, _> = registries.iter().map(|source| (name(source), &accept)).collect();
    let bytes = json::canonical(&scopes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `TABLE.key` for every key of a table of the site.
fn flatten(table: &str, value: &impl Serialize, values: &mut BTreeMap<String, String>) -> Result<()> {
    let value = serde_json::to_value(value).map_err(|e| Fault::bug("a site has no JSON form").cause(e))?;
    for (key, value) in value.as_object().into_iter().flatten() {
        let text = match value {
            serde_json::Value::String(text) => text.clone(),
            other => String::from_utf8_lossy(&json::canonical(other)?).into_owned(),
        };
        values.insert(format!("{table}.{}", key.replace('_', "-")), text);
    }
    Ok(())
}

/// `[{ uri = "http://…", suites = ["bookworm"] }]`: a list that TOML reads.
fn sources(apt: &[AptSource]) -> String {
    let quoted = |suite: &Suite| format!("\"{suite}\"");
    let item = |source: &AptSource| {
        let suites = source.suites.iter().map(quoted).collect::<Vec<_>>().join(", ");
        format!("{{ uri = \"{}\", suites = [{suites}] }}", source.uri)
    };
    format!("[{}]", apt.iter().map(item).collect::<Vec<_>>().join(", "))
}

/// `[{ name = "crun", version = "1.17+hale1" }]`: a list that TOML reads.
fn list(held: &BTreeMap<PackageName, Version>) -> String {
    let items: Vec<_> = held
        .iter()
        .map(|(name, version)| format!("{{ name = \"{name}\", version = \"{version}\" }}"))
        .collect();
    format!("[{}]", items.join(", "))
}
