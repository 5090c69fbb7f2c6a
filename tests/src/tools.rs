//! Programs of Debian's that the tests ask for a second opinion.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Starts `program` with plain settings. A missing one fails the test and names its package: an opinion
/// that was not asked for must not look like a good one.
pub fn tool(program: &str, package: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file());
    let missing =
        || panic!("`{program}` is missing: install the Debian package `{package}`, then run the test again");
    let mut command = Command::new(found.unwrap_or_else(missing));
    command.env("LC_ALL", "C").env("TZ", "UTC").stdin(Stdio::null());
    command
}

/// The same program, which the kernel ends when the thread that starts it ends, be the whole test killed. Of the
/// environment it has what the command sets, and a path.
pub fn bound(command: &Command) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut bound = Command::new(tool("setpriv", "util-linux").get_program());
    bound.env_clear().env("PATH", path).args(["--pdeathsig", "KILL", "--"]);
    bound.arg(command.get_program()).args(command.get_args());
    bound.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    bound
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn what_is_bound_goes_with_who_started_it() {
        let mut sleeper = Command::new("sleep");
        let words = |command: &Command| -> String {
            let words = std::iter::once(command.get_program()).chain(command.get_args());
            words.map(|word| format!("{} ", word.to_string_lossy())).collect()
        };
        let ends = |command: &Command| {
            let mut parent = Command::new("sh");
            parent.args(["-c", &format!("{}& echo $!; wait", words(command))]).stdout(Stdio::piped());
            let mut parent = parent.spawn().expect("a shell");
            let mut pid = String::new();
            BufReader::new(parent.stdout.take().expect("a pipe")).read_line(&mut pid).expect("a number");
            let at = format!("/proc/{}/comm", pid.trim());
            let comm = || {
                std::thread::sleep(Duration::from_millis(10));
                std::fs::read_to_string(&at).unwrap_or_default()
            };
            let end = Instant::now() + Duration::from_secs(20);
            while comm() != "sleep\n" {
                assert!(Instant::now() < end, "{}: {}", words(command), comm());
            }
            parent.kill().and_then(|()| parent.wait()).expect("it ends");
            let end = Instant::now() + Duration::from_secs(2);
            while comm() == "sleep\n" && Instant::now() < end {}
            comm() != "sleep\n"
        };
        sleeper.arg("8");
        assert!(!ends(&sleeper), "any program goes with its parent here");
        assert!(ends(&bound(&sleeper)));
    }
}
