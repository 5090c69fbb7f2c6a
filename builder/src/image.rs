//! Disk images as files: what the packers write, put on this machine's disk whole or not at all.
//!
//! The one program that is run is `grub-mkimage`, from a tree of tools: it links GRUB's core.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use ruzstd::encoding::{CompressionLevel, compress};
use tempfile::NamedTempFile;

use crate::base::{Fault, Result};
use crate::pack::bios::{self, Grub};
use crate::pack::disk::{self, Boot, Disk};
use crate::pack::initramfs::{self, Kernel};
use crate::pack::qcow2;
use crate::pack::sink::Sink;
use crate::tree::{Contents, Kind, Node, Tree};

/// Where the node's package keeps the program that the initramfs starts with.
pub const INIT: &str = "usr/lib/hale/init";
const STUB: &str = "usr/lib/systemd/boot/efi/linuxx64.efi.stub";
const GRUB: &str = "usr/lib/grub/i386-pc";

/// Unpacked programs: a tree of tools, or `/` for the machine's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tools(PathBuf);

impl Tools {
    /// Programs below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// A file of theirs.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.0.join(inside)
    }

    /// A command that runs `program` with the tree's own loader and libraries, so that neither the
    /// machine's matter nor a root directory has to be changed.
    pub fn command(&self, program: &str) -> Result<Command> {
        let path = self.path(program);
        if !path.is_file() {
            return Err(Fault::machine(format!("no {} ", path.display()).trim_end().to_owned())
                .versus(format!("a tree of tools with {program}"), "none")
                .mend("name the package that has it among the tools, or install it"));
        }
        if self.0 == Path::new("/") {
            return Ok(Command::new(path));
        }
        let mut command = Command::new(self.path("usr/lib64/ld-linux-x86-64.so.2"));
        command.arg("--library-path").arg(self.path("usr/lib/x86_64-linux-gnu")).arg(path);
        Ok(command)
    }

    fn read(&self, inside: &str) -> Result<Vec<u8>> {
        let path = self.path(inside);
        std::fs::read(&path).map_err(|e| Fault::io("read", path, e))
    }
}

/// Assembles the disk of a root tree and publishes it at `to`; gives its length in bytes.
pub fn assemble(disk: &Disk, tree: &Tree, contents: &dyn Contents, tools: &Tools, to: &Path) -> Result<u64> {
    let init = match tree.get(INIT) {
        Some(Node { kind: Kind::File { content, .. }, .. }) => contents.read(content)?,
        _ => return Err(Fault::integrity(format!("the root has no {INIT}")).mend("add the package hale")),
    };
    let initramfs = initramfs::build(&Kernel::find(tree)?, tree, contents, &init, disk.epoch)?;
    let (stub, boot) = (tools.read(STUB)?, tools.read(&format!("{GRUB}/boot.img"))?);
    let core = grub_core(tools, &disk.grub_commands(tree)?)?;
    let boot = Boot { stub: &stub, grub: Grub { boot: &boot, core: &core }, initramfs: &initramfs };
    let mut file = Publishing::new(to)?;
    let length = disk::write(disk, &boot, tree, contents, &mut file)?;
    file.publish(length)?;
    Ok(length)
}

/// GRUB's core for BIOS machines, with its commands inside.
fn grub_core(tools: &Tools, commands: &str) -> Result<Vec<u8>> {
    let failed = |doing| move |e| Fault::machine(format!("cannot {doing} a temporary file")).because(e);
    let folder = tempfile::tempdir().map_err(failed("make"))?;
    let (config, core) = (folder.path().join("commands"), folder.path().join("core"));
    std::fs::write(&config, commands).map_err(failed("write"))?;
    let mut command = tools.command("usr/bin/grub-mkimage")?;
    command.args(["-O", "i386-pc", "-p", "(,gpt3)/boot/grub", "-d"]).arg(tools.path(GRUB));
    command.arg("-c").arg(&config).arg("-o").arg(&core).args(bios::MODULES).env_clear();
    let output = command.output().map_err(|e| Fault::machine("cannot run grub-mkimage").because(e))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Fault::machine("grub-mkimage failed").because(said));
    }
    std::fs::read(&core).map_err(failed("read"))
}

/// How an image is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As on the disk, sparse.
    Raw,
    /// QEMU's, without the holes.
    Qcow2,
    /// Raw, compressed with zstd.
    RawZst,
}

