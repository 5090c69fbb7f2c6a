//! A recipe: site, line, components, roles and groups, read together and checked against each other.

pub mod archive;
pub mod component;
pub mod line;
pub mod role;
pub mod site;
pub mod source_build;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::base::digest::Checksum;
use crate::base::name::{Arch, ComponentName, GroupName, LineName, PackageName, RoleName, SuiteName};
use crate::base::text::{SourceText, distinct};
use crate::base::{Digest, Fault, Result, json};
use crate::formats::debian::version::Version;
use component::{Component, ComponentPackage, ComponentRecipe, Origin, OriginKind, Product};
use line::{Line, Pin};
use role::Role;
use site::Site;
use source_build::SourceBuild;

/// Everything that is decided before the outside world is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// The cluster's own values.
    pub site: Site,
    /// The pins.
    pub line: Line,
    /// The pinned components.
    pub components: BTreeMap<ComponentName, Component>,
    /// The kinds of machines.
    pub roles: BTreeMap<RoleName, Role>,
    /// Debian packages that are wanted together.
    pub groups: BTreeMap<GroupName, Group>,
    /// Source packages that components of the line are compiled from.
    pub sources: BTreeMap<PackageName, SourceBuild>,
}

/// Debian packages that are wanted together, `recipes/groups/NAME.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Its purpose, in one line.
    pub about: String,
    /// The packages; what they depend on comes along.
    pub packages: BTreeSet<PackageName>,
}

