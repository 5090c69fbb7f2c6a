//! Which checkout is meant: the one that is named, or the one that the current folder lies in; never, without a word, the
//! one that the program was compiled from.

use std::fs;
use std::path::Path;
use std::process::Command;

use tests::checkout;
use tests::cli::{TestCheckout, program};
use tests::tools::{put, run, said};

/// The verb, of a program at `program`, in a folder, by a person whose environment names no checkout.
fn verb(test: &TestCheckout, program: &Path, folder: &Path, words: &[&str]) -> Command {
    let usual = test.command(words);
    let mut command = Command::new(program);
    command.args(words).current_dir(folder).env_remove("HALE_ROOT");
    command.envs(usual.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env_remove("HALE_ROOT");
    command
}

#[track_caller]
fn succeeds(mut command: Command) {
    let output = run(&mut command);
    assert!(output.status.success(), "{command:?}: {}", said(&output));
}

/// A checkout with its `target`, copied and then renamed: the program works on the checkout that it is called in.
#[test]
fn a_checkout_that_was_renamed_works_on_itself() {
    let test = TestCheckout::new();
    put(test.path("pinns"), "#!/bin/sh\n");
    let own = Path::new("target/debug/xtask");
    fs::create_dir_all(test.root().join("target/debug")).unwrap();
    fs::copy(program(), test.root().join(own)).unwrap();
    let handed_over = |top: &Path| top.join("recipes/lines/1.17.local.lock").exists();
    let pinns = test.path("pinns");
    let add = ["input", "add", "crictl", pinns.to_str().unwrap(), "--version", "1.17.0"];
    succeeds(verb(&test, &test.root().join(own), &test.root().join("overlays/common"), &add));
    let renamed = test.path("another name");
    assert!(handed_over(&test.root()));
    fs::rename(test.root(), &renamed).unwrap();
    succeeds(verb(&test, &renamed.join(own), &renamed, &["input", "remove", "crictl"]));
    assert!(!handed_over(&renamed) && !test.root().exists());
    // By name, from anywhere, in this copy and in no other.
    let named = [&["--project", renamed.to_str().unwrap()][..], &add].concat();
    succeeds(verb(&test, &renamed.join(own), Path::new("/"), &named));
    assert!(handed_over(&renamed) && !test.root().exists());
}

/// The checkout that it was compiled from is not meant by itself.
#[test]
fn outside_of_a_checkout_one_must_be_named() {
    let test = TestCheckout::new();
    let output = run(&mut verb(&test, program(), Path::new("/"), &["plan", "master"]));
    let text = said(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    for part in ["/ lies in no checkout of Hale", "recipes/site.toml", "name it with --project DIR"] {
        assert!(text.contains(part), "{text}");
    }
    succeeds(verb(&test, program(), checkout::top(), &["lint"]));
    // The store needs no checkout.
    for words in [&["gc"][..], &["verify"]] {
        succeeds(verb(&test, program(), Path::new("/"), words));
    }
}
