//! Pins: the version of a component, and how its bytes are known.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::base::digest::Checksum;
use crate::base::name::{Arch, ComponentName};
use crate::base::text::SourceText;
use crate::base::{Digest, Result};
use crate::formats::debian::version::Version;
use crate::recipe::component::OriginKind;

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
    /// Returns the pinned version; for Debian's, the least that will do.
    pub fn version(&self) -> &Version {
        match self {
            Self::Debian { at_least } => at_least,
            Self::Published { version, .. } | Self::Source { version, .. } | Self::Provided { version } => {
                version
            }
            Self::Image { tag, .. } => tag,
        }
    }

    /// Returns where a component with this pin comes from.
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawPin {
    version: Option<Version>,
    at_least: Option<Version>,
    source_at_least: Option<Version>,
    checksum: Option<BTreeMap<Arch, Spanned<Checksum>>>,
    digest: Option<Spanned<Digest>>,
}

/// Reads the pins of a line; refuses rejected checksums.
pub(super) fn pins(
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
