//! Findings: whether a promise holds, with the evidence.

use serde::{Deserialize, Serialize};

/// A promise and what was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// The promise.
    pub promise: String,
    /// Whether it holds.
    pub verdict: Verdict,
    /// Evidence, each of one line: a count if the promise holds, each exception if it does not.
    pub evidence: Vec<String>,
}

/// Whether a promise holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The promise holds.
    Yes,
    /// It does not hold, or that cannot be found out.
    No,
    /// What it is about is not there yet.
    NothingToJudge,
}

impl Verdict {
    /// Returns the word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "NO",
            Self::NothingToJudge => "-",
        }
    }
}

/// What a check brings: exceptions, or what was counted, if there was something to judge.
pub(super) struct Evidence {
    pub(super) exceptions: Vec<String>,
    pub(super) counted: String,
    pub(super) judged: bool,
}

impl Evidence {
    pub(super) fn new(exceptions: Vec<String>, counted: impl Into<String>) -> Self {
        Self { exceptions, counted: counted.into(), judged: true }
    }

    /// Makes evidence of what is not there yet.
    pub(super) fn nothing(why: &str) -> Self {
        let counted = format!("nothing to judge yet: {why}");
        Self { exceptions: Vec::new(), counted, judged: false }
    }

    /// Makes evidence of one question: `counted` if the answer is yes, `exception` if it is no.
    pub(super) fn of(yes: bool, counted: impl Into<String>, exception: impl Into<String>) -> Self {
        Self::new(if yes { Vec::new() } else { vec![exception.into()] }, counted)
    }
}
