//! `hale status`: what was done and when, and what it waits for.

use std::fmt::Write;

use serde::Serialize;

use crate::bootstrap::journal::{Entry, Event};
use crate::bootstrap::phases;
use crate::config::Timestamp;
use crate::config::role::RoleConfig;
use crate::fault::Result;
use crate::host::Host;
use crate::kubernetes::context::{Node, load_config};
use crate::network::uplink;
use crate::text::terminal::plain;

/// The status of one phase.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct PhaseStatus {
    /// Name of the phase.
    pub phase: &'static str,
    /// One clause about the phase.
    pub about: &'static str,
    /// State of the phase.
    pub state: PhaseState,
    /// Time of the last entry, in seconds since 1970.
    pub at: Option<i64>,
    /// Duration of a finished phase, in seconds.
    pub seconds: Option<i64>,
    /// Reason why it failed, waits or still runs.
    pub why: Option<String>,
}

/// The state of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PhaseState {
    /// Not begun.
    Pending,
    /// Begun.
    Running,
    /// Waits for the operator.
    Waiting,
    /// Failed; it is tried again.
    Failed,
    /// Done.
    Done,
}

/// Returns the status of all phases of a role, from the journal.
pub fn lines(role: &RoleConfig, entries: &[Entry]) -> Vec<PhaseStatus> {
    let line = |phase: phases::Phase| {
        let of: Vec<&Entry> = entries.iter().filter(|entry| entry.phase == phase.name).collect();
        let last = of.last();
        let (state, why) = match last.map(|entry| &entry.event) {
            None => (PhaseState::Pending, None),
            Some(Event::Begun) => (PhaseState::Running, None),
            Some(Event::Polling(why)) => (PhaseState::Running, Some(why.clone())),
            Some(Event::Done) => (PhaseState::Done, None),
            Some(Event::Failed(why)) => (PhaseState::Failed, Some(why.clone())),
            Some(Event::Waiting(why)) => (PhaseState::Waiting, Some(why.clone())),
        };
        let begun = of.iter().rev().find(|entry| entry.event == Event::Begun);
        let seconds =
            last.zip(begun).filter(|_| state == PhaseState::Done).map(|(last, begun)| last.at - begun.at);
        let (at, why) = (last.map(|entry| entry.at), why.as_deref().map(plain));
        PhaseStatus { phase: phase.name, about: phase.about, state, at, seconds, why }
    };
    phases::of(role).into_iter().map(line).collect()
}

/// Formats the status as a table for people.
pub fn table(lines: &[PhaseStatus]) -> Result<String> {
    let mut text = String::new();
    for line in lines {
        let at =
            line.at.map(Timestamp::from_seconds).transpose()?.map_or_else(String::new, |at| at.to_string());
        let took = line.seconds.map_or_else(String::new, |seconds| format!("{seconds} s"));
        let state = format!("{:?}", line.state).to_lowercase();
        let _ = writeln!(text, "{:<14} {state:<8} {at:<20} {took:>6}  {}", line.phase, line.about);
        if let Some(why) = &line.why {
            let _ = writeln!(text, "{:<14} {why}", "");
        }
    }
    Ok(text)
}

/// Describes what the way out lacks, a line each; nothing if it lacks nothing, or there is to be none. A node.toml that
/// cannot be read is told by the first phase.
pub fn way_out(host: &dyn Host, role: &RoleConfig) -> Result<String> {
    let Ok(config) = load_config(host, role) else { return Ok(String::new()) };
    let Ok(node) = Node::new(host, role, &config) else { return Ok(String::new()) };
    let lacks = uplink::lacks(&node)?.unwrap_or_default();
    Ok(lacks.iter().map(|lack| format!("{:<14} {}\n", "uplink", plain(lack))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_stands_as_its_last_entry_says() {
        let role = RoleConfig::parse(include_str!("../../examples/role.toml")).unwrap();
        let entry = |at, phase: &str, event| Entry { at, phase: phase.into(), event };
        let entries = [
            entry(0, "preflight", Event::Begun),
            entry(5, "preflight", Event::Waiting("there is no bridge".into())),
            entry(9, "preflight", Event::Done),
            entry(10, "runtime", Event::Begun),
            entry(70, "runtime", Event::Failed("CRI-O does not answer\u{1b}[1A\u{1b}[2K\nruntime".into())),
            entry(80, "certificates", Event::Begun),
            entry(85, "certificates", Event::Polling("no answer within 3 min".into())),
        ];
        let lines = lines(&role, &entries);
        let states: Vec<PhaseState> = lines.iter().map(|line| line.state).take(5).collect();
        let [done, pending, failed, running] =
            [PhaseState::Done, PhaseState::Pending, PhaseState::Failed, PhaseState::Running];
        assert_eq!(states, [done, pending, failed, running, pending]);
        let text = table(&lines).unwrap();
        assert!(text.contains("preflight      done     1970-01-01T00:00:09Z    9 s"), "{text}");
        for why in ["CRI-O does not answer\\u{1b}[1A\\u{1b}[2K\\nruntime\n", "no answer within 3 min"] {
            assert!(text.contains(why), "{text}");
        }
    }
}
