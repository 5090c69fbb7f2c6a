//! Nothing that was written stays out of the programs: no file, and no test.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::declared;
use super::{files, report};

/// Where modules begin.
const SOURCES: [&str; 5] = ["builder/src/", "node/src/", "xtask/src/", "tests/src/", "tests/tests/"];

/// Files that name the modules of their folder.
const PARENTS: [&str; 3] = ["lib.rs", "main.rs", "mod.rs"];

/// A folder and the name of a module in it: what `mod NAME;` in the folder names. Nothing for the top of a program.
fn place(file: &str) -> Option<(&str, &str)> {
    let (folder, name) = file.rsplit_once('/')?;
    match name {
        "lib.rs" | "main.rs" => None,
        "mod.rs" => folder.rsplit_once('/'),
        _ if folder.ends_with("/src/bin") => None,
        _ => Some((folder, name.trim_end_matches(".rs"))),
    }
}

/// Files that no module names: they are compiled into nothing.
fn forgotten(files: &BTreeMap<String, String>) -> Vec<&str> {
    let mut named: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (name, text) in files {
        if let Some((folder, _)) = name.rsplit_once('/').filter(|(_, file)| PARENTS.contains(file)) {
            named.extend(text.lines().filter_map(declared).map(|module| (folder, module)));
        }
    }
    let names = files.keys().map(String::as_str);
    names.filter(|name| place(name).is_some_and(|place| !named.contains(&place))).collect()
}

#[test]
fn a_forgotten_file_is_found() {
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let files = BTreeMap::from([
        file("x/src/lib.rs", "pub mod a;\nmod b;\n// mod e;"),
        file("x/src/a.rs", ""),
        file("x/src/b/mod.rs", "#[cfg(test)]\nmod tests;"),
        file("x/src/b/tests.rs", ""),
        file("x/src/b/c.rs", ""),
        file("x/src/bin/d.rs", ""),
        file("x/src/e.rs", ""),
        file("x/tests/p/main.rs", "mod q;"),
        file("x/tests/p/r/mod.rs", ""),
        file("x/tests/p/q.rs", ""),
    ]);
    assert_eq!(forgotten(&files), ["x/src/b/c.rs", "x/src/e.rs", "x/tests/p/r/mod.rs"]);
}

#[test]
fn every_file_is_named_by_a_module() {
    let is_ours =
        |name: &String| name.ends_with(".rs") && SOURCES.iter().any(|source| name.starts_with(source));
    let files: BTreeMap<String, String> = files().into_iter().filter(|(name, _)| is_ours(name)).collect();
    assert!(files.len() > 400, "only {} files found", files.len());
    let findings: Vec<String> = forgotten(&files).into_iter().map(str::to_owned).collect();
    report(
        "a file is named by the lib.rs, main.rs or mod.rs of its folder; a test program is a folder",
        &findings,
    );
}

/// `#[test]` is nothing where the program's `main` is our runner, and a trial is nothing elsewhere.
#[test]
fn every_test_is_one_that_its_program_runs() {
    let files = files();
    let manifest = files.iter().find(|(name, _)| name == "tests/Cargo.toml").expect("the crate's manifest");
    let own: Vec<&str> = manifest
        .1
        .split("[[test]]")
        .filter(|table| table.contains("harness = false"))
        .filter_map(|table| table.split("path = \"").nth(1)?.split("main.rs").next())
        .collect();
    let (mut findings, mut counts) = (Vec::new(), [0, 0]);
    // In halves, so that this list does not find itself.
    let marks = [["#[te", "st]"], ["#[apply(", "trial)]"]].map(|halves| halves.concat());
    for (name, text) in &files {
        let Some(program) = name.strip_prefix("tests/").filter(|name| name.starts_with("tests/")) else {
            continue;
        };
        let has_runner = own.iter().any(|folder| program.starts_with(folder));
        counts[usize::from(has_runner)] += text.matches(&marks[usize::from(has_runner)]).count();
        if text.contains(&marks[usize::from(!has_runner)]) {
            findings.push(format!("{name}: {}", marks[usize::from(!has_runner)]));
        }
    }
    assert!(counts.iter().all(|count| *count > 30), "only {counts:?} tests found");
    report("a test is marked as its program's `main` wants it", &findings);
}
