use std::net::Ipv4Addr;

use super::*;
use crate::bootstrap::{MARKER, attempt};
use crate::fake::Fake;
use crate::journal::{Event, Journal};
use crate::world::World;

/// A bootstrap is not done, and what it was told is not wiped, before a name is answered, and rightly.
#[test]
fn the_last_phase_waits_until_names_are_answered() {
    let text = include_str!("../../examples/role.toml");
    for text in [text.to_owned(), text.replace("here = true", "here = false")] {
        let role = Role::parse(&text).unwrap();
        for wrong in [None, Some(Ipv4Addr::new(10, 96, 0, 9))] {
            let world = Fake::of(&role, "10.0.3.1");
            world.resolved.set(wrong);
            let fault = attempt(&world, &role, &mut |_| {}).unwrap_err();
            assert_eq!(fault.class(), crate::fault::Class::Passing, "{fault}");
            let last = Journal::read(&world).unwrap().pop().unwrap();
            assert!(last.phase == "verify" && matches!(last.event, Event::Failed(_)), "{last:?}");
            assert!(!world.path(MARKER).exists());
            world.resolved.set(Some(role.cluster.api_service_address()));
            attempt(&world, &role, &mut |_| {}).unwrap();
        }
    }
}
