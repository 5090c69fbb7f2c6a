//! Disks as blobs of the store, and as files for people: what the packers write, whole or not at all.
//!
//! The one program that is run is `grub-mkimage`, from a tree of tools: it links GRUB's core.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use tempfile::TempPath;

use crate::base::tree::{Contents, Kind, Node, Tree};
use crate::base::{Digest, Epoch, Fault, Result, json};
use crate::pack::disk::grub::{self, Grub};
use crate::pack::disk::initramfs::{self, Kernel};
use crate::pack::disk::qcow2;
use crate::pack::disk::sink::{Layered, Sink, filled};
use crate::pack::disk::{self, Boot, Disk};
use crate::pack::stream::zstd::{self, Effort};
use crate::plan::{DiskFormat, Output, StepId};
use crate::rootfs::tools::Tools;
use crate::store::{Store, full};

/// Where the node's package keeps the program that the initramfs starts with.
pub const INIT: &str = "usr/lib/hale/init";
const STUB: &str = "usr/lib/systemd/boot/efi/linuxx64.efi.stub";
const GRUB: &str = "usr/lib/grub/i386-pc";

/// Writes the disk of a root tree into the store.
pub fn assemble(disk: &Disk, tree: &Tree, store: &Store, tools: &Tools) -> Result<Output> {
    let initramfs = initramfs(disk.epoch, tree, store)?;
    let (stub, boot) = (read(tools, STUB)?, grub_boot(tools)?);
    let core = grub_core(tools, &disk.grub_commands(tree)?)?;
    let boot = Boot { stub: &stub, grub: Grub { boot: &boot, core: &core }, initramfs: &initramfs };
    let mut file = store.sparse_writer()?;
    let length = disk::write(disk, &boot, tree, store, &mut file).map_err(full)?;
    let (content, size) = file.commit(length)?;
    Ok(Output::Blob { content, size })
}

/// The first root of this one, made once for all roots that have the same in it.
fn initramfs(epoch: Epoch, root: &Tree, store: &Store) -> Result<Vec<u8>> {
    let init = match root.get(INIT) {
        Some(Node { kind: Kind::File { content, .. }, .. }) => store.read(content)?,
        _ => return Err(Fault::integrity(format!("the root has no {INIT}")).mend("add the package hale")),
    };
    let (tree, own) = initramfs::tree(&Kernel::find(root)?, root, store, &init)?;
    // By what the store remembers it; the number grows when the same files give other bytes.
    let id = StepId(Digest::of(json::canonical(&("initramfs", 3, &tree, epoch))?));
    if let Some(known) = store.output(&id)? {
        return store.read(&known.digest());
    }
    let bytes = initramfs::pack(&tree, &Layered(&own, store), epoch)?;
    let (content, size) = store.put(&*bytes)?;
    store.record(&id, &Output::Blob { content, size })?;
    Ok(bytes)
}

/// GRUB's first sector, as Debian ships it.
pub fn grub_boot(tools: &Tools) -> Result<Vec<u8>> {
    read(tools, &format!("{GRUB}/boot.img"))
}

fn read(tools: &Tools, inside: &str) -> Result<Vec<u8>> {
    let path = tools.path(inside)?;
    std::fs::read(&path).map_err(|e| Fault::io("read", path, e))
}

/// GRUB's core for BIOS machines, with its commands inside.
pub fn grub_core(tools: &Tools, commands: &str) -> Result<Vec<u8>> {
    let failed = |doing| move |e| Fault::machine(format!("cannot {doing} a temporary file")).because(e);
    let folder = tempfile::tempdir().map_err(failed("make"))?;
    let (config, core) = (folder.path().join("commands"), folder.path().join("core"));
    std::fs::write(&config, commands).map_err(failed("write"))?;
    let mut command = tools.command("grub-mkimage")?;
    command.args(["-O", "i386-pc", "-p", "(,gpt3)/boot/grub", "-d"]).arg(tools.path(GRUB)?);
    command.arg("-c").arg(&config).arg("-o").arg(&core).args(grub::MODULES);
    let output = command.output().map_err(|e| Fault::machine("cannot run grub-mkimage").because(e))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Fault::machine("grub-mkimage failed").because(said));
    }
    std::fs::read(&core).map_err(failed("read"))
}

/// Makes another form of a raw disk that the store has.
pub fn convert(store: &Store, raw: &Digest, format: DiskFormat) -> Result<Output> {
    let length = store.size_of(raw)?.ok_or_else(|| Fault::bug(format!("the store has no disk {raw}")))?;
    let mut source = store.open(raw)?;
    let (content, size) = match format {
        DiskFormat::Raw => (*raw, length),
        DiskFormat::Qcow2 => {
            let mut file = store.sparse_writer()?;
            let written = qcow2::write(&mut source, length, &mut file).map_err(full)?;
            file.commit(written)?
        }
        DiskFormat::RawZst => {
            let mut writer = store.writer()?;
            zstd::compress(&mut source, length, Effort::Thorough, &mut writer).map_err(full)?;
            writer.commit()?
        }
    };
    Ok(Output::Blob { content, size })
}

