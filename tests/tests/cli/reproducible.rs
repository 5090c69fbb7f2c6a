//! `cargo xtask check` is no rubber stamp: something that varies is planted where a build could catch it, and
//! the verb says no, with the step and the first byte; without it the verb says yes.
//!
//! Compiling `hale` twice takes minutes, so cargo is played by a script that gives a program at once, and
//! plants there what a build script in `node` would. Everything else is real.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use tests::cli::TestCheckout;
use tests::tools::{put, run, said, succeed, tool};

/// `cargo build --target-dir DIR …` writes a program that ends in what `plant` prints; any other verb of
/// cargo's is the real one's.
fn cargo_that_plants(checkout: &TestCheckout, plant: &str) -> PathBuf {
    let real = std::env::var_os("CARGO").expect("cargo runs the tests");
    let script = format!(
        "#!/bin/sh\nset -eu\n[ \"$1\" = build ] || exec '{1}' \"$@\"\n\
         while [ \"$1\" != --target-dir ]; do shift; done\n\
         folder=\"$2/x86_64-unknown-linux-gnu/node\"\nmkdir -p \"$folder\"\n\
         rm -f \"$folder/hale\" \"$folder/init\"\ncp '{0}' \"$folder/init\"\n\
         {{ cat '{0}'; {plant}; }} > \"$folder/hale\"\nchmod 755 \"$folder/hale\"\n",
        checkout.path("program").display(),
        Path::new(&real).display(),
    );
    let folder = checkout.path("bin");
    put(folder.join("cargo"), script);
    fs::set_permissions(folder.join("cargo"), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// A checkout that git knows, as `check` copies what git would commit.
fn checkout() -> TestCheckout {
    let checkout = TestCheckout::new();
    let git = |words: &[&str]| succeed(tool("git", "git").args(words).current_dir(checkout.root()));
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    // The smallest program: one that ends at once (elf(5); int 0x80 with eax 1).
    put(checkout.path("program"), ELF);
    checkout
}

/// An ELF file of one segment, whose code is `mov al, 1; int 0x80`.
const ELF: &[u8] = &[
    0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 62, 0, 1, 0, 0, 0, 0x78, 0, 0x40, 0, 0,
    0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0,
    0, 1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0,
    0x7c, 0, 0, 0, 0, 0, 0, 0, 0x7c, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0xb0, 1, 0xcd, 0x80,
];

fn check(checkout: &TestCheckout, plant: &str, words: &[&str]) -> Output {
    let search = std::env::var_os("PATH").expect("a path");
    let folders = [cargo_that_plants(checkout, plant)].into_iter().chain(std::env::split_paths(&search));
    let search = std::env::join_paths(folders).expect("folders without colons");
    let mut check = checkout.command(&[&["check", "master"], words].concat());
    run(check.env("PATH", search).env("CARGO_TARGET_DIR", checkout.path("target")))
}

#[test]
fn without_a_plant_it_says_yes() {
    let checkout = checkout();
    let output = check(&checkout, "true", &["--json"]);
    assert!(output.status.success(), "{}", said(&output));
    let verdict: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&verdict["role"], &verdict["parting"]), (&Value::from("master"), &Value::Null), "{verdict}");
    assert!(verdict["agree"].as_u64().is_some_and(|agree| agree >= 8), "{verdict}");
    // Each condition was really another one.
    let conditions = verdict["conditions"].to_string();
    for part in ["umask 0077", "user 1111:2222", "time zone Pacific/Kiritimati", "locale tr_TR.UTF-8"] {
        assert!(conditions.contains(part), "{part:?} in {conditions}");
    }
    let text = said(&check(&checkout, "true", &[]));
    assert!(text.contains(" outputs, all the same"), "{text}");
}

/// What a program could have caught of its surroundings.
#[test]
fn what_varies_is_found_and_named() {
    for (what, plant) in
        [("the time", "date +%s%N"), ("the path", "pwd"), ("the umask", "umask"), ("the user", "id -u")]
    {
        let checkout = checkout();
        let output = check(&checkout, plant, &[]);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(4), "{what}: {text}");
        assert!(text.contains("error: two builds of one checkout differ"), "{what}: {text}");
        assert!(text.contains("step `deb hale`"), "{what}: the step in {text}");
        assert!(
            text.contains("data.tar.gz > gunzip > ./usr/bin/hale: byte "),
            "{what}: the member in {text}"
        );
    }
}

/// An overlay that is not the same twice: a file that only this checkout has, and git does not know.
#[test]
fn an_overlay_that_varies_is_named() {
    let checkout = checkout();
    put(checkout.root().join(".git/info/exclude"), "stray.conf\n");
    put(checkout.root().join("overlays/common/usr/lib/sysctl.d/stray.conf"), "vm.swappiness = 1\n");
    let output = check(&checkout, "true", &[]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert!(text.contains("step `files hale-common`") && text.contains("was given other inputs"), "{text}");
    assert!(text.contains("stray.conf"), "{text}");
}
