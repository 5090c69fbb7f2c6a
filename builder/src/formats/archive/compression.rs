//! Compressed streams: one stream, nothing after it, and no more than the caller allows.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::Stream;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use super::broken;
use crate::base::{Fault, Result};

/// Memory that a stream may ask for with its header: `xz -9` needs 65 MiB, `zstd -19` 8 MiB.
pub(crate) const WINDOW: u64 = 128 << 20;

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    Plain,
    /// RFC 1952.
    Gzip,
    /// The .xz format.
    Xz,
    /// RFC 8878.
    Zstd,
}

impl Compression {
    /// Reads the compression from a file's name; `None` if it is no name of `stem`.
    pub fn of(name: &str, stem: &str) -> Option<Self> {
        match name.strip_prefix(stem)? {
            "" => Some(Self::Plain),
            ".gz" => Some(Self::Gzip),
            ".xz" => Some(Self::Xz),
            ".zst" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Reads one .xz stream, which may ask for at most `memory` bytes.
pub(crate) fn xz<R: BufRead>(stream: R, memory: u64) -> Result<XzDecoder<R>> {
    let decoder = Stream::new_stream_decoder(memory, 0);
    let decoder = decoder.map_err(|error| Fault::machine("cannot start liblzma").cause(error))?;
    Ok(XzDecoder::new_stream(stream, decoder))
}

/// The unpacked bytes of a member, at most `limit` of them.
pub(super) struct Unpacked<R: BufRead> {
    decoder: Decoder<R>,
    limit: u64,
    left: u64,
    fault: Option<Fault>,
}

enum Decoder<R: BufRead> {
    Plain(R),
    Gzip(Box<GzDecoder<R>>),
    Xz(XzDecoder<R>),
    Zstd(Box<StreamingDecoder<R, FrameDecoder>>),
}

impl<R: BufRead> Unpacked<R> {
    pub(super) fn new(member: R, compression: Compression, limit: u64) -> Result<Self> {
        let decoder = match compression {
            Compression::Plain => Decoder::Plain(member),
            Compression::Gzip => Decoder::Gzip(Box::new(GzDecoder::new(member))),
            Compression::Xz => Decoder::Xz(xz(member, WINDOW)?),
            Compression::Zstd => {
                let decoder = StreamingDecoder::new_with_max_window_size(member, WINDOW);
                let decoder = decoder.map_err(|error| Fault::integrity("not a zstd stream").cause(error))?;
                Decoder::Zstd(Box::new(decoder))
            }
        };
        Ok(Self { decoder, limit, left: limit, fault: None })
    }

    /// Returns why the stream broke, if it did.
    pub(super) fn fault(&mut self) -> Option<Fault> {
        self.fault.take()
    }

    /// Checks that stream and member end together, and the stream's own checksum.
    pub(super) fn finish(mut self) -> Result<()> {
        let more = self.read(&mut [0; 1]).map_err(|error| broken(&error))?;
        if more > 0 {
            return Err(Fault::integrity("more in the stream than in the archive"));
        }
        let mut member = match self.decoder {
            Decoder::Plain(member) => member,
            Decoder::Gzip(decoder) => decoder.into_inner(),
            Decoder::Xz(decoder) => decoder.into_inner(),
            Decoder::Zstd(decoder) => {
                let (member, decoder) = decoder.into_parts();
                let sum = decoder.get_checksum_from_data();
                if sum.is_some() && sum != decoder.get_calculated_checksum() {
                    return Err(Fault::integrity("the stream's checksum is wrong"));
                }
                member
            }
        };
        let rest = member.fill_buf().map_err(|error| broken(&error))?;
        if !rest.is_empty() {
            return Err(Fault::integrity("bytes after the compressed stream"));
        }
        Ok(())
    }

    fn decode(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.decoder {
            Decoder::Plain(member) => member.read(buffer),
            Decoder::Gzip(decoder) => decoder.read(buffer),
            Decoder::Xz(decoder) => decoder.read(buffer),
            Decoder::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

impl<R: BufRead> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // To some decoders an empty read is no progress, and so a fault.
        if buffer.is_empty() {
            return Ok(0);
        }
        match self.decode(buffer) {
            Ok(count) if count as u64 > self.left => {
                let fault = Fault::integrity("a decompression bomb");
                self.fault = Some(fault.expected_found(format!("at most {} bytes", self.limit), "more"));
                Err(io::Error::other("too much"))
            }
            Ok(count) => {
                self.left -= count as u64;
                Ok(count)
            }
            Err(error) => {
                self.fault = Some(broken(&error));
                Err(error)
            }
        }
    }
}
