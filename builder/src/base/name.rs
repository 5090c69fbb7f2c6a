//! Names: one newtype per identity, checked where it is made.

use std::fmt;
use std::str::FromStr;

use super::digest::serde_as_text;
use super::fault::Fault;

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// Checks and wraps a name.
            pub fn new(text: impl Into<String>) -> Result<Self, Fault> {
                let text = text.into();
                let check: fn(&str) -> bool = $check;
                if text.len() <= 120 && check(&text) {
                    return Ok(Self(text));
                }
                let shown: String = text.chars().take(80).collect();
                Err(Fault::user(concat!("not a ", $what)).expected_found($rule, format!("{shown:?}")))
            }

            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = Fault;
            fn from_str(text: &str) -> Result<Self, Fault> {
                Self::new(text)
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        serde_as_text!($type);
    };
}

fn alnum_then(text: &str, also: &str) -> bool {
    let lower_or_digit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(lower_or_digit) && text.chars().all(|c| lower_or_digit(c) || also.contains(c))
}

name!(
    /// A Debian package's name (Debian Policy 5.6.1).
    PackageName, "package name", "at least two of a-z 0-9 + - . with a letter or digit first",
    |text| text.len() >= 2 && alnum_then(text, "+-.")
);
name!(
    /// A component of a line: `cri-o`, `kubelet`.
    ComponentName, "component name", "a-z 0-9 - with a letter or digit first", |text| alnum_then(text, "-")
);
name!(
    /// A role: `master`, `node`.
    RoleName, "role name", "a-z 0-9 - with a letter or digit first", |text| alnum_then(text, "-")
);
name!(
    /// A line: `1.17`.
    LineName, "line name", "a-z 0-9 . - with a letter or digit first", |text| alnum_then(text, ".-")
);
name!(
    /// A suite of a Debian archive: `bookworm`, `bookworm-security`.
    SuiteName, "suite name", "a-z 0-9 . - with a letter or digit first", |text| alnum_then(text, ".-")
);
name!(
    /// An overlay: a folder under `overlays/`.
    OverlayName, "overlay name", "a-z 0-9 - with a letter or digit first", |text| alnum_then(text, "-")
);
name!(
    /// A group of Debian packages that are wanted together: a role, `machine`, `tools`.
    GroupName, "group name", "a-z 0-9 - with a letter or digit first", |text| alnum_then(text, "-")
);

/// A machine architecture, by Debian's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    /// `all`: independent of the machine.
    All,
    /// `amd64`: 64-bit x86.
    Amd64,
    /// `arm64`: 64-bit ARM.
    Arm64,
}

impl Arch {
    /// Debian's name, which is also OCI's and Go's.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Arch {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        [Self::All, Self::Amd64, Self::Arm64].into_iter().find(|arch| arch.as_str() == text).ok_or_else(
            || {
                Fault::user("not an architecture we know")
                    .expected_found("all, amd64 or arm64", format!("{text:?}"))
            },
        )
    }
}

serde_as_text!(Arch);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_refuse_what_could_escape() {
        for good in ["crun", "libc6", "g++", "libstdc++6", "0ad", "golang-1.19"] {
            assert!(PackageName::new(good).is_ok(), "{good}");
        }
        let long = "a".repeat(300);
        for bad in
            ["", "a", "../../etc", "/abs", "-x", "A", "a\0b", "a\nb", "а-cyrillic", "a/b", "a_b", &long]
        {
            assert!(PackageName::new(bad).is_err(), "{bad:?}");
            assert!(bad == "a" || RoleName::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!("amd64".parse::<Arch>().unwrap(), Arch::Amd64);
        assert!("x86_64".parse::<Arch>().is_err());
    }
}
