//! Whatever ends a bootstrap early, the next one leaves what an undisturbed one leaves.

use proptest::prelude::*;

use super::*;

#[test]
fn a_power_cut_at_every_change_converges() {
    for kind in ["master", "node"] {
        let role = role(kind, "1.20.2");
        let (whole, changes) = &WHOLE[kind];
        assert!(*changes >= 25, "{changes}");
        let mut met = Vec::new();
        for at in 0..*changes {
            let fake = machine(&role);
            fake.fuel.set(at);
            assert!(boot(&fake, &role).is_err(), "{kind}: no cut at {at}");
            met.push(
                Journal::read(&fake).unwrap().last().map(|entry| (entry.phase.clone(), entry.event.clone())),
            );
            fake.reboot();
            boot(&fake, &role).unwrap_or_else(|fault| panic!("{kind}, cut at change {at}: {fault}"));
            assert_eq!(&tree(&fake), whole, "{kind}, cut at change {at}");
        }
        // Writing to the journal is a change, too: so each phase was cut before it began, behind its beginning, and
        // behind its action.
        let mut before = None;
        for phase in phases::of(&role) {
            let begun = Some((phase.name.to_owned(), Event::Begun));
            assert!(
                met.contains(&before) && met.contains(&begun),
                "{kind}: {} was not cut: {met:?}",
                phase.name
            );
            before = Some((phase.name.to_owned(), Event::Done));
        }
    }
}

/// Both releases end with the same.
fn any_role() -> impl Strategy<Value = (&'static str, &'static str)> {
    (prop::sample::select(vec!["master", "node"]), prop::sample::select(vec!["1.17.17", "1.20.2"]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_row_of_cuts_converges(
        (kind, version) in any_role(),
        cuts in prop::collection::vec(0usize..120, 1..6),
    ) {
        let role = role(kind, version);
        let fake = machine(&role);
        for at in cuts {
            fake.fuel.set(at);
            let _ = boot(&fake, &role);
            fake.reboot();
        }
        boot(&fake, &role).unwrap();
        prop_assert_eq!(&tree(&fake), &WHOLE[kind].0);
    }

    /// Programs that refuse, that are killed, that do their work and say they did not, in any order.
    #[test]
    fn any_row_of_failures_converges(
        (kind, version) in any_role(),
        injected in prop::collection::btree_map(0usize..90, prop::sample::select(vec![InjectedFault::Rejects, InjectedFault::ReportsFailure, InjectedFault::TimesOut]), 1..12),
    ) {
        let role = role(kind, version);
        let fake = machine(&role);
        *fake.injected.borrow_mut() = injected;
        // What is wrong with the machine itself ends the program; its unit starts it again.
        let mut outcome = boot_patiently(&fake, &role);
        for _ in 0..12 {
            outcome = outcome.or_else(|_| boot_patiently(&fake, &role));
        }
        outcome.unwrap();
        let mut tree = tree(&fake);
        tree.remove(MARKER.trim_start_matches('/'));
        prop_assert_eq!(&tree, &WHOLE[kind].0);
    }

    #[test]
    fn a_journal_cut_anywhere_converges(length in 0usize..3000) {
        let role = role("master", "1.20.2");
        let fake = machine(&role);
        boot(&fake, &role).unwrap();
        let whole = std::fs::read(fake.path(journal::PATH)).unwrap();
        std::fs::write(fake.path(journal::PATH), &whole[..length.min(whole.len())]).unwrap();
        fake.reboot();
        boot(&fake, &role).unwrap();
        prop_assert_eq!(&tree(&fake), &WHOLE["master"].0);
    }
}
