//! Addresses of what is fetched.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::digest::serde_as_text;
use super::fault::Fault;

/// How an address is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// `http:`; the digest alone says that the bytes are right.
    Http,
    /// `https:`
    Https,
    /// `file:`, an absolute path on this machine.
    File,
}

impl Scheme {
    /// The scheme with what follows it in every address that we accept.
    fn prefix(self) -> &'static str {
        match self {
            Self::Http => "http://",
            Self::Https => "https://",
            Self::File => "file:///",
        }
    }
}

/// A URL (RFC 3986) of one of three schemes: printable ASCII, no user or password, no fragment, and no
/// encoded control character, which has led readers of such lines astray (CVE-2019-3462).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Url {
    scheme: Scheme,
    text: String,
}

impl Url {
    /// Checks and wraps an address.
    pub fn new(text: impl Into<String>) -> Result<Self, Fault> {
        let text = text.into();
        match scheme_of(&text) {
            Some(scheme) if fits(scheme, &text) => Ok(Self { scheme, text }),
            _ => {
                let shown: String = text.chars().take(120).collect();
                let expected = "http://, https:// or file:/// and printable ASCII without a password";
                Err(Fault::user("not an address that we fetch from")
                    .expected_found(expected, format!("{shown:?}")))
            }
        }
    }

    /// Returns the address as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the protocol.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns host and port as written; nothing for a file.
    pub fn authority(&self) -> &str {
        match self.scheme {
            Scheme::File => "",
            scheme => self.text[scheme.prefix().len()..].split(['/', '?']).next().unwrap_or_default(),
        }
    }

    /// Returns the host alone.
    pub fn host(&self) -> &str {
        let authority = self.authority();
        match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => authority,
        }
    }

    /// Returns the path of a `file:` address, `%` decoded.
    pub fn file_path(&self) -> Option<PathBuf> {
        let encoded = self.text.strip_prefix("file://")?.as_bytes();
        let mut bytes = Vec::with_capacity(encoded.len());
        let mut at = 0;
        while let Some(byte) = encoded.get(at) {
            let decoded = (*byte == b'%').then(|| hex_pair(encoded.get(at + 1..at + 3)?)).flatten();
            bytes.push(decoded.unwrap_or(*byte));
            at += if decoded.is_some() { 3 } else { 1 };
        }
        use std::os::unix::ffi::OsStringExt;
        Some(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
    }

    /// Returns this address with `/below` behind it.
    pub fn join(&self, below: &str) -> Result<Self, Fault> {
        Self::new(format!("{}/{}", self.text.trim_end_matches('/'), below.trim_start_matches('/')))
    }

    /// Resolves the `Location` header of this address's answer (RFC 3986 section 5, without `..`).
    pub fn redirected(&self, location: &str) -> Result<Self, Fault> {
        let origin = &self.text[..self.scheme.prefix().len() + self.authority().len()];
        if location.contains("://") || scheme_like(location) {
            Self::new(location)
        } else if let Some(rest) = location.strip_prefix("//") {
            Self::new(format!("{}//{rest}", &self.text[..self.scheme.prefix().len() - 2]))
        } else if location.starts_with('/') {
            Self::new(format!("{origin}{location}"))
        } else {
            let path = self.text.split('?').next().unwrap_or(&self.text);
            let folder = &path[..path.rfind('/').map_or(path.len(), |at| at + 1).max(origin.len())];
            let slash = if folder.ends_with('/') { "" } else { "/" };
            Self::new(format!("{folder}{slash}{location}"))
        }
    }
}

fn scheme_of(text: &str) -> Option<Scheme> {
    [Scheme::Http, Scheme::Https, Scheme::File].into_iter().find(|scheme| text.starts_with(scheme.prefix()))
}

/// `mailto:x`, `file:/x`: a scheme without `//`.
fn scheme_like(text: &str) -> bool {
    text.split_once(':').is_some_and(|(head, _)| {
        !head.is_empty() && head.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    })
}

fn fits(scheme: Scheme, text: &str) -> bool {
    let rest = &text[scheme.prefix().len()..];
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = scheme == Scheme::File || !(authority.is_empty() || authority.contains('@'));
    let plain =
        text.len() <= 4096 && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&b));
    let control = |window: &[u8]| {
        window[0] == b'%' && hex_pair(&window[1..]).is_some_and(|byte| byte < 0x20 || byte == 0x7f)
    };
    host && plain && !text.as_bytes().windows(3).any(control)
}

fn hex_pair(pair: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let &[high, low] = pair else { return None };
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Url {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        Self::new(text)
    }
}

serde_as_text!(Url);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_addresses_are_taken() {
        for good in
            ["http://a.example/x", "https://a.example:8443/x?y=z&w=%20", "file:///srv/a%20b", "https://a"]
        {
            assert!(Url::new(good).is_ok(), "{good}");
        }
        let long = format!("https://a/{}", "x".repeat(5000));
        for bad in [
            "",
            "a",
            "ftp://a/b",
            "file://host/x",
            "file:x",
            "http://",
            "https:///x",
            "https://user:pw@a/",
            "https://a/b c",
            "https://a/\n",
            "https://a/%0aX",
            "https://a/%0D",
            "https://a/%00",
            "https://ä/",
            "https://a/#part",
            "HTTPS://a/",
            "https://a/\\x",
            &long,
        ] {
            assert!(Url::new(bad).is_err(), "{bad:?}");
        }
        let url = Url::new("https://a.example:8443/x?y").unwrap();
        assert_eq!((url.authority(), url.host(), url.file_path()), ("a.example:8443", "a.example", None));
        assert_eq!(Url::new("file:///srv/a%20b%").unwrap().file_path().unwrap(), PathBuf::from("/srv/a b%"));
        assert_eq!(url.join("/pool/x.deb").unwrap().as_str(), "https://a.example:8443/x?y/pool/x.deb");
    }

    #[test]
    fn redirects_are_resolved_and_checked() {
        let check = |from: &str, location: &str, expect: Option<&str>| {
            let found = Url::new(from).unwrap().redirected(location).ok();
            assert_eq!(found.as_ref().map(Url::as_str), expect, "{from} -> {location}");
        };
        check("http://a/b/c?d", "https://e/f", Some("https://e/f"));
        check("http://a/b/c?d", "/f", Some("http://a/f"));
        check("https://a/b/c?d", "//e/f", Some("https://e/f"));
        check("http://a/b/c?d=/e/", "f", Some("http://a/b/f"));
        check("http://a", "f", Some("http://a/f"));
        // A file: location parses; whether it may be followed is the client's to say.
        check("http://a/b", "file:///etc/passwd", Some("file:///etc/passwd"));
        check("http://a/b", "file:/etc/passwd", None);
        check("http://a/b", "gopher://a/", None);
        check("http://a/b", "/x%0d%0aHost:b", None);
        check("http://a/b", "/x\r\nHost:b", None);
    }
}
