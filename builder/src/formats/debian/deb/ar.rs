//! The outer archive: members in a fixed order, nothing around them.
//!
//! ```text
//! !<arch>\n
//! name(16) mtime(12) uid(6) gid(6) mode(8) size(10) `\n   60 bytes of text, padded with spaces
//! content, padded with \n to an even length
//! ```

use std::io::{self, Read};

use crate::base::{Fault, Result};
use crate::formats::archive::broken;

const MAGIC: &[u8] = b"!<arch>\n";

/// An ar archive that is read once from front to back.
pub(super) struct ArReader<R> {
    inner: R,
    /// Bytes of the current member that are still to come.
    left: u64,
}

/// A member's header.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) name: String,
    size: u64,
}

impl<R: Read> ArReader<R> {
    pub(super) fn open(mut inner: R) -> Result<Self> {
        let mut magic = [0; 8];
        fill(&mut inner, &mut magic)?;
        if magic != MAGIC {
            let found = String::from_utf8_lossy(&magic).into_owned();
            return Err(
                Fault::integrity("not a Debian package").expected_found("!<arch>", format!("{found:?}"))
            );
        }
        Ok(Self { inner, left: 0 })
    }

    /// Reads the next member, whose name must fit.
    pub(super) fn member(&mut self, expect: &str, fits: impl Fn(&str) -> bool) -> Result<Member> {
        let mut header = [0; 60];
        fill(&mut self.inner, &mut header)
            .map_err(|fault| fault.context(format!("the header of {expect}")))?;
        let wrong = || Fault::integrity("a broken member header").expected_found(expect, shown(&header));
        let text = std::str::from_utf8(&header).ok().filter(|text| text.is_ascii()).ok_or_else(wrong)?;
        let name = text[..16].trim_end_matches(' ');
        if !fits(name) {
            return Err(Fault::integrity("a member out of place").expected_found(expect, format!("{name:?}")));
        }
        let digits = text[48..58].trim_end_matches(' ');
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let size = digits.parse().ok().filter(|_| plain && text.ends_with("`\n")).ok_or_else(wrong)?;
        self.left = size;
        Ok(Member { name: name.to_owned(), size })
    }

    /// Returns the member's bytes.
    pub(super) fn content(&mut self, _: &Member) -> MemberContent<'_, R> {
        MemberContent { archive: self }
    }

    /// Checks that the member was read to its end, and goes over the padding.
    pub(super) fn finish(&mut self, member: &Member) -> Result<()> {
        if self.left > 0 {
            return Err(Fault::integrity(format!("{}: {} bytes too many", member.name, self.left)));
        }
        if member.size % 2 == 1 {
            let mut padding = [0];
            fill(&mut self.inner, &mut padding)?;
            if padding != *b"\n" {
                return Err(Fault::integrity(format!("{}: no newline as padding", member.name)));
            }
        }
        Ok(())
    }

    /// Checks that nothing comes after the last member.
    pub(super) fn end(&mut self) -> Result<()> {
        let mut rest = Vec::new();
        (&mut self.inner).take(60).read_to_end(&mut rest).map_err(|error| broken(&error))?;
        if rest.is_empty() {
            return Ok(());
        }
        Err(Fault::integrity("bytes after data.tar").expected_found("the end of the file", shown(&rest)))
    }
}

/// The bytes of the current member.
pub(super) struct MemberContent<'a, R> {
    archive: &'a mut ArReader<R>,
}

impl<R: Read> Read for MemberContent<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.archive.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.archive.inner.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.archive.left -= count as u64;
        Ok(count)
    }
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> Result<()> {
    reader.read_exact(buffer).map_err(|error| broken(&error))
}

fn shown(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(bytes))
}
