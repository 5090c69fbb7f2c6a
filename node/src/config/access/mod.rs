//! `[access]` of `node.toml`: who may enter the machine. Without it nobody may.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::fault::{Fault, Result};

use super::role::UserConfig;
use super::values::serde_as_text;

mod password;
mod ssh_key;

use password::ClearText;
pub use password::PasswordHash;
pub use ssh_key::SshKey;

/// Who may enter the machine, and how.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AccessConfig {
    /// The one user who may log in, and become root.
    pub operator: Spanned<OperatorName>,
    /// Public keys that log the operator in by SSH; without one, SSH is off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_keys: Vec<SshKey>,
    /// Addresses that SSH listens on.
    #[serde(default)]
    pub ssh_listen: SshListen,
    /// Hash of the password that logs the operator in on a console, and nowhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<PasswordHash>,
    /// What people write in its place.
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "whatever stands there is refused")]
    password: Option<ClearText>,
}

/// Port of SSH.
pub const SSH_PORT: u16 = 22;

/// Addresses that SSH listens on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SshListen {
    /// The node's own in the cluster's subnet.
    #[default]
    Lan,
    /// All of the machine's.
    Every,
}

impl AccessConfig {
    /// Refuses a table that gives nobody a way in, and an operator whose name is another user's.
    pub fn check(&self, file: &str, text: &str, user: &UserConfig) -> Result<()> {
        let name = self.operator.get_ref().as_str();
        let fault = |what: String| Fault::input(what).at(file, text, self.operator.span());
        let own = [user.name.as_str(), &format!("{}-control-plane", user.name), "etcd", "root", "sshd"];
        // The cluster's own users begin so, and the operator is one of the cluster's, too.
        if own.contains(&name) || name.starts_with("kube") {
            return Err(fault(format!("{name} is a user of the system's")).help("choose another name"));
        }
        if self.ssh_keys.is_empty() && self.password_hash.is_none() {
            let what = format!("[access] gives {name} no way in");
            return Err(fault(what).help("give ssh-keys, or a password-hash for the console"));
        }
        Ok(())
    }

    /// Returns whether SSH is asked for.
    pub fn has_ssh(&self) -> bool {
        !self.ssh_keys.is_empty()
    }
}

/// A user's name, as useradd(8) and a certificate take it: at most 32 of a-z, 0-9, `_` and `-`, a letter first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OperatorName(String);

impl OperatorName {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OperatorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for OperatorName {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        let begins = text.starts_with(|first: char| first.is_ascii_lowercase());
        if begins && text.len() <= 32 && text.bytes().all(fits) {
            return Ok(Self(text.to_owned()));
        }
        Err(Fault::input(format!("{text:?} is no user's name"))
            .help("at most 32 of a-z, 0-9, _ and -, a letter first"))
    }
}

serde_as_text!(OperatorName);
