//! A table that is there already, fitted to a disk of another length.

use super::{ALIGN, ENTRIES, ENTRY, ENTRY_SECTORS, Guid, Partition, Purpose, SECTOR, crc32, put_table};
use crate::base::{Digest, Fault, Result};
use crate::pack::disk::writer::BlockWriter;

/// A disk's table as it was read: MBR, identity and entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    mbr: Vec<u8>,
    disk: [u8; 16],
    entries: Vec<u8>,
}

impl Found {
    /// Bytes from the disk's start that the table takes.
    pub const LENGTH: usize = ((2 + ENTRY_SECTORS) * SECTOR) as usize;

    /// Reads a table of our own shape from a disk's first [`Found::LENGTH`] bytes; checks its sums.
    pub fn read(start: &[u8]) -> Result<Self> {
        let refuse = |found: &str| {
            Fault::integrity("the image does not begin with our partition table")
                .expected_found("a GPT", found)
        };
        if start.len() < Self::LENGTH {
            return Err(refuse("too few bytes"));
        }
        let (mbr, header) = (&start[..512], &start[512..512 + 92]);
        let entries = &start[1024..Self::LENGTH];
        let number =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let mut summed = header.to_vec();
        summed[16..20].fill(0);
        if !header.starts_with(b"EFI PART") || number(80) as usize != ENTRIES || number(84) as usize != ENTRY
        {
            return Err(refuse("something else"));
        }
        if number(16) != crc32(&summed) || number(88) != crc32(entries) {
            return Err(refuse("one with a wrong checksum"));
        }
        let mut disk = [0; 16];
        disk.copy_from_slice(&header[56..72]);
        Ok(Self { mbr: mbr.to_vec(), disk, entries: entries.to_vec() })
    }

    /// Returns whether the identities of the disk and of each partition are derived ones, as only ours are: other
    /// programs draw them by lot (RFC 9562, version 4).
    pub fn is_derived(&self) -> bool {
        let used = self.entries.chunks_exact(ENTRY).filter(|entry| entry[..16] != [0; 16]);
        let mut ids = used.map(|entry| &entry[16..32]).chain([&self.disk[..]]);
        // The version stands in the third field, which is little-endian here.
        ids.all(|id| id[7] >> 4 == 8)
    }

    /// Returns the end of the last partition, in bytes.
    pub fn end(&self) -> u64 {
        let used = self.entries.chunks_exact(ENTRY).filter(|entry| entry[..16] != [0; 16]);
        let last =
            |entry: &[u8]| entry[40..48].iter().rev().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
        used.map(|entry| (last(entry) + 1).saturating_mul(SECTOR)).max().unwrap_or(0)
    }

    /// Adds a data partition at the end of a disk of `disk_length` bytes and says where it begins.
    pub fn add_at_end(&mut self, name: &str, length: u64, disk_length: u64) -> Result<u64> {
        let tail = (ENTRY_SECTORS + 1) * SECTOR;
        let start = disk_length.checked_sub(tail + length).map_or(0, |start| start / ALIGN * ALIGN);
        if start < self.end() {
            return Err(Fault::user(format!("no room for {name} on the disk"))
                .expected_found(format!("{} bytes", self.end() + length + tail + ALIGN), disk_length));
        }
        let part = Partition { purpose: Purpose::Data, name: name.to_owned(), start, length };
        let id = Guid::derive(&Digest::of(self.disk), name);
        let free = self.entries.chunks_exact_mut(ENTRY).find(|entry| entry[..16] == [0; 16]);
        part.fill(id, free.ok_or_else(|| Fault::user("the partition table is full"))?);
        Ok(start)
    }

    /// Writes the table for a disk of `length` bytes: the copy at the end first, the MBR last.
    pub fn write(&self, length: u64, out: &mut dyn BlockWriter) -> Result<()> {
        let needed = self.end() + (ENTRY_SECTORS + 1) * SECTOR;
        if !length.is_multiple_of(SECTOR) || length < needed {
            return Err(
                Fault::user("the disk is too small").expected_found(format!("{needed} bytes"), length)
            );
        }
        put_table(&self.mbr, self.disk, &self.entries, length, out)
    }
}
