//! `hale status`: what was done and when, what it waits for, which unit failed and why, and what to do next.

use std::fmt::Write;

use serde::Serialize;

use crate::bootstrap::journal::{Entry, Event, Journal};
use crate::bootstrap::{self, phases};
use crate::config::Timestamp;
use crate::config::role::RoleConfig;
use crate::fault::Result;
use crate::host::Host;
use crate::host::systemd::{self, UnitProblem};
use crate::kubernetes::context::{Node, load_config};
use crate::machine::{self, ssh};
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

/// The status of the machine.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// State of the bootstrap as a whole.
    pub state: PhaseState,
    /// Units that failed, and why.
    pub units: Vec<UnitProblem>,
    /// What the way out lacks; empty if nothing, or if there is to be none.
    pub uplink: Vec<String>,
    /// All phases of the role.
    pub phases: Vec<PhaseStatus>,
}

/// Units that make a machine a node, in the order in which they need each other.
const UNITS: [&str; 7] = [
    "usr-lib-hale-images.mount",
    "crio.service",
    bootstrap::UNIT,
    "kubelet.service",
    "kube-proxy.service",
    machine::UNIT,
    ssh::UNIT,
];

/// Finds out how the machine stands.
pub fn of(host: &dyn Host, role: &RoleConfig) -> Result<Status> {
    let phases = lines(role, &Journal::read(host)?);
    let mut units = systemd::problems(host, &UNITS).unwrap_or_default();
    units.iter_mut().for_each(|problem| problem.said = plain(&problem.said));
    let left = phases.iter().rfind(|phase| !matches!(phase.state, PhaseState::Done | PhaseState::Pending));
    let is_done = host.path(bootstrap::MARKER).exists();
    let state = match left {
        _ if is_done => PhaseState::Done,
        Some(phase) => phase.state,
        // Between two phases.
        None if phases.iter().any(|phase| phase.state == PhaseState::Done) => PhaseState::Running,
        None => PhaseState::Pending,
    };
    Ok(Status { state, units, uplink: uplink_lacks(host, role), phases })
}

/// Formats what a person is told at a log-in: what the machine is, how it stands, and what to do next.
pub fn brief(role: &RoleConfig, status: &Status) -> String {
    let kind = if role.is_master() { "the master" } else { "a node" };
    let of = status.phases.len();
    let done = status.phases.iter().filter(|phase| phase.state == PhaseState::Done).count();
    let current = status.phases.iter().rfind(|phase| phase.state == status.state);
    let at = current.map_or_else(String::new, |phase| match &phase.why {
        Some(why) => format!(" at {}: {why}", phase.phase),
        None => format!(" at {}", phase.phase),
    });
    let (state, next) = match status.state {
        PhaseState::Done if role.is_master() => (
            "It is set up.".to_owned(),
            "`kubectl get nodes` shows the cluster, `sudo hale doctor` proves what it promises.",
        ),
        PhaseState::Done => (
            "It is set up.".to_owned(),
            "`sudo hale doctor` proves what it promises; kubectl is the master's.",
        ),
        PhaseState::Pending => (
            "It is not set up yet.".to_owned(),
            "`systemctl status hale-bootstrap` tells why it has not begun.",
        ),
        PhaseState::Running => (
            format!("It is being set up, {done} of {of} phases are done{at}"),
            "wait, or watch it with `sudo journalctl -fu hale-bootstrap`.",
        ),
        PhaseState::Waiting => {
            (format!("It waits{at}"), "mend that; it goes on by itself. `sudo hale status` tells more.")
        }
        PhaseState::Failed => (
            format!("It failed{at}"),
            "it is tried again by itself; `sudo journalctl -u hale-bootstrap` tells more.",
        ),
    };
    let mut text = format!("This is {kind} of a Hale cluster, Kubernetes {}.\n{state}\n", role.kubernetes);
    text.push_str(&problems(status));
    let _ = writeln!(text, "Next: {next}");
    text
}

