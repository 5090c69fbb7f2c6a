//! Deterministic tar archives, written entry by entry and never held in memory.
//!
//! Two readers, two styles. Both use base-256 for ids past 2097151 (user namespaces start at
//! 10000000, which octal fields cannot hold); dpkg, GNU tar, Go and umoci all read that.
//!
//! | | dpkg ([`Style::Deb`]) | OCI layers ([`Style::Layer`]) |
//! |---|---|---|
//! | names | `./etc/fstab`, first entry `./` | `etc/fstab` |
//! | format | GNU: dpkg refuses PAX headers (deb(5)) | ustar with PAX records where needed |
//! | names and targets over 100 bytes | `././@LongLink` entries | `path`, `linkpath` records |
//! | extended attributes | a fault: dpkg cannot carry them | `SCHILY.xattr.` records |

use std::io::{self, Read, Write};

use tar::{EntryType, Header};

use crate::base::tree::{Contents, Kind, Node, Tree, TreePath};
use crate::base::{Epoch, Fault, Result};
use crate::pack::written;

const BLOCK: u64 = 512;

/// For whom the archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `control.tar` and `data.tar` of a .deb.
    Deb,
    /// A layer of an OCI image.
    Layer,
}

/// Writes a whole tree in path order, and the archive's end.
pub fn write(
    tree: &Tree,
    contents: &dyn Contents,
    epoch: Epoch,
    style: Style,
    out: impl Write,
) -> Result<()> {
    let mut archive = TarWriter::new(out, epoch, style)?;
    for (path, node) in tree.iter() {
        match &node.kind {
            Kind::File { content, .. } => archive.append(path, node, &mut contents.open(content)?)?,
            Kind::Dir | Kind::Symlink { .. } => archive.append(path, node, &mut io::empty())?,
        }
    }
    archive.finish().map(drop)
}

/// An archive being written. Entries appear in the order in which they are appended.
pub struct TarWriter<W: Write> {
    out: W,
    epoch: Epoch,
    style: Style,
}

impl<W: Write> TarWriter<W> {
    /// Begins an archive whose entries all carry `epoch`; for dpkg, writes the root's entry.
    pub fn new(out: W, epoch: Epoch, style: Style) -> Result<Self> {
        let mut archive = Self { out, epoch, style };
        if style == Style::Deb {
            archive.entry("./", &Node::dir(0o755))?;
        }
        Ok(archive)
    }

    /// Appends one path. `content` is read to its end for a file and not at all otherwise; a file of
    /// another length than its node says is an integrity fault.
    pub fn append(&mut self, path: &TreePath, node: &Node, content: &mut dyn Read) -> Result<()> {
        let prefix = if self.style == Style::Deb { "./" } else { "" };
        let suffix = if node.is_dir() { "/" } else { "" };
        self.entry(&format!("{prefix}{path}{suffix}"), node)?;
        match node.kind {
            Kind::File { size, .. } => self.copy(path, size, content),
            Kind::Dir | Kind::Symlink { .. } => Ok(()),
        }
    }

    /// Writes the end of the archive (two empty blocks) and gives the writer back.
    pub fn finish(mut self) -> Result<W> {
        written("a tar archive", self.out.write_all(&[0; 2 * BLOCK as usize]))?;
        Ok(self.out)
    }

    /// Writes a path's headers.
    fn entry(&mut self, name: &str, node: &Node) -> Result<()> {
        let target = if let Kind::Symlink { target } = &node.kind { target.as_str() } else { "" };
        match self.style {
            Style::Deb => self.gnu_extras(name, target, node)?,
            Style::Layer => self.pax_extras(name, target, node)?,
        }
        let (kind, size) = match node.kind {
            Kind::Dir => (EntryType::Directory, 0),
            Kind::File { size, .. } => (EntryType::Regular, size),
            Kind::Symlink { .. } => (EntryType::Symlink, 0),
        };
        let mut header = self.header(kind, size, name.as_bytes());
        header.set_mode(u32::from(node.mode));
        header.set_uid(u64::from(node.uid));
        header.set_gid(u64::from(node.gid));
        header.set_mtime(self.epoch.seconds());
        put(&mut header.as_old_mut().linkname, target.as_bytes());
        self.emit(header)
    }

