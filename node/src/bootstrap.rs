//! First boot: phases in order, each checked, done, checked again and journaled.
//!
//! A phase that the journal calls done and whose check agrees is passed over; any other one is done again,
//! so every action can be repeated and a power cut anywhere is a pause. What another program writes in
//! several steps is written beside its place and renamed, or written again.

use std::time::Duration;

use crate::fault::{Class, Fault, Result};
use crate::files;
use crate::identity::Identity;
use crate::journal::{Entry, Event, Journal};
use crate::node::Node;
use crate::phases::{self, Phase};
use crate::role::Role;
use crate::world::{Call, World};

/// Told of everything that is journaled: the console, a virtio port.
pub type Watch<'a> = &'a mut dyn FnMut(&Entry);

/// Runs the phases that are not done. On an error the journal has it, and running again goes on from there.
pub fn run(node: &Node, journal: &mut Journal, watch: Watch) -> Result<()> {
    for phase in phases::of(node.role) {
        if journal.is_done(phase.name) && (phase.check)(node)? {
            continue;
        }
        tell(node.world, journal, phase.name, Event::Begun, watch)?;
        if let Err(fault) = perform(node, &phase) {
            failed(node.world, journal, phase.name, &fault, watch)?;
            return Err(fault);
        }
        tell(node.world, journal, phase.name, Event::Done, watch)?;
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
pub fn failed(
    world: &dyn World,
    journal: &mut Journal,
    phase: &str,
    fault: &Fault,
    watch: Watch,
) -> Result<()> {
    let event = match fault.class() {
        Class::Missing | Class::Input => Event::Waiting(fault.to_string()),
        _ => Event::Failed(fault.to_string()),
    };
    let about = journal.entries().iter().rev().filter(|entry| entry.phase == phase);
    if about.clone().find(|entry| entry.event != Event::Begun).is_some_and(|entry| entry.event == event) {
        return Ok(());
    }
    tell(world, journal, phase, event, watch)
}

fn tell(world: &dyn World, journal: &mut Journal, phase: &str, event: Event, watch: Watch) -> Result<()> {
    // A phase that is tried again and again is begun once in the journal.
    let last = journal.entries().iter().rev().find(|entry| entry.phase == phase);
    let again = matches!(last, Some(Entry { event: Event::Failed(_) | Event::Waiting(_), .. }));
    if again && event == Event::Begun {
        return Ok(());
    }
    let entry = Entry { at: world.now(), phase: phase.to_owned(), event };
    watch(&entry);
    journal.add(entry)
}

/// One attempt from what the node is told now.
pub fn attempt(world: &dyn World, role: &Role, watch: Watch) -> Result<()> {
    go_on(world, role, &mut Journal::open(world)?, &|| Ok(()), watch)
}

/// What `before` and the node's identity are wrong with is journaled under the first phase.
fn go_on(
    world: &dyn World,
    role: &Role,
    journal: &mut Journal,
    before: &dyn Fn() -> Result<()>,
    watch: Watch,
) -> Result<()> {
    let identity = before().and_then(|()| Identity::load(world, role));
    let identity = identity.map_err(|fault| refused(world, role, journal, fault, watch))?;
    let node =
        Node::new(world, role, &identity).map_err(|fault| refused(world, role, journal, fault, watch))?;
    run(&node, journal, watch)
}

/// Journals what is wrong before the first phase, as if it were that phase's.
fn refused(world: &dyn World, role: &Role, journal: &mut Journal, fault: Fault, watch: Watch) -> Fault {
    failed(world, journal, phases::of(role)[0].name, &fault, watch).err().unwrap_or(fault)
}

/// The longest pause between attempts.
const LONGEST: Duration = Duration::from_secs(300);

/// Attempts until it is done, each after `before`. Waits for the operator's input, tries again what can pass,
/// and gives up on what is wrong with the machine itself. The journal is held all along, pauses included: a
/// second bootstrap is refused at once.
pub fn until_done(
    world: &dyn World,
    role: &Role,
    before: &dyn Fn() -> Result<()>,
    watch: Watch,
) -> Result<()> {
    let mut journal = Journal::open(world)?;
    let mut pause = Duration::from_secs(5);
    loop {
        match go_on(world, role, &mut journal, before, watch) {
            Ok(()) => return finish(world),
            Err(fault) => match fault.class() {
                Class::Missing | Class::Input => pause = Duration::from_secs(5),
                Class::Passing => pause = (pause * 2).min(LONGEST),
                Class::Integrity | Class::Machine => return Err(fault),
            },
        }
        world.pause(pause);
    }
}

/// The unit's condition: it is there when there is nothing left to do.
pub const MARKER: &str = "/var/lib/hale/bootstrapped";
/// The unit that runs this.
pub const UNIT: &str = "hale-bootstrap.service";

fn finish(world: &dyn World) -> Result<()> {
    files::write(world, MARKER, b"", 0o644)?;
    world.ask(&Call::new("/usr/bin/systemctl", &["disable", UNIT])).map(drop)
}

#[cfg(test)]
mod tests;
