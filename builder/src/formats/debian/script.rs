//! The programs of a package that dpkg runs.

use serde::{Deserialize, Serialize};

/// A maintainer script (deb-preinst(5) and its kin).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Script {
    /// Before unpacking.
    Preinst,
    /// To configure.
    Postinst,
    /// Before removal.
    Prerm,
    /// After removal.
    Postrm,
    /// debconf's questions.
    Config,
}

impl Script {
    /// Returns the file's name in the control archive.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preinst => "preinst",
            Self::Postinst => "postinst",
            Self::Prerm => "prerm",
            Self::Postrm => "postrm",
            Self::Config => "config",
        }
    }
}
