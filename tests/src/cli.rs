//! `cargo xtask` as a person starts it: the real program, on a checkout, a store and a home of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use builder::base::Digest;
use builder::host::checkout::Project;
use tempfile::TempDir;

use crate::checkout;
use crate::tools::{run, said};

/// The program, compiled once by the same cargo into the same folder as this test.
static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
    let own = std::env::current_exe().expect("a test has a path");
    // target/debug/deps/NAME
    let profile = own.ancestors().nth(2).expect("a test lies in cargo's folder").to_owned();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--offline", "--package", "xtask", "--bin", "xtask", "--target-dir"]);
    build.arg(profile.parent().expect("the target folder")).current_dir(checkout::top());
    // What cargo tells this test of its own package makes build scripts that look at it run again.
    let told = |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|part| name.starts_with(part));
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in names.filter(|name| told(name)) {
        build.env_remove(name);
    }
    let output = run(&mut build);
    assert!(output.status.success(), "xtask does not compile: {}", said(&output));
    profile.join("xtask")
});

/// The program's path.
pub fn program() -> &'static Path {
    &PROGRAM
}

/// A copy of the checkout, and everything else that a person has: a home, a store, a place for bundles.
pub struct TestCheckout {
    folder: TempDir,
}

impl Default for TestCheckout {
    fn default() -> Self {
        Self::new()
    }
}

impl TestCheckout {
    /// A checkout with what git would commit.
    pub fn new() -> Self {
        let checkout = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        checkout::copy(&checkout.root());
        checkout
    }

    /// The same with `hale` in the store, so that building takes no compiler.
    pub fn with_program() -> Self {
        let line = Project::at(checkout::top()).default_line().expect("a line");
        Self::with_program_of(line.as_str())
    }

    /// The same for another line than the site's.
    pub fn with_program_of(line: &str) -> Self {
        let checkout = Self::new();
        let line = line.parse().expect("a line");
        let lock = Project::at(checkout.root()).last_lock(&line);
        let lock = lock.unwrap_or_else(|fault| panic!("{fault}")).expect("a lock");
        checkout::carry_program(&checkout.root(), lock.epoch, &checkout.store());
        checkout
    }

    /// A path in the folder.
    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// The checkout.
    pub fn root(&self) -> PathBuf {
        self.path("checkout")
    }

    /// The store.
    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// Changes a file of the checkout: `old` must stand in it, and becomes `new` at its first place.
    pub fn edit(&self, file: &str, old: &str, new: &str) {
        let path = self.root().join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains(old), "{old:?} is not in {file}");
        fs::write(path, text.replacen(old, new, 1)).expect("a file can be written");
    }

    /// `cargo xtask WORDS…` of this checkout. Nothing of the user's own settings is seen, but for the toolchain.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(words).stdin(Stdio::null()).current_dir(self.folder.path());
        command.env("HALE_ROOT", self.root()).env("HALE_STORE", self.store());
        for (name, usual) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(usual).into_os_string());
            if let Some(place) = std::env::var_os(name).or(home) {
                command.env(name, place);
            }
        }
        for name in ["XDG_CONFIG_HOME", "XDG_CACHE_HOME", "HALE_SNAPSHOTS", "SSL_CERT_FILE"] {
            command.env_remove(name);
        }
        command.env("HOME", self.path("home")).env("NO_COLOR", "1").env("LC_ALL", "C").env("TZ", "UTC");
        command
    }

    /// Runs to the end, whatever comes of it.
    pub fn run(&self, words: &[&str]) -> Output {
        run(&mut self.command(words))
    }

    /// Runs to a good end and gives standard output.
    #[track_caller]
    pub fn succeeds(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}\n{}", output.status, said(&output));
        String::from_utf8(output.stdout).expect("output is UTF-8")
    }

    /// Fails with this exit code, and gives what was said about it, its paths named by `DESK`.
    #[track_caller]
    pub fn refuses(&self, words: &[&str], code: i32) -> String {
        let output = self.run(words);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {text}");
        text.replace(self.folder.path().to_str().expect("UTF-8"), "DESK")
    }

    /// Everything in the folder but the store: digest and permissions of each file, by path. What a verb that
    /// fails must leave as it was: the checkout, `dist`, the home with its key.
    pub fn state(&self) -> BTreeMap<PathBuf, String> {
        state_of(self.folder.path(), &self.store())
    }
}

/// Digest and permissions of everything below a folder, but what is below `apart`.
pub fn state_of(folder: &Path, apart: &Path) -> BTreeMap<PathBuf, String> {
    let entries = walkdir::WalkDir::new(folder).into_iter().filter_entry(|entry| entry.path() != apart);
    let entry = |entry: walkdir::Result<walkdir::DirEntry>| {
        let entry = entry.expect("a folder can be listed");
        let kind = entry.file_type();
        let what = match entry.path() {
            path if kind.is_symlink() => {
                format!("link to {}", fs::read_link(path).expect("a link").display())
            }
            path if kind.is_file() => Digest::of(fs::read(path).expect("a file")).to_string(),
            _ => "folder".to_owned(),
        };
        let mode = entry.metadata().expect("metadata").permissions().mode() & 0o7777;
        (entry.into_path(), format!("{what}, {mode:o}"))
    };
    entries.map(entry).collect()
}
