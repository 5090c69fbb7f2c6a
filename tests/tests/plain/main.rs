//! `hale` as it is installed: a plain Debian 12, the packages of a role from a signed repository, and the
//! program that lies in them. What this machine cannot have is a stand-in, and named one: [`programs`].
//!
//! With `HALE_KUBEADM` naming a kubeadm 1.20.2 the bootstraps run that one; without it a stand-in writes what
//! the real one was recorded to write.

mod bootstrap;
mod join;
mod machine;
mod packages;
mod programs;
mod seed;

use std::process::ExitCode;
use std::sync::{Arc, LazyLock};

use libtest_mimic::{Arguments, Trial};
use machine::Root;

/// Every test has a machine of its own, laid over the one root.
fn main() -> ExitCode {
    let root: Arc<LazyLock<Root>> = Arc::new(LazyLock::new(Root::new));
    let trial = |name: &str, test: fn(&Root)| {
        let root = Arc::clone(&root);
        Trial::test(name, move || {
            test(&root);
            Ok(())
        })
    };
    let trials = vec![
        trial("the_master_comes_and_goes", packages::the_master_comes_and_goes),
        trial("the_node_comes_and_goes", packages::the_node_comes_and_goes),
        trial("nothing_pinned_moves", packages::nothing_pinned_moves),
        trial("a_node_that_was_told_nothing_waits", bootstrap::a_node_that_was_told_nothing_waits),
        trial("a_master_gets_as_far_as_its_api_server", bootstrap::a_master_gets_as_far_as_its_api_server),
        trial("a_machine_that_does_not_fit_is_refused", bootstrap::a_machine_that_does_not_fit_is_refused),
        trial(
            "a_node_that_is_told_wrong_things_is_refused",
            bootstrap::a_node_that_is_told_wrong_things_is_refused,
        ),
        trial(
            "a_full_disk_while_certificates_are_written",
            bootstrap::a_full_disk_while_certificates_are_written,
        ),
        trial("a_seed_on_ext4_is_taken_or_refused", seed::a_seed_on_ext4_is_taken_or_refused),
        trial(
            "a_seed_with_a_journal_to_replay_is_not_written_to",
            seed::a_seed_with_a_journal_to_replay_is_not_written_to,
        ),
        trial("a_wrong_pin_is_refused", join::a_wrong_pin_is_refused),
        trial("an_unknown_token_is_waited_for", join::an_unknown_token_is_waited_for),
        trial("the_right_token_and_pin_are_taken", join::the_right_token_and_pin_are_taken),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