/// The origin of a component's bytes, once version and architecture are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum ResolvedOrigin {
    /// A package of Debian's; the lock says which version and where.
    #[serde(rename = "Apt")]
    Debian {
        /// Its name.
        package: PackageName,
    },
    /// A published file.
    #[serde(rename = "Url")]
    Download {
        /// Its address.
        url: String,
        /// The checksum of its bytes.
        checksum: Checksum,
    },
    /// A container image.
    Image {
        /// The registry's host.
        registry: String,
        /// The repository there.
        repository: String,
        /// The manifest's digest.
        digest: Digest,
    },
    /// Compiled from a source package of Debian's; the lock says which version and where.
    #[serde(rename = "Compiled")]
    SourcePackage {
        /// Its name.
        package: PackageName,
    },
    /// Bytes that the operator hands over.
    Provided {
        /// Instructions for the person who gets it.
        how: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGroup {
    about: String,
    packages: Vec<Spanned<PackageName>>,
}

impl Group {
    /// Reads `recipes/groups/NAME.toml`.
    pub fn parse(text: SourceText<'_>) -> Result<Self> {
        let raw: RawGroup = text.toml()?;
        Ok(Self { about: raw.about, packages: distinct(text, raw.packages)? })
    }
}

/// The name under which the lock marks what images of ours are made from.
pub const IMAGES: &str = "images";

/// Text files of a checkout by their path there, such as `recipes/roles/master.toml`.
pub type Files = BTreeMap<String, String>;

impl Recipe {
    /// Reads the files of `recipes/` for one line.
    pub fn parse(files: &Files, line: &LineName) -> Result<Self> {
        let site = Site::parse(text_of(files, "recipes/site.toml")?)?;
        let line_file = format!("recipes/lines/{line}.toml");
        if !files.contains_key(&line_file) {
            let known: Vec<_> = names_in(files, "lines").map(|(name, _)| name).collect();
            let known: Vec<_> = known.iter().map(String::as_str).collect();
            return Err(Fault::user(format!("no line `{line}`"))
                .expected_found(crate::base::text::one_of(&known), line));
        }
        let line = Line::parse(line.clone(), text_of(files, &line_file)?)?;
        let components = components(files, &line, text_of(files, &line_file)?)?;
        let mut roles = BTreeMap::new();
        for (name, file) in names_in(files, "roles") {
            let name = RoleName::new(name)?;
            roles.insert(name.clone(), Role::parse(name, text_of(files, &file)?)?);
        }
        let mut groups = BTreeMap::new();
        for (name, file) in names_in(files, "groups") {
            groups.insert(GroupName::new(name)?, Group::parse(text_of(files, &file)?)?);
        }
        let sources = sources(files, &components)?;
        let recipe = Self { site, line, components, roles, groups, sources };
        recipe.check_pins(text_of(files, &line_file)?)?;
        recipe.check_roles(files)?;
        Ok(recipe)
    }

    /// Finds a component of the line by name.
    pub fn component(&self, name: &str) -> Result<&Component> {
        self.components
            .get(name)
            .ok_or_else(|| Fault::user(format!("no component `{name}` in {}", self.line.name)))
    }

    /// Finds a role by name.
    pub fn role(&self, name: &str) -> Result<&Role> {
        self.roles.get(name).ok_or_else(|| {
            let known: Vec<_> = self.roles.keys().map(RoleName::as_str).collect();
            Fault::user(format!("no role `{name}`"))
                .expected_found(crate::base::text::one_of(&known), format!("`{name}`"))
        })
    }

    /// Returns where a component's bytes are, for the line's architecture.
    pub fn source(&self, name: &ComponentName) -> Result<ResolvedOrigin> {
        let component = self.component(name.as_str())?;
        let pin = self.line.pins.get(name);
        let pin = pin.ok_or_else(|| Fault::bug(format!("no pin for `{name}`")))?;
        source(component, pin, self.line.arch)
    }

    /// Returns the components of a role that are container images.
    pub fn images<'a>(&'a self, role: &'a Role) -> impl Iterator<Item = &'a Component> {
        let components = role.components.iter().filter_map(|name| self.components.get(name));
        components
            .filter(|component| component.image().is_some() || matches!(component.from, Origin::Image { .. }))
    }

    /// Returns the name of the package with a role's images. Where a registry has one of them there is none:
    /// machines pull.
    pub fn images_package(&self, role: &Role) -> Result<Option<PackageName>> {
        match self.images(role).all(|component| component.image().is_some()) {
            true => PackageName::new(format!("hale-{}-images", role.name)).map(Some),
            false => Ok(None),
        }
    }

    /// Returns the Debian relations that each role and group wants satisfied, by the name under which the lock
    /// marks what they draw in.
    pub fn wanted(&self) -> Result<BTreeMap<GroupName, BTreeSet<String>>> {
        let mut wanted = BTreeMap::new();
        for (name, group) in &self.groups {
            wanted.insert(name.clone(), group.packages.iter().map(PackageName::to_string).collect());
        }
        for role in self.roles.values() {
            let mut relations = BTreeSet::new();
            for group in &role.groups {
                relations.extend(self.groups[group].packages.iter().map(PackageName::to_string));
            }
            for name in &role.components {
                relations.extend(self.relations(name)?);
            }
            wanted.insert(GroupName::new(role.name.as_str())?, relations);
        }
        for (package, source) in &self.sources {
            wanted.insert(source_build::group(package)?, source.relations());
        }
        // Images of ours hold Debian's programs; no machine installs those packages.
        for component in self.components.values() {
            if let (Origin::Debian { package }, Product::Image(_)) = (&component.from, &component.becomes) {
                let least = self
                    .line
                    .pins
                    .get(&component.name)
                    .map(|pin| format!("{package} (>= {})", pin.version()));
                wanted.entry(GroupName::new(IMAGES)?).or_default().extend(least);
            }
        }
        Ok(wanted)
    }

    /// Refuses a version of a source package that is older than a pin of the line takes.
    pub fn check_source(&self, package: &PackageName, version: &Version) -> Result<()> {
        for (name, component) in &self.components {
            let of = matches!(&component.from, Origin::SourcePackage { package: of } if of == package);
            if let (true, Some(Pin::Source { at_least, .. })) = (of, self.line.pins.get(name))
                && version < at_least
            {
                let fault = Fault::user(format!("the source package `{package}` is too old for `{name}`"));
                return Err(fault.expected_found(format!("{at_least} or later"), version));
            }
        }
        Ok(())
    }

    /// What one component wants of Debian.
    fn relations(&self, name: &ComponentName) -> Result<Vec<String>> {
        let component = self.component(name.as_str())?;
        Ok(match (&component.from, &component.becomes) {
            (Origin::Debian { package }, Product::AsIs) => {
                vec![format!("{package} (>= {})", self.line.pins[name].version())]
            }
            (_, Product::Deb(ComponentPackage { depends, .. })) => depends.clone(),
            _ => Vec::new(),
        })
    }

    /// Returns the identity of what decides the lock: pins, origins, relations, suites. Site values, texts for
    /// people, modes and rules do not.
    pub fn lock_digest(&self) -> Result<Digest> {
        #[derive(Serialize)]
        struct Deciding<'a> {
            line: &'a LineName,
            arch: Arch,
            suites: &'a BTreeSet<SuiteName>,
            sources: BTreeMap<&'a ComponentName, (&'a Version, ResolvedOrigin)>,
            wanted: BTreeMap<GroupName, BTreeSet<String>>,
        }
        let mut sources = BTreeMap::new();
        for (name, pin) in &self.line.pins {
            sources.insert(name, (pin.version(), self.source(name)?));
        }
        let deciding = Deciding {
            line: &self.line.name,
            arch: self.line.arch,
            suites: &self.line.suites,
            sources,
            wanted: self.wanted()?,
        };
        Ok(Digest::of(json::canonical(&deciding)?))
    }

    fn check_pins(&self, text: SourceText<'_>) -> Result<()> {
        for (name, pin) in &self.line.pins {
            let at = text.find(&format!("pins.{name}]"));
            let Some(component) = self.components.get(name) else {
                let fault = text.fault(at, format!("a pin for `{name}`, which is no component"));
                return Err(fault.help(format!("write recipes/components/{name}.toml, or take the pin out")));
            };
            source(component, pin, self.line.arch).map_err(|fault| text.attach_span(at, fault))?;
        }
        Ok(())
    }

    fn check_roles(&self, files: &Files) -> Result<()> {
        for role in self.roles.values() {
            let file = format!("recipes/roles/{}.toml", role.name);
            let text = text_of(files, &file)?;
            if let Some(name) = role.components.iter().find(|name| !self.components.contains_key(*name)) {
                let known: Vec<_> = self.components.keys().map(ComponentName::as_str).collect();
                let fault = text.fault(
                    text.find(&format!("\"{name}\"")),
                    format!("line {} has no `{name}`", self.line.name),
                );
                return Err(match crate::base::text::nearest(name.as_str(), &known) {
                    Some(near) => fault.help(format!("write `{near}`")),
                    None => fault.expected_found(crate::base::text::one_of(&known), format!("`{name}`")),
                });
            }
            if let Some(name) = role.groups.iter().find(|name| !self.groups.contains_key(*name)) {
                let known: Vec<_> = self.groups.keys().map(GroupName::as_str).collect();
                let fault = text.fault(text.find(&format!("\"{name}\"")), format!("no group `{name}`"));
                return Err(fault.expected_found(crate::base::text::one_of(&known), format!("`{name}`")));
            }
            if self.groups.contains_key(role.name.as_str()) {
                return Err(Fault::user(format!("`{}` is both a role and a group", role.name)));
            }
            if !self.site.pods.contains_key(role.name.as_str()) {
                let site = text_of(files, "recipes/site.toml")?;
                let fault = site.fault(site.find("[pods]"), format!("no pod range for role `{}`", role.name));
                return Err(fault.help(format!("add `{} = \"FIRST-LAST\"`", role.name)));
            }
        }
        Ok(())
    }
}

