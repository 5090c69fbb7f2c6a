//! `cargo xtask`: the project's verbs. Thin: an enum, a match, one file a verb.

// First: its macros are for all that follow.
#[macro_use]
mod say;

// Each uses those before it.
mod checkout;
mod ui;

mod context;

mod target;

mod run;

mod disks;

mod verbs;

use std::process::ExitCode;

use builder::base::Result;
use clap::{CommandFactory, Parser, Subcommand};

use context::Context;
use verbs::{
    bench, build, check, completions, diff, fetch, flash, gc, image, input, key, lint, lock, plan, repo,
    seed, test, verify, vm,
};

/// Builds the nodes of a healthier Kubernetes.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    /// Print results as JSON on standard output.
    #[arg(long, global = true)]
    json: bool,
    /// The checkout [default: the one that the current folder lies in, or $HALE_ROOT].
    #[arg(long, global = true, value_name = "DIR")]
    project: Option<std::path::PathBuf>,
    /// Where the store is [default: the user's cache directory, or $HALE_STORE].
    #[arg(long, global = true, value_name = "DIR")]
    store: Option<std::path::PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

// Sorted by what a newcomer meets first; each verb's arguments and code are in the file of its name.
#[derive(Subcommand)]
enum Verb {
    /// Build a role's packages and image into dist/.
    Build(build::Build),
    /// Build again under other conditions, and compare byte by byte.
    Check(check::Check),
    /// Say what differs between two bundles.
    Diff(diff::Diff),
    /// Say what a build would do.
    Plan(plan::Plan),
    /// Say why a step would run again since the last build.
    Why(plan::Why),
    /// Resolve everything that the outside world could change, and write it down.
    Lock(lock::Lock),
    /// Fetch everything that the lock names and that can be had.
    Fetch(fetch::Fetch),
    /// Hand over components of your own to this checkout.
    Input(input::Input),
    /// Check the overlays: every file by a strict schema of its version.
    Lint(lint::Lint),
    /// Make the signed apt repository in dist/repo.
    Repo(repo::Repo),
    /// Make or show the key that signs the repository.
    Key(key::Key),
    /// Make a disk that boots as a machine of a role.
    Image(image::Image),
    /// Put a role's image on a disk, and read it back.
    Flash(flash::Flash),
    /// Make a seed disk from a folder.
    Seed(seed::Seed),
    /// Boot a role's image in QEMU.
    Vm(vm::Vm),
    /// Read the whole store and mend what is damaged.
    Verify(verify::Verify),
    /// Remove from the store what nothing needs any more.
    Gc(gc::Gc),
    /// Measure what we promise about speed and size.
    Bench(bench::Bench),
    /// Run every test.
    Test(test::Test),
    /// Write a shell's completion script.
    Completions(completions::Completions),
}

fn run(cli: Cli) -> Result<()> {
    let context = Context::new(cli.project, cli.store, cli.json)?;
    match cli.verb {
        Verb::Lock(verb) => verb.run(&context),
        Verb::Fetch(verb) => verb.run(&context),
        Verb::Input(verb) => verb.run(&context),
        Verb::Lint(verb) => verb.run(&context),
        Verb::Repo(verb) => verb.run(&context),
        Verb::Key(verb) => verb.run(&context),
        Verb::Image(verb) => verb.run(&context),
        Verb::Flash(verb) => verb.run(&context),
        Verb::Seed(verb) => verb.run(&context),
        Verb::Vm(verb) => verb.run(&context),
        Verb::Verify(verb) => verb.run(&context),
        Verb::Gc(verb) => verb.run(&context),
        Verb::Build(verb) => verb.run(&context),
        Verb::Check(verb) => verb.run(&context),
        Verb::Diff(verb) => verb.run(&context),
        Verb::Plan(verb) => verb.run(&context),
        Verb::Why(verb) => verb.run(&context),
        Verb::Bench(verb) => verb.run(&context),
        Verb::Test(verb) => verb.run(&context),
        Verb::Completions(verb) => verb.run(&context, Cli::command()),
    }
}

fn main() -> ExitCode {
    // Before anything else: a sandbox's helper must be single-threaded, and its words are no verb.
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == builder::host::sandbox::VERB) {
        return builder::host::sandbox::helper(words.next());
    }
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{}", ui::fault::draw(&fault, context::color()));
            ExitCode::from(fault.exit_code())
        }
    }
}
