//! What programs said, kept in one file a program: `/var/lib/hale/log/kubeadm.log`.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use super::{Call, Ran};

/// A file that has grown past this is begun anew, and the old one kept once.
const LIMIT: u64 = 4 << 20;

/// Appends a call and what it said.
pub(super) fn keep(directory: &Path, call: &Call, ran: &Ran, took: Duration) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let path = directory.join(format!("{}.log", call.name()));
    if path.metadata().is_ok_and(|metadata| metadata.len() > LIMIT) {
        std::fs::rename(&path, directory.join(format!("{}.log.1", call.name())))?;
    }
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let said = if call.secret { "(kept out of the log)\n" } else { &format!("{}{}", ran.stdout, ran.stderr) };
    let code = ran.code.map_or("killed".to_owned(), |code| format!("exit {code}"));
    write!(file, "$ {}\n{said}= {code} after {:.1} s\n", call.line(), took.as_secs_f64())
}
