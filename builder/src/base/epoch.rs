//! The one time that outputs carry. It comes from the lock, never from a clock.

use std::fmt;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::fault::{Fault, Result};

/// Seconds since 1970-01-01 UTC, at most year 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Epoch(u64);

impl Epoch {
    /// The latest that four-digit years can say: 9999-12-30T22:00:00Z.
    pub const MAX: u64 = 253_402_207_200;

    /// Seconds since 1970.
    pub fn new(seconds: u64) -> Result<Self> {
        if seconds > Self::MAX {
            return Err(Fault::user("a time past the year 9999")
                .expected_found(format!("at most {}", Self::MAX), seconds));
        }
        Ok(Self(seconds))
    }

    /// Reads the date format of Debian's Release files (RFC 2822, `UTC` allowed as zone).
    pub fn from_rfc2822(text: &str) -> Result<Self> {
        let text = text.trim();
        let numeric = text.strip_suffix("UTC").map(|rest| format!("{rest}+0000"));
        let time = rfc2822::parse(numeric.as_deref().unwrap_or(text));
        let seconds = time.ok().and_then(|zoned| u64::try_from(zoned.timestamp().as_second()).ok());
        let seconds = seconds.ok_or_else(|| {
            Fault::integrity("not a date").expected_found("an RFC 2822 date", format!("{text:?}"))
        })?;
        Self::new(seconds)
    }

    /// Seconds since 1970.
    pub fn seconds(self) -> u64 {
        self.0
    }

    /// Returns the time `days` later.
    pub fn plus_days(self, days: u32) -> Result<Self> {
        Self::new(self.0 + u64::from(days) * 86_400)
    }

    /// Returns the time as `2026-11-22T00:00:00Z`.
    pub fn rfc3339(self) -> String {
        self.timestamp().to_string()
    }

    /// Returns the time as `Sun, 22 Nov 2026 00:00:00 UTC`, the form of Release files.
    pub fn rfc2822(self) -> String {
        self.timestamp().to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S UTC").to_string()
    }

    fn timestamp(self) -> Timestamp {
        Timestamp::from_second(self.0 as i64).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

impl TryFrom<u64> for Epoch {
    type Error = Fault;
    fn try_from(seconds: u64) -> Result<Self> {
        Self::new(seconds)
    }
}

impl From<Epoch> for u64 {
    fn from(epoch: Epoch) -> u64 {
        epoch.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_agree() {
        let epoch = Epoch::from_rfc2822("Sat, 15 Nov 2025 10:20:30 UTC").unwrap();
        assert_eq!(epoch.rfc3339(), "2025-11-15T10:20:30Z");
        assert_eq!(epoch.rfc2822(), "Sat, 15 Nov 2025 10:20:30 UTC");
        assert_eq!(Epoch::from_rfc2822(&epoch.rfc2822()).unwrap(), epoch);
        assert!(Epoch::from_rfc2822("yesterday").is_err());
        assert!(Epoch::new(Epoch::MAX + 1).is_err());
        assert_eq!(Epoch::new(Epoch::MAX).unwrap().rfc3339(), "9999-12-30T22:00:00Z");
    }
}
