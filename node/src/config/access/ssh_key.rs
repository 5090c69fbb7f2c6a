//! Public keys of SSH, as authorized_keys has them (sshd(8)): a type, base64, a comment.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::config::values::serde_as_text;
use crate::fault::{Fault, Result};
use crate::text::base64;

/// A public key that SSH may log somebody in with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SshKey(String);

/// What the fields of a key are, behind its type (RFC 4253, section 6.6; RFC 5656; RFC 8709; OpenSSH's PROTOCOL.u2f).
enum Fields {
    /// Exponent and modulus.
    Rsa,
    /// Curve and point.
    Ecdsa(&'static str),
    /// A point of 32 bytes.
    Ed25519,
    /// The same, and the application that a hardware key is for.
    SkEcdsa,
    /// The same, and the application that a hardware key is for.
    SkEd25519,
}

const TYPES: [(&str, Fields); 7] = [
    ("ssh-ed25519", Fields::Ed25519),
    ("ecdsa-sha2-nistp256", Fields::Ecdsa("nistp256")),
    ("ecdsa-sha2-nistp384", Fields::Ecdsa("nistp384")),
    ("ecdsa-sha2-nistp521", Fields::Ecdsa("nistp521")),
    ("sk-ssh-ed25519@openssh.com", Fields::SkEd25519),
    ("sk-ecdsa-sha2-nistp256@openssh.com", Fields::SkEcdsa),
    ("ssh-rsa", Fields::Rsa),
];

/// Least length of an RSA modulus, in bytes: 2048 bits.
const SHORTEST: usize = 256;

impl FromStr for SshKey {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |what: &str| {
            Err(Fault::input(what).help("give a line of a .pub file, `ssh-keygen -t ed25519` makes one"))
        };
        if text.contains("PRIVATE KEY") {
            return wrong("a private key, which must stay where it is");
        }
        let text = text.trim();
        if text.chars().any(char::is_control) {
            return wrong("a public key of SSH is one line");
        }
        let mut words = text.split(' ').filter(|word| !word.is_empty());
        let (kind, data) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let Some((_, fields)) = TYPES.iter().find(|(name, _)| *name == kind) else {
            return wrong("not a public key of SSH that is taken here");
        };
        match base64::decode(data).and_then(|bytes| check(&bytes, kind, fields)) {
            Some(Strength::Enough) => Ok(Self(text.to_owned())),
            Some(Strength::TooLittle) => wrong("an RSA key of less than 2048 bits"),
            None => wrong("a public key of SSH that is damaged"),
        }
    }
}

impl fmt::Display for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(SshKey);

enum Strength {
    Enough,
    TooLittle,
}

/// Reads a key to its last byte; returns `None` if it is none of its type.
fn check(mut bytes: &[u8], kind: &str, fields: &Fields) -> Option<Strength> {
    let mut next = || field(&mut bytes);
    let mut strength = Strength::Enough;
    let named = next()? == kind.as_bytes();
    let whole = match fields {
        Fields::Ed25519 => next()?.len() == 32,
        Fields::SkEd25519 => next()?.len() == 32 && !next()?.is_empty(),
        Fields::Ecdsa(curve) => next()? == curve.as_bytes() && is_point(next()?),
        Fields::SkEcdsa => next()? == b"nistp256" && is_point(next()?) && !next()?.is_empty(),
        Fields::Rsa => {
            let (exponent, modulus) = (next()?, next()?);
            // A positive number whose first bit is set has a zero before it (RFC 4251, section 5).
            if modulus.strip_prefix(&[0]).unwrap_or(modulus).len() < SHORTEST {
                strength = Strength::TooLittle;
            }
            !exponent.is_empty() && !modulus.is_empty()
        }
    };
    (named && whole && bytes.is_empty()).then_some(strength)
}

/// Returns whether this is a point that is not compressed (SEC 1, section 2.3.3).
fn is_point(bytes: &[u8]) -> bool {
    bytes.len() % 2 == 1 && bytes.len() > 64 && bytes[0] == 4
}

/// Takes a string off: four bytes of length, and so many bytes (RFC 4251, section 5).
fn field<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_at_checked(4)?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    let (field, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by ssh-keygen(1).
    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJtOMhWABd+kjc2gQNrYkKIk6hXqZwVB2HWWcIpSPQ5m ann@example";
    const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBLYU0V0Y6JSiD+FUKGk7TdEd4qlYDtwh3l6nwK9F79fhrtTRfKUKTcBo1Ox/OgF6zMDZj/GldLKALtq9odOPp+Q= ann@example";
    const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDOukDQ2KSgXBxl5yC1fol29F4IrUTLUtU6jyfPtbzJsRYxtB0l/xYpmA4uDn+jeEfzF3oYndVu7MAgJxoX2NC9Zt7NjjHW8SVhZZAL2fApoPYvbzEVilw+LRUel1veJsH+Bh99QNqTwCYfJHVTqgSxeV05amlgFWXxArU/uCQtJSEmjMhbQ72yiis0XwDibpduqXsvv8ogmANiAQVCNOfe2Y2aHCiQspdsnwFxp2/BMnKfWmQJMVCvRHsuzIrpNgNXh+s06xO+UE7mJnDx4WsaZpGMBOmI0VIPEYro79GapqbGftlAsC7qs8sh/NKyYAt6A6M1MWKSlg170lheLhmj ann@example";
    const SHORT: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC3IolfZ21ZOV6vkjXdwU01uBk8bGNywc6lf8XbIEAVf81WmaRJ1BZE1RRQfR09PMGszvl0DIhjdQ2Y1Zflk0Vh2D/yF6QnRkz9wO3kPxDCqveP4SFpUisxOZQSjjpRyrwKXqOwUWktPdGsyZJ5IxGuwC5LuUdZ+bhLAmxmNlofgw== ann@example";

    #[test]
    fn a_key_is_told_from_what_only_looks_like_one() {
        for key in [ED25519, ECDSA, RSA] {
            assert_eq!(key.parse::<SshKey>().unwrap().to_string(), key);
            assert_eq!(format!("  {key} \n").parse::<SshKey>().unwrap().to_string(), key);
            let data = key.split(' ').nth(1).unwrap();
            assert!(format!("{} {data}", key.split(' ').next().unwrap()).parse::<SshKey>().is_ok());
        }
        let refused = |text: &str, expect: &str| {
            let message = text.parse::<SshKey>().unwrap_err().to_string();
            assert!(message.contains(expect) && message.contains(".pub"), "{text}: {message}");
        };
        refused("", "not a public key");
        refused("hunter2", "not a public key");
        refused(SHORT, "less than 2048 bits");
        refused("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n", "must stay where it is");
        refused(&format!("{ED25519}\n{ECDSA}"), "one line");
        refused(&format!("command=\"x\" {ED25519}"), "not a public key");
        refused(&format!("no-pty {ED25519}"), "not a public key");
        refused(&ED25519.replace("AAAA", "AAAB"), "damaged");
        refused(&ED25519.replace("ssh-ed25519 ", "ssh-rsa "), "damaged");
        refused(&ED25519[..60], "damaged");
        refused("ssh-ed25519", "damaged");
        refused("ssh-dss AAAAB3NzaC1kc3MAAACBAP", "not a public key");
    }
}
