//! The lock: everything the outside world could change, resolved. `recipes/lines/LINE.lock`.
//!
//! ```toml
//! digest = "sha256:…"          # of everything below: an edited lock is refused, whichever digit it was
//! schema = 1
//! line = "1.17"
//! arch = "amd64"
//! recipe = "sha256:…"          # of what decides the lock; another one means: stale
//! epoch = 1763200000           # every file's time in every output
//!
//! [[suite]]                    # the archive as it was
//! name = "bookworm"
//! release = "sha256:…"         # of the signed InRelease
//! date = 1763200000
//! signed-by = ["…"]            # fingerprints
//!
//! [[input]]                    # sorted by component
//! component = "kubelet"
//! version = "1.17.17"
//! url = "https://…"
//! checksum = "sha256:…"
//!
//! [[package]]                  # sorted by name, then architecture
//! name = "conmon"
//! version = "2.1.6+ds1-1"
//! arch = "amd64"
//! suite = "bookworm"
//! path = "pool/main/c/conmon/conmon_2.1.6+ds1-1_amd64.deb"
//! size = 37000
//! sha256 = "…"
//! for = ["master", "node"]
//! ```
//!
//! A component that is compiled has `source = "NAME"` as an input, and there is a `[[source]]` of that name with
//! its version, its suite and its files, each as path, size and digest.
//!
//! Mirrors are not identity, so paths are relative to the archive. `LINE.local.lock` beside it holds
//! what `cargo xtask input add` took in; it belongs to one checkout and is never committed.

pub mod diff;
mod hex;
pub mod pins;
pub mod resolve;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::base::digest::Checksum;
use crate::base::name::{Arch, ComponentName, GroupName, LineName, PackageName, SuiteName};
use crate::base::text::SourceText;
use crate::base::tree::TreePath;
use crate::base::{Digest, Epoch, Fault, Result};
use crate::formats::debian::index::sources::{SourceFile, SourcePackage};
use crate::formats::debian::version::Version;
use crate::recipe::line::{Pin, Versions};
use crate::recipe::{Recipe, ResolvedOrigin};

/// The schema that this program reads and writes.
pub const SCHEMA: u32 = 1;

/// The resolved world of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The line.
    pub line: LineName,
    /// The architecture that was resolved.
    pub arch: Arch,
    /// [`Recipe::lock_digest`] of the recipe that it was made for.
    pub recipe: Digest,
    /// Every file's time in every output.
    pub epoch: Epoch,
    /// The suites, by name.
    pub suites: BTreeMap<SuiteName, LockedSuite>,
    /// Files and images that are not Debian's, by component.
    pub inputs: BTreeMap<ComponentName, LockedInput>,
    /// Debian's packages, by name and architecture.
    pub packages: BTreeMap<(PackageName, Arch), LockedPackage>,
    /// Source packages that components are compiled from, by name.
    pub sources: BTreeMap<PackageName, LockedSource>,
}

/// A suite as it was when the lock was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockedSuite {
    /// Its name.
    pub name: SuiteName,
    /// The digest of the signed InRelease.
    pub release: Digest,
    /// The Release's date.
    pub date: Epoch,
    /// Fingerprints of the keys whose signatures were good, 40 upper-case hex digits each.
    pub signed_by: BTreeSet<String>,
}

/// One package of Debian's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// Its name.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// Its architecture: the lock's, or `all`.
    pub arch: Arch,
    /// The suite that it was found in.
    pub suite: SuiteName,
    /// Its path below the archive's root: `pool/…`.
    pub path: TreePath,
    /// Its length in bytes.
    pub size: u64,
    /// Its digest, in hex as Debian writes it.
    #[serde(with = "hex")]
    pub sha256: Digest,
    /// The roles and groups that want it.
    #[serde(rename = "for")]
    pub wanted_by: BTreeSet<GroupName>,
}

/// One source package of Debian's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedSource {
    /// Its name.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// The suite that it was found in.
    pub suite: SuiteName,
    /// Its files: the `.dsc`, and what that names.
    pub file: Vec<LockedFile>,
}

/// One file of a source package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedFile {
    /// Its path below the archive's root: `pool/…`.
    pub path: TreePath,
    /// Its length in bytes.
    pub size: u64,
    /// Its digest, in hex as Debian writes it.
    #[serde(with = "hex")]
    pub sha256: Digest,
}

impl From<&SourcePackage> for LockedSource {
    fn from(source: &SourcePackage) -> Self {
        let file =
            |file: &SourceFile| LockedFile { path: file.path.clone(), size: file.size, sha256: file.digest };
        Self {
            name: source.name.clone(),
            version: source.version.clone(),
            suite: source.suite.clone(),
            file: source.files.iter().map(file).collect(),
        }
    }
}

/// One input that is not Debian's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedInput {
    /// The component.
    pub component: ComponentName,
    /// Upstream's version.
    pub version: Version,
    /// The origin of its bytes.
    pub from: LockedOrigin,
}

