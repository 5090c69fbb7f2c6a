//! Tar archives: ustar with the GNU and PAX extensions that packages use, and no other.
//!
//! ```text
//! 512-byte header: name(100) mode(8) uid(8) gid(8) size(12) mtime(12) checksum(8) type(1) link(100)
//!                  magic(8) uname(32) gname(32) major(8) minor(8) prefix(155)
//! content, padded to 512 bytes
//! two zero blocks, then zeros
//! ```
//!
//! Readers of tar disagree where an entry says something twice: a size in PAX and in ustar, a name in
//! GNU and in PAX. Such an entry is refused, and so is every type but file, directory and link.

use std::io::{self, Read};

use super::broken;
use crate::base::tree::TreePath;
use crate::base::{Fault, Result};

const BLOCK: usize = 512;
/// Longest name, link target or PAX record list, in bytes.
const LONG: u64 = 64 << 10;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Dir,
    /// A file.
    File,
    /// A symbolic link to this target.
    Symlink(String),
    /// Another name of an earlier entry.
    Hardlink(String),
}

/// One entry, without its content.
#[derive(Clone, Debug)]
pub struct Entry {
    name: String,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits, at most 07777.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length of the content in bytes; 0 unless it is a file.
    pub size: u64,
}

impl Entry {
    /// Returns the path in the tree; `None` for the root directory itself.
    pub fn path(&self) -> Result<Option<TreePath>> {
        let name = match &self.kind {
            EntryKind::Dir => self.name.strip_suffix('/').unwrap_or(&self.name),
            _ => &self.name,
        };
        match tree_path(name) {
            Ok(None) if self.kind != EntryKind::Dir => Err(Fault::integrity("the root is not a directory")),
            other => other.map_err(|fault| fault.context(self.shown())),
        }
    }

    /// Makes an integrity fault about the entry.
    pub fn refuse(&self, why: impl Into<String>) -> Fault {
        Fault::integrity(format!("{}: {}", self.shown(), why.into()))
    }

    /// The name for people.
    fn shown(&self) -> String {
        shown(&self.name)
    }
}

/// Strips the `./` that dpkg puts in front; `None` for the root.
pub(super) fn tree_path(name: &str) -> Result<Option<TreePath>> {
    match name {
        "." | "./" => Ok(None),
        name => TreePath::new(name.strip_prefix("./").unwrap_or(name)).map(Some),
    }
}

/// What extension entries say of the entry that follows them.
#[derive(Default)]
struct Extension {
    name: Option<String>,
    link: Option<String>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    gnu: bool,
    pax: bool,
}

/// A tar archive that is read once from front to back.
pub struct Tar<R> {
    inner: R,
    /// Bytes of content that are still to come.
    left: u64,
    /// Bytes of padding after them.
    padding: u64,
    ended: bool,
}

