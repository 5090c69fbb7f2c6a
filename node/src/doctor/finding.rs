//! What is found about a promise, and by what it was judged.

use serde::{Deserialize, Serialize};

/// A promise and what was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// The promise.
    pub promise: String,
    /// Whether it holds.
    pub verdict: Verdict,
    /// What it was judged by, each of one line: numbers when it holds, each exception when it does not.
    pub evidence: Vec<String>,
}

/// Whether a promise holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It does.
    Yes,
    /// It does not, or nobody can say.
    No,
    /// What it is about is not there yet.
    NothingToJudge,
}

impl Verdict {
    /// For people.
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

    /// Of what is not there yet.
    pub(super) fn nothing(why: &str) -> Self {
        let counted = format!("nothing to judge yet: {why}");
        Self { exceptions: Vec::new(), counted, judged: false }
    }

    /// Of one question: `counted` when the answer is yes, `exception` when it is no.
    pub(super) fn of(yes: bool, counted: impl Into<String>, exception: impl Into<String>) -> Self {
        Self::new(if yes { Vec::new() } else { vec![exception.into()] }, counted)
    }
}
