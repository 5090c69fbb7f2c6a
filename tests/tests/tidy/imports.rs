//! What a file imports: its `use`s and paths, followed to the module in which the name is written.

use std::collections::{BTreeMap, BTreeSet};

/// A module's path below its crate, and the path of anything in it.
pub(crate) type Path = Vec<String>;

/// A file that is compiled into the program.
pub(crate) struct Source {
    /// Its path below the crate's sources.
    pub(crate) file: String,
    pub(crate) module: Path,
    /// Without comments and unit tests.
    pub(crate) code: String,
}

/// `a/b.rs` and `a/b/mod.rs` are both `a::b`.
pub(crate) fn module(file: &str) -> Path {
    let mut path: Path = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if path.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        path.pop();
    }
    path
}

/// The name in `pub mod NAME;`.
pub(crate) fn declared(line: &str) -> Option<&str> {
    let rest = line.strip_suffix(';')?;
    let (before, name) = rest.rsplit_once("mod ")?;
    (before.is_empty() || before.starts_with("pub")).then_some(name)
}

/// The paths that a `use` names: `a::{b, c::d}` names `a::b` and `a::c::d`; `self` is the module itself.
pub(crate) fn leaves(tree: &str) -> Vec<Path> {
    let segments = |path: &str| -> Path {
        let path = path.split(" as ").next().unwrap_or_default().split("::").map(str::trim);
        path.filter(|segment| !segment.is_empty()).map(str::to_owned).collect()
    };
    let Some((head, group)) = tree.split_once('{') else {
        let mut path = segments(tree);
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        return vec![path];
    };
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    let group = group.trim_end().strip_suffix('}').unwrap_or(group).to_owned() + ",";
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = group[start..at].trim();
                let part = if part.is_empty() { Vec::new() } else { leaves(part) };
                found.extend(part.into_iter().map(|leaf| match leaf[..] {
                    [ref only] if only == "self" => segments(head),
                    _ => [segments(head), leaf].concat(),
                }));
                start = at + 1;
            }
            _ => {}
        }
    }
    found
}

/// A crate's modules, and where the names that they import come from.
pub(crate) struct Modules {
    all: BTreeSet<Path>,
    names: BTreeMap<Path, BTreeMap<String, Path>>,
}

impl Modules {
    pub(crate) fn of(sources: &[Source]) -> Self {
        let all = sources.iter().map(|source| source.module.clone()).collect();
        let mut modules = Self { all, names: BTreeMap::new() };
        for source in sources {
            let leaves = uses(&source.code).into_iter().flat_map(|(_, tree)| leaves(&tree));
            let paths = leaves.filter_map(|leaf| modules.absolute(source, &leaf));
            let names = paths.filter_map(|path| Some((path.last()?.clone(), path))).collect();
            modules.names.insert(source.module.clone(), names);
        }
        modules
    }

    /// A path from the crate's top, or none if it leads to another crate.
    fn absolute(&self, source: &Source, path: &[String]) -> Option<Path> {
        let own = &source.module;
        let ups = path.iter().take_while(|segment| *segment == "super").count();
        match path.first()?.as_str() {
            "crate" => Some(path[1..].to_vec()),
            "self" => Some([own, &path[1..]].concat()),
            "super" => Some([&own[..own.len().checked_sub(ups)?], &path[ups..]].concat()),
            child if self.all.contains(&[own.as_slice(), &[child.to_owned()]].concat()) => {
                Some([own, path].concat())
            }
            _ => None,
        }
    }

    /// The module in which what a path names is written, be it named where it is or where it is handed on.
    fn home(&self, path: &[String]) -> Path {
        let mut path = path.to_vec();
        // As deep as names are handed on anywhere.
        for _ in 0..8 {
            let length = (0..=path.len()).rev().find(|length| self.all.contains(&path[..*length]));
            let (module, rest) = path.split_at(length.unwrap_or(0));
            let known = rest.first().and_then(|name| self.names.get(module)?.get(name));
            match known {
                Some(from) if *from != path => path = [from, &rest[1..]].concat(),
                _ => return module.to_vec(),
            }
        }
        path
    }

    /// The modules that a file needs. What a parent only hands on of its children is none of its needs.
    pub(crate) fn imports(&self, source: &Source) -> BTreeSet<Path> {
        let (mut body, mut found) = (source.code.clone(), BTreeSet::new());
        for (whole, _) in uses(&source.code) {
            body = body.replacen(&whole, "", 1);
        }
        let body: String =
            body.lines().filter(|line| declared(line).is_none()).collect::<Vec<_>>().join("\n");
        let words: BTreeSet<&str> = body.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        for (whole, tree) in uses(&source.code) {
            for leaf in leaves(&tree) {
                let used =
                    !whole.starts_with("pub") || leaf.last().is_some_and(|name| words.contains(&**name));
                found.extend(self.absolute(source, &leaf).filter(|_| used));
            }
        }
        let paths = body.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
        for path in paths.filter(|path| path.contains("::") && !path.starts_with(':')) {
            let path: Path = path.split("::").map(str::to_owned).collect();
            found.extend(self.absolute(source, &path));
        }
        let found = found.iter().map(|path| self.home(path));
        found.filter(|module| !module.is_empty() && *module != source.module).collect()
    }
}

/// Every `use` outside of functions: the whole statement, and what it names.
pub(crate) fn uses(code: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("use ") {
        let begin = rest[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let before = rest[begin..at].trim_start();
        let Some(end) = rest[at..].find(';').map(|end| at + end) else { break };
        if before.is_empty() || before.starts_with("pub") && !before.contains('{') {
            let whole = rest[begin..=end].trim_start().to_owned();
            found.push((whole, rest[at + "use ".len()..end].to_owned()));
            rest = &rest[end..];
        } else {
            rest = &rest[at + 1..];
        }
    }
    found
}

#[test]
fn imports_are_found_wherever_they_stand() {
    let source = |file: &str, code: &str| Source {
        file: file.to_owned(),
        module: module(file),
        code: code.to_owned(),
    };
    let a = "use crate::base::{Digest, name::{Arch, Name as N}};\nuse crate::{tree::{self, Tree}, plan};\n\
             use super::c::{\n    D,\n};\nfn f(x: crate::store::X) { b::g() }";
    let sources = [
        source("lib.rs", "pub mod base;"),
        source("base/mod.rs", "pub use digest::Digest;"),
        source("base/digest.rs", ""),
        source("base/name.rs", ""),
        source("tree.rs", ""),
        source("plan.rs", ""),
        source("store.rs", ""),
        source("x/mod.rs", "mod a;\npub use a::A;"),
        source("x/a/mod.rs", a),
        source("x/a/b.rs", "use super::A;"),
        source("x/c.rs", "use super::A;"),
    ];
    let modules = Modules::of(&sources);
    let imports = |at: usize| -> Vec<String> {
        modules.imports(&sources[at]).into_iter().map(|module| module.join("/")).collect()
    };
    assert_eq!(imports(8), ["base/digest", "base/name", "plan", "store", "tree", "x/a/b", "x/c"]);
    // What is handed on counts for where it is; who hands it on needs nothing.
    assert_eq!((imports(10), imports(7)), (vec!["x/a".to_owned()], Vec::new()));
}