impl<R: Read> Tar<R> {
    /// Reads from `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, left: 0, padding: 0, ended: false }
    }

    /// Reads the next entry; what was not read of the last one is skipped.
    #[expect(clippy::should_implement_trait, reason = "an entry is gone when the next is asked for")]
    pub fn next(&mut self) -> Result<Option<Entry>> {
        let mut extension = Extension::default();
        loop {
            self.skip()?;
            let Some(header) = self.header()? else {
                if extension.gnu || extension.pax {
                    return Err(Fault::integrity("an extension of no entry"));
                }
                return Ok(None);
            };
            self.expect(header.size()?);
            match header.kind() {
                b'L' => self.gnu_long(&mut extension.gnu, &mut extension.name)?,
                b'K' => self.gnu_long(&mut extension.gnu, &mut extension.link)?,
                b'x' => self.pax(&mut extension)?,
                _ => return self.entry(&header, extension).map(Some),
            }
        }
    }

    /// Returns the content of the last entry.
    pub fn content(&mut self) -> Content<'_, R> {
        Content { tar: self }
    }

    /// Checks that the archive was read to its end and that only zeros follow it.
    pub fn end(&mut self) -> Result<()> {
        if !self.ended {
            return Err(Fault::bug("a tar archive was left before its end"));
        }
        let mut buffer = [0; 8192];
        loop {
            match self.inner.read(&mut buffer).map_err(|error| broken(&error))? {
                0 => return Ok(()),
                count if buffer[..count].iter().all(|byte| *byte == 0) => {}
                _ => return Err(Fault::integrity("bytes after the end of the archive")),
            }
        }
    }

    fn expect(&mut self, size: u64) {
        (self.left, self.padding) = (size, size.next_multiple_of(BLOCK as u64) - size);
    }

    fn skip(&mut self) -> Result<()> {
        let rest = std::mem::take(&mut self.left) + std::mem::take(&mut self.padding);
        let skipped = io::copy(&mut (&mut self.inner).take(rest), &mut io::sink());
        match skipped.map_err(|error| broken(&error))? {
            count if count == rest => Ok(()),
            _ => Err(Fault::integrity("truncated")),
        }
    }

    fn header(&mut self) -> Result<Option<Header>> {
        let mut block = [0; BLOCK];
        self.inner.read_exact(&mut block).map_err(|error| broken(&error))?;
        if block.iter().any(|byte| *byte != 0) {
            return Header::check(block).map(Some);
        }
        self.inner.read_exact(&mut block).map_err(|error| broken(&error))?;
        if block.iter().any(|byte| *byte != 0) {
            return Err(Fault::integrity("one zero block instead of two"));
        }
        self.ended = true;
        Ok(None)
    }

    fn gnu_long(&mut self, gnu: &mut bool, slot: &mut Option<String>) -> Result<()> {
        *gnu = true;
        let bytes = self.small()?;
        let name = text(bytes.strip_suffix(b"\0").unwrap_or(&bytes))?;
        match slot.replace(name) {
            None => Ok(()),
            Some(_) => Err(Fault::integrity("two long names for one entry")),
        }
    }

    fn small(&mut self) -> Result<Vec<u8>> {
        if self.left > LONG {
            return Err(Fault::integrity("a name that is too long").expected_found(LONG, self.left));
        }
        let (left, mut bytes) = (self.left, Vec::new());
        self.content().read_to_end(&mut bytes).map_err(|error| broken(&error))?;
        if bytes.len() as u64 != left {
            return Err(Fault::integrity("truncated"));
        }
        Ok(bytes)
    }

    /// Records `length key=value\n`, where length counts the whole record.
    fn pax(&mut self, extension: &mut Extension) -> Result<()> {
        if std::mem::replace(&mut extension.pax, true) {
            return Err(Fault::integrity("two PAX headers for one entry"));
        }
        let bytes = self.small()?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (record, tail) = pax_record(rest).ok_or_else(|| {
                Fault::integrity("a malformed PAX record")
                    .expected_found("`length key=value`", shown(&String::from_utf8_lossy(rest)))
            })?;
            rest = tail;
            let (key, value) = record;
            let number = || value.parse().map_err(|_| Fault::integrity(format!("PAX {key} is not a number")));
            let narrow = |number: u64| {
                u32::try_from(number).map_err(|_| Fault::integrity(format!("PAX {key} is too large")))
            };
            let slot_taken = match key {
                "path" => extension.name.replace(value.to_owned()).is_some(),
                "linkpath" => extension.link.replace(value.to_owned()).is_some(),
                "size" => extension.size.replace(number()?).is_some(),
                "uid" => extension.uid.replace(narrow(number()?)?).is_some(),
                "gid" => extension.gid.replace(narrow(number()?)?).is_some(),
                "mtime" | "atime" | "ctime" | "uname" | "gname" => false,
                _ => {
                    return Err(Fault::integrity(format!(
                        "a PAX record that is not understood: {}",
                        shown(key)
                    )));
                }
            };
            if slot_taken {
                return Err(Fault::integrity(format!("two values of {key} for one entry")));
            }
        }
        Ok(())
    }

    fn entry(&mut self, header: &Header, extension: Extension) -> Result<Entry> {
        let name = match extension.name {
            Some(name) => name,
            None => header.name()?,
        };
        let refuse = |what: String| Fault::integrity(format!("{}: {what}", shown(&name)));
        if extension.gnu && extension.pax {
            return Err(refuse("has both GNU and PAX extensions".to_owned()));
        }
        let size = header.size()?;
        if let Some(other) = extension.size.filter(|other| *other != size) {
            return Err(refuse("says its size twice".to_owned())
                .expected_found(format!("{size} as in ustar"), format!("{other} in PAX")));
        }
        let link = || match &extension.link {
            Some(link) => Ok(link.clone()),
            None => header.link(),
        };
        let kind = match header.kind() {
            b'0' | 0 => EntryKind::File,
            b'1' => EntryKind::Hardlink(link()?),
            b'2' => EntryKind::Symlink(link()?),
            b'5' => EntryKind::Dir,
            other => return Err(refuse(format!("is {}", foreign(other)))),
        };
        if kind != EntryKind::File && size != 0 {
            return Err(refuse("has a content but is no file".to_owned()));
        }
        if matches!(&kind, EntryKind::Symlink(target) if target.is_empty() || target.len() > 4095) {
            return Err(refuse("is a link to nowhere".to_owned()));
        }
        let mode = header.mode().map_err(|fault| fault.context(shown(&name)))?;
        let uid = extension.uid.map_or_else(|| header.id(108), Ok)?;
        let gid = extension.gid.map_or_else(|| header.id(116), Ok)?;
        Ok(Entry { name, kind, mode, uid, gid, size })
    }
}

