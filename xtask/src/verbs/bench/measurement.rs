//! A measured number, and what we want it to be.

use serde::Serialize;

use crate::ui::table;

/// What a number counts.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unit {
    /// Time.
    Seconds,
    /// Size.
    Bytes,
    /// One number by another.
    Ratio,
    /// How many there are.
    Count,
}

/// What we want a number to be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Goal {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

/// One measured number.
#[derive(Debug, Serialize)]
pub(crate) struct Measurement {
    /// What was measured.
    pub(crate) what: String,
    /// The number.
    pub(crate) value: f64,
    /// What it counts.
    pub(crate) unit: Unit,
    /// What we want it to be, where we have promised something.
    pub(crate) goal: Option<Goal>,
}

impl Goal {
    fn met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Seconds if value < 10.0 => format!("{value:.3} s"),
            Self::Seconds => format!("{value:.1} s"),
            Self::Bytes => table::bytes(value as u64),
            Self::Ratio => format!("{value:.2}"),
            Self::Count => format!("{value:.0}"),
        }
    }
}

impl Measurement {
    /// Writes the number for people, held against its goal.
    pub(super) fn show(&self) -> String {
        let value = self.unit.show(self.value);
        let goal = self.goal.map_or_else(String::new, |goal| {
            let (word, bound) = match goal {
                Goal::AtMost(bound) => ("at most", bound),
                Goal::AtLeast(bound) => ("at least", bound),
            };
            let verdict = if goal.met(self.value) { "met" } else { "MISSED" };
            format!("  (goal: {word} {}, {verdict})", self.unit.show(bound))
        });
        format!("  {:<56} {value:>10}{goal}", self.what)
    }
}
