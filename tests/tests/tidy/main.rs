//! House rules as tests: layout, sizes, forbidden words. Every finding is listed, not only the first.

mod boot;
mod imports;
mod layout;
mod modules;
mod names;
mod words;

use std::collections::BTreeSet;
use std::path::PathBuf;

use tests::checkout::top;
use tests::tools::{succeed, tool};

/// Every file that git would commit, with its text; binary files are left out.
fn files() -> Vec<(String, String)> {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let list = succeed(tool("git", "git").args(list).current_dir(top()));
    let names = String::from_utf8(list).expect("file names are UTF-8");
    let read = |name: &str| Some((name.to_owned(), std::fs::read_to_string(top().join(name)).ok()?));
    names.lines().filter_map(read).collect()
}

fn report(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}

/// The text before the first `mod tests`.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

#[test]
fn files_and_functions_fit_a_page() {
    let mut findings = Vec::new();
    for (name, text) in files().into_iter().filter(|(name, _)| name.ends_with(".rs")) {
        let lines = code(&text).lines().count();
        if lines >= 400 {
            findings.push(format!("{name}: {lines} lines"));
        }
        findings.extend(long_functions(code(&text)).into_iter().map(|f| format!("{name}: {f}")));
    }
    report("files stay under 400 lines and functions under 70", &findings);
}

/// Functions over 70 lines; rustfmt closes each at the indentation where it began.
fn long_functions(text: &str) -> Vec<String> {
    let mut open: Option<(usize, usize, String)> = None;
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let starts = line.trim_start().split(' ').take(4).any(|word| word == "fn");
        if open.is_none() && starts {
            open = Some((number, indent, line.trim().to_owned()));
        }
        if let Some((start, at, head)) = &open {
            if indent == *at && (line.trim() == "}" || line.trim_end().ends_with(" }") || line.ends_with(';'))
            {
                if number - start > 70 {
                    found.push(format!("{} lines: {head}", number - start));
                }
                open = None;
            }
        }
    }
    found
}

#[test]
fn nothing_is_left_unfinished_or_unsafe() {
    // Written in two halves, so that this list does not find itself.
    let words = [
        ("todo", "!("),
        ("unimplemented", "!("),
        ("#[igno", "re"),
        ("should_", "panic"),
        ("unsafe", " {"),
        ("FIX", "ME"),
        ("XX", "X"),
    ];
    let mut findings = Vec::new();
    for (name, text) in files() {
        if !name.ends_with(".rs") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            findings.extend(
                words
                    .iter()
                    .map(|(a, b)| format!("{a}{b}"))
                    .filter(|word| line.contains(word.as_str()))
                    .map(|word| format!("{name}:{}: {word}", number + 1)),
            );
        }
    }
    report("no stubs, no skipped tests, no unsafe code", &findings);
}

/// Hosts of the machine's package mirrors, from its own configuration.
fn mirror_hosts() -> Vec<String> {
    let mut sources = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = std::fs::read_dir("/etc/apt/sources.list.d") {
        sources.extend(entries.flatten().map(|entry| entry.path()));
    }
    let texts = sources.iter().filter_map(|path| std::fs::read_to_string(path).ok());
    let mut hosts = Vec::new();
    for text in texts {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let urls = line.split_whitespace().filter_map(|word| word.split_once("://"));
            hosts.extend(urls.filter_map(|(_, rest)| rest.split('/').next()).map(str::to_owned));
        }
    }
    // `file:` and `cdrom:` have none.
    hosts.retain(|host| !host.is_empty());
    hosts
}

/// Every call of `tool` in a text: the program and the package that brings it.
fn oracles(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split("tool(").skip(1).filter_map(|rest| {
        let mut words = rest.trim_start().strip_prefix('"')?.split('"');
        let (program, comma, package) = (words.next()?, words.next()?, words.next()?);
        (comma.trim() == ",").then_some((program, package))
    })
}

#[test]
fn every_oracle_is_asked_for_before_the_tests_begin() {
    let list =
        std::fs::read_to_string(top().join("xtask/src/verbs/test.rs")).expect("xtask/src/verbs/test.rs");
    let mut findings = Vec::new();
    let mut calls = 0;
    for (name, text) in files().into_iter().filter(|(name, _)| name.starts_with("tests/")) {
        for (program, package) in oracles(&text) {
            calls += 1;
            if !list.contains(&format!("    (\"{program}\", \"{package}\"),\n")) {
                findings.push(format!("{name}: {program} of {package}"));
            }
        }
        let own = name == "tests/src/tools.rs" || name.starts_with("tests/tests/tidy/");
        if !own && text.contains("Command::new(\"") {
            findings.push(format!("{name}: a program started without `tools::tool`"));
        }
    }
    assert!(calls > 10, "only {calls} calls of oracles found");
    findings.sort();
    findings.dedup();
    report("programs that tests call are in ORACLES of xtask/src/verbs/test.rs", &findings);
}

/// What runs on a node is small and waits for one thing at a time.
#[test]
fn the_nodes_program_has_no_async_runtime() {
    let mut tree = std::process::Command::new(env!("CARGO"));
    tree.args(["tree", "--offline", "--locked", "--package", "node", "--edges", "normal,build"]);
    let tree = succeed(tree.args(["--prefix", "none", "--format", "{lib}"]).current_dir(top()));
    let tree = String::from_utf8(tree).expect("names are UTF-8");
    let crates: BTreeSet<&str> = tree.lines().map(str::trim).collect();
    assert!(crates.contains("serde_json") && crates.len() < 120, "{crates:?}");
    let runtimes = ["async_executor", "async_std", "futures_executor", "mio", "smol", "tokio"];
    let found: Vec<String> =
        runtimes.into_iter().filter(|name| crates.contains(name)).map(str::to_owned).collect();
    report("hale on the node has no async runtime", &found);
}

#[test]
fn no_machine_path_and_no_mirror_host_is_committed() {
    let mut forbidden = mirror_hosts();
    forbidden.extend(
        [["/wo", "rk/"], ["/root/.ca", "rgo"], ["/tmp/bash_", "jobs"]].iter().map(|halves| halves.concat()),
    );
    let mut findings = Vec::new();
    for (name, text) in files().into_iter().filter(|(name, _)| name != "Cargo.lock") {
        for word in forbidden.iter().filter(|word| text.contains(word.as_str())) {
            findings.push(format!("{name}: {word}"));
        }
    }
    report("mirrors come from the machine's configuration, and paths from the user", &findings);
}
