//! Timestamps in UTC, as TOML writes them.

use std::fmt;

use serde::{Deserialize, Serialize};
use toml::value::Datetime;

use crate::fault::{Fault, Result};

/// A point in time in UTC, written as TOML's date-time with `Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Datetime", into = "Datetime")]
pub struct Timestamp {
    text: Datetime,
    seconds: i64,
}

impl Timestamp {
    /// Returns the seconds since 1970.
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// Makes the timestamp so many seconds after 1970.
    pub fn from_seconds(seconds: i64) -> Result<Self> {
        let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
        let rest = seconds.rem_euclid(86_400);
        let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
        let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z");
        let parsed: Datetime = text.parse().map_err(|_| Fault::input(format!("{text} is no date")))?;
        Self::try_from(parsed)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl TryFrom<Datetime> for Timestamp {
    type Error = Fault;
    fn try_from(text: Datetime) -> Result<Self> {
        let wrong = || Fault::input(format!("{text} is no moment such as 2026-11-23T10:00:00Z"));
        let (date, time, offset) = (text.date.ok_or_else(wrong)?, text.time.ok_or_else(wrong)?, text.offset);
        if !matches!(offset, Some(toml::value::Offset::Z)) {
            return Err(wrong());
        }
        let days = days_from_civil(i64::from(date.year), i64::from(date.month), i64::from(date.day));
        let second = i64::from(time.second.unwrap_or(0));
        let seconds = days * 86_400 + i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + second;
        Ok(Self { text, seconds })
    }
}

impl From<Timestamp> for Datetime {
    fn from(moment: Timestamp) -> Self {
        moment.text
    }
}

/// Days from 1970-01-01 to a day of the Gregorian calendar, counting years from March so that a leap day is last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn days_and_dates_are_inverse(days in -700_000i64..2_900_000) {
            let (year, month, day) = civil_from_days(days);
            prop_assert_eq!(days_from_civil(year, month, day), days);
            prop_assert!((1..=12).contains(&month) && (1..=31).contains(&day));
        }
    }

    #[test]
    fn moments_agree_with_date_1() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_000_000, "2026-11-18T11:06:40Z"),
        ] {
            let moment = Timestamp::from_seconds(seconds).unwrap();
            assert_eq!((moment.to_string().as_str(), moment.seconds()), (text, seconds));
        }
    }
}
