//! What crun is asked for, by its command line (crun(1), crun 0.14 to 1.30). crun takes shortened words and more options
//! than CRI-O and podman use; what is not in these tables is refused, since it would not be known what is asked.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::fault::{Fault, Result};

use super::refusal::refused;

/// What a command line asks of crun, as far as the shim edits it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CrunRequest {
    /// Making a container of a bundle.
    Create(PathBuf),
    /// Changing a container's limits, which stand in standard input.
    Update,
    /// Anything else; passed on as it is.
    Other,
}

/// Reads the new limits from standard input, at most 1 MiB.
pub(super) fn limits() -> Result<String> {
    const LIMIT: u64 = 1 << 20;
    let mut text = String::new();
    let read = std::io::stdin().lock().take(LIMIT).read_to_string(&mut text);
    read.map(|_| text).map_err(|e| Fault::io("read", "standard input", e))
}

/// Options that stand alone, and those that take a value.
struct Options {
    alone: &'static [&'static str],
    valued: &'static [&'static str],
}

/// Options before the command.
const GLOBAL: Options = Options {
    alone: &["--debug", "--systemd-cgroup", "--version", "--help"],
    valued: &["--cgroup-manager", "--log", "--log-format", "--log-level", "--root"],
};
/// Options of `create` and `run`. Not `--config`: the configuration is the bundle's.
const MAKE: Options = Options {
    alone: &["--no-pivot", "--no-subreaper", "--no-new-keyring", "--detach", "--keep", "--help"],
    valued: &["--bundle", "-b", "--console-socket", "--pid-file", "--preserve-fds"],
};
/// Options of `update`, as CRI-O and podman call it.
const UPDATE: Options = Options { alone: &["--help"], valued: &["--resources", "-r"] };
/// Commands that neither read a bundle nor write limits.
const OTHERS: [&str; 11] =
    ["checkpoint", "delete", "exec", "features", "kill", "list", "pause", "ps", "resume", "start", "state"];

/// Parses crun's command line.
pub(super) fn crun_request(arguments: &[OsString]) -> Result<CrunRequest> {
    let mut rest = arguments.iter();
    let before = take(&mut rest, &GLOBAL, "before the command")?;
    let Some(command) = before.word else { return Ok(CrunRequest::Other) };
    match command.to_str() {
        Some("create" | "run") => {
            let found = all(&mut rest, &MAKE)?;
            let bundle = found.into_iter().rfind(|(name, _)| matches!(*name, "--bundle" | "-b"));
            Ok(CrunRequest::Create(
                bundle.map_or_else(|| PathBuf::from("."), |(_, value)| PathBuf::from(value)),
            ))
        }
        Some("update") => {
            let found = all(&mut rest, &UPDATE)?;
            match found.into_iter().rfind(|(name, _)| matches!(*name, "--resources" | "-r")) {
                Some((_, value)) if value == "-" => Ok(CrunRequest::Update),
                Some((_, value)) => {
                    Err(refused(format!("crun update takes limits from {value:?}, not from -")))
                }
                None => Ok(CrunRequest::Other),
            }
        }
        Some(name) if OTHERS.contains(&name) => Ok(CrunRequest::Other),
        _ => Err(refused(format!("crun has no command {command:?} that is known here"))),
    }
}

/// Options with their values, and the word that ended them.
struct Taken<'a> {
    found: Vec<(&'static str, OsString)>,
    word: Option<&'a OsStr>,
}

/// Parses options up to the first word that is none.
fn take<'a>(rest: &mut std::slice::Iter<'a, OsString>, options: &Options, what: &str) -> Result<Taken<'a>> {
    let mut found = Vec::new();
    while let Some(argument) = rest.next() {
        let bytes = argument.as_bytes();
        if !bytes.starts_with(b"-") || bytes == b"-" {
            return Ok(Taken { found, word: Some(argument) });
        }
        if options.alone.iter().any(|name| name.as_bytes() == bytes) {
            continue;
        }
        let Some((name, value)) = valued(bytes, options) else {
            return Err(refused(format!("crun has no option {argument:?} {what} that is known here")));
        };
        let value = value.or_else(|| rest.next().cloned());
        found.push((name, value.ok_or_else(|| refused(format!("crun's {name} has no value")))?));
    }
    Ok(Taken { found, word: None })
}

/// Parses options before and behind a container's name.
fn all(
    rest: &mut std::slice::Iter<'_, OsString>,
    options: &Options,
) -> Result<Vec<(&'static str, OsString)>> {
    let (mut found, mut names) = (Vec::new(), 0);
    loop {
        let taken = take(rest, options, "here")?;
        found.extend(taken.found);
        match taken.word {
            Some(_) if names == 0 => names += 1,
            Some(word) => return Err(refused(format!("crun takes one container, and {word:?} is a second"))),
            None => return Ok(found),
        }
    }
}

/// Parses an option that takes a value, with the value if it is part of the same word: `--name=VALUE`, `-nVALUE`.
fn valued(word: &[u8], options: &Options) -> Option<(&'static str, Option<OsString>)> {
    options.valued.iter().find_map(|name| {
        let rest = word.strip_prefix(name.as_bytes())?;
        let value = match rest {
            [] => None,
            [b'=', value @ ..] if name.starts_with("--") => Some(OsStr::from_bytes(value).to_owned()),
            value if !name.starts_with("--") => Some(OsStr::from_bytes(value).to_owned()),
            _ => return None,
        };
        Some((*name, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expect: Option<CrunRequest>) {
        let words: Vec<OsString> =
            line.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect();
        assert_eq!(crun_request(&words).ok(), expect, "{line}");
    }

    #[test]
    fn what_is_asked_is_known() {
        let container = |path: &str| Some(CrunRequest::Create(path.into()));
        check("--root=/run/crun --systemd-cgroup create --bundle /b --pid-file /p id", container("/b"));
        check("--root /run/crun create --bundle=/b id", container("/b"));
        check("--log create create --bundle /b id", container("/b"));
        check("--log create delete --force id", Some(CrunRequest::Other));
        check("run -b /b id", container("/b"));
        check("run -b/b id", container("/b"));
        check("create id --bundle /b", container("/b"));
        check("create id", container("."));
        check("start create", Some(CrunRequest::Other));
        check("--version", Some(CrunRequest::Other));
        check("--root /run/crun exec --process /tmp/p id", Some(CrunRequest::Other));
        check("--root /run/crun update --resources - id", Some(CrunRequest::Update));
        check("", Some(CrunRequest::Other));
    }

    /// crun understands some of them: getopt takes shortened words, and a later crun has more.
    #[test]
    fn what_is_not_understood_is_refused() {
        for line in [
            "--rootless true create --bundle /b id",
            "--roo /run/x create --bundle /b id",
            "--unknown create --bundle /b id",
            "create --bundl /b id",
            "create --config /tmp/own.json --bundle /b id",
            "create -f /tmp/own.json --bundle /b id",
            "create --bundle",
            "create -xb /b id",
            "create --bundle /b id another",
            "creat --bundle /b id",
            "restore --bundle /b id",
            "update --resources /tmp/own.json id",
            "update --memory 0 id",
            "--root",
        ] {
            check(line, None);
        }
    }
}
