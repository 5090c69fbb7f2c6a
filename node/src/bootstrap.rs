//! First boot: phases in order, each checked, done, checked again and journaled.
//!
//! A phase that the journal calls done and whose check agrees is passed over; any other one is done again,
//! so every action can be repeated and a power cut anywhere is a pause. What another program writes in
//! several steps is written beside its place and renamed, or written again.

use crate::fault::{Class, Fault, Result};
use crate::journal::{Entry, Event, Journal};
use crate::node::Node;
use crate::phases::{self, Phase};

/// Told of everything that is journaled: the console, a virtio port.
pub type Watch<'a> = &'a mut dyn FnMut(&Entry);

/// Runs the phases that are not done. On an error the journal has it, and running again goes on from there.
pub fn run(node: &Node, journal: &mut Journal, watch: Watch) -> Result<()> {
    for phase in phases::of(node.role) {
        if journal.is_done(phase.name) && (phase.check)(node)? {
            continue;
        }
        tell(node, journal, phase.name, Event::Begun, watch)?;
        if let Err(fault) = perform(node, &phase) {
            failed(node, journal, phase.name, &fault, watch)?;
            return Err(fault);
        }
        tell(node, journal, phase.name, Event::Done, watch)?;
    }
    Ok(())
}

fn perform(node: &Node, phase: &Phase) -> Result<()> {
    (phase.act)(node)?;
    if (phase.check)(node)? {
        return Ok(());
    }
    Err(Fault::passing(format!("{} went well but its result is not there", phase.name)))
}

/// Journals a fault, once for as long as it stays the same.
pub fn failed(node: &Node, journal: &mut Journal, phase: &str, fault: &Fault, watch: Watch) -> Result<()> {
    let event = match fault.class() {
        Class::Missing => Event::Waiting(fault.to_string()),
        _ => Event::Failed(fault.to_string()),
    };
    let about = journal.entries().iter().rev().filter(|entry| entry.phase == phase);
    if about.clone().find(|entry| entry.event != Event::Begun).is_some_and(|entry| entry.event == event) {
        return Ok(());
    }
    tell(node, journal, phase, event, watch)
}

fn tell(node: &Node, journal: &mut Journal, phase: &str, event: Event, watch: Watch) -> Result<()> {
    // A phase that is tried again and again is begun once in the journal.
    let last = journal.entries().iter().rev().find(|entry| entry.phase == phase);
    let again = matches!(last, Some(Entry { event: Event::Failed(_) | Event::Waiting(_), .. }));
    if again && event == Event::Begun {
        return Ok(());
    }
    let entry = Entry { at: node.world.now(), phase: phase.to_owned(), event };
    watch(&entry);
    journal.add(entry)
}

#[cfg(test)]
mod tests;
