//! `/var/lib/hale/journal`: what was begun, done and failed, so that a power cut anywhere is a pause.
//!
//! Append-only text, one entry a line, each line synced before the next thing happens:
//! ```text
//! 3f1c…(16 hex digits: SHA-256 of the rest of the line) {"at":1795000000,"phase":"certificates","event":"done"}
//! ```
//! A torn or damaged line ends the journal: it and what follows is cut off, and the phases that were told of
//! there are checked again.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::fault::{Fault, Result};
use crate::host::{Host, files};

/// Path of the journal.
pub const PATH: &str = "/var/lib/hale/journal";

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Seconds since 1970, by the clock as it was.
    pub at: i64,
    /// Name of the phase.
    pub phase: String,
    /// What happened.
    pub event: Event,
}

/// What can happen to a phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// The phase began.
    Begun,
    /// Its result is there.
    Done,
    /// It failed; the reason.
    Failed(String),
    /// It waits for the operator; the reason.
    Waiting(String),
    /// It goes on asking; the reason why there is no answer yet.
    Polling(String),
}

/// The open journal.
#[derive(Debug)]
pub struct Journal {
    file: File,
    entries: Vec<Entry>,
}

impl Journal {
    /// Opens or makes the journal, cuts a torn end off, and locks every other process out.
    pub fn open(host: &dyn Host) -> Result<Self> {
        let path = host.path(PATH);
        let directory = path.parent().unwrap_or(Path::new("/"));
        files::make_directory(host, directory, 0o700)?;
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path);
        let mut file = file.map_err(|e| Fault::io("open", &path, e))?;
        let exclusive = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        rustix::fs::flock(&file, exclusive).map_err(|_| {
            Fault::transient("another hale is at work on this node")
                .help("wait for it; `hale status` shows it")
        })?;
        let mut bytes = Vec::new();
        let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut bytes));
        read.map_err(|e| Fault::io("read", &path, e))?;
        let (entries, sound) = parse(&bytes);
        if sound < file.metadata().map_or(0, |metadata| metadata.len()) {
            file.set_len(sound).and_then(|()| file.sync_all()).map_err(|e| Fault::io("mend", &path, e))?;
        }
        files::sync(directory)?;
        Ok(Self { file, entries })
    }

    /// Reads all entries, without opening the journal for writing.
    pub fn read(host: &dyn Host) -> Result<Vec<Entry>> {
        match std::fs::read(host.path(PATH)) {
            Ok(bytes) => Ok(parse(&bytes).0),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Fault::io("read", PATH, error)),
        }
    }

    /// Appends an entry; when it returns, the entry is on disk.
    pub fn add(&mut self, entry: Entry) -> Result<()> {
        let line = line(&entry)?;
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|e| Fault::transient(format!("cannot write {PATH}: {e}")).help("free some space"))?;
        self.entries.push(entry);
        Ok(())
    }

    /// Returns all entries, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns how many times any phase was done.
    pub fn done(&self) -> usize {
        self.entries.iter().filter(|entry| entry.event == Event::Done).count()
    }

    /// Returns whether a phase was done.
    pub fn is_done(&self, phase: &str) -> bool {
        self.entries.iter().any(|entry| entry.phase == phase && entry.event == Event::Done)
    }
}

/// Unlocks by name: a child between its fork and its exec would otherwise keep the lock a moment longer.
impl Drop for Journal {
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.file, rustix::fs::FlockOperation::Unlock);
    }
}

fn line(entry: &Entry) -> Result<String> {
    let json =
        serde_json::to_string(entry).map_err(|e| Fault::machine(format!("cannot write an entry: {e}")))?;
    Ok(format!("{} {json}\n", checksum(&json)))
}

fn checksum(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Parses the entries up to the first line that is torn or damaged; returns them and their length in bytes.
fn parse(bytes: &[u8]) -> (Vec<Entry>, u64) {
    let mut entries = Vec::new();
    let mut sound = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
        let json = text.and_then(|text| text.split_once(' ')).filter(|(sum, json)| *sum == checksum(json));
        let Some(entry) = json.and_then(|(_, json)| serde_json::from_str(json).ok()) else { break };
        entries.push(entry);
        sound += line.len() as u64;
    }
    (entries, sound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::fake::FakeHost;

    fn entry(at: i64, phase: &str, event: Event) -> Entry {
        Entry { at, phase: phase.to_owned(), event }
    }

    #[test]
    fn truncation_at_every_byte_leaves_whole_entries() {
        let host = FakeHost::new();
        let written = [
            entry(1, "preflight", Event::Begun),
            entry(2, "preflight", Event::Failed("no bridge \"lxcbr0\"\nat all".into())),
            entry(3, "preflight", Event::Done),
        ];
        let mut journal = Journal::open(&host).unwrap();
        written.iter().for_each(|entry| journal.add(entry.clone()).unwrap());
        assert_eq!(Journal::open(&host).unwrap_err().class(), crate::fault::Class::Transient, "two at once");
        drop(journal);
        let whole = std::fs::read(host.path(PATH)).unwrap();
        let mut counts = Vec::new();
        for length in 0..=whole.len() {
            std::fs::write(host.path(PATH), &whole[..length]).unwrap();
            let mut journal = Journal::open(&host).unwrap();
            let left = journal.entries().to_vec();
            assert!(written.starts_with(&left));
            counts.push(left.len());
            let more = entry(4, "runtime", Event::Begun);
            journal.add(more.clone()).unwrap();
            drop(journal);
            assert_eq!(Journal::read(&host).unwrap(), [left, vec![more]].concat());
        }
        assert!(counts.is_sorted() && counts.last() == Some(&3));
    }

    #[test]
    fn a_flipped_bit_ends_the_journal_there() {
        let host = FakeHost::new();
        let mut journal = Journal::open(&host).unwrap();
        (0..3).for_each(|at| journal.add(entry(at, "dns", Event::Done)).unwrap());
        drop(journal);
        let whole = std::fs::read(host.path(PATH)).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(host.path(PATH), &bytes).unwrap();
            let left = Journal::open(&host).unwrap().entries().len();
            assert_eq!(left, at / (whole.len() / 3), "byte {at}");
        }
    }
}
