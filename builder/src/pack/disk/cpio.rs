//! The archive that the kernel unpacks as its initramfs: cpio, "newc" format
//! (kernel documentation, `driver-api/early-userspace/buffer-format`).
//!
//! ```text
//! each entry:  "070701"  13 fields of 8 hex digits  name NUL, padded to 4  data, padded to 4
//! at the end:  an entry named TRAILER!!!
//! ```

use std::io::Write;

use crate::base::tree::{Contents, Kind, Tree};
use crate::base::{Epoch, Fault, Result};
use crate::pack::written;

const WHAT: &str = "the archive";

/// Writes `tree` as an archive; inode numbers count from 1 in the tree's order.
pub fn write(tree: &Tree, contents: &dyn Contents, epoch: Epoch, out: &mut dyn Write) -> Result<()> {
    let time = u32::try_from(epoch.seconds())
        .map_err(|_| Fault::user("a time that cpio cannot hold").expected_found("before 2106", epoch))?;
    for (inode, (path, node)) in (1..).zip(tree.iter()) {
        let (kind, size) = match &node.kind {
            Kind::Dir => (0o040_000, 0),
            Kind::File { size, .. } => (0o100_000, *size),
            Kind::Symlink { target } => (0o120_000, target.len() as u64),
        };
        let size = u32::try_from(size).map_err(|_| {
            Fault::user(format!("{path} is too big for cpio")).expected_found("under 4 GiB", size)
        })?;
        let links = if node.is_dir() { 2 } else { 1 };
        let mode = kind | u32::from(node.mode);
        let head = [inode, mode, node.uid, node.gid, links, time, size, 0, 0, 0, 0];
        entry(out, &head, path.as_str())?;
        match &node.kind {
            Kind::Dir => {}
            Kind::File { content, .. } => {
                let copied = written(WHAT, std::io::copy(&mut contents.open(content)?, out))?;
                if copied != u64::from(size) {
                    return Err(
                        Fault::integrity(format!("{path} has another length")).expected_found(size, copied)
                    );
                }
            }
            Kind::Symlink { target } => written(WHAT, out.write_all(target.as_bytes()))?,
        }
        pad(out, u64::from(size))?;
    }
    entry(out, &[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], "TRAILER!!!")
}

/// A header, its name and the padding to where data begin. `head` lacks the name's length and the
/// checksum, which is 0 in this format.
fn entry(out: &mut dyn Write, head: &[u32; 11], name: &str) -> Result<()> {
    let mut text = String::from("070701");
    for field in head.iter().chain(&[name.len() as u32 + 1, 0]) {
        text.push_str(&format!("{field:08X}"));
    }
    text.push_str(name);
    text.push('\0');
    written(WHAT, out.write_all(text.as_bytes()))?;
    pad(out, text.len() as u64)
}

fn pad(out: &mut dyn Write, length: u64) -> Result<()> {
    let zeros = length.next_multiple_of(4) - length;
    written(WHAT, out.write_all(&[0; 3][..zeros as usize]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::{Memory, Node, TreePath};

    #[test]
    fn entries_are_aligned_and_named() {
        let (mut tree, mut contents) = (Tree::new(), Memory::default());
        tree.insert(TreePath::new("init").unwrap(), contents.file("12345", 0o755)).unwrap();
        tree.insert(TreePath::new("lib").unwrap(), Node::symlink("usr/lib")).unwrap();
        let mut bytes = Vec::new();
        write(&tree, &contents, Epoch::new(1).unwrap(), &mut bytes).unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        let fields = [1, 0o100_755, 0, 0, 1, 1, 5, 0, 0, 0, 0, 5, 0];
        let head: String = fields.map(|field| format!("{field:08X}")).concat();
        let expected = format!("070701{head}init\0\012345\0\0\0070701");
        assert_eq!(text[..expected.len()], *expected);
        assert!(text.contains("usr/lib\0") && text.ends_with("TRAILER!!!\0\0\0\0"));
    }
}
