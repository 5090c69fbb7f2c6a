//! What every verb needs to know of its surroundings. The only place that reads the environment.

use std::io::IsTerminal;
use std::path::PathBuf;

use builder::base::{Fault, Result};

/// The checkout, the store, and how to speak.
pub(crate) struct Context {
    /// The checkout's top folder.
    pub(crate) root: PathBuf,
    /// The store's folder; it need not exist yet.
    pub(crate) store: PathBuf,
    /// Results as JSON on standard output.
    pub(crate) json: bool,
}

impl Context {
    /// Finds the checkout above this crate and the store in the user's cache directory.
    pub(crate) fn new(store: Option<PathBuf>, json: bool) -> Result<Self> {
        let root = std::env::var_os("HALE_ROOT").map(PathBuf::from).unwrap_or_else(|| {
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map(PathBuf::from).unwrap_or_default()
        });
        let store = match store.or_else(|| std::env::var_os("HALE_STORE").map(PathBuf::from)) {
            Some(store) => store,
            None => cache_directory()?.join("hale"),
        };
        Ok(Self { root, store, json })
    }
}

/// Whether errors may carry colour (https://no-color.org).
pub(crate) fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

fn cache_directory() -> Result<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .ok_or_else(|| Fault::machine("no place for the store").mend("set HALE_STORE, or HOME"))
}
