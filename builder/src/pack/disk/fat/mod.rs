//! A small tree as a FAT file system: the EFI system partition, and seed disks.
//!
//! ```text
//! boot sector   FAT32 only: FSInfo at 1, copies of both at 6 and 7, first FAT at 32
//! FAT, FAT      one cell a cluster: the next cluster of the file, or the end
//! FAT16 only:   the root directory, 512 entries
//! clusters      from number 2: directories and files in the tree's order, each in one piece
//! ```
//! Layout: Microsoft's "FAT: General Overview of On-Disk Format", 1.03. Owners and modes are not FAT's to
//! hold. Every time is FAT's first moment, 1980-01-01: nothing reads it, and it cannot differ.

mod entry;

use std::collections::BTreeMap;
use std::io::Read;

use super::writer::BlockWriter;
use crate::base::tree::{Contents, Kind, Node, Tree, TreePath};
use crate::base::{Fault, Result};
use crate::pack::written;
use entry::Directory;

const SECTOR: u64 = 512;
/// From this length on it is FAT32, which firmware expects of an EFI system partition on a disk.
const FAT32_FROM: u64 = 40 << 20;
/// Below this there are too few clusters for FAT16.
const LEAST: u64 = 4 << 20;
/// So many clusters of 512 bytes fit in a FAT32's cells with room to spare.
const MOST: u64 = 64 << 30;
const ROOT_ENTRIES: u64 = 512;
const WHAT: &str = "the FAT file system";

/// What a file system is, apart from the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fat {
    /// The volume's serial number.
    pub serial: u32,
    /// The label: at most 11 capitals, digits and hyphens.
    pub label: String,
    /// Its length in bytes, a multiple of 512.
    pub length: u64,
}

/// Returns the least length, in whole MiB and with some room, for a tree.
pub fn length(tree: &Tree) -> u64 {
    let cluster = 4096;
    let clusters: u64 = tree.iter().map(|(_, node)| size_of(node).div_ceil(cluster) + 1).sum();
    (clusters * cluster + (2 << 20)).next_multiple_of(1 << 20).max(LEAST)
}