/// The origin of a locked input's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockedOrigin {
    /// A published file.
    Download {
        /// Its address.
        url: String,
        /// The checksum of its bytes.
        checksum: Checksum,
        /// Its length in bytes, when it is known.
        size: Option<u64>,
    },
    /// An image by digest.
    Image {
        /// The registry's host.
        registry: String,
        /// The repository there.
        repository: String,
        /// The manifest's digest.
        digest: Digest,
    },
    /// Compiled from a source package that stands in the lock.
    SourcePackage {
        /// Its name.
        source: PackageName,
    },
    /// To be handed over with `cargo xtask input add`; nothing is known of its bytes yet.
    Provided,
    /// Handed over: in the store, by digest. Its packages' versions end in `+local`.
    Supplied {
        /// The file's name when it was handed over; its ending tells what it is.
        file: String,
        /// The digest of its bytes.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
    },
}

impl Lock {
    /// Checks that it was made for this recipe.
    pub fn check_fresh(&self, recipe: &Recipe, text: SourceText<'_>) -> Result<()> {
        let now = recipe.lock_digest()?;
        if self.recipe == now {
            return Ok(());
        }
        let what = format!("the lock is stale: recipes changed since `cargo xtask lock {}`", self.line);
        let mut fault = text.fault(text.find("recipe = "), what).expected_found(now, self.recipe);
        for difference in self.differences(recipe) {
            fault = fault.cause(difference);
        }
        Err(fault.help(format!("cargo xtask lock {}", self.line)))
    }

    /// Returns the lock's identity: the digest of its text.
    pub fn digest(&self) -> Result<Digest> {
        Ok(Digest::of(self.to_text()?))
    }

    /// Returns the lock with what this checkout was handed over in the place of what was pinned.
    pub fn with_local(mut self, local: &Local) -> Self {
        for input in local.inputs.values() {
            self.inputs.insert(input.component.clone(), input.clone());
        }
        self
    }

    /// Returns the entries that a recipe without any network decides: its files, images and provided things.
    pub fn inputs_of(recipe: &Recipe) -> Result<BTreeMap<ComponentName, LockedInput>> {
        let mut inputs = BTreeMap::new();
        for (name, pin) in &recipe.line.pins {
            let from = match recipe.source(name)? {
                ResolvedOrigin::Debian { .. } => continue,
                ResolvedOrigin::Download { url, checksum } => {
                    LockedOrigin::Download { url, checksum, size: None }
                }
                ResolvedOrigin::Image { registry, repository, digest } => {
                    LockedOrigin::Image { registry, repository, digest }
                }
                ResolvedOrigin::SourcePackage { package } => LockedOrigin::SourcePackage { source: package },
                ResolvedOrigin::Provided { .. } => LockedOrigin::Provided,
            };
            let input = LockedInput { component: name.clone(), version: pin.version().clone(), from };
            inputs.insert(name.clone(), input);
        }
        Ok(inputs)
    }

    /// Returns the packages that a role or group wants.
    pub fn wanted_by(&self, group: &str) -> impl Iterator<Item = &LockedPackage> {
        self.packages.values().filter(move |package| package.wanted_by.contains(group))
    }

    /// Returns the versions that the line's rules judge: pinned, or as the inputs have them.
    pub fn versions(&self, recipe: &Recipe) -> Versions {
        let mut versions = recipe.line.versions();
        versions.extend(self.inputs.values().map(|input| (input.component.clone(), input.version.clone())));
        versions
    }

    /// Returns the version of a component: Debian's as locked, or the input's.
    pub fn version_of(&self, recipe: &Recipe, component: &ComponentName) -> Result<&Version> {
        if let Some(input) = self.inputs.get(component) {
            return Ok(&input.version);
        }
        if let (Ok(ResolvedOrigin::Debian { package }), Some(Pin::Debian { .. })) =
            (recipe.source(component), recipe.line.pins.get(component))
        {
            let found = self.packages.values().find(|locked| locked.name == package);
            if let Some(found) = found {
                return Ok(&found.version);
            }
        }
        Err(Fault::user(format!("the lock knows nothing of `{component}`"))
            .help(format!("cargo xtask lock {}", self.line)))
    }

    /// What differs between it and the recipe, for people.
    fn differences(&self, recipe: &Recipe) -> Vec<String> {
        let Ok(now) = Self::inputs_of(recipe) else { return Vec::new() };
        let names: BTreeSet<_> = now.keys().chain(self.inputs.keys()).collect();
        let version = |map: &BTreeMap<ComponentName, LockedInput>, name: &ComponentName| {
            map.get(name).map_or("nothing".to_owned(), |input| input.version.to_string())
        };
        let differs = |name: &&&ComponentName| version(&now, name) != version(&self.inputs, name);
        let tell = |name: &ComponentName| {
            format!(
                "`{name}`: the recipe has {}, the lock {}",
                version(&now, name),
                version(&self.inputs, name)
            )
        };
        names.iter().filter(differs).map(|name| tell(name)).collect()
    }
}

/// The inputs that `cargo xtask input add` took in: `LINE.local.lock`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Local {
    /// By component; each is [`LockedOrigin::Supplied`].
    pub inputs: BTreeMap<ComponentName, LockedInput>,
}

#[cfg(test)]
mod tests;
