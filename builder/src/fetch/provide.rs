//! Inputs that the operator hands over.

use std::fs::File;
use std::path::Path;

use crate::base::digest::Checksum;
use crate::base::name::{ComponentName, LineName};
use crate::base::{Fault, Result};
use crate::formats::debian::version::Version;
use crate::host::atomic::write_whole;
use crate::host::checkout::Project;
use crate::lock::{Local, LockedInput, LockedOrigin};
use crate::plan::{Output, StepId};
use crate::store::Store;

/// Takes in the file at `path` for a component, in place of what is pinned, for this checkout alone.
pub fn add(
    project: &Project,
    store: &Store,
    line: &LineName,
    component: &ComponentName,
    version: &Version,
    path: &Path,
) -> Result<LockedInput> {
    let recipe = project.recipe(line)?;
    if !recipe.line.pins.contains_key(component) {
        let known: Vec<&str> = recipe.line.pins.keys().map(ComponentName::as_str).collect();
        return Err(Fault::user(format!("line {line} has no component `{component}`"))
            .expected_found(format!("one of {}", known.join(", ")), component));
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let found = path.metadata().map_err(|e| unreadable(path).cause(e))?;
    if !found.is_file() || found.len() == 0 || name.is_empty() {
        return Err(unreadable(path).expected_found("a file with something in it", "none"));
    }
    let file = File::open(path).map_err(|e| unreadable(path).cause(e))?;
    let (digest, size) = store.put(file)?;
    let step = StepId::of_input(Checksum::Sha256(digest))?;
    store.record(&step, &Output::Blob { content: digest, size })?;
    let from = LockedOrigin::Supplied { file: name.to_owned(), digest, size };
    let input = LockedInput { component: component.clone(), version: version.clone(), from };
    let _alone = alone(project, line)?;
    let mut local = project.local(line)?;
    local.inputs.insert(component.clone(), input.clone());
    save(project, store, line, &local)?;
    Ok(input)
}

/// Goes back to what is pinned.
pub fn remove(project: &Project, store: &Store, line: &LineName, component: &ComponentName) -> Result<()> {
    let _alone = alone(project, line)?;
    let mut local = project.local(line)?;
    if local.inputs.remove(component).is_none() {
        let what = format!("nothing was handed over for `{component}` in line {line}");
        return Err(Fault::user(what).help("cargo xtask input list"));
    }
    save(project, store, line, &local)
}

/// Waits until no other process changes what the checkout was handed over, and keeps it so. The folder is what is
/// locked: a file would lie there for ever.
fn alone(project: &Project, line: &LineName) -> Result<File> {
    let path = project.local_lock_path(line);
    let folder = path.parent().unwrap_or(project.root());
    let opened = File::open(folder).map_err(|e| Fault::io("open", folder, e))?;
    opened.lock().map_err(|e| Fault::io("lock", folder, e))?;
    Ok(opened)
}

/// Writes the local lock, and makes gc keep what it names.
fn save(project: &Project, store: &Store, line: &LineName, local: &Local) -> Result<()> {
    let path = project.local_lock_path(line);
    let outputs: Vec<Output> = local.inputs.values().filter_map(added).collect();
    store.add_root(&absolute(&path)?, &outputs)?;
    if local.inputs.is_empty() {
        return std::fs::remove_file(&path).map_err(|e| Fault::io("remove", &path, e));
    }
    let text = local.to_text()?;
    write_whole(&path, 0o644, |file| std::io::Write::write_all(file, text.as_bytes()))
}

/// What the store holds of a handed over input.
fn added(input: &LockedInput) -> Option<Output> {
    match input.from {
        LockedOrigin::Supplied { digest, size, .. } => Some(Output::Blob { content: digest, size }),
        _ => None,
    }
}

fn absolute(path: &Path) -> Result<std::path::PathBuf> {
    std::path::absolute(path).map_err(|e| Fault::io("find", path, e))
}

fn unreadable(path: &Path) -> Fault {
    Fault::user(format!("cannot take in {}", path.display()))
}
