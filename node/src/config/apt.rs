//! `[[apt]]`: where a machine's apt finds Debian's packages, and with them its security updates.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Result};

use super::values::serde_as_text;

/// A source of Debian's packages, of the component `main`; Debian's own keys vouch for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AptSource {
    /// Address of the archive, such as a mirror's.
    pub uri: ArchiveUri,
    /// Suites that are asked for there, such as `bookworm-security`.
    pub suites: Vec<Suite>,
}

/// An archive's address: `http://` or `https://`, a host, a path; without a user, a query or a blank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ArchiveUri(String);

/// A suite's name: a-z, 0-9 and `-`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Suite(String);

impl FromStr for ArchiveUri {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        let rest = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:+[]".contains(&byte);
        match rest {
            Some(rest) if !rest.starts_with('/') && !rest.is_empty() && rest.bytes().all(fits) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(Fault::input(format!("{text:?} is no archive's address"))
                .help("http:// or https://, a host and a path; who needs a password there puts it into apt_auth.conf(5)")),
        }
    }
}

impl FromStr for Suite {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !text.is_empty() && text.bytes().all(fits) {
            return Ok(Self(text.to_owned()));
        }
        Err(Fault::input(format!("{text:?} is no suite such as bookworm-security")))
    }
}

impl fmt::Display for ArchiveUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(ArchiveUri);
serde_as_text!(Suite);

/// Formats sources as apt reads them (sources.list(5), the deb822 style).
pub fn deb822(sources: &[AptSource]) -> String {
    let paragraph = |source: &AptSource| {
        let suites: Vec<&str> = source.suites.iter().map(|suite| suite.0.as_str()).collect();
        format!(
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\n\
             Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n",
            source.uri,
            suites.join(" ")
        )
    };
    sources.iter().map(paragraph).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_cannot_say_more_than_an_address() {
        for text in
            ["http://192.0.2.1/debian", "https://mirror.example:8080/a/b~c/", "http://[2001:db8::1]/debian"]
        {
            assert!(text.parse::<ArchiveUri>().is_ok(), "{text}");
        }
        for text in [
            "",
            "http://",
            "http:///debian",
            "ftp://mirror.example",
            "file:///etc",
            "http://user:word@mirror.example",
            "http://mirror.example/a b",
            "http://mirror.example\nTrusted: yes",
            "http://mirror.example/?x",
        ] {
            assert!(text.parse::<ArchiveUri>().is_err(), "{text}");
        }
        for text in ["", "bookworm security", "bookworm\nTrusted: yes", "Bookworm", "../x"] {
            assert!(text.parse::<Suite>().is_err(), "{text}");
        }
    }
}
