//! Folders as floors: where files lie, what they may import, and what each folder may touch.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::{Modules, Path, Source, declared, leaves, module, uses};
use super::{code, files, report};

/// A crate whose folders stand in an order: that in which its `lib.rs` or `main.rs` declares them.
struct Layout {
    /// Where its sources are.
    source: &'static str,
    /// Folders without disk, clock, network, processes and environment.
    pure: &'static [&'static str],
    /// Folders that may have more than ten entries.
    crowded: &'static [&'static str],
    /// Files beside the folders that stand in the order as the folders do.
    beside: &'static [&'static str],
    /// Files that may read the environment.
    environment: &'static [&'static str],
    /// Files and folders that may touch the terminal.
    terminal: &'static [&'static str],
}

const LAYOUTS: &[Layout] = &[
    Layout {
        source: "builder/src",
        pure: &["base", "formats", "recipe", "lock", "overlay", "plan", "pack"],
        crowded: &["builder/src", "builder/src/plan/step", "builder/src/build/steps"],
        beside: &[],
        environment: &[],
        terminal: &[],
    },
    Layout {
        source: "node/src",
        pure: &["text", "config"],
        crowded: &["node/src"],
        beside: &[],
        environment: &[],
        terminal: &[],
    },
    Layout {
        source: "xtask/src",
        pure: &[],
        crowded: &["xtask/src/verbs"],
        beside: &["say.rs", "checkout.rs", "context.rs", "target.rs", "run.rs", "disks.rs"],
        environment: &["context.rs", "verbs/test.rs"],
        terminal: &["context.rs", "ui/", "verbs/flash.rs"],
    },
];

/// Files that may stand beside the folders of every crate: its tops, and the fault that all use.
const BESIDE: [&str; 3] = ["lib.rs", "main.rs", "fault.rs"];

impl Layout {
    fn sources(&self) -> Vec<Source> {
        let all: BTreeMap<String, String> = files()
            .into_iter()
            .filter_map(|(name, text)| {
                Some((name.strip_prefix(self.source)?.strip_prefix('/')?.to_owned(), text))
            })
            .filter(|(name, _)| name.ends_with(".rs"))
            .collect();
        let tests: BTreeSet<Path> = all
            .iter()
            .flat_map(|(file, text)| {
                let tests = text.split("#[cfg(test)]\n").skip(1).filter_map(|rest| {
                    let line = rest.lines().next()?.strip_suffix(';')?;
                    Some([module(file), vec![line.rsplit_once("mod ")?.1.to_owned()]].concat())
                });
                tests.collect::<Vec<_>>()
            })
            .collect();
        let sources = all.into_iter().map(|(file, text)| {
            let lines = code(&text).lines().map(|line| line.split("//").next().unwrap_or_default());
            Source { module: module(&file), code: lines.collect::<Vec<_>>().join("\n"), file }
        });
        let is_test = |module: &Path| (0..=module.len()).any(|length| tests.contains(&module[..length]));
        sources.filter(|source| !is_test(&source.module)).collect()
    }

    /// The folders, in order.
    fn folders(&self, sources: &[Source]) -> Vec<String> {
        let root = sources.iter().filter(|source| ["lib.rs", "main.rs"].contains(&source.file.as_str()));
        let names = root.flat_map(|source| source.code.lines().filter_map(declared));
        names.map(str::to_owned).filter(|name| !BESIDE.contains(&format!("{name}.rs").as_str())).collect()
    }
}

