//! A raw disk as QEMU's qcow2, without its holes.
//!
//! ```text
//! cluster 0      header, version 3
//! then           the refcount table, refcount blocks (16 bits a cluster), the L1 table, the L2 tables
//! then           the clusters that are not all zero, in the disk's order
//! ```
//! Layout: QEMU, `docs/interop/qcow2.txt`. Numbers are big-endian.

use std::io::Read;

use super::writer::{BlockWriter, is_zero};
use crate::base::{Fault, Result};
use crate::pack::written;

const BITS: u32 = 16;
/// Bytes of a cluster.
const CLUSTER: u64 = 1 << BITS;
/// Cells of 8 bytes in a cluster: of an L2 table, or of the refcount table.
const CELLS: u64 = CLUSTER / 8;
/// Counters of 2 bytes in a refcount block.
const COUNTERS: u64 = CLUSTER / 2;
/// "Refcount is exactly one": the cell's cluster may be written in place.
const COPIED: u64 = 1 << 63;
const WHAT: &str = "the qcow2 image";

/// Writes the disk of `length` bytes that `raw` gives; gives the image's own length.
pub fn write(raw: &mut dyn Read, length: u64, out: &mut dyn BlockWriter) -> Result<u64> {
    let layout = Layout::of(length)?;
    let mut l2 = vec![0_u64; (layout.l2_tables * CELLS) as usize];
    let mut next = layout.data_at;
    let mut cluster = vec![0; CLUSTER as usize];
    for (index, cell) in l2.iter_mut().enumerate().take(layout.clusters as usize) {
        let left = length - index as u64 * CLUSTER;
        let piece = &mut cluster[..left.min(CLUSTER) as usize];
        let read = raw.read_exact(piece);
        read.map_err(|e| Fault::machine("cannot read the raw image").cause(e))?;
        if !is_zero(piece) {
            written(WHAT, out.write_at(next * CLUSTER, piece))?;
            *cell = (next * CLUSTER) | COPIED;
            next += 1;
        }
    }
    let used = layout.tables(&l2, next);
    for (at, bytes) in used {
        written(WHAT, out.write_at(at * CLUSTER, &bytes))?;
    }
    Ok(next * CLUSTER)
}

/// Where the tables are, in clusters.
struct Layout {
    length: u64,
    clusters: u64,
    l2_tables: u64,
    /// Refcount blocks enough for every cluster that there can be.
    blocks: u64,
    l1_at: u64,
    data_at: u64,
}

impl Layout {
    fn of(length: u64) -> Result<Self> {
        let clusters = length.div_ceil(CLUSTER);
        let l2_tables = clusters.div_ceil(CELLS);
        // One refcount table and one L1 table of a cluster each: disks up to 4 TiB.
        if length == 0 || !length.is_multiple_of(512) || l2_tables > CELLS {
            return Err(Fault::user("not a length for a qcow2 image")
                .expected_found(format!("512 to {}, a multiple of 512", CELLS * CELLS * CLUSTER), length));
        }
        let blocks = (clusters + l2_tables + 3).div_ceil(COUNTERS - 1);
        let l1_at = 2 + blocks;
        Ok(Self { length, clusters, l2_tables, blocks, l1_at, data_at: l1_at + 1 + l2_tables })
    }

    /// First cluster and bytes of every table; `end` is the first cluster that is not used.
    fn tables(&self, l2: &[u64], end: u64) -> [(u64, Vec<u8>); 5] {
        let big_endian =
            |cells: &mut dyn Iterator<Item = u64>| -> Vec<u8> { cells.flat_map(u64::to_be_bytes).collect() };
        let table = big_endian(&mut (0..self.blocks).map(|block| (2 + block) * CLUSTER));
        let counters: Vec<u8> = (0..end).flat_map(|_| 1_u16.to_be_bytes()).collect();
        let l1 =
            big_endian(&mut (0..self.l2_tables).map(|index| ((self.l1_at + 1 + index) * CLUSTER) | COPIED));
        let l2 = big_endian(&mut l2.iter().copied());
        [(0, self.header()), (1, table), (2, counters), (self.l1_at, l1), (self.l1_at + 1, l2)]
    }

    fn header(&self) -> Vec<u8> {
        let mut bytes = b"QFI\xfb".to_vec();
        let narrow = |bytes: &mut Vec<u8>, value: u32| bytes.extend(value.to_be_bytes());
        let wide = |bytes: &mut Vec<u8>, value: u64| bytes.extend(value.to_be_bytes());
        narrow(&mut bytes, 3);
        // No backing file.
        wide(&mut bytes, 0);
        narrow(&mut bytes, 0);
        narrow(&mut bytes, BITS);
        wide(&mut bytes, self.length);
        // No encryption; the L1 table's cells and place; the refcount table's place and clusters.
        narrow(&mut bytes, 0);
        narrow(&mut bytes, self.l2_tables as u32);
        wide(&mut bytes, self.l1_at * CLUSTER);
        wide(&mut bytes, CLUSTER);
        narrow(&mut bytes, 1);
        // No snapshots; no incompatible, compatible or auto-clear features.
        bytes.extend([0; 12 + 24]);
        // Counters of 2^4 bits; the header's length.
        narrow(&mut bytes, 4);
        narrow(&mut bytes, 104);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `qemu-img check` and `compare` are asked in `tests/tests/formats/disk.rs`.
    #[test]
    fn holes_stay_out() {
        let mut raw = vec![0; (CLUSTER * 5 + 512) as usize];
        raw[(CLUSTER * 3) as usize] = 7;
        *raw.last_mut().unwrap() = 9;
        let mut image = Vec::new();
        let length = write(&mut raw.as_slice(), raw.len() as u64, &mut image).unwrap();
        assert_eq!(length, 7 * CLUSTER, "five tables and two clusters");
        let cell = |at: u64| u64::from_be_bytes(image[at as usize..at as usize + 8].try_into().unwrap());
        let l2 = cell(u64::from_be_bytes(image[40..48].try_into().unwrap())) & !COPIED;
        assert_eq!((cell(l2), cell(l2 + 3 * 8)), (0, 5 * CLUSTER | COPIED));
        assert_eq!(image[(cell(l2 + 5 * 8) & !COPIED) as usize + 511], 9);
        assert!(write(&mut &raw[..1024], 2048, &mut image).is_err(), "a short source");
        assert!(write(&mut &raw[..], 0, &mut image).is_err());
    }
}
