//! Puts an image on a disk: only on one that nothing uses, only what differs from zero, and read back.
//!
//! The order makes an interrupted flash harmless and repeatable: the old partition table goes first, then
//! everything behind it is written, and the new table comes last. Until then the disk does not boot.

mod device;
mod seed;
mod target;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::base::{Fault, Result};
use crate::pack::disk::gpt::{ALIGN, Found};
use crate::pack::disk::writer::filled;
use crate::pack::disk::writer::{BlockWriter, Part};

pub use crate::host::overwrite::SEED_LABEL;
pub use device::Device;
pub use seed::Seed;
pub use target::Target;

/// Bytes that are read, compared and written at a time.
const CHUNK: usize = 4 << 20;
/// The least run of zeros that is left out.
const HOLE: usize = 64 << 10;

/// The stage that a flash is at, for a progress line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The image goes to the disk.
    Writing,
    /// The disk is read back.
    Verifying,
}

/// Writes `image` to the target, with the seed behind it, and reads it back. `tell` gets the phase, the
/// bytes done and the bytes in all.
pub fn flash(
    image: &Path,
    target: &Target,
    seed: Option<&Seed>,
    tell: &mut dyn FnMut(Phase, u64, u64),
) -> Result<()> {
    let source = File::open(image).map_err(|e| Fault::io("open", image, e))?;
    target.check_apart(image, &source)?;
    let mut first = vec![0; Found::LENGTH];
    source.read_exact_at(&mut first, 0).map_err(|e| Fault::io("read", image, e))?;
    let mut table = Found::read(&first)?;
    let end = table.end();
    let length = target.length_for(end + seed.map_or(0, |seed| seed.length() + ALIGN) + ALIGN)?;
    let seed_at = match seed {
        Some(seed) => Some((table.add_at_end(SEED_LABEL, seed.length(), length)?, seed)),
        None => None,
    };
    // Bytes of the image that are data: all but the table, which is fitted to this disk.
    let body = Found::LENGTH as u64..end;
    let total = body.end - body.start;
    let mut disk = target;
    if seed.is_some() {
        target.close_to_others()?;
    }
    target.clear(0, ALIGN)?;
    target.clear(length - ALIGN, ALIGN)?;
    each(&source, image, body.clone(), |offset, bytes| {
        write_chunk(target, offset, bytes)?;
        tell(Phase::Writing, offset + bytes.len() as u64 - body.start, total);
        Ok(())
    })?;
    if let Some((at, seed)) = seed_at {
        target.clear(at, seed.length())?;
        seed.write(&mut Part::new(&mut disk, at, seed.length()))?;
    }
    target.settle()?;
    table.write(length, &mut disk)?;
    target.settle()?;
    each(&source, image, body.clone(), |offset, bytes| {
        verify(target, "image", offset, bytes)?;
        tell(Phase::Verifying, offset + bytes.len() as u64 - body.start, total);
        Ok(())
    })?;
    if let Some((at, seed)) = seed_at {
        let mut whole = Vec::new();
        seed.write(&mut whole)?;
        whole.resize(seed.length() as usize, 0);
        verify(target, "seed", at, &whole)?;
    }
    let mut copies = Pieces::default();
    table.write(length, &mut copies)?;
    copies.0.iter().try_for_each(|(at, bytes)| verify(target, "partition table", *at, bytes))
}

/// Reads back what was written.
fn verify(target: &Target, what: &str, at: u64, wanted: &[u8]) -> Result<()> {
    let mut found = vec![0; wanted.len()];
    target.read(at, &mut found)?;
    if found == wanted {
        return Ok(());
    }
    let same = wanted.iter().zip(&found).take_while(|(wanted, found)| wanted == found).count();
    Err(Fault::integrity(format!("{target} does not hold its {what}"))
        .expected_found("what was written to it", format!("something else at byte {}", at + same as u64))
        .help("try again; if it happens twice, the disk is broken"))
}

/// What is put, piece by piece.
#[derive(Default)]
struct Pieces(Vec<(u64, Vec<u8>)>);

impl BlockWriter for Pieces {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.push((offset, bytes.to_vec()));
        Ok(())
    }
}

/// Calls `act` with every chunk of the image's `range`, in order.
fn each(
    source: &File,
    name: &Path,
    range: std::ops::Range<u64>,
    mut act: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut at = range.start;
    while at < range.end {
        // The first chunk is short, so that the others are aligned.
        let want = (CHUNK as u64 - at % CHUNK as u64).min(range.end - at) as usize;
        let bytes = &mut buffer[..want];
        source.read_exact_at(bytes, at).map_err(|e| Fault::io("read", name, e))?;
        act(at, bytes)?;
        at += want as u64;
    }
    Ok(())
}

/// Data is written, runs of zeros are cleared: a used disk holds something else there.
fn write_chunk(target: &Target, offset: u64, bytes: &[u8]) -> Result<()> {
    let mut done = 0;
    for (start, piece) in filled(bytes, HOLE) {
        target.clear(offset + done, start - done)?;
        target.write(offset + start, piece)?;
        done = start + piece.len() as u64;
    }
    target.clear(offset + done, bytes.len() as u64 - done)
}

#[cfg(test)]
mod tests;
