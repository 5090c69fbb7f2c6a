//! Names of people and of their groups, as they stand in a certificate's subject.

use std::fmt;
use std::str::FromStr;

use crate::fault::{Fault, Result};

/// The name of a person: at most 64 of a-z, 0-9, `.`, `_`, `-` and `@`, a letter or digit first, and none that the
/// cluster uses itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonName(String);

/// The name of a group: at most 64 of letters, digits, `:`, `.`, `_` and `-`, and none that the cluster uses itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group(String);

/// Names of the cluster's own users that do not begin with `system:` (kubeadm's certificates).
const RESERVED: [&str; 4] =
    ["kubernetes", "kubernetes-admin", "kubernetes-super-admin", "front-proxy-client"];

/// Longest common name, and organization (RFC 5280, appendix A.1).
const LONGEST: usize = 64;

impl PersonName {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Group {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Those who may do everything: `hale:operators`.
    pub fn operators() -> Self {
        Self(super::rights::OPERATORS.to_owned())
    }
}

/// Refuses what is the cluster's own.
fn check_foreign(text: &str, what: &str) -> Result<()> {
    if text.starts_with("system:") || text.starts_with("kube-") || RESERVED.contains(&text) {
        return Err(
            Fault::input(format!("{text:?} is a {what} of the cluster's own")).help("choose another name")
        );
    }
    Ok(())
}

fn fits(text: &str, others: &[u8]) -> bool {
    let byte = |byte: u8| byte.is_ascii_alphanumeric() || others.contains(&byte);
    text.len() <= LONGEST && text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.bytes().all(byte)
}

impl FromStr for PersonName {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        check_foreign(text, "user")?;
        if fits(text, b"._-@") && !text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Ok(Self(text.to_owned()));
        }
        Err(Fault::input(format!("{text:?} is no name of a person"))
            .help("at most 64 of a-z, 0-9, `.`, `_`, `-` and `@`, a letter or digit first"))
    }
}

impl FromStr for Group {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        if text == "system:masters" {
            return Err(Fault::input("rights of system:masters can never be taken back")
                .help("hale:operators may do as much; root on the master has /etc/kubernetes/admin.conf"));
        }
        check_foreign(text, "group")?;
        if fits(text, b":._-") {
            return Ok(Self(text.to_owned()));
        }
        Err(Fault::input(format!("{text:?} is no name of a group"))
            .help("at most 64 letters, digits, `:`, `.`, `_` and `-`, a letter or digit first"))
    }
}

impl fmt::Display for PersonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_the_clusters_own_or_says_more_than_a_name() {
        for name in ["ann", "ann@example.org", "ci-7", "0x", &"a".repeat(64)] {
            assert!(name.parse::<PersonName>().is_ok(), "{name}");
        }
        let long = "a".repeat(65);
        for name in [
            "",
            "-ann",
            "Ann",
            "ann/O=system:masters",
            "ann,x",
            "ann\nx",
            "ann x",
            "ann\"",
            "änn",
            "a+b",
            &long,
            "system:admin",
            "system:node:node-1",
            "kube-apiserver-kubelet-client",
            "kubernetes-admin",
        ] {
            assert!(name.parse::<PersonName>().is_err(), "{name}");
        }
        for group in ["hale:operators", "hale:viewers", "web-team", "Team_1"] {
            assert!(group.parse::<Group>().is_ok(), "{group}");
        }
        for group in ["", "system:masters", "system:nodes", "system:", "a/CN=b", "a b", ":a", "kube-x"] {
            assert!(group.parse::<Group>().is_err(), "{group}");
        }
        assert!("system:masters".parse::<Group>().unwrap_err().to_string().contains("hale:operators"));
        assert!("hale:operators".parse::<Group>().unwrap() == Group::operators());
    }
}