fn problems(status: &Status) -> String {
    let line = |problem: &UnitProblem| {
        let said = if problem.said.is_empty() { "it said nothing" } else { &problem.said };
        format!("{} failed ({}): {said}\n", problem.unit, problem.result)
    };
    let units = status.units.iter().map(line);
    units.chain(status.uplink.iter().map(|lack| format!("The way out: {lack}\n"))).collect()
}

/// Returns the status of all phases of a role, from the journal.
fn lines(role: &RoleConfig, entries: &[Entry]) -> Vec<PhaseStatus> {
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

/// Formats the status for people: the phases as a table, then units that failed.
pub fn table(status: &Status) -> Result<String> {
    let mut text = String::new();
    for line in &status.phases {
        let at =
            line.at.map(Timestamp::from_seconds).transpose()?.map_or_else(String::new, |at| at.to_string());
        let took = line.seconds.map_or_else(String::new, |seconds| format!("{seconds} s"));
        let state = format!("{:?}", line.state).to_lowercase();
        let _ = writeln!(text, "{:<14} {state:<8} {at:<20} {took:>6}  {}", line.phase, line.about);
        if let Some(why) = &line.why {
            let _ = writeln!(text, "{:<14} {why}", "");
        }
    }
    text.push_str(&problems(status));
    Ok(text)
}

/// Describes what the way out lacks. A node.toml that cannot be read is told by the first phase.
fn uplink_lacks(host: &dyn Host, role: &RoleConfig) -> Vec<String> {
    let Ok(config) = load_config(host, role) else { return Vec::new() };
    let lacks = Node::new(host, role, &config).and_then(|node| uplink::lacks(&node));
    lacks.ok().flatten().unwrap_or_default().iter().map(|lack| plain(lack)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::fake::FakeHost;

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
        let text = table(&Status {
            state: PhaseState::Running,
            units: Vec::new(),
            uplink: Vec::new(),
            phases: lines,
        })
        .unwrap();
        assert!(text.contains("preflight      done     1970-01-01T00:00:09Z    9 s"), "{text}");
        for why in ["CRI-O does not answer\\u{1b}[1A\\u{1b}[2K\\nruntime\n", "no answer within 3 min"] {
            assert!(text.contains(why), "{text}");
        }
    }

    fn example() -> RoleConfig {
        RoleConfig::parse(include_str!("../../examples/role.toml")).unwrap()
    }

    /// Each state is told with what to do, and a unit that failed by its name and its own words.
    #[test]
    fn a_person_is_told_what_it_is_how_it_stands_and_what_is_next() {
        let role = example();
        let host = FakeHost::of(&role, "10.0.3.1");
        let told = || brief(&role, &of(&host, &role).unwrap());
        assert!(told().contains("the master") && told().contains("not set up yet"), "{}", told());
        assert!(!told().contains("failed"), "{}", told());
        host.ill.borrow_mut().insert("crio.service".into(), "no such cgroup\u{1b}[2K driver".into());
        let mut journal = Journal::open(&host).unwrap();
        let mut tell = |event| journal.add(Entry { at: 1, phase: "preflight".into(), event }).unwrap();
        tell(Event::Waiting("there is no bridge lxcbr0".into()));
        let unit = "crio.service failed (exit-code): no such cgroup\\u{1b}[2K driver\n";
        for expect in ["It waits at preflight: there is no bridge lxcbr0\n", unit, "Next: mend that"] {
            assert!(told().contains(expect), "{}", told());
        }
        assert!(table(&of(&host, &role).unwrap()).unwrap().ends_with(unit));
        tell(Event::Failed("no space".into()));
        assert!(told().contains("It failed at preflight: no space\n"), "{}", told());
        tell(Event::Done);
        assert!(
            told().contains(&format!("1 of {} phases are done\n", phases::of(&role).len())),
            "{}",
            told()
        );
        host.ill.borrow_mut().clear();
        host.make(bootstrap::MARKER, "");
        assert!(told().contains("It is set up.\nNext: `kubectl get nodes`"), "{}", told());
        assert!(told().lines().count() == 3, "{}", told());
    }
}
