//! First boot: phases in order, each checked, done, checked again and journaled.
//!
//! A phase that the journal calls done and whose check agrees is passed over; any other one is done again,
//! so every action can be repeated and a power cut anywhere is a pause. What another program writes in
//! several steps is written beside its place and renamed, or written again.

use std::cell::RefCell;
use std::time::Duration;

use crate::config::role::RoleConfig;
use crate::fault::{Class, Fault, Result};
use crate::host::{Host, files, systemd};
use crate::kubernetes::context::{Node, load_config};
use crate::kubernetes::retry::{retry, wait_until};

pub mod journal;
pub mod phases;
pub mod written;

use journal::{Entry, Event, Journal};
use phases::Phase;

/// Called with every new entry of the journal.
pub type Watch<'a> = &'a mut dyn FnMut(&Entry);

/// Maximum time for a check to become true: after a phase was applied, and of what an earlier attempt left.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(120);
const CHECK_TIMEOUT: Duration = Duration::from_secs(15);

/// Runs the phases that are not done. A fault is journaled, and running again goes on from there.
fn run(node: &Node, record: &mut Record) -> Result<()> {
    let record = RefCell::new(record);
    for phase in phases::of(node.role) {
        if record.borrow().journal.is_done(phase.name) && is_still_done(node, &phase)? {
            continue;
        }
        record.borrow_mut().log(phase.name, Event::Begun)?;
        // What cannot be journaled here will not be journaled when the phase ends either, and ends it then.
        let on_wait =
            |why: &Fault| drop(record.borrow_mut().log(phase.name, Event::Polling(why.to_string())));
        let observed = Node { on_wait: &on_wait, name: node.name.clone(), ..*node };
        let performed = perform(&observed, &phase);
        if let Err(fault) = performed {
            record.borrow_mut().log_failure(phase.name, &fault)?;
            return Err(fault);
        }
        record.borrow_mut().log(phase.name, Event::Done)?;
    }
    Ok(())
}

/// Returns whether the result of a phase that the journal calls done is still there; false if that cannot be found out.
fn is_still_done(node: &Node, phase: &Phase) -> Result<bool> {
    match retry(node, CHECK_TIMEOUT, &|| (phase.is_done)(node)) {
        Err(fault) if fault.class() == Class::Transient => Ok(false),
        found => found,
    }
}

fn perform(node: &Node, phase: &Phase) -> Result<()> {
    (phase.apply)(node)?;
    let no = format!("{} went well but its result is not there", phase.name);
    wait_until(node, &no, SETTLE_TIMEOUT, &|| (phase.is_done)(node))
}

/// The journal, and who watches it.
struct Record<'a> {
    host: &'a dyn Host,
    journal: Journal,
    watch: Watch<'a>,
}

impl<'a> Record<'a> {
    fn open(host: &'a dyn Host, watch: Watch<'a>) -> Result<Self> {
        Ok(Self { host, journal: Journal::open(host)?, watch })
    }

    /// Journals a fault from before the first phase, as if it were that phase's.
    fn log_refusal(&mut self, role: &RoleConfig, fault: Fault) -> Fault {
        self.log_failure(phases::of(role)[0].name, &fault).err().unwrap_or(fault)
    }

    /// Journals a fault, once for as long as it stays the same.
    fn log_failure(&mut self, phase: &str, fault: &Fault) -> Result<()> {
        let event = match fault.class() {
            Class::Missing | Class::Input => Event::Waiting(fault.to_string()),
            _ => Event::Failed(fault.to_string()),
        };
        let mut about = self.journal.entries().iter().rev().filter(|entry| entry.phase == phase);
        if about.find(|entry| entry.event != Event::Begun).is_some_and(|entry| entry.event == event) {
            return Ok(());
        }
        self.log(phase, event)
    }

    fn log(&mut self, phase: &str, event: Event) -> Result<()> {
        let last = self.journal.entries().iter().rev().find(|entry| entry.phase == phase);
        let again = match last.map(|entry| &entry.event) {
            // A phase that is tried again and again is begun once in the journal.
            Some(Event::Failed(_) | Event::Waiting(_)) => event == Event::Begun,
            Some(last @ Event::Polling(_)) => *last == event,
            _ => false,
        };
        if again {
            return Ok(());
        }
        let entry = Entry { at: self.host.now(), phase: phase.to_owned(), event };
        (self.watch)(&entry);
        self.host.before_change(&self.host.path(journal::PATH))?;
        self.journal.add(entry)
    }
}

/// Runs one attempt, with what `node.toml` says now.
pub fn attempt(host: &dyn Host, role: &RoleConfig, watch: Watch) -> Result<()> {
    attempt_with(role, &mut Record::open(host, watch)?, &|| Ok(()))
}

fn attempt_with(role: &RoleConfig, record: &mut Record, before: &dyn Fn() -> Result<()>) -> Result<()> {
    let host = record.host;
    let config = before().and_then(|()| load_config(host, role));
    let config = config.map_err(|fault| record.log_refusal(role, fault))?;
    let node = Node::new(host, role, &config).map_err(|fault| record.log_refusal(role, fault))?;
    run(&node, record)
}

/// The first pause between attempts, and the longest.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);

/// Repeats attempts until all phases are done, each after `before`. Waits for the operator's input, retries transient
/// faults, and gives up on what is wrong with the machine itself. The journal is held all along, pauses included: a
/// second bootstrap is refused at once.
pub fn until_done(
    host: &dyn Host,
    role: &RoleConfig,
    before: &dyn Fn() -> Result<()>,
    watch: Watch,
) -> Result<()> {
    let mut record = Record::open(host, watch)?;
    let mut pause = SHORTEST;
    loop {
        let done = record.journal.done();
        match attempt_with(role, &mut record, before) {
            Ok(()) => return finish(host),
            Err(fault) => match fault.class() {
                Class::Missing | Class::Input => pause = SHORTEST,
                // It got further than before.
                Class::Transient if record.journal.done() > done => pause = SHORTEST,
                Class::Transient => pause = (pause * 2).min(LONGEST),
                Class::Integrity | Class::Machine => return Err(fault),
            },
        }
        host.pause(pause);
    }
}

/// Marker that all phases are done: the condition of the unit.
pub const MARKER: &str = "/var/lib/hale/bootstrapped";
/// The unit that runs the bootstrap.
pub const UNIT: &str = "hale-bootstrap.service";

fn finish(host: &dyn Host) -> Result<()> {
    files::write(host, MARKER, b"", 0o644)?;
    systemd::output(host, &["disable", UNIT]).map(drop)
}

#[cfg(test)]
mod tests;