/// Writes `tree` as a file system into `out`; files are copied through, not held.
pub fn write(spec: &Fat, tree: &Tree, contents: &dyn Contents, out: &mut dyn BlockWriter) -> Result<()> {
    let label = spec.label()?;
    let geometry = Geometry::of(spec)?;
    let places = Places::of(&geometry, tree, label)?;
    for (sector, bytes) in geometry.boot_sectors(spec.serial, label, places.next) {
        written(WHAT, out.write_at(sector * SECTOR, &bytes))?;
    }
    let table = places.table(&geometry);
    for copy in 0..2 {
        written(WHAT, out.write_at((geometry.reserved + copy * geometry.fat_sectors) * SECTOR, &table))?;
    }
    let start_of = |path: &str| places.runs.get(path).map_or(0, |run| run.0);
    for (path, directory) in &places.directories {
        let parent = path.rsplit_once('/').map_or(0, |(parent, _)| start_of(parent));
        let bytes = directory.bytes((!path.is_empty()).then(|| (start_of(path), parent)), |name| {
            start_of(&if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") })
        });
        written(WHAT, out.write_at(geometry.directory_at(path, start_of(path)), &bytes))?;
    }
    for (path, node) in tree.iter() {
        if let Kind::File { content, size } = &node.kind {
            let at = geometry.cluster_at(start_of(path.as_str()));
            copy(path, &mut *contents.open(content)?, *size, at, out)?;
        }
    }
    Ok(())
}

fn size_of(node: &Node) -> u64 {
    if let Kind::File { size, .. } = node.kind { size } else { 0 }
}

fn copy(path: &TreePath, reader: &mut dyn Read, size: u64, at: u64, out: &mut dyn BlockWriter) -> Result<()> {
    let (mut buffer, mut done) = (vec![0; 1 << 16], 0);
    while done < size {
        let want = (size - done).min(buffer.len() as u64) as usize;
        let read = reader.read_exact(&mut buffer[..want]);
        read.map_err(|e| Fault::integrity(format!("{path} is shorter than its tree says")).cause(e))?;
        written(WHAT, out.write_at(at + done, &buffer[..want]))?;
        done += want as u64;
    }
    Ok(())
}

impl Fat {
    fn label(&self) -> Result<[u8; 11]> {
        let fits = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-';
        if self.label.is_empty() || self.label.len() > 11 || !self.label.chars().all(fits) {
            return Err(Fault::user("not a FAT label")
                .expected_found("1 to 11 of A-Z 0-9 -", format!("{:?}", self.label)));
        }
        let mut label = [b' '; 11];
        label[..self.label.len()].copy_from_slice(self.label.as_bytes());
        Ok(label)
    }
}

/// Where things are, in sectors.
struct Geometry {
    fat32: bool,
    total: u64,
    reserved: u64,
    fat_sectors: u64,
    cluster_sectors: u64,
    clusters: u64,
}

impl Geometry {
    fn of(spec: &Fat) -> Result<Self> {
        if !spec.length.is_multiple_of(SECTOR) || !(LEAST..=MOST).contains(&spec.length) {
            return Err(Fault::user("not a length for a FAT file system")
                .expected_found(format!("{LEAST} to {MOST}, a multiple of {SECTOR}"), spec.length));
        }
        let fat32 = spec.length >= FAT32_FROM;
        let (total, reserved) = (spec.length / SECTOR, if fat32 { 32 } else { 1 });
        // FAT16 has at most 65524 clusters; FAT32 has no fewer than 65525.
        let cluster_sectors = match spec.length >> 20 {
            0..16 => 1,
            16..40 => 2,
            40..1024 => 1,
            _ => 8,
        };
        let mut geometry = Self { fat32, total, reserved, fat_sectors: 1, cluster_sectors, clusters: 0 };
        // A longer table leaves fewer clusters to describe: the first length that fits.
        loop {
            geometry.clusters = (total - geometry.first_data()) / cluster_sectors;
            let needed = ((geometry.clusters + 2) * geometry.cell()).div_ceil(SECTOR);
            if needed <= geometry.fat_sectors {
                return Ok(geometry);
            }
            geometry.fat_sectors = needed;
        }
    }

    fn cell(&self) -> u64 {
        if self.fat32 { 4 } else { 2 }
    }

    fn first_data(&self) -> u64 {
        let root = if self.fat32 { 0 } else { ROOT_ENTRIES * 32 / SECTOR };
        self.reserved + 2 * self.fat_sectors + root
    }

    fn cluster_bytes(&self) -> u64 {
        self.cluster_sectors * SECTOR
    }

    /// The offset of a cluster in bytes.
    fn cluster_at(&self, cluster: u32) -> u64 {
        self.first_data() * SECTOR + u64::from(cluster.saturating_sub(2)) * self.cluster_bytes()
    }

    fn directory_at(&self, path: &str, start: u32) -> u64 {
        if path.is_empty() && !self.fat32 {
            return (self.reserved + 2 * self.fat_sectors) * SECTOR;
        }
        self.cluster_at(start)
    }

    /// Sector numbers and what stands there.
    fn boot_sectors(&self, serial: u32, label: [u8; 11], next: u32) -> Vec<(u64, Vec<u8>)> {
        let mut boot = vec![0; SECTOR as usize];
        let mut put = |at: usize, bytes: &[u8]| boot[at..at + bytes.len()].copy_from_slice(bytes);
        let small = |value: u64| u16::try_from(value).unwrap_or(0).to_le_bytes();
        put(0, if self.fat32 { b"\xeb\x58\x90HALE    " } else { b"\xeb\x3c\x90HALE    " });
        put(11, &small(SECTOR));
        put(13, &[self.cluster_sectors as u8]);
        put(14, &small(self.reserved));
        put(16, &[2]);
        put(17, &small(if self.fat32 { 0 } else { ROOT_ENTRIES }));
        let fits = !self.fat32 && self.total < 0x1_0000;
        put(19, &small(if fits { self.total } else { 0 }));
        put(21, &[0xf8]);
        put(22, &small(if self.fat32 { 0 } else { self.fat_sectors }));
        put(24, &[32, 0, 64, 0]);
        put(32, &(if fits { 0 } else { self.total as u32 }).to_le_bytes());
        let extended = if self.fat32 { 64 } else { 36 };
        put(extended, &[0x80, 0, 0x29]);
        put(extended + 3, &serial.to_le_bytes());
        put(extended + 7, &label);
        put(extended + 18, if self.fat32 { b"FAT32   " } else { b"FAT16   " });
        put(510, &[0x55, 0xaa]);
        if !self.fat32 {
            return vec![(0, boot)];
        }
        put(36, &(self.fat_sectors as u32).to_le_bytes());
        // The root's cluster, FSInfo's sector, the copies' sector.
        put(44, &[2, 0, 0, 0, 1, 0, 6, 0]);
        let mut info = vec![0; SECTOR as usize];
        let free = self.clusters as u32 - (next - 2);
        let fields = [(0, 0x4161_5252), (484, 0x6141_7272), (488, free), (492, next), (508, 0xaa55_0000)];
        for (at, value) in fields {
            info[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
        }
        vec![(0, boot.clone()), (1, info.clone()), (6, boot), (7, info)]
    }
}

/// Which clusters everything has.
struct Places {
    /// The root's path is empty.
    directories: BTreeMap<String, Directory>,
    /// First cluster and number of clusters; what is empty has none.
    runs: BTreeMap<String, (u32, u32)>,
    /// The first free cluster.
    next: u32,
}

impl Places {
    fn of(geometry: &Geometry, tree: &Tree, label: [u8; 11]) -> Result<Self> {
        let mut directories = BTreeMap::from([(String::new(), Directory::root(label))]);
        for (path, node) in tree.iter() {
            let parent = path.parent().map_or_else(String::new, |parent| parent.to_string());
            let size = match node.kind {
                Kind::Dir => None,
                Kind::File { size, .. } => Some(u32::try_from(size).map_err(|_| {
                    Fault::user(format!("{path} is too big for FAT")).expected_found("under 4 GiB", size)
                })?),
                Kind::Symlink { .. } => {
                    return Err(Fault::user(format!("{path} is a symbolic link"))
                        .expected_found("files and directories", "a link, which FAT cannot hold"));
                }
            };
            directories.entry(parent).or_default().add(path.file_name(), size)?;
            if node.is_dir() {
                directories.entry(path.to_string()).or_default();
            }
        }
        let mut places = Self { directories, runs: BTreeMap::new(), next: 2 };
        places.allocate(geometry, tree)?;
        Ok(places)
    }

    fn allocate(&mut self, geometry: &Geometry, tree: &Tree) -> Result<()> {
        let root = self.directories[""].length(true);
        let mut wanted = vec![(String::new(), root)];
        for (path, node) in tree.iter() {
            let name = path.to_string();
            let length = if node.is_dir() { self.directories[&name].length(false) } else { size_of(node) };
            wanted.push((name, length));
        }
        if !geometry.fat32 {
            if root > ROOT_ENTRIES * 32 {
                return Err(Fault::user("too many files for a FAT16 root directory"));
            }
            wanted.remove(0);
        }
        for (path, length) in wanted {
            let clusters = length.div_ceil(geometry.cluster_bytes());
            let end = u64::from(self.next) + clusters;
            if end > geometry.clusters + 2 {
                return Err(Fault::user("the files do not fit in the FAT file system")
                    .expected_found(format!("{} clusters", geometry.clusters), "more"));
            }
            if clusters > 0 {
                self.runs.insert(path, (self.next, clusters as u32));
                self.next = end as u32;
            }
        }
        Ok(())
    }

    /// The table as far as it is used; the rest is zero.
    fn table(&self, geometry: &Geometry) -> Vec<u8> {
        const END: u32 = 0x0fff_ffff;
        let mut cells = vec![0x0fff_fff8, END];
        cells.extend(3..=self.next);
        for (start, count) in self.runs.values() {
            cells[(start + count) as usize - 1] = END;
        }
        cells.truncate(self.next as usize);
        let cell = |value: u32| value.to_le_bytes().into_iter().take(geometry.cell() as usize);
        cells.into_iter().flat_map(cell).collect()
    }
}

#[cfg(test)]
mod tests;
