//! Debian version numbers and their order (deb-version(7)).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::base::digest::serde_as_text;
use crate::base::{Fault, Result};

/// A version number, `[epoch:]upstream[-revision]`, kept as written.
///
/// Equality follows the order, as dpkg's does: `1.0`, `0:1.0` and `1.00` are one version. Where the
/// text matters (file names, exact digests), compare [`Version::as_str`].
#[derive(Clone, Debug)]
pub struct Version(Box<str>);

impl Version {
    /// Checks and wraps a version number.
    pub fn new(text: &str) -> Result<Self> {
        if fits(text) {
            return Ok(Self(text.into()));
        }
        let shown: String = text.chars().take(80).collect();
        Err(Fault::user("not a Debian version")
            .expected_found("[epoch:]upstream[-revision] of a-z A-Z 0-9 . + - ~", format!("{shown:?}")))
    }

    /// Returns the version as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the version without its epoch, as it stands in a package's file name.
    pub fn without_epoch(&self) -> &str {
        split(&self.0).1
    }

    /// Epoch, upstream version, revision.
    fn parts(&self) -> (&str, &str, &str) {
        let (epoch, rest) = split(&self.0);
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch, upstream, revision)
    }
}

fn split(text: &str) -> (&str, &str) {
    text.split_once(':').unwrap_or(("", text))
}

fn fits(text: &str) -> bool {
    let (epoch, rest) = split(text);
    let epoch_fits = !text.contains(':') || epoch.parse::<i32>().is_ok_and(|number| number >= 0);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+' | b'-' | b'~' | b':');
    text.len() <= 256
        && epoch_fits
        && !epoch.starts_with('+')
        && rest.starts_with(|first: char| first.is_ascii_digit())
        && !rest.ends_with('-')
        && rest.bytes().all(allowed)
}

/// Compares what dpkg calls an upstream version or a revision: stretches of non-digits, in which `~`
/// sorts before the end and letters before other signs, and numbers alternate.
fn compare(mut left: &[u8], mut right: &[u8]) -> Ordering {
    while !left.is_empty() || !right.is_empty() {
        let (text_left, text_right) = (take(&mut left, false), take(&mut right, false));
        for index in 0..text_left.len().max(text_right.len()) {
            let order = weight(text_left.get(index)).cmp(&weight(text_right.get(index)));
            if order.is_ne() {
                return order;
            }
        }
        let (number_left, number_right) = (number(&mut left), number(&mut right));
        let order = number_left.len().cmp(&number_right.len()).then_with(|| number_left.cmp(number_right));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Takes the longest prefix of digits, or of anything else.
fn take<'a>(text: &mut &'a [u8], digits: bool) -> &'a [u8] {
    let end = text.iter().position(|byte| byte.is_ascii_digit() != digits).unwrap_or(text.len());
    let (head, tail) = text.split_at(end);
    *text = tail;
    head
}

/// Takes a number, without its leading zeros, so that a longer one is a larger one.
fn number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let digits = take(text, true);
    let zeros = digits.iter().position(|byte| *byte != b'0').unwrap_or(digits.len());
    &digits[zeros..]
}

fn weight(byte: Option<&u8>) -> i32 {
    match byte {
        Some(b'~') => -1,
        None => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(*letter),
        Some(other) => i32::from(*other) + 256,
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let ((epoch, upstream, revision), (other_epoch, other_upstream, other_revision)) =
            (self.parts(), other.parts());
        compare(epoch.as_bytes(), other_epoch.as_bytes())
            .then_with(|| compare(upstream.as_bytes(), other_upstream.as_bytes()))
            .then_with(|| compare(revision.as_bytes(), other_revision.as_bytes()))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Version {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

serde_as_text!(Version);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn order() {
        let check = |left: &str, right: &str, expect: Ordering| {
            let (left, right) = (Version::new(left).unwrap(), Version::new(right).unwrap());
            assert_eq!(left.cmp(&right), expect, "{left} {right}");
            assert_eq!(right.cmp(&left), expect.reverse(), "{right} {left}");
        };
        for (left, right) in [
            ("1.0~rc1", "1.0"),
            ("1.0~~", "1.0~"),
            ("1.0", "1.0a"),
            ("1.0a", "1.0+"),
            ("1.9", "1.10"),
            ("1.0-1", "1.0-1+b1"),
            ("1.0-1~deb12u1", "1.0-1"),
            ("9", "1:0"),
            ("1.2-3-4", "1.2-4-1"),
            ("1.0", "1.0-0.1"),
            ("99999999999999999998", "99999999999999999999"),
        ] {
            check(left, right, Ordering::Less);
        }
        for (left, right) in [("1.0", "0:1.0"), ("1.0", "1.00"), ("1.0", "1.0-0"), ("1.2+ds-1", "1.2+ds0-1")]
        {
            check(left, right, Ordering::Equal);
        }
    }

    #[test]
    fn what_is_no_version() {
        let long = "1".repeat(257);
        for bad in ["", ":1", "a:1", "-1:1", "+1:1", "1:", "x1", "1_0", "1 0", "1.0-", "1\n", "1/../2", &long]
        {
            assert!(Version::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Version::new("1:1.8.9-2").unwrap().without_epoch(), "1.8.9-2");
    }

    proptest! {
        #[test]
        fn the_order_is_total(mut versions in proptest::collection::vec("([0-3]:)?[0-2][a0-1.+~]{0,4}(-[a0-1+~]{1,3})?", 3)) {
            versions.retain(|text| Version::new(text).is_ok());
            let mut versions: Vec<Version> = versions.iter().map(|text| Version::new(text).unwrap()).collect();
            versions.sort();
            for (index, left) in versions.iter().enumerate() {
                for right in &versions[index..] {
                    prop_assert!(left <= right);
                    prop_assert_eq!(left.cmp(right), right.cmp(left).reverse());
                }
            }
        }
    }
}
