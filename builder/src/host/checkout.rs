//! A checkout: reads `recipes/` and `overlays/` into values, once. The only reader of both.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::base::name::LineName;
use crate::base::text::SourceText;
use crate::base::{Fault, Result};
use crate::host::atomic::write_whole;
use crate::lock::{Local, Lock};
use crate::recipe::site::Site;
use crate::recipe::{Files, Recipe, text_of};

/// What makes a folder a checkout.
const SITE: &str = "recipes/site.toml";

/// A checkout of the project, its recipes and overlays as they were when they were first asked for. Clones share what
/// was read.
#[derive(Clone, Debug)]
pub struct Project {
    root: PathBuf,
    files: Arc<OnceLock<Files>>,
}

impl Project {
    /// Names the checkout at `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), files: Arc::default() }
    }

    /// The checkout that a folder lies in: itself, or the nearest folder above it.
    pub fn above(folder: &Path) -> Result<Self> {
        let found = folder.ancestors().find(|folder| folder.join(SITE).is_file());
        found.map(Self::at).ok_or_else(|| {
            let what = format!("{} lies in no checkout of Hale", folder.display());
            Fault::user(what).expected_found(format!("{SITE} in it or above it"), "none").help(FIND)
        })
    }

    /// Returns the checkout's top folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns every text file below `recipes/` and `overlays/`, by its path from the checkout's top; reads them once.
    pub fn files(&self) -> Result<&Files> {
        match self.files.get() {
            Some(files) => Ok(files),
            None => self.read().map(|files| self.files.get_or_init(|| files)),
        }
    }

    fn read(&self) -> Result<Files> {
        let mut files = BTreeMap::new();
        for folder in ["recipes", "overlays"] {
            if !self.root.join(folder).is_dir() {
                let what = format!("{} is no checkout of Hale: it has no {folder}/", self.root.display());
                return Err(Fault::user(what).help(FIND));
            }
            self.read_folder(&self.root.join(folder), folder, &mut files)?;
        }
        Ok(files)
    }

    /// Reads the recipe of a line.
    pub fn recipe(&self, line: &LineName) -> Result<Recipe> {
        Recipe::parse(self.files()?, line)
    }

    /// Reads the site's line: the one that a verb means when none is named.
    pub fn default_line(&self) -> Result<LineName> {
        Ok(Site::parse(text_of(self.files()?, SITE)?)?.line)
    }

    /// Returns the folder for what is built of a line: `dist` for the site's line, `dist/LINE` for any other.
    pub fn dist(&self, line: &LineName) -> Result<PathBuf> {
        let dist = self.root.join("dist");
        Ok(if *line == self.default_line()? { dist } else { dist.join(line.as_str()) })
    }

    /// Returns the path of a line's lock.
    pub fn lock_path(&self, line: &LineName) -> PathBuf {
        self.root.join(lock_file(line))
    }

    /// Returns the path of the lock of what this checkout was handed over.
    pub fn local_lock_path(&self, line: &LineName) -> PathBuf {
        self.root.join(format!("recipes/lines/{line}.local.lock"))
    }

    /// Reads the recipe's lock with this checkout's own inputs; refuses one that is missing or stale.
    pub fn lock(&self, recipe: &Recipe) -> Result<Lock> {
        let line = &recipe.line.name;
        let Some(text) = read_if_there(&self.lock_path(line))? else {
            let what = format!("no lock for line {line}: {} is missing", lock_file(line));
            return Err(Fault::user(what).help(format!("cargo xtask lock {line}")));
        };
        let file = lock_file(line);
        let text = SourceText::new(&file, &text);
        let lock = Lock::parse(text)?;
        lock.check_fresh(recipe, text)?;
        Ok(lock.with_local(&self.local(line)?))
    }

    /// Reads a line's lock, stale or not; nothing when there is none.
    pub fn last_lock(&self, line: &LineName) -> Result<Option<Lock>> {
        let text = read_if_there(&self.lock_path(line))?;
        text.map(|text| Lock::parse(SourceText::new(&lock_file(line), &text))).transpose()
    }

    /// Writes a line's lock, whole or not at all.
    pub fn write_lock(&self, lock: &Lock) -> Result<()> {
        let text = lock.to_text()?;
        write_whole(&self.lock_path(&lock.line), 0o644, |file| file.write_all(text.as_bytes()))
    }

    /// Reads what this checkout was handed over; nothing when it was handed nothing.
    pub fn local(&self, line: &LineName) -> Result<Local> {
        let file = format!("recipes/lines/{line}.local.lock");
        match read_if_there(&self.local_lock_path(line))? {
            Some(text) => Local::parse(SourceText::new(&file, &text)),
            None => Ok(Local::default()),
        }
    }

    fn read_folder(&self, folder: &Path, name: &str, files: &mut Files) -> Result<()> {
        let entries = fs::read_dir(folder).map_err(|e| Fault::io("read the folder", folder, e))?;
        for entry in entries {
            let entry = entry.map_err(|e| Fault::io("read the folder", folder, e))?;
            let path = entry.path();
            let Ok(part) = entry.file_name().into_string() else {
                return Err(Fault::user(format!("the name of {} is not UTF-8", path.display())));
            };
            let name = format!("{name}/{part}");
            let kind = entry.file_type().map_err(|e| Fault::io("look at", &path, e))?;
            if kind.is_dir() {
                self.read_folder(&path, &name, files)?;
            } else if !kind.is_file() {
                let what = format!("{name} is neither a file nor a folder");
                return Err(Fault::user(what).help("links and modes stand in the overlay's .toml"));
            } else if !name.ends_with(".lock") {
                let text = fs::read_to_string(&path).map_err(|e| Fault::io("read", &path, e))?;
                files.insert(name, text);
            }
        }
        Ok(())
    }
}

/// How a person says which checkout is meant.
const FIND: &str = "run cargo xtask in the checkout, or name it with --project DIR";

fn lock_file(line: &LineName) -> String {
    format!("recipes/lines/{line}.lock")
}

fn read_if_there(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Fault::io("read", path, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkout() -> Project {
        Project::at(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
    }

    #[test]
    fn what_is_built_of_another_line_lies_apart() {
        let project = checkout();
        let dist = |line: &str| project.dist(&line.parse().unwrap()).unwrap();
        let top = project.root().join("dist");
        assert_eq!((dist("1.17"), dist("1.20")), (top.clone(), top.join("1.20")));
    }

    #[test]
    fn the_shipped_recipes_are_read() {
        let project = checkout();
        let recipe = project.recipe(&project.default_line().unwrap()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(recipe.line.package_version().unwrap().as_str(), "1.17.17+hale1");
        let files = project.files().unwrap();
        for role in recipe.roles.values() {
            let packages =
                crate::overlay::role_package::role_packages(files, &recipe, role, None, &BTreeMap::new());
            for package in packages.unwrap_or_else(|e| panic!("{e}")) {
                assert_eq!(package.control.get("Version"), Some("1.17.17+hale1"), "{}", package.name);
            }
        }
        assert_eq!(recipe.roles.keys().map(|r| r.as_str()).collect::<Vec<_>>(), ["master", "node"]);
    }
}
