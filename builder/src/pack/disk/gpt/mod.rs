//! Partition tables: GPT with a protective MBR (UEFI specification 2.10, chapter 5).
//!
//! ```text
//! LBA 0        protective MBR, with the BIOS's boot code in its first 440 bytes
//! LBA 1        header          LBA 2..34      128 entries of 128 bytes
//! LBA 2048..   partitions, each on a whole MiB
//! last 33 LBA  the entries and the header again
//! ```
//! No identity is random: all GUIDs are made from a digest that the caller gives.

use flate2::Crc;

use super::writer::BlockWriter;
use crate::base::{Digest, Fault, Result};
use crate::pack::written;

/// Bytes of a sector.
pub const SECTOR: u64 = 512;
/// Where partitions begin and what they are rounded to.
pub const ALIGN: u64 = 1 << 20;
/// Bytes of boot code that the MBR has room for.
pub const BOOT_CODE: usize = 440;
/// Bytes before the first partition, and (less than this) after the last.
pub const MARGIN: u64 = ALIGN;

const ENTRIES: usize = 128;
const ENTRY: usize = 128;
mod fit;

pub use fit::Found;

/// Sectors of the entries.
const ENTRY_SECTORS: u64 = (ENTRIES * ENTRY) as u64 / SECTOR;

/// A GUID in text order; on disk its first three fields are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guid([u8; 16]);

impl Guid {
    /// Derives an identity of its own kind for `what` from `seed` (RFC 9562, version 8).
    pub fn derive(seed: &Digest, what: &str) -> Self {
        let digest = Digest::of(format!("{seed} {what}"));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.bytes()[..16]);
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// Returns the bytes in text order: how ext4 keeps its UUID.
    pub fn bytes(self) -> [u8; 16] {
        self.0
    }

    fn on_disk(self) -> [u8; 16] {
        let [a, b, c, d, e, f, g, h, rest @ ..] = self.0;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&[d, c, b, a, f, e, h, g]);
        bytes[8..].copy_from_slice(&rest);
        bytes
    }
}

impl std::fmt::Display for Guid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hex: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

/// What a partition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Where GRUB's core lies, for BIOS machines.
    BiosBoot,
    /// The EFI system partition.
    Esp,
    /// The root of an x86-64 system (UAPI group, Discoverable Partitions Specification).
    Root,
    /// Data for any system: the seed.
    Data,
}

impl Purpose {
    fn guid(self) -> Guid {
        Guid(match self {
            Self::BiosBoot => *b"\x21\x68\x61\x48\x64\x49\x6e\x6f\x74\x4e\x65\x65\x64\x45\x46\x49",
            Self::Esp => *b"\xc1\x2a\x73\x28\xf8\x1f\x11\xd2\xba\x4b\x00\xa0\xc9\x3e\xc9\x3b",
            Self::Root => *b"\x4f\x68\xbc\xe3\xe8\xcd\x4d\xb1\x96\xe7\xfb\xca\xf9\x84\xb7\x09",
            Self::Data => *b"\xeb\xd0\xa0\xa2\xb9\xe5\x44\x33\x87\xc0\x68\xb6\xb7\x26\x99\xc7",
        })
    }
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// What it is for.
    pub purpose: Purpose,
    /// Its name, at most 36 characters; its GUID is made from it.
    pub name: String,
    /// Where it begins, in bytes.
    pub start: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// A disk's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpt {
    /// What its GUIDs are made from.
    pub seed: Digest,
    /// The disk's length in bytes.
    pub length: u64,
    /// The partitions, in order and apart.
    pub partitions: Vec<Partition>,
}

impl Gpt {
    /// Writes both copies and the MBR with its boot code.
    pub fn write(&self, boot_code: &[u8], out: &mut dyn BlockWriter) -> Result<()> {
        self.check(boot_code)?;
        let disk = Guid::derive(&self.seed, "disk").on_disk();
        put_table(&mbr(boot_code), disk, &self.entries(), self.length, out)
    }

