//! The shipped recipes and overlays, for tests.

use std::path::Path;

use super::{Files, Recipe};
use crate::base::name::LineName;

/// Reads every text file below `recipes/` and `overlays/`.
pub(crate) fn files() -> Files {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Files::new();
    for folder in ["recipes", "overlays"] {
        for entry in walkdir::WalkDir::new(top.join(folder)) {
            let path = entry.unwrap().into_path();
            if path.is_file() && path.extension().is_none_or(|end| end != "lock") {
                let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    files
}

/// Names the shipped line.
pub(crate) fn line() -> LineName {
    LineName::new("1.17").unwrap()
}

/// Reads the recipe of the shipped line.
pub(crate) fn recipe() -> Recipe {
    Recipe::parse(&files(), &line()).unwrap_or_else(|e| panic!("{e}"))
}