/// The components that a line pins, each from where its pin says.
fn components(
    files: &Files,
    line: &Line,
    text: SourceText<'_>,
) -> Result<BTreeMap<ComponentName, Component>> {
    let mut components = BTreeMap::new();
    for (name, file) in names_in(files, "components") {
        let name = ComponentName::new(name)?;
        let offered = ComponentRecipe::parse(name.clone(), text_of(files, &file)?)?;
        let Some(pin) = line.pins.get(&name) else { continue };
        let Some(component) = offered.choose(pin.origin()) else {
            let at = text.find(&format!("pins.{name}]"));
            let expected: Vec<_> = offered.kinds().map(OriginKind::pin).collect();
            let fault = text.fault(at, format!("the pin does not fit where `{name}` comes from"));
            return Err(fault.expected_found(expected.join(", or "), pin.origin().pin()));
        };
        components.insert(name, component);
    }
    Ok(components)
}

/// The source packages that some components are compiled from.
fn sources(
    files: &Files,
    components: &BTreeMap<ComponentName, Component>,
) -> Result<BTreeMap<PackageName, SourceBuild>> {
    let mut sources = BTreeMap::new();
    for component in components.values() {
        if let Origin::SourcePackage { package } = &component.from {
            let text = text_of(files, &format!("recipes/sources/{package}.toml"))?;
            sources.insert(package.clone(), SourceBuild::parse(text)?);
        }
    }
    Ok(sources)
}

fn source(component: &Component, pin: &Pin, arch: Arch) -> Result<ResolvedOrigin> {
    Ok(match (&component.from, pin) {
        (Origin::Debian { package }, Pin::Debian { .. }) => {
            ResolvedOrigin::Debian { package: package.clone() }
        }
        (Origin::Download { address, .. }, Pin::Published { version, checksums }) => {
            let checksum = *checksums.get(&arch).ok_or_else(|| {
                Fault::user(format!("no checksum of `{}` for {arch}", component.name))
                    .help(format!("add `checksum.{arch}`"))
            })?;
            ResolvedOrigin::Download { url: address.fill(version.as_str(), arch), checksum }
        }
        (Origin::Image { registry, repository, .. }, Pin::Image { digest, .. }) => ResolvedOrigin::Image {
            registry: registry.clone(),
            repository: repository.clone(),
            digest: *digest,
        },
        (Origin::SourcePackage { package }, Pin::Source { .. }) => {
            ResolvedOrigin::SourcePackage { package: package.clone() }
        }
        (Origin::Provided { how }, Pin::Provided { .. }) => ResolvedOrigin::Provided { how: how.clone() },
        _ => {
            return Err(Fault::bug(format!("`{}` comes from elsewhere than its pin says", component.name)));
        }
    })
}

pub(crate) fn text_of<'a>(files: &'a Files, file: &str) -> Result<SourceText<'a>> {
    let found = files.get_key_value(file);
    let (name, text) = found.ok_or_else(|| Fault::user(format!("{file} is missing")))?;
    Ok(SourceText::new(name, text))
}

/// `NAME` and `recipes/FOLDER/NAME.toml` of each file in a folder.
fn names_in(files: &Files, folder: &str) -> impl Iterator<Item = (String, String)> {
    let prefix = format!("recipes/{folder}/");
    files.keys().filter_map(move |file| {
        let name = file.strip_prefix(&prefix)?.strip_suffix(".toml")?;
        Some((name.to_owned(), file.clone()))
    })
}

#[cfg(test)]
pub(crate) mod shipped;
