//! Nobody reads what a verb says, or there is no room for it.

use std::fs;
use std::process::Stdio;

use tests::cli::TestCheckout;
use tests::tools::said;

/// A reader that has seen enough is no mistake of anybody's: the verb does its work to the end, and is silent.
#[test]
fn a_reader_that_goes_away() {
    let checkout = TestCheckout::with_program();
    checkout.succeeds(&["key", "new"]);
    for words in [
        &["build", "all"][..],
        &["plan", "all"],
        &["plan", "master", "--json"],
        &["why", "master", "image"],
        &["lint"],
        &["input", "list"],
        &["key", "show"],
        &["repo"],
        &["verify"],
        &["gc", "--dry-run"],
        &["completions", "bash"],
        &["test", "--oracles"],
        &["--help"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = checkout.command(words).stdout(writer).output().unwrap();
        let text = said(&output);
        assert!(
            output.status.success() && !text.contains("panicked"),
            "{words:?}: {}: {text}",
            output.status
        );
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = checkout.command(words).stderr(writer).stdout(Stdio::null()).status().unwrap();
        assert!(status.success(), "{words:?} without anybody to complain to: {status}");
    }
    assert!(checkout.root().join("dist/node/SHA256SUMS").is_file());
    // No room is one.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = checkout.command(&["key", "show"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
}