/// Puts a disk of the store at `to`: another name of the same file where that can be had, else a copy. It
/// cannot be written to, for the store's sake; `flash` and `vm` read it only.
pub fn publish(store: &Store, disk: &Digest, to: &Path) -> Result<()> {
    let mut file = Publishing::new(to)?;
    let linked = PathBuf::from([file.temporary.as_os_str(), OsStr::new(".link")].join(OsStr::new("")));
    // Of a process that was killed; nobody else is here, for `file` is locked.
    let _ = std::fs::remove_file(&linked);
    if std::fs::hard_link(store.path_of(disk), &linked).is_ok() {
        let moved = std::fs::rename(&linked, to).and_then(|()| sync_parent(to));
        // Two names of one file: the rename did nothing (rename(2)), and the new name is not needed.
        let _ = std::fs::remove_file(&linked);
        return moved.map_err(|e| Fault::io("write", to, e));
    }
    let length = file.copy(&mut store.open(disk)?, &store.path_of(disk), 0)?;
    file.publish(length)
}

/// Moves a disk that nothing in the store refers to out of it, to a path where it may be written to: one of a
/// trial, which nobody will want again.
pub fn take_out(store: &Store, disk: &Digest, to: &Path) -> Result<()> {
    publish(store, disk, to)?;
    let kept = store.path_of(disk);
    std::fs::remove_file(&kept).map_err(|e| Fault::io("remove", kept, e))?;
    std::fs::set_permissions(to, Permissions::from_mode(0o644)).map_err(|e| Fault::io("open up", to, e))
}

/// A file that gets its name when it is whole. Until then it is `.hale-NAME` beside it, locked: of what a killed
/// process left, the next one makes its own.
pub struct Publishing {
    file: File,
    temporary: TempPath,
    to: PathBuf,
    mode: u16,
}

impl Publishing {
    /// Begins beside `to`, whose directory is made if it is missing. Waits while another process publishes it.
    pub fn new(to: &Path) -> Result<Self> {
        let parent = parent(to);
        std::fs::create_dir_all(parent).map_err(|e| Fault::io("make", parent, e))?;
        let name = to.file_name().ok_or_else(|| Fault::user(format!("{} names no file", to.display())))?;
        let path = parent.join([OsStr::new(".hale-"), name].join(OsStr::new("")));
        let file = locked(&path).map_err(|e| Fault::io("make", &path, e))?;
        let failed = |e| Fault::io("make", &path, e);
        let temporary = TempPath::try_from_path(&path).map_err(failed)?;
        file.set_len(0).map_err(failed)?;
        Ok(Self { file, temporary, to: to.to_owned(), mode: 0o644 })
    }

    /// The same for a file that nobody else may read.
    pub fn secret(to: &Path) -> Result<Self> {
        Ok(Self { mode: 0o600, ..Self::new(to)? })
    }

    /// Puts all of `source` from `at` on, and gives where it ends; `from` is what a fault calls it.
    pub fn copy(&mut self, source: &mut dyn Read, from: &Path, mut at: u64) -> Result<u64> {
        let mut buffer = vec![0; 1 << 20];
        loop {
            let count = source.read(&mut buffer).map_err(|e| Fault::io("read", from, e))?;
            if count == 0 {
                return Ok(at);
            }
            self.put(at, &buffer[..count]).map_err(|e| Fault::io("write", &self.to, e))?;
            at += count as u64;
        }
    }

    /// Sets the length, makes everything durable, and gives it its name.
    pub fn publish(self, length: u64) -> Result<()> {
        let to = self.to;
        let failed = |e| Fault::io("write", &to, e);
        self.file.set_len(length).map_err(failed)?;
        rustix::fs::fchmod(&self.file, rustix::fs::Mode::from_raw_mode(self.mode.into()))
            .map_err(|e| failed(e.into()))?;
        self.file.sync_all().map_err(failed)?;
        self.temporary.persist(&to).map_err(|e| failed(e.error))?;
        sync_parent(&to).map_err(failed)
    }
}

/// Opens a file that no other process has open here, made if it is missing.
fn locked(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW.bits() as i32;
    loop {
        let file = OpenOptions::new().write(true).create(true).mode(0o600).custom_flags(flags).open(path)?;
        match file.lock() {
            // A file system without locks, a phone's or another machine's: there two at once are not told apart.
            Err(e) if e.kind() == io::ErrorKind::Unsupported => return Ok(file),
            locked => locked?,
        }
        // Whoever had the lock before may have given the file its name, and another file may stand here now.
        if std::fs::metadata(path).is_ok_and(|here| file.metadata().is_ok_and(|own| own.ino() == here.ino()))
        {
            return Ok(file);
        }
    }
}

fn parent(of: &Path) -> &Path {
    of.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_parent(of: &Path) -> io::Result<()> {
    OpenOptions::new().read(true).open(parent(of)).and_then(|folder| folder.sync_all())
}

impl Sink for Publishing {
    /// Leaves holes where whole blocks are zero.
    fn put(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        for (start, piece) in filled(bytes, 1 << 16) {
            self.file.write_all_at(piece, offset + start)?;
        }
        Ok(())
    }
}
