//! The values of `node.toml` that are secrets, or stand for one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::fault::{Fault, Result};

use super::serde_as_text;

/// Text that no message shows and that is zeroed when dropped.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Returns the text: for writing into a file of mode 0600, and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A bootstrap token: `[a-z0-9]{6}.[a-z0-9]{16}`, as kubeadm checks it. The part before the dot is public.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Token(Secret);

impl Token {
    /// Returns the whole token.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl TryFrom<String> for Token {
    type Error = Fault;
    fn try_from(text: String) -> Result<Self> {
        let text = Secret::from(text);
        let part =
            |s: &str, len| s.len() == len && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        match text.expose().split_once('.') {
            Some((id, secret)) if part(id, 6) && part(secret, 16) => Ok(Self(text)),
            _ => {
                Err(Fault::input("not a bootstrap token: six and sixteen of a-z and 0-9, with a dot between"))
            }
        }
    }
}

/// PEM text: one or more blocks, nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pem(Secret);

impl Pem {
    /// Returns the text, which ends in a newline.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Returns whether the label of every block ends in `label`, such as `CERTIFICATE` (`RSA PRIVATE KEY` is a `PRIVATE
    /// KEY`).
    pub fn holds(&self, label: &str) -> bool {
        let begins = self.expose().lines().filter_map(|line| line.strip_prefix("-----BEGIN "));
        let mut labels = begins.map(|rest| rest.trim_end_matches('-')).peekable();
        labels.peek().is_some() && labels.all(|found| found.ends_with(label))
    }
}

impl TryFrom<String> for Pem {
    type Error = Fault;
    fn try_from(text: String) -> Result<Self> {
        let text = Zeroizing::new(text);
        let mut open: Option<&str> = None;
        let mut blocks = 0;
        for line in text.trim().lines() {
            let begin = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----"));
            let end = line.strip_prefix("-----END ").and_then(|rest| rest.strip_suffix("-----"));
            let base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
            match (open, begin, end) {
                (None, Some(label), _) => open = Some(label),
                (Some(label), _, Some(closed)) if label == closed => (open, blocks) = (None, blocks + 1),
                (Some(_), None, None) if line.bytes().all(base64) => {}
                _ => return Err(Fault::input("not PEM text")),
            }
        }
        if open.is_some() || blocks == 0 {
            return Err(Fault::input("PEM text that ends too early"));
        }
        Ok(Self(format!("{}\n", text.trim()).into()))
    }
}

// Only certificates are ever written back; secrets skip serialisation at the field.
impl Serialize for Pem {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

/// `sha256:` and 64 hex digits: the digest of a CA's public key, as `kubeadm` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CaPin(String);

impl fmt::Display for CaPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CaPin {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        match text.strip_prefix("sha256:") {
            Some(digits) if digits.len() == 64 && digits.bytes().all(hex) => Ok(Self(text.to_owned())),
            _ => Err(Fault::input("not a pin: `sha256:` and 64 hex digits")),
        }
    }
}

serde_as_text!(CaPin);