/// The content of the current entry.
pub struct Content<'a, R> {
    tar: &'a mut Tar<R>,
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.tar.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.tar.inner.read(&mut buffer[..most])?;
        self.tar.left -= count as u64;
        Ok(count)
    }
}

struct Header([u8; BLOCK]);

impl Header {
    fn check(block: [u8; BLOCK]) -> Result<Self> {
        let sum = |byte: (usize, &u8)| if (148..156).contains(&byte.0) { 32 } else { u64::from(*byte.1) };
        let (found, expected) = (number(&block[148..156]), block.iter().enumerate().map(sum).sum());
        if found != Some(expected) {
            return Err(Fault::integrity("a tar header with a wrong checksum"));
        }
        let header = Self(block);
        if header.is_ustar() || &header.0[257..265] == b"ustar  \0" || header.is_seventh_edition() {
            return Ok(header);
        }
        Err(Fault::integrity("a tar header that is neither ustar, GNU nor Seventh Edition"))
    }

    /// The oldest form, which cargo-deb writes: nothing follows the link's name (tar(5)).
    fn is_seventh_edition(&self) -> bool {
        self.0[257..].iter().all(|byte| *byte == 0)
    }

    fn is_ustar(&self) -> bool {
        &self.0[257..265] == b"ustar\x0000"
    }

    fn kind(&self) -> u8 {
        self.0[156]
    }

    fn name(&self) -> Result<String> {
        let name = text(until_nul(&self.0[..100]))?;
        let prefix = if self.is_ustar() { text(until_nul(&self.0[345..500]))? } else { String::new() };
        Ok(if prefix.is_empty() { name } else { format!("{prefix}/{name}") })
    }

    fn link(&self) -> Result<String> {
        text(until_nul(&self.0[157..257]))
    }

    fn size(&self) -> Result<u64> {
        let size = number(&self.0[124..136]).filter(|size| *size < 1 << 40);
        size.ok_or_else(|| Fault::integrity("a size that is not a number, or over 1 TiB"))
    }

    fn mode(&self) -> Result<u16> {
        let mode = number(&self.0[100..108]).and_then(|mode| u16::try_from(mode).ok());
        mode.filter(|mode| *mode <= 0o7777).ok_or_else(|| Fault::integrity("a mode over 07777"))
    }

    /// An owner or group at `offset`. The oldest form may leave it out: root.
    fn id(&self, offset: usize) -> Result<u32> {
        if self.is_seventh_edition() && self.0[offset..offset + 8] == [0; 8] {
            return Ok(0);
        }
        let id = number(&self.0[offset..offset + 8]).and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| Fault::integrity("an owner that is not a number below 2^32"))
    }
}

/// An octal number, padded with spaces or NULs, or GNU's base 256 (first bit set, not negative).
fn number(field: &[u8]) -> Option<u64> {
    if field[0] == 0x80 {
        return field[1..]
            .iter()
            .try_fold(0_u64, |sum, byte| sum.checked_mul(256)?.checked_add(u64::from(*byte)));
    }
    let text = std::str::from_utf8(field).ok()?.trim_start_matches(' ').trim_end_matches([' ', '\0']);
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    u64::from_str_radix(text, 8).ok().filter(|_| plain)
}

fn until_nul(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

fn text(bytes: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    text.map(str::to_owned).ok_or_else(|| {
        Fault::integrity(format!("a name that is not UTF-8: {}", shown(&String::from_utf8_lossy(bytes))))
    })
}

/// The first record of a PAX header, and what follows it.
fn pax_record(bytes: &[u8]) -> Option<((&str, &str), &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let digits = std::str::from_utf8(&bytes[..space]).ok()?;
    let length: usize = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let record = std::str::from_utf8(record).ok().filter(|record| !record.contains('\0'))?;
    Some((record.split_once('=')?, &bytes[length..]))
}

fn foreign(kind: u8) -> String {
    match kind {
        b'3' | b'4' => "a device".to_owned(),
        b'6' => "a fifo".to_owned(),
        b'S' => "a sparse file".to_owned(),
        b'g' => "a global PAX header".to_owned(),
        other => format!("of the unknown type {:?}", char::from(other)),
    }
}

fn shown(name: &str) -> String {
    format!("{:?}", name.chars().take(120).collect::<String>())
}
