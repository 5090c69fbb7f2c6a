//! Programs of Debian's that the tests ask for a second opinion.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Starts `program` with plain settings. A missing one fails the test and names its package: an opinion
/// that was not asked for must not look like a good one.
pub fn tool(program: &str, package: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    assert!(found, "`{program}` is missing: install the Debian package `{package}`, then run the test again");
    let mut command = Command::new(program);
    command.env("LC_ALL", "C").env("TZ", "UTC").stdin(Stdio::null());
    command
}

/// Runs to the end, whatever comes of it.
pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Runs to a good end and gives what was printed.
pub fn succeed(command: &mut Command) -> Vec<u8> {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, said(&output));
    output.stdout
}

/// All that a program said, for messages.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Whether files that this process makes belong to root.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Fails unless the test runs as root, because it makes files that belong to others.
pub fn need_root() {
    assert!(is_root(), "this test makes files of other users: run it as root");
}

/// Writes a file and the directories above it.
pub fn put(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    let path = path.as_ref();
    std::fs::create_dir_all(path.parent().expect("a path in a directory")).expect("directories can be made");
    std::fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// A path as an argument with something before it, such as `oci:`.
pub fn prefixed(prefix: &str, path: &Path) -> impl AsRef<OsStr> + use<> {
    let mut text = std::ffi::OsString::from(prefix);
    text.push(path);
    text
}
