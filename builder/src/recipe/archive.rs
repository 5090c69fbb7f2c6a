//! Which keys may sign each of Debian's suites: `recipes/archive.toml` and the certificates in `recipes/keys`.
//!
//! Pins stand in the checkout and not in the machine's keyring, so that a lock does not depend on the
//! machine that makes it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::Spanned;

use super::{Files, text_of};
use crate::base::name::SuiteName;
use crate::base::{Fault, Result};
use crate::formats::openpgp::{Fingerprint, Keyring};

const FILE: &str = "recipes/archive.toml";

/// The keys of one suite.
#[derive(Clone, Debug)]
pub struct SuiteTrust {
    /// The components that packages are taken from.
    pub components: Vec<String>,
    /// The certificates that may sign its Release file.
    pub keyring: Keyring,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    suites: BTreeMap<SuiteName, RawSuite>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawSuite {
    components: Vec<String>,
    signed_by: Vec<Spanned<Fingerprint>>,
}

impl SuiteTrust {
    /// Reads what `recipes/archive.toml` says of one suite.
    pub fn parse(files: &Files, suite: &SuiteName) -> Result<Self> {
        let text = text_of(files, FILE)?;
        let mut raw: Raw = text.toml()?;
        let Some(raw) = raw.suites.remove(suite) else {
            let fault = Fault::user(format!("nobody is trusted to sign the suite {suite}"));
            return Err(fault.help(format!("write [suites.{suite}] in {FILE}")));
        };
        let mut certificates = Vec::new();
        for pin in &raw.signed_by {
            let file = format!("recipes/keys/{}.asc", pin.get_ref());
            let certificate = files.get(&file).ok_or_else(|| {
                let fault = text.fault(pin.span(), "a key without its certificate");
                fault.help(format!("put the armored certificate into {file}"))
            })?;
            certificates.push(certificate.as_bytes());
        }
        let pins: BTreeSet<Fingerprint> = raw.signed_by.into_iter().map(Spanned::into_inner).collect();
        Ok(Self { components: raw.components, keyring: Keyring::pinned(&certificates, &pins)? })
    }
}
