//! Parses the command line of conmon (conmon(8), conmon 2.0 and 2.1).

use std::ffi::OsString;
use std::path::PathBuf;

use crate::fault::Result;

use super::refusal::refused;

const ALONE: &[&str] = &[
    "--exec",
    "--exec-attach",
    "--full-attach",
    "--leave-stdin-open",
    "--no-new-keyring",
    "--no-pivot",
    "--no-sync-log",
    "--replace-listen-pid",
    "--stdin",
    "--sync",
    "--syslog",
    "--systemd-cgroup",
    "--terminal",
    "-e",
    "-i",
    "-s",
    "-t",
];
const VALUED: &[&str] = &[
    "--api-version",
    "--bundle",
    "--cid",
    "--conmon-pidfile",
    "--container-pidfile",
    "--cuuid",
    "--exec-process-spec",
    "--exit-command",
    "--exit-command-arg",
    "--exit-delay",
    "--exit-dir",
    "--log-level",
    "--log-path",
    "--log-size-max",
    "--log-tag",
    "--name",
    "--persist-dir",
    "--runtime",
    "--runtime-arg",
    "--runtime-opt",
    "--socket-dir-path",
    "--timeout",
    "-P",
    "-T",
    "-b",
    "-c",
    "-l",
    "-n",
    "-p",
    "-r",
    "-u",
];

/// Returns the bundle of the container that conmon is about to start; `None` if it starts none.
pub(super) fn bundle(arguments: &[OsString]) -> Result<Option<PathBuf>> {
    if arguments.len() == 1 && arguments[0] == "--version" {
        return Ok(None);
    }
    let (mut bundle, mut executes) = (None, false);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let word = argument.to_str().unwrap_or_default();
        if ALONE.contains(&word) {
            executes |= matches!(word, "-e" | "--exec");
            continue;
        }
        if !VALUED.contains(&word) {
            return Err(refused(format!("conmon has no option {argument:?} that is known here")));
        }
        let value = rest.next().ok_or_else(|| refused(format!("conmon's {word} has no value")))?;
        if matches!(word, "-b" | "--bundle") {
            bundle = Some(PathBuf::from(value));
        }
    }
    match (bundle, executes) {
        (bundle, false) => bundle.map(Some).ok_or_else(|| refused("conmon is told no bundle")),
        // What is executed joins a container that is there.
        (_, true) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_found_or_the_call_refused() {
        let check = |line: &str, expect: Option<Option<&str>>| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(bundle(&words).ok(), expect.map(|path| path.map(PathBuf::from)), "{line}");
        };
        check(
            "-s -c id -n name -u id -r /usr/lib/hale/crun -b /b --persist-dir /p -p /b/pidfile -P /b/c -l /log --exit-dir /e --socket-dir-path /s --log-level info --runtime-arg --root=/run/crun --log-size-max -1",
            Some(Some("/b")),
        );
        check("-c id -n -b -b /b", Some(Some("/b")));
        check("-c id -n name -r /r -p /tmp/p -e -l /tmp/l --exec-process-spec /tmp/s", Some(None));
        check("--version", Some(None));
        check("-c id -n name", None);
        check("-c id --bundle=/b", None);
        check("-c id --bundl /b -b /other", None);
        check("-b /b -sb /other", None);
        check("-b /b --restore /r", None);
        check("-b", None);
    }
}
