//! Digests: the identity of bytes, and readers and writers that take one on the way.

use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::str::FromStr;

use sha2::{Digest as _, Sha256, Sha512};

use super::fault::Fault;

/// A SHA-256 digest, written `sha256:<64 lower-case hex digits>` (OCI image spec, descriptor.md).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Returns the digest of `bytes`.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(bytes.as_ref()).into())
    }

    /// Reads to the end and returns the digest and the length in bytes.
    pub fn of_reader(reader: impl Read) -> io::Result<(Self, u64)> {
        let mut hashing = Hashing::new(reader);
        io::copy(&mut BufReader::with_capacity(1 << 17, &mut hashing), &mut io::sink())?;
        Ok(hashing.finish())
    }

    /// Reads 64 hex digits without the prefix, as Debian writes them.
    pub fn from_hex(hex: &str) -> Result<Self, Fault> {
        hex_bytes(hex).map(Self).ok_or_else(|| {
            Fault::user("not a SHA-256 digest").expected_found("64 lower-case hex digits", quoted(hex))
        })
    }

    /// Returns 64 lower-case hex digits.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// Returns the first 12 hex digits, for people.
    pub fn short(&self) -> String {
        self.hex()[..12].to_owned()
    }

    /// Returns the raw bytes, from which GUIDs and seeds are derived.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What an input is pinned by: upstreams publish one or the other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Checksum {
    /// SHA-256.
    Sha256(Digest),
    /// SHA-512.
    Sha512([u8; 64]),
}

impl Checksum {
    /// Returns the checksum of `bytes`, by the same algorithm as `self`.
    pub fn same_kind(&self, reader: impl Read) -> io::Result<Self> {
        match self {
            Self::Sha256(_) => Ok(Self::Sha256(Digest::of_reader(reader)?.0)),
            Self::Sha512(_) => {
                let mut hasher = Sha512::new();
                let mut reader = reader;
                io::copy(&mut reader, &mut IoHasher(&mut hasher))?;
                Ok(Self::Sha512(hasher.finalize().into()))
            }
        }
    }
}

struct IoHasher<'a>(&'a mut Sha512);

impl Write for IoHasher<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reader or writer that hashes (SHA-256) and counts what passes through it.
pub struct Hashing<T> {
    inner: T,
    hasher: Sha256,
    length: u64,
}

impl<T> Hashing<T> {
    /// Wraps `inner`.
    pub fn new(inner: T) -> Self {
        Self { inner, hasher: Sha256::new(), length: 0 }
    }

    /// Returns the digest and length of what has passed.
    pub fn finish(self) -> (Digest, u64) {
        (Digest(self.hasher.finalize().into()), self.length)
    }

    /// Returns what [`Hashing::finish`] does, and the inner value.
    pub fn into_parts(self) -> (T, Digest, u64) {
        (self.inner, Digest(self.hasher.finalize().into()), self.length)
    }

    /// Returns the digest of what has passed so far.
    pub fn digest(&self) -> Digest {
        Digest(self.hasher.clone().finalize().into())
    }

    /// Returns how many bytes have passed so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.update(&buffer[..count]);
        Ok(count)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.update(&bytes[..count]);
        Ok(count)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hex_bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(80).collect::<String>())
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        let hex = text.strip_prefix("sha256:").and_then(hex_bytes);
        hex.map(Self).ok_or_else(|| {
            Fault::user("not a digest").expected_found("`sha256:` and 64 lower-case hex digits", quoted(text))
        })
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(digest) => fmt::Display::fmt(digest, f),
            Self::Sha512(bytes) => write!(f, "sha512:{}", hex(bytes)),
        }
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Checksum {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        if let Some(bytes) = text.strip_prefix("sha512:").and_then(hex_bytes) {
            return Ok(Self::Sha512(bytes));
        }
        text.parse().map(Self::Sha256).map_err(|_: Fault| {
            Fault::user("not a checksum")
                .expected_found("`sha256:` or `sha512:` and its hex digits", quoted(text))
        })
    }
}

macro_rules! serde_as_text {
    ($($type:ty),+) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
pub(crate) use serde_as_text;

serde_as_text!(Digest, Checksum);

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn text_forms() {
        assert_eq!(Digest::of("").hex(), EMPTY);
        assert_eq!(format!("sha256:{EMPTY}").parse::<Digest>().unwrap(), Digest::of(""));
        let upper = EMPTY.to_uppercase();
        for bad in ["", EMPTY, "sha256:", "sha256:../../x", &format!("sha256:{upper}"), "sha512:00"] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
        let long: Checksum = format!("sha512:{}", "ab".repeat(64)).parse().unwrap();
        assert_eq!(long.to_string().len(), 7 + 128);
        assert_eq!(Checksum::Sha256(Digest::of("")).same_kind(&b""[..]).unwrap().to_string().len(), 71);
    }

    #[test]
    fn hashing_counts_and_hashes() {
        let mut writer = Hashing::new(Vec::new());
        writer.write_all(b"hello ").unwrap();
        writer.write_all(b"world").unwrap();
        let (bytes, digest, length) = writer.into_parts();
        assert_eq!((digest, length), (Digest::of(&bytes), 11));
    }
}
