//! Where a refusal is told: in the journal, and in a file that the doctor reads. Whoever made the pod is told by crun's
//! caller, from standard error.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use crate::fault::{Class, Fault};

/// The file of refusals since the machine's start, one a line.
pub const REFUSED: &str = "/run/hale/refused";
/// The journal's socket for syslog's datagrams (systemd-journald.service(8)).
const JOURNAL: &str = "/run/systemd/journal/dev-log";

/// Writes a refusal to its file and to the journal. If neither is possible, the refusal stands all the same.
pub fn report(what: &str) {
    let line: String = what.escape_debug().collect();
    let _ = append(Path::new(REFUSED), &line);
    // <35>: an error, of security (RFC 5424, 6.2.1).
    let _ = UnixDatagram::unbound()
        .and_then(|socket| socket.send_to(format!("<35>hale: {line}").as_bytes(), JOURNAL));
}

fn append(path: &Path, line: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) {
        DirBuilder::new().mode(0o700).create(folder)?;
    }
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    // Kept small: what comes first tells most.
    if file.metadata()?.len() < 1 << 16 { file.write_all(format!("{line}\n").as_bytes()) } else { Ok(()) }
}

/// Makes a refusal: something is not as CRI-O and crun leave it, so somebody else changed it, or their versions do not
/// fit.
pub(super) fn refused(what: impl Into<String>) -> Fault {
    Fault::new(Class::Integrity, what)
}
