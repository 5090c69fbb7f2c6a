//! Directory entries: 32 bytes for a name of 8 and 3 capitals, and one more for every 13 characters
//! of a name that is longer or has small letters, before it.

use std::collections::BTreeSet;

use crate::base::{Fault, Result};

const ENTRY: usize = 32;
/// Characters of a long name in one entry.
const PIECE: usize = 13;
/// 1980-01-01, the first day of FAT's calendar.
const FIRST_DAY: u16 = 0x0021;

const VOLUME_LABEL: u8 = 0x08;
const SUBDIRECTORY: u8 = 0x10;
const ARCHIVE: u8 = 0x20;
const LONG_NAME: u8 = 0x0f;

struct Entry {
    name: String,
    short: [u8; 11],
    /// `None`: a directory.
    size: Option<u32>,
}

/// The entries of one directory.
#[derive(Default)]
pub(super) struct Directory {
    label: Option<[u8; 11]>,
    entries: Vec<Entry>,
    /// Short and long names taken, in capitals.
    taken: BTreeSet<String>,
}

impl Directory {
    /// Makes the root, which carries the volume's label.
    pub(super) fn root(label: [u8; 11]) -> Self {
        Self { label: Some(label), ..Self::default() }
    }

    /// Adds a file of `size` bytes, or a directory.
    pub(super) fn add(&mut self, name: &str, size: Option<u32>) -> Result<()> {
        let refuse = |why: &str| Fault::user(format!("{name:?} cannot be a name on FAT")).cause(why);
        if name.chars().any(|c| c.is_control() || "\"*/:<>?\\|".contains(c)) {
            return Err(refuse("it has a character that FAT forbids"));
        }
        if name.ends_with(['.', ' ']) || name.encode_utf16().count() > 255 {
            return Err(refuse("it is too long, or ends with a dot or a space"));
        }
        if !self.taken.insert(name.to_uppercase()) {
            return Err(refuse("another name differs from it by case alone"));
        }
        let short = self.short(name)?;
        self.entries.push(Entry { name: name.to_owned(), short, size });
        Ok(())
    }

    /// Returns how many bytes the entries take.
    pub(super) fn length(&self, is_root: bool) -> u64 {
        let names: usize = self.entries.iter().map(|entry| pieces(entry) + 1).sum();
        let own = if is_root { usize::from(self.label.is_some()) } else { 2 };
        ((names + own) * ENTRY) as u64
    }

    /// Returns the entries. `own` has the clusters of this directory and its parent (0 for the root);
    /// `start_of` gives the first cluster of a name, 0 for an empty file.
    pub(super) fn bytes(&self, own: Option<(u32, u32)>, start_of: impl Fn(&str) -> u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(label) = self.label {
            bytes.extend(short_entry(&label, VOLUME_LABEL, 0, 0));
        }
        if let Some((this, parent)) = own {
            bytes.extend(short_entry(b".          ", SUBDIRECTORY, this, 0));
            bytes.extend(short_entry(b"..         ", SUBDIRECTORY, parent, 0));
        }
        for entry in &self.entries {
            bytes.extend(long_entries(entry));
            let attribute = if entry.size.is_some() { ARCHIVE } else { SUBDIRECTORY };
            let (start, size) = (start_of(&entry.name), entry.size.unwrap_or(0));
            bytes.extend(short_entry(&entry.short, attribute, start, size));
        }
        bytes
    }

    /// The name itself if it is 8 and 3 capitals, else one like it that is free.
    fn short(&mut self, name: &str) -> Result<[u8; 11]> {
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        if let Some(short) = joined(stem, extension) {
            return Ok(short);
        }
        let keep = |text: &str, most: usize| -> String {
            let capitals = text.chars().map(|c| c.to_ascii_uppercase());
            capitals.filter(|c| is_plain(*c)).take(most).collect()
        };
        for number in 1..100_000 {
            let tail = format!("~{number}");
            let stem = keep(stem, 8 - tail.len()) + &tail;
            let extension = keep(extension, 3);
            let text = if extension.is_empty() { stem.clone() } else { format!("{stem}.{extension}") };
            if let (true, Some(short)) = (self.taken.insert(text), joined(&stem, &extension)) {
                return Ok(short);
            }
        }
        Err(Fault::user(format!("too many names like {name:?} in one directory for FAT")))
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit() || "-_~".contains(c)
}

fn joined(stem: &str, extension: &str) -> Option<[u8; 11]> {
    let fits = !stem.is_empty() && stem.len() <= 8 && extension.len() <= 3;
    if !fits || !stem.chars().chain(extension.chars()).all(is_plain) {
        return None;
    }
    let mut short = [b' '; 11];
    short[..stem.len()].copy_from_slice(stem.as_bytes());
    short[8..8 + extension.len()].copy_from_slice(extension.as_bytes());
    Some(short)
}

fn short_text(short: &[u8; 11]) -> String {
    let part = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    let (stem, extension) = (part(&short[..8]), part(&short[8..]));
    if extension.is_empty() { stem } else { format!("{stem}.{extension}") }
}

/// How many entries the long name needs.
fn pieces(entry: &Entry) -> usize {
    if short_text(&entry.short) == entry.name { 0 } else { entry.name.encode_utf16().count().div_ceil(PIECE) }
}

fn short_entry(name: &[u8; 11], attribute: u8, start: u32, size: u32) -> [u8; ENTRY] {
    let mut bytes = [0; ENTRY];
    bytes[..11].copy_from_slice(name);
    bytes[11] = attribute;
    for date in [16, 18, 24] {
        bytes[date..date + 2].copy_from_slice(&FIRST_DAY.to_le_bytes());
    }
    bytes[20..22].copy_from_slice(&start.to_le_bytes()[2..]);
    bytes[26..28].copy_from_slice(&start.to_le_bytes()[..2]);
    bytes[28..32].copy_from_slice(&size.to_le_bytes());
    bytes
}

/// The pieces of the long name, last first, each with the short name's checksum.
fn long_entries(entry: &Entry) -> Vec<u8> {
    let sum = entry.short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let mut units: Vec<u16> = entry.name.encode_utf16().collect();
    let count = pieces(entry);
    if !units.len().is_multiple_of(PIECE) {
        units.push(0);
    }
    units.resize(units.len().next_multiple_of(PIECE), 0xffff);
    let mut bytes = Vec::with_capacity(count * ENTRY);
    for (number, piece) in units.chunks(PIECE).enumerate().take(count).rev() {
        let last = if number + 1 == count { 0x40 } else { 0 };
        let text: Vec<u8> = piece.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        bytes.push((number as u8 + 1) | last);
        bytes.extend(&text[..10]);
        bytes.extend([LONG_NAME, 0, sum]);
        bytes.extend(&text[10..22]);
        bytes.extend([0, 0]);
        bytes.extend(&text[22..]);
    }
    bytes
}
