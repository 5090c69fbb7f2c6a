//! Deterministic gzip (RFC 1952): no time, no name, and the same bytes however the input is cut up.
//!
//! miniz_oxide is called directly. flate2 is not asked to compress, because any dependency may switch
//! its backend for the whole workspace, and other backends' output depends on the sizes of the writes.

use std::io::{self, Write};

use flate2::Crc;
use miniz_oxide::deflate::core::CompressorOxide;
use miniz_oxide::deflate::stream::deflate;
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};

use crate::base::{Fault, Result};

/// zlib's own default: past it, time doubles for a percent of size.
const LEVEL: u8 = 6;

/// The deflater always gets blocks of this many bytes, whatever the caller writes.
const BLOCK: usize = 64 * 1024;

/// Magic, deflate, no flags, no time, no extra flags, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// A writer that compresses what it is given. Call [`Gzip::finish`]; a dropped one leaves a cut stream.
pub struct Gzip<W: Write> {
    inner: W,
    deflater: Box<CompressorOxide>,
    crc: Crc,
    block: Vec<u8>,
    output: Vec<u8>,
}

impl<W: Write> Gzip<W> {
    /// Writes the header to `inner`.
    pub fn new(mut inner: W) -> io::Result<Self> {
        inner.write_all(&HEADER)?;
        let mut deflater = Box::<CompressorOxide>::default();
        deflater.set_format_and_level(DataFormat::Raw, LEVEL);
        let (block, output) = (Vec::with_capacity(BLOCK), vec![0; BLOCK]);
        Ok(Self { inner, deflater, crc: Crc::new(), block, output })
    }

    /// Ends the stream and gives the inner writer back.
    pub fn finish(mut self) -> io::Result<W> {
        self.drive(MZFlush::Finish)?;
        self.inner.write_all(&self.crc.sum().to_le_bytes())?;
        // The length modulo 2^32, as the format has it.
        self.inner.write_all(&self.crc.amount().to_le_bytes())?;
        Ok(self.inner)
    }

    /// Gives the block to the deflater and writes what comes out.
    fn drive(&mut self, flush: MZFlush) -> io::Result<()> {
        self.crc.update(&self.block);
        let mut input = self.block.as_slice();
        loop {
            let step = deflate(&mut self.deflater, input, &mut self.output, flush);
            input = &input[step.bytes_consumed..];
            self.inner.write_all(&self.output[..step.bytes_written])?;
            // Without `Finish`, `Buf` only says that there is nothing to do before more input comes.
            match step.status {
                Ok(MZStatus::StreamEnd) => break,
                Ok(_) | Err(MZError::Buf) if flush == MZFlush::None && input.is_empty() => break,
                Ok(_) => {}
                Err(error) => return Err(io::Error::other(format!("deflate: {error:?}"))),
            }
        }
        self.block.clear();
        Ok(())
    }
}

impl<W: Write> Write for Gzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        if self.block.len() == BLOCK {
            self.drive(MZFlush::None)?;
        }
        Ok(taken)
    }

    /// Does nothing: a flush in the middle would change the bytes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Compresses a small document at once.
pub fn compress(bytes: &[u8]) -> Result<Vec<u8>> {
    let write = || -> io::Result<Vec<u8>> {
        let mut gzip = Gzip::new(Vec::new())?;
        gzip.write_all(bytes)?;
        gzip.finish()
    };
    write().map_err(|error| Fault::bug("cannot compress in memory").cause(error))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;
    use crate::base::Digest;

    /// Text that repeats, numbers that do not: what packages are made of.
    fn sample(length: usize) -> Vec<u8> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 24
        };
        let mut bytes = Vec::new();
        while bytes.len() < length {
            bytes.extend(format!("line {} of the sample {:x}\n", bytes.len(), next()).bytes());
        }
        bytes.truncate(length);
        bytes
    }

    fn expand(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn another_program_reads_it_back() {
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK, 1_000_000] {
            let bytes = sample(length);
            assert!(expand(&compress(&bytes).unwrap()) == bytes, "{length} bytes");
        }
        let noise: Vec<u8> =
            (0..200_000u32).flat_map(|n| Digest::of(n.to_le_bytes()).bytes()[..3].to_vec()).collect();
        assert!(expand(&compress(&noise).unwrap()) == noise);
    }

    #[test]
    fn golden() {
        let found = Digest::of(compress(&sample(300_000)).unwrap()).hex();
        assert_eq!(
            found, "df2cc9bda148aee92c9fb9e24cf10d940879d161008cb3148c37b519a48babd1",
            "the compressor's bytes changed, so every .deb and layer changes: if miniz_oxide was updated \
             on purpose, put the new digest here and say so in the commit; else find out who changed it"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_cuts_do_not_matter(length in 0usize..300_000, cuts in prop::collection::vec(1usize..100_000, 0..40)) {
            let bytes = sample(length);
            let mut gzip = Gzip::new(Vec::new()).unwrap();
            let mut rest = bytes.as_slice();
            for cut in cuts {
                let (head, tail) = rest.split_at(cut.min(rest.len()));
                gzip.write_all(head).unwrap();
                gzip.flush().unwrap();
                rest = tail;
            }
            gzip.write_all(rest).unwrap();
            prop_assert!(gzip.finish().unwrap() == compress(&bytes).unwrap());
        }
    }
}