/// Modules that reach themselves.
fn circles(edges: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let reaches_itself = |start: &String| {
        let (mut open, mut seen) = (vec![start], BTreeSet::new());
        while let Some(module) = open.pop() {
            for next in edges.get(module).into_iter().flatten() {
                if next == start {
                    return true;
                }
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        false
    };
    edges
        .keys()
        .filter(|module| reaches_itself(module))
        .map(|module| format!("{module} imports itself"))
        .collect()
}

#[test]
fn circles_are_found() {
    let edges = |pairs: &[(&str, &str)]| {
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in pairs {
            edges.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        circles(&edges).len()
    };
    assert_eq!((edges(&[("a", "b"), ("b", "c")]), edges(&[("a", "b"), ("b", "c"), ("c", "b")])), (0, 2));
}

#[test]
fn every_file_lies_in_a_folder() {
    let mut findings = Vec::new();
    for layout in LAYOUTS {
        let sources = layout.sources();
        let folders = layout.folders(&sources);
        for source in &sources {
            let place = source.file.split_once('/').map(|(folder, _)| folder);
            let file = source.file.as_str();
            let beside = BESIDE.contains(&file) || layout.beside.contains(&file);
            let known =
                place.map_or(beside, |folder| folder == "bin" || folders.iter().any(|name| name == folder));
            if !known {
                findings.push(format!("{}/{}", layout.source, source.file));
            }
        }
    }
    report("a file lies in a folder that lib.rs or main.rs declares", &findings);
}

#[test]
fn an_import_points_to_its_own_folder_or_an_earlier_one() {
    let (mut findings, mut imports) = (Vec::new(), 0);
    for layout in LAYOUTS {
        let sources = layout.sources();
        let (folders, modules) = (layout.folders(&sources), Modules::of(&sources));
        let place = |module: &Path| folders.iter().position(|name| Some(name) == module.first());
        for source in &sources {
            let Some(own) = place(&source.module) else { continue };
            for target in modules.imports(source) {
                imports += 1;
                if place(&target).is_some_and(|target| target > own) {
                    findings.push(format!("{}/{}: {}", layout.source, source.file, target.join("::")));
                }
            }
        }
    }
    assert!(imports > 500, "only {imports} imports found");
    report("an import points to its own folder or an earlier one", &findings);
}

#[test]
fn files_of_a_folder_import_in_no_circle() {
    let mut findings = Vec::new();
    for layout in LAYOUTS {
        let sources = layout.sources();
        let modules = Modules::of(&sources);
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for source in &sources {
            let own = modules.imports(source).into_iter().filter(|to| to.first() == source.module.first());
            edges.insert(source.module.join("/"), own.map(|module| module.join("/")).collect());
        }
        findings.extend(circles(&edges).into_iter().map(|circle| format!("{}: {circle}", layout.source)));
    }
    report("files of a folder import in no circle", &findings);
}

#[test]
fn pure_folders_are_pure() {
    // Addresses are values: `std::net` is refused where it is more.
    let impure = ["std::fs", "std::process", "std::env", "std::time", "std::thread", "tempfile", "rustix"];
    let sockets = ["TcpStream", "TcpListener", "UdpSocket", "ToSocketAddrs"];
    let mut findings = Vec::new();
    for layout in LAYOUTS {
        for source in layout.sources() {
            if !source.module.first().is_some_and(|folder| layout.pure.contains(&folder.as_str())) {
                continue;
            }
            let paths = uses(&source.code).into_iter().flat_map(|(_, tree)| leaves(&tree));
            let text = paths.map(|path| path.join("::")).collect::<Vec<_>>().join("\n") + "\n" + &source.code;
            let found = impure.iter().chain(&sockets).filter(|word| text.contains(*word));
            findings.extend(found.map(|word| format!("{}/{}: {word}", layout.source, source.file)));
        }
    }
    report("pure folders know no disk, clock, network, process, thread or environment", &findings);
}

#[test]
fn a_folder_fits_in_one_look() {
    let mut folders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, _) in files() {
        if !LAYOUTS.iter().any(|layout| name.starts_with(&format!("{}/", layout.source))) {
            continue;
        }
        let mut path = name.as_str();
        while let Some((folder, entry)) = path.rsplit_once('/') {
            folders.entry(folder.to_owned()).or_default().insert(entry.to_owned());
            path = folder;
        }
    }
    let crowded = |folder: &str| LAYOUTS.iter().any(|layout| layout.crowded.contains(&folder));
    let in_layout = |folder: &str| LAYOUTS.iter().any(|layout| folder.starts_with(layout.source));
    let mut findings = Vec::new();
    for (folder, entries) in folders.iter().filter(|(folder, _)| in_layout(folder)) {
        if entries.len() > 10 && !crowded(folder) {
            findings.push(format!("{folder}: {} entries", entries.len()));
        }
        // One style of modules: what a folder is stands in its `mod.rs`.
        if folder.rsplit_once('/').is_some_and(|(above, name)| {
            folders.get(above).is_some_and(|entries| entries.contains(&format!("{name}.rs")))
        }) {
            findings.push(format!("{folder}.rs stands beside {folder}/"));
        }
        if entries.iter().all(|entry| entry == "tests.rs") {
            findings.push(format!("{folder} holds nothing but tests.rs"));
        }
    }
    report("a folder has ten entries at most, and a mod.rs", &findings);
}

#[test]
fn environment_and_terminal_are_each_touched_in_one_place() {
    let mut findings = Vec::new();
    for layout in LAYOUTS {
        for source in layout.sources() {
            let allowed = |places: &[&str]| places.iter().any(|place| source.file.starts_with(place));
            let mut look = |words: &[&str], places: &[&str]| {
                let found = words.iter().filter(|word| source.code.contains(**word) && !allowed(places));
                findings.extend(found.map(|word| format!("{}/{}: {word}", layout.source, source.file)));
            };
            look(&["env::var", "env::{var"], layout.environment);
            look(
                &["is_terminal", "IsTerminal", "indicatif", "annotate_snippets", "termios"],
                layout.terminal,
            );
        }
    }
    report("environment and terminal are touched where they may be", &findings);
}