    /// Long names and targets stand in entries of their own before the entry they belong to.
    fn gnu_extras(&mut self, name: &str, target: &str, node: &Node) -> Result<()> {
        if let Some(attribute) = node.xattrs.keys().next() {
            return Err(Fault::user(format!(
                "{name} has the extended attribute {attribute}, which no .deb can carry"
            ))
            .help("set it in a maintainer script, or with a unit"));
        }
        for (kind, text) in [(EntryType::GNULongLink, target), (EntryType::GNULongName, name)] {
            if text.len() > 100 {
                // GNU tar counts the closing NUL.
                let bytes = [text.as_bytes(), b"\0"].concat();
                self.extra(kind, b"././@LongLink", &bytes)?;
            }
        }
        Ok(())
    }

    /// One PAX header holds all that ustar's fields cannot (pax(1), "pax Extended Header").
    fn pax_extras(&mut self, name: &str, target: &str, node: &Node) -> Result<()> {
        let mut records = Vec::new();
        for (key, text) in [("linkpath", target), ("path", name)] {
            if text.len() > 100 {
                records.extend(record(key, text.as_bytes()));
            }
        }
        for (key, value) in &node.xattrs {
            let value = unhex(value).ok_or_else(|| {
                Fault::integrity(format!("{name}: {key} is no attribute"))
                    .expected_found("hex digits", format!("{value:?}"))
            })?;
            records.extend(record(&format!("SCHILY.xattr.{key}"), &value));
        }
        if records.is_empty() { Ok(()) } else { self.extra(EntryType::XHeader, b"././@PaxHeader", &records) }
    }

    /// An entry that only describes the next one.
    fn extra(&mut self, kind: EntryType, name: &[u8], bytes: &[u8]) -> Result<()> {
        let header = self.header(kind, bytes.len() as u64, name);
        self.emit(header)?;
        written("a tar archive", self.out.write_all(bytes))?;
        self.pad(bytes.len() as u64)
    }

    /// A header of root's; name and target are cut at the field's end, the extras have them whole.
    fn header(&self, kind: EntryType, size: u64, name: &[u8]) -> Header {
        let mut header = match self.style {
            Style::Deb => Header::new_gnu(),
            Style::Layer => Header::new_ustar(),
        };
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        put(&mut header.as_old_mut().name, name);
        header
    }

    fn emit(&mut self, mut header: Header) -> Result<()> {
        header.set_cksum();
        written("a tar archive", self.out.write_all(header.as_bytes()))
    }

    fn copy(&mut self, path: &TreePath, size: u64, content: &mut dyn Read) -> Result<()> {
        let mut buffer = [0; 32 * 1024];
        let mut found = 0;
        loop {
            let count = read(path, content, &mut buffer)?;
            found += count as u64;
            if count == 0 || found > size {
                break;
            }
            written("a tar archive", self.out.write_all(&buffer[..count]))?;
        }
        if found == size {
            return self.pad(size);
        }
        let found = if found > size { "more".to_owned() } else { found.to_string() };
        Err(Fault::integrity(format!("{path} has not the length that its tree says"))
            .expected_found(size, found))
    }

    fn pad(&mut self, length: u64) -> Result<()> {
        let short = (BLOCK - length % BLOCK) % BLOCK;
        written("a tar archive", self.out.write_all(&[0; BLOCK as usize][..short as usize]))
    }
}

fn read(path: &TreePath, content: &mut dyn Read, buffer: &mut [u8]) -> Result<usize> {
    loop {
        match content.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A reader that checks digests says so with this kind.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(Fault::integrity(format!("cannot read {path}")).cause(error));
            }
            other => {
                return other.map_err(|error| Fault::machine(format!("cannot read {path}")).cause(error));
            }
        }
    }
}

fn put(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8);
    text.len().is_multiple_of(2).then(|| text.as_bytes().chunks_exact(2).map(pair).collect())?
}

#[cfg(test)]
mod tests;