    fn check(&self, boot_code: &[u8]) -> Result<()> {
        if boot_code.len() > BOOT_CODE {
            return Err(Fault::integrity("boot code that does not fit in an MBR")
                .expected_found(format!("at most {BOOT_CODE} bytes"), boot_code.len()));
        }
        let mut free = MARGIN;
        for part in &self.partitions {
            let aligned = part.start % ALIGN == 0 && part.length % SECTOR == 0 && part.length > 0;
            if !aligned || part.start < free || part.name.encode_utf16().count() > 36 {
                return Err(Fault::bug(format!("partition {:?} overlaps or is not aligned", part.name)));
            }
            free = part.start + part.length;
        }
        let needed = free + (ENTRY_SECTORS + 1) * SECTOR;
        if !self.length.is_multiple_of(SECTOR) || self.length < needed || self.partitions.len() > ENTRIES {
            return Err(
                Fault::user("the disk is too small").expected_found(format!("{needed} bytes"), self.length)
            );
        }
        Ok(())
    }

    fn entries(&self) -> Vec<u8> {
        let mut bytes = vec![0; ENTRIES * ENTRY];
        for (entry, part) in bytes.chunks_exact_mut(ENTRY).zip(&self.partitions) {
            part.fill(Guid::derive(&self.seed, &part.name), entry);
        }
        bytes
    }
}

impl Partition {
    fn fill(&self, id: Guid, entry: &mut [u8]) {
        entry[..16].copy_from_slice(&self.purpose.guid().on_disk());
        entry[16..32].copy_from_slice(&id.on_disk());
        entry[32..40].copy_from_slice(&(self.start / SECTOR).to_le_bytes());
        entry[40..48].copy_from_slice(&((self.start + self.length) / SECTOR - 1).to_le_bytes());
        for (unit, place) in self.name.encode_utf16().zip(entry[56..].chunks_exact_mut(2)) {
            place.copy_from_slice(&unit.to_le_bytes());
        }
    }
}

/// Writes both copies of a table, and the MBR with the disk's length in it.
fn put_table(
    mbr: &[u8],
    disk: [u8; 16],
    entries: &[u8],
    length: u64,
    out: &mut dyn BlockWriter,
) -> Result<()> {
    let last = length / SECTOR - 1;
    let header = |own, other, at| header(disk, entries, last, [own, other, at]);
    let mut mbr = mbr.to_vec();
    mbr[458..462].copy_from_slice(&u32::try_from(last).unwrap_or(u32::MAX).to_le_bytes());
    let (primary, backup) = (header(1, last, 2), header(last, 1, last - ENTRY_SECTORS));
    let copies: [(u64, &[u8]); 5] =
        [(last - ENTRY_SECTORS, entries), (last, &backup), (2, entries), (1, &primary), (0, &mbr)];
    for (lba, bytes) in copies {
        written("the partition table", out.write_at(lba * SECTOR, bytes))?;
    }
    Ok(())
}

