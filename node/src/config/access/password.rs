//! Hashes of passwords, as crypt(5) makes them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::config::values::secrets::Secret;
use crate::fault::{Fault, Result};

/// What a password in clear text is answered with.
const HASH_IT: &str =
    "write its hash as password-hash; `openssl passwd -6` asks for a password and prints it";

/// A hash that a password cannot be told from within its lifetime (crypt(5)). It is shown by no message.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PasswordHash(Secret);

/// The forms that are taken: prefix, and the length of the digest at the end.
const FORMS: [(&str, usize); 7] =
    [("$y$", 43), ("$gy$", 43), ("$7$", 43), ("$6$", 86), ("$5$", 43), ("$2b$", 53), ("$2y$", 53)];

impl PasswordHash {
    /// Returns the hash: for a file or a program that root alone reads, and nothing else.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl TryFrom<String> for PasswordHash {
    type Error = Fault;
    fn try_from(text: String) -> Result<Self> {
        let text = Secret::from(text);
        let wrong = || Err(Fault::input("not the hash of a password").help(HASH_IT));
        let hash = text.expose();
        let Some((prefix, length)) = FORMS.iter().find(|(prefix, _)| hash.starts_with(prefix)) else {
            return wrong();
        };
        // Settings, salt and digest, `$` between them; bcrypt's salt stands before its digest without one.
        let rest = &hash[prefix.len()..];
        let (settings, digest) = rest.rsplit_once('$').unwrap_or(("", rest));
        let is_hash = |byte: u8| byte.is_ascii_alphanumeric() || b"./".contains(&byte);
        let is_setting = |byte: u8| is_hash(byte) || b"$=,".contains(&byte);
        let whole = !settings.is_empty() && digest.len() == *length && digest.bytes().all(is_hash);
        if whole && settings.len() <= 200 && settings.bytes().all(is_setting) {
            Ok(Self(text))
        } else {
            wrong()
        }
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hash)")
    }
}

impl Serialize for PasswordHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

/// A password in clear text: there is none, for it is refused wherever it stands.
#[derive(Debug)]
pub(super) enum ClearText {}

impl<'de> Deserialize<'de> for ClearText {
    fn deserialize<D: Deserializer<'de>>(_: D) -> std::result::Result<Self, D::Error> {
        let fault = Fault::input("a password in clear text is not taken").help(HASH_IT);
        Err(de::Error::custom(fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by mkpasswd(1) and openssl(1) of the word `x`.
    #[test]
    fn a_hash_is_told_from_a_password() {
        let digest = |length: usize| "Ab0./".repeat(20)[..length].to_owned();
        let check = |text: String, expect: bool| {
            let taken = PasswordHash::try_from(text.clone());
            assert_eq!(taken.is_ok(), expect, "{text}");
            if let Err(fault) = taken {
                let message = fault.to_string();
                assert!(message.contains("openssl passwd -6"), "{message}");
                assert!(text.len() < 4 || !message.contains(&text), "{message}");
            }
        };
        check(format!("$6$saltsalt${}", digest(86)), true);
        check(format!("$6$rounds=100000$saltsalt${}", digest(86)), true);
        check(format!("$5$saltsalt${}", digest(43)), true);
        check(format!("$y$j9T$saltsalt${}", digest(43)), true);
        check(format!("$2b$12${}", digest(53)), true);
        for (text, why) in [
            (String::new(), "nothing"),
            ("hunter2".to_owned(), "a password"),
            ("$6$hunter2".to_owned(), "a salt alone"),
            (format!("$1$saltsalt${}", digest(22)), "MD5"),
            (digest(13), "DES"),
            (format!("$6$saltsalt${}", digest(85)), "cut short"),
            (format!("$6$salt:salt${}", digest(86)), "a field's end"),
            (format!("$6$salt\nsalt${}", digest(86)), "a line's end"),
            (format!("$6${}", digest(86)), "no salt"),
            ("!".to_owned(), "locked"),
        ] {
            assert!(PasswordHash::try_from(text.clone()).is_err(), "{why}: {text}");
            check(text, false);
        }
        let hash = PasswordHash::try_from(format!("$6$saltsalt${}", digest(86))).unwrap();
        assert_eq!(format!("{hash:?}"), "(hash)");
    }
}
