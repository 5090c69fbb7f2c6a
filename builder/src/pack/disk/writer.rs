//! Writing blocks of a disk, or of a part of one.

use std::io;

/// A disk, or a part of one, being written. What is never written is zero.
pub trait BlockWriter {
    /// Writes `bytes` at `offset` from the start.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Hears that nothing before `end` is written any more.
    fn finalize_up_to(&mut self, _end: u64) {}
}

/// A disk in memory: for small images and tests. Grows as far as it is written.
impl BlockWriter for Vec<u8> {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start.checked_add(bytes.len()).ok_or_else(|| io::Error::other("past the end of memory"))?;
        if self.len() < end {
            self.resize(end, 0);
        }
        self[start..end].copy_from_slice(bytes);
        Ok(())
    }
}

static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// Returns whether all of them are zero. By comparing, which is fast in programs that are not optimised too.
pub fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(ZEROS.len()).all(|piece| *piece == ZEROS[..piece.len()])
}

/// Finds the stretches of `bytes` that are not zero, in steps of `block`, neighbours joined.
pub fn filled(bytes: &[u8], block: usize) -> Vec<(u64, &[u8])> {
    let mut stretches: Vec<(u64, &[u8])> = Vec::new();
    let mut start = None;
    for (index, piece) in bytes.chunks(block).enumerate() {
        let at = index * block;
        match (!is_zero(piece), start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                stretches.push((from as u64, &bytes[from..at]));
                start = None;
            }
            _ => {}
        }
    }
    if let Some(from) = start {
        stretches.push((from as u64, &bytes[from..]));
    }
    stretches
}

/// A stretch of another writer: a partition of a disk. Refuses writes past its end.
pub struct Part<'a> {
    disk: &'a mut dyn BlockWriter,
    start: u64,
    length: u64,
}

impl<'a> Part<'a> {
    /// Takes the `length` bytes of `disk` from `start`.
    pub fn new(disk: &'a mut dyn BlockWriter, start: u64, length: u64) -> Self {
        Self { disk, start, length }
    }
}

impl BlockWriter for Part<'_> {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > self.length) {
            return Err(io::Error::other("a write past the end of a partition"));
        }
        self.disk.write_at(self.start + offset, bytes)
    }

    fn finalize_up_to(&mut self, end: u64) {
        self.disk.finalize_up_to(self.start + end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_stays_inside_itself() {
        let mut disk = Vec::new();
        let mut part = Part::new(&mut disk, 4, 2);
        part.write_at(1, b"x").unwrap();
        assert!(part.write_at(1, b"xy").is_err());
        assert!(part.write_at(u64::MAX, b"x").is_err());
        assert_eq!(disk, b"\0\0\0\0\0x");
    }
}