/// `places`: the header's own sector, the other copy's, the entries'.
fn header(disk: [u8; 16], entries: &[u8], last: u64, places: [u64; 3]) -> Vec<u8> {
    let [own, other, entries_at] = places;
    let mut bytes = Vec::with_capacity(SECTOR as usize);
    bytes.extend_from_slice(b"EFI PART\0\0\x01\0");
    bytes.extend_from_slice(&92_u32.to_le_bytes());
    bytes.extend_from_slice(&[0; 8]);
    for lba in [own, other, 2 + ENTRY_SECTORS, last - ENTRY_SECTORS - 1] {
        bytes.extend_from_slice(&lba.to_le_bytes());
    }
    bytes.extend_from_slice(&disk);
    bytes.extend_from_slice(&entries_at.to_le_bytes());
    for field in [ENTRIES as u32, ENTRY as u32, crc32(entries)] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    let sum = crc32(&bytes);
    bytes[16..20].copy_from_slice(&sum.to_le_bytes());
    bytes.resize(SECTOR as usize, 0);
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// One entry of type 0xEE over the whole disk, so that old tools see no free room.
fn mbr(boot_code: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; SECTOR as usize];
    bytes[..boot_code.len()].copy_from_slice(boot_code);
    bytes[446..454].copy_from_slice(&[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff]);
    bytes[454..458].copy_from_slice(&1_u32.to_le_bytes());
    bytes[510..].copy_from_slice(&[0x55, 0xaa]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(starts: &[(u64, u64)], length: u64) -> Gpt {
        let part = |&(start, length): &(u64, u64)| Partition {
            purpose: Purpose::Root,
            name: format!("at-{start}"),
            start: start << 20,
            length: length << 20,
        };
        Gpt { seed: Digest::of("x"), length: length << 20, partitions: starts.iter().map(part).collect() }
    }

    #[test]
    fn both_copies_carry_their_checksums() {
        let mut disk = Vec::new();
        table(&[(1, 1), (2, 5)], 8).write(&[0x90; BOOT_CODE], &mut disk).unwrap();
        assert_eq!(disk.len(), 8 << 20);
        for at in [512, disk.len() - 512] {
            let mut header = disk[at..at + 92].to_vec();
            let sum: [u8; 4] = header[16..20].try_into().unwrap();
            header[16..20].fill(0);
            assert_eq!(u32::from_le_bytes(sum), crc32(&header), "at {at}");
            let entries: [u8; 8] = header[72..80].try_into().unwrap();
            let entries = u64::from_le_bytes(entries) as usize * 512;
            let sum: [u8; 4] = header[88..92].try_into().unwrap();
            assert_eq!(u32::from_le_bytes(sum), crc32(&disk[entries..entries + 16384]));
        }
    }

    #[test]
    fn overlaps_and_overflows_are_refused() {
        let write = |starts: &[(u64, u64)], length| table(starts, length).write(&[], &mut Vec::new());
        assert!(write(&[(1, 2), (2, 1)], 8).is_err(), "overlap");
        assert!(write(&[(0, 1)], 8).is_err(), "over the table");
        assert!(write(&[(1, 7)], 8).is_err(), "over the backup");
        assert!(write(&[(1, 0)], 8).is_err(), "empty");
        assert!(table(&[(1, 1)], 8).write(&[0; 441], &mut Vec::new()).is_err(), "boot code");
    }

    #[test]
    fn a_table_fits_a_longer_disk() {
        let (mut disk, mut other) = (Vec::new(), Vec::new());
        let mut table = table(&[(1, 1), (2, 5)], 8);
        table.write(&[0x90; BOOT_CODE], &mut disk).unwrap();
        let mut found = Found::read(&disk).unwrap();
        assert_eq!(found.end(), 7 << 20);
        table.length = 32 << 20;
        table.write(&[0x90; BOOT_CODE], &mut other).unwrap();
        let mut longer = Vec::new();
        found.write(32 << 20, &mut longer).unwrap();
        assert!(longer == other, "the same as if it had been written for this disk");
        assert_eq!(found.add_at_end("HALE-SEED", 4 << 20, 32 << 20).unwrap(), 27 << 20);
        assert!(found.add_at_end("MORE", 4 << 20, 32 << 20).is_err(), "no room any more");
        assert!(found.write(8 << 20, &mut longer).is_err(), "too small");
        disk[1024 + 56] ^= 1;
        assert!(Found::read(&disk).is_err(), "a wrong checksum");
        assert!(Found::read(&disk[..4096]).is_err());
    }

    #[test]
    fn guids_have_text_and_disk_order() {
        assert_eq!(Purpose::Esp.guid().to_string(), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
        assert_eq!(Purpose::BiosBoot.guid().to_string(), "21686148-6449-6e6f-744e-656564454649");
        assert_eq!(&Purpose::BiosBoot.guid().on_disk(), b"Hah!IdontNeedEFI");
        let (a, b) = (Guid::derive(&Digest::of("x"), "a"), Guid::derive(&Digest::of("x"), "b"));
        assert!(a != b && a.to_string().as_bytes()[14] == b'8');
    }
}
