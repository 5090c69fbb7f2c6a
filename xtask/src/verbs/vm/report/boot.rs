//! What a machine said on its port while it came up: phases of its bootstrap, and in the end what it is like.

use node::bootstrap::journal::{Entry, Event};
use node::doctor::report::BootReport;

/// A line, and when it came, in seconds after power-on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Heard {
    pub(crate) at: f64,
    pub(crate) text: String,
}

/// A first boot, as far as it was told.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FirstBoot {
    /// Phases in the order in which they were first told of.
    pub(crate) phases: Vec<Phase>,
    /// What the machine said of itself, and when.
    pub(crate) report: Option<(f64, BootReport)>,
    /// Lines that are neither.
    pub(crate) strange: Vec<String>,
}

/// A phase of the bootstrap; times in seconds after power-on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Phase {
    pub(crate) name: String,
    pub(crate) began: f64,
    pub(crate) last: f64,
    pub(crate) state: State,
    /// When it failed, waited or was held up, and why.
    pub(crate) setbacks: Vec<(f64, String)>,
}

/// How a phase stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Begun,
    Done,
    Failed,
    Waiting,
}

impl State {
    /// Writes the state for people.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Begun => "not done",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Waiting => "waits",
        }
    }
}

impl FirstBoot {
    /// Reads what was heard.
    pub(crate) fn of(lines: &[Heard]) -> Self {
        let mut boot = Self::default();
        for Heard { at, text } in lines {
            if let Ok(entry) = serde_json::from_str::<Entry>(text) {
                boot.take(*at, entry);
            } else if let Ok(report) = serde_json::from_str::<BootReport>(text) {
                boot.report = Some((*at, report));
            } else if !text.trim().is_empty() {
                boot.strange.push(text.clone());
            }
        }
        boot
    }

    fn take(&mut self, at: f64, entry: Entry) {
        let known = self.phases.iter().position(|phase| phase.name == entry.phase);
        let index = known.unwrap_or_else(|| {
            let (name, state) = (entry.phase, State::Begun);
            self.phases.push(Phase { name, began: at, last: at, state, setbacks: Vec::new() });
            self.phases.len() - 1
        });
        let phase = &mut self.phases[index];
        phase.last = at;
        phase.state = match entry.event {
            Event::Begun => State::Begun,
            Event::Polling(why) => {
                phase.setbacks.push((at, format!("goes on: {why}")));
                State::Begun
            }
            Event::Done => State::Done,
            Event::Failed(why) => {
                phase.setbacks.push((at, format!("failed: {why}")));
                State::Failed
            }
            Event::Waiting(why) => {
                phase.setbacks.push((at, format!("waits: {why}")));
                State::Waiting
            }
        };
    }

    /// Returns when the kernel started, in seconds after power-on: before that, firmware and boot loader ran.
    pub(crate) fn kernel(&self) -> Option<f64> {
        self.report.as_ref().map(|(at, report)| (at - seconds(report.uptime)).max(0.0))
    }

    /// Returns when the last phase was done, if all that was told of were and the machine says that it is finished.
    pub(crate) fn done(&self) -> Option<f64> {
        let last = self.phases.iter().map(|phase| phase.last).reduce(f64::max)?;
        let all = self.phases.iter().all(|phase| phase.state == State::Done);
        (all && self.report.is_some()).then_some(last)
    }
}

/// Microseconds as seconds.
pub(crate) fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(lines: &[(f64, &str)]) -> FirstBoot {
        let heard = |(at, text): &(f64, &str)| Heard { at: *at, text: (*text).to_owned() };
        FirstBoot::of(&lines.iter().map(heard).collect::<Vec<_>>())
    }

    #[test]
    fn lines_become_phases() {
        let done = r#"{"at":9,"phase":"preflight","event":"done"}"#;
        let boot = boot(&[
            (50.0, r#"{"at":1,"phase":"preflight","event":{"waiting":"no bridge"}}"#),
            (55.0, r#"{"at":6,"phase":"preflight","event":"begun"}"#),
            (58.5, done),
            (58.6, r#"{"at":9,"phase":"runtime","event":"begun"}"#),
            (59.0, r#"{"at":9,"phase":"runtime","event":{"failed":"<no> CRI-O"}}"#),
            (60.0, "torn {"),
            (60.5, ""),
            (61.0, r#"{"uptime":41000000,"userspace":1,"finished":0,"units":[],"findings":[]}"#),
            (62.0, r#"{"uptime":41000000,"userspace":1,"finished":0,"units":[],"findings":[],"more":1}"#),
        ]);
        let told: Vec<_> = boot.phases.iter().map(|p| (p.name.as_str(), p.began, p.last, p.state)).collect();
        let expect = [("preflight", 50.0, 58.5, State::Done), ("runtime", 58.6, 59.0, State::Failed)];
        assert_eq!(told, expect);
        assert_eq!(boot.phases[0].setbacks, [(50.0, "waits: no bridge".to_owned())]);
        assert_eq!(boot.strange.len(), 2, "{:?}", boot.strange);
        assert_eq!((boot.kernel(), boot.done()), (Some(20.0), None));
    }

    #[test]
    fn a_boot_is_done_when_every_phase_is_and_the_machine_says_so() {
        let phase = r#"{"at":9,"phase":"verify","event":"done"}"#;
        let report = r#"{"uptime":1000000,"userspace":1,"finished":0,"units":[],"findings":[]}"#;
        assert_eq!(boot(&[(7.0, phase), (8.0, report)]).done(), Some(7.0));
        for lines in [&[(7.0, phase)][..], &[(8.0, report)], &[]] {
            assert_eq!(boot(lines).done(), None);
        }
    }
}
