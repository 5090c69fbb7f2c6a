//! Power cuts: a recorded disk (QEMU's `blklogwrites`, the kernel's dm-log-writes format) played back to a
//! chosen moment. What was written after the last flush may be on a disk or not; killing QEMU cannot show that.
//!
//! ```text
//! sector 0    magic u64, version u64 = 1, entries u64, sector size u32
//! each entry  sector u64, sectors u64, flags u64, length of a mark u64, in a sector of its own, then what
//!             was written, unless it was discarded
//! ```
//! Sectors of an entry are 512 bytes; the log's own are as the head says. QEMU sets no marks. Numbers are
//! little-endian.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use builder::pack::disk::writer::filled;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// One write, flush or discard.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    at: u64,
    length: u64,
    flags: u64,
    /// Where the data are in the log.
    data: u64,
}

/// A record, read.
#[derive(Debug)]
pub struct Record {
    log: File,
    entries: Vec<Entry>,
}

impl Record {
    /// Reads a log as far as it goes; the recording may have been cut off.
    pub fn read(path: &Path) -> Self {
        let log = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let numbers = |at: u64| -> Option<[u64; 4]> {
            let mut bytes = [0; 32];
            log.read_exact_at(&mut bytes, at).ok()?;
            let number =
                |index: usize| u64::from_le_bytes(*bytes[index * 8..].first_chunk().expect("32 bytes"));
            Some([0, 1, 2, 3].map(number))
        };
        let head = numbers(0).expect("the record has a head");
        assert_eq!((head[0], head[1]), (MAGIC, 1), "a record of disk writes");
        let sector = head[3] & 0xffff_ffff;
        let end = log.metadata().expect("a file has a length").len();
        let (mut entries, mut at) = (Vec::new(), sector);
        while (entries.len() as u64) < head[2] {
            let Some([start, sectors, flags, _]) = numbers(at) else { break };
            let (data, length) = (at + sector, sectors * 512);
            let written = if flags & DISCARD == 0 { length } else { 0 };
            if data + written > end {
                break;
            }
            entries.push(Entry { at: start * 512, length, flags, data });
            at = data + written.next_multiple_of(sector);
        }
        Self { log, entries }
    }

    /// How many moments there are at which a power cut leaves a certain state: each flush, each FUA.
    pub fn flushes(&self) -> usize {
        self.entries.iter().filter(|entry| entry.flags & (FLUSH | FUA) != 0).count()
    }

    /// Copies `before` to `after` and plays the record up to and with flush number `flush` (from 0). Then
    /// every write before the next flush that `lucky` says yes to: a disk may or may not have kept it.
    pub fn cut(&self, before: &Path, after: &Path, flush: usize, mut lucky: impl FnMut(usize) -> bool) {
        copy_disk(before, after);
        let disk = OpenOptions::new().write(true).open(after).expect("the copy can be opened");
        let mut seen = 0;
        for (index, entry) in self.entries.iter().enumerate() {
            if seen <= flush || lucky(index) {
                self.play(entry, &disk);
            }
            seen += usize::from(entry.flags & (FLUSH | FUA) != 0);
            if seen > flush + 1 {
                break;
            }
        }
    }

    fn play(&self, entry: &Entry, disk: &File) {
        let mut bytes = vec![0; entry.length as usize];
        if entry.flags & DISCARD == 0 && entry.length > 0 {
            self.log.read_exact_at(&mut bytes, entry.data).expect("the record holds the data");
        }
        disk.write_all_at(&bytes, entry.at).expect("the copy can be written");
    }
}

/// Copies a disk, and leaves holes where it is zero.
pub fn copy_disk(from: &Path, to: &Path) {
    let source = File::open(from).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
    let length = source.metadata().expect("a file has a length").len();
    let target = File::create(to).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
    target.set_len(length).expect("the copy can be lengthened");
    let mut buffer = vec![0; 1 << 20];
    for at in (0..length).step_by(buffer.len()) {
        let piece = &mut buffer[..(length - at).min(1 << 20) as usize];
        source.read_exact_at(piece, at).expect("the disk can be read");
        for (start, bytes) in filled(piece, 1 << 16) {
            target.write_all_at(bytes, at + start).expect("the copy can be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A log with sectors of 512 bytes.
    fn log(entries: &[(u64, u64, u8)]) -> Vec<u8> {
        let sector = |numbers: [u64; 4]| {
            let mut bytes: Vec<u8> = numbers.into_iter().flat_map(u64::to_le_bytes).collect();
            bytes.resize(512, 0);
            bytes
        };
        let mut bytes = sector([MAGIC, 1, entries.len() as u64, 512]);
        for &(at, flags, fill) in entries {
            let sectors = u64::from(fill != 0);
            bytes.extend(sector([at, sectors, flags, 0]));
            bytes.extend(vec![fill; sectors as usize * 512]);
        }
        bytes
    }

    #[test]
    fn a_cut_keeps_what_was_flushed_and_chooses_among_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("before"), [9; 2048]).unwrap();
        let entries = [(0, 0, 1), (0, FLUSH, 0), (1, 0, 2), (2, 0, 3), (0, FLUSH, 0), (3, FUA, 4)];
        let mut bytes = log(&entries);
        bytes.truncate(bytes.len() - 100);
        fs::write(path("log"), &bytes).unwrap();
        let record = Record::read(&path("log"));
        assert_eq!((record.flushes(), record.entries.len()), (2, 5), "the cut-off entry is not there");
        let state = |flush, lucky: fn(usize) -> bool| {
            record.cut(&path("before"), &path("after"), flush, lucky);
            let bytes = fs::read(path("after")).unwrap();
            [0, 1, 2, 3].map(|sector| bytes[sector * 512])
        };
        assert_eq!(state(0, |_| false), [1, 9, 9, 9]);
        assert_eq!(state(0, |index| index == 3), [1, 9, 3, 9]);
        assert_eq!(state(1, |_| false), [1, 2, 3, 9]);
    }
}
