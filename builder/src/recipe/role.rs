//! A role: one kind of machine, `recipes/roles/NAME.toml`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::base::Result;
use crate::base::name::{ComponentName, GroupName, OverlayName, RoleName};
use crate::base::text::{SourceText, distinct};

/// One kind of machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Role {
    /// Its name, which is the file's.
    pub name: RoleName,
    /// Its purpose, in one line.
    pub about: String,
    /// The components it runs.
    pub components: BTreeSet<ComponentName>,
    /// Its own overlay. `common` lies under every role's.
    pub overlay: OverlayName,
    /// Groups of Debian packages that it needs besides what its components depend on.
    pub groups: BTreeSet<GroupName>,
    /// Whether kube-proxy runs on its machines.
    pub kube_proxy: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawRole {
    about: String,
    components: Vec<Spanned<ComponentName>>,
    overlay: OverlayName,
    groups: Vec<Spanned<GroupName>>,
    kube_proxy: bool,
}

impl Role {
    /// Reads `recipes/roles/NAME.toml`.
    pub fn parse(name: RoleName, text: SourceText<'_>) -> Result<Self> {
        let raw: RawRole = text.toml()?;
        Ok(Self {
            name,
            about: raw.about,
            components: distinct(text, raw.components)?,
            overlay: raw.overlay,
            groups: distinct(text, raw.groups)?,
            kube_proxy: raw.kube_proxy,
        })
    }
}
