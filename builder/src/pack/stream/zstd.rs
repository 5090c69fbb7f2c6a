//! Deterministic zstd, through libzstd alone: disks for a download, and the drivers in the initramfs that only some
//! machines load.
//!
//! The stream is cut into jobs by its length and the level alone, so any number of threads gives the same bytes.

use std::io::{self, BufReader, Read, Write};

use crate::base::{Fault, Result};

/// How hard it tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// For what a build waits for.
    Quick,
    /// For what is sent around: on two cores a minute for a whole root would be too long, six seconds are not.
    Thorough,
}

impl Effort {
    fn level(self) -> i32 {
        match self {
            Self::Quick => 3,
            Self::Thorough => 9,
        }
    }
}

/// Threads at most: each has tens of megabytes of its own, and an image is made in half a gigabyte.
const MOST_THREADS: usize = 4;

/// Compresses `length` bytes of `input`, with its checksum behind it, on so many of `cores` as is good for it.
pub fn compress(
    input: &mut dyn Read,
    length: u64,
    effort: Effort,
    cores: usize,
    out: &mut dyn Write,
) -> Result<()> {
    let threads = cores.clamp(1, MOST_THREADS) as u32;
    write(input, length, effort, threads, out).map_err(|e| Fault::machine("cannot compress").cause_io(&e))
}

fn write(
    input: &mut dyn Read,
    length: u64,
    effort: Effort,
    threads: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut encoder = ::zstd::Encoder::new(out, effort.level())?;
    encoder.set_pledged_src_size(Some(length))?;
    encoder.include_checksum(true)?;
    encoder.multithread(threads)?;
    io::copy(&mut BufReader::with_capacity(1 << 20, input), &mut encoder)?;
    encoder.finish()?.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Digest;

    #[test]
    fn golden() {
        // More than one job.
        let text: String = (0..200_000_u64).map(|n| format!("{n} {}\n", n * n % 9973)).collect();
        let text = text.repeat(16);
        for (effort, expect) in [
            (Effort::Quick, "f3d4228bc33e481684a14a02502c226ab0f3cc65b0b1bd5f0156d9ccbc3ae311"),
            (Effort::Thorough, "e105e3812a8d34d3a33c0ab05d69cbfa5ce46966d979da8330c3d85982895bae"),
        ] {
            let [bytes, others] = [1, 3].map(|threads| {
                let mut bytes = Vec::new();
                write(&mut text.as_bytes(), text.len() as u64, effort, threads, &mut bytes).unwrap();
                bytes
            });
            assert!(bytes == others, "threads have a say");
            assert!(::zstd::decode_all(&*bytes).unwrap() == text.as_bytes());
            assert_eq!(
                Digest::of(bytes).hex(),
                expect,
                "the compressor's bytes changed, so every image does: if zstd was updated on purpose, put the \
                 new digests here, raise the formats of the steps, and say so in the commit; else find out who \
                 changed it"
            );
        }
        let cut = compress(&mut "short".as_bytes(), 6, Effort::Quick, 1, &mut Vec::new());
        assert!(cut.is_err(), "less than was promised");
    }
}