impl Format {
    /// The end of the file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::RawZst => "raw.zst",
        }
    }
}

impl FromStr for Format {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        let all = [Self::Raw, Self::Qcow2, Self::RawZst];
        all.into_iter().find(|format| format.extension() == text).ok_or_else(|| {
            Fault::user("not a format for a disk").versus("raw, qcow2 or raw.zst", format!("{text:?}"))
        })
    }
}

/// Makes another form of a raw image.
pub fn convert(raw: &Path, format: Format, to: &Path) -> Result<()> {
    let source = File::open(raw).map_err(|e| Fault::io("open", raw, e))?;
    let length = source.metadata().map_err(|e| Fault::io("look at", raw, e))?.len();
    let mut file = Publishing::new(to)?;
    let written = match format {
        Format::Raw => return Err(Fault::bug("a raw image is one already")),
        Format::Qcow2 => qcow2::write(&mut &source, length, &mut file)?,
        Format::RawZst => {
            let (mut input, mut output) = (Patient::new(&source), Patient::new(&mut file.temporary));
            compress(&mut input, &mut output, CompressionLevel::Fastest);
            input.outcome().map_err(|e| Fault::io("read", raw, e))?;
            output.outcome().map_err(|e| Fault::io("write", to, e))?;
            file.temporary.as_file().metadata().map_err(|e| Fault::io("look at", to, e))?.len()
        }
    };
    file.publish(written)
}

/// A reader or writer that keeps its first error for later: the compressor cannot be told of one.
struct Patient<T> {
    inner: T,
    error: Option<io::Error>,
}

impl<T> Patient<T> {
    fn new(inner: T) -> Self {
        Self { inner, error: None }
    }

    fn outcome(self) -> io::Result<()> {
        self.error.map_or(Ok(()), Err)
    }
}

impl<R: Read> Read for Patient<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.error.is_some() {
            return Ok(0);
        }
        loop {
            match self.inner.read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.error = Some(e);
                    return Ok(0);
                }
                read => return read,
            }
        }
    }
}

impl<W: Write> Write for Patient<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.error.is_none() {
            self.error = self.inner.write_all(bytes).err();
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that gets its name when it is whole.
pub struct Publishing {
    temporary: NamedTempFile,
    to: PathBuf,
}

impl Publishing {
    /// Begins beside `to`, whose directory is made if it is missing.
    pub fn new(to: &Path) -> Result<Self> {
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).map_err(|e| Fault::io("make", parent, e))?;
        let temporary = tempfile::Builder::new()
            .prefix(".hale-")
            .tempfile_in(parent)
            .map_err(|e| Fault::io("make a file in", parent, e))?;
        Ok(Self { temporary, to: to.to_owned() })
    }

    /// Sets the length, makes everything durable, and gives it its name.
    pub fn publish(self, length: u64) -> Result<()> {
        let to = self.to;
        let failed = |e| Fault::io("write", &to, e);
        let file = self.temporary.as_file();
        file.set_len(length).map_err(failed)?;
        rustix::fs::fchmod(file, rustix::fs::Mode::from_raw_mode(0o644)).map_err(|e| failed(e.into()))?;
        file.sync_all().map_err(failed)?;
        self.temporary.persist(&to).map_err(|e| failed(e.error))?;
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        OpenOptions::new().read(true).open(parent).and_then(|dir| dir.sync_all()).map_err(failed)
    }
}

impl Sink for Publishing {
    /// Leaves holes where whole blocks are zero.
    fn put(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = self.temporary.as_file();
        for (start, piece) in filled(bytes, 1 << 16) {
            file.write_all_at(piece, offset + start)?;
        }
        Ok(())
    }
}

/// The stretches of `bytes` that are not zero, in steps of `block`, neighbours joined.
pub(crate) fn filled(bytes: &[u8], block: usize) -> Vec<(u64, &[u8])> {
    let mut stretches: Vec<(u64, &[u8])> = Vec::new();
    let mut start = None;
    for (index, piece) in bytes.chunks(block).enumerate() {
        let at = index * block;
        match (piece.iter().any(|byte| *byte != 0), start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                stretches.push((from as u64, &bytes[from..at]));
                start = None;
            }
            _ => {}
        }
    }
    if let Some(from) = start {
        stretches.push((from as u64, &bytes[from..]));
    }
    stretches
}
