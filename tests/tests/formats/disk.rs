//! Disks, asked of those who know: e2fsck, sgdisk, fsck.vfat, mtools, qemu-img.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use builder::base::tree::{Memory, Node, Tree, TreePath, Union};
use builder::base::{Digest, Epoch};
use builder::build::steps::converted::convert;
use builder::dist::disk_image::publish;
use builder::host::atomic::AtomicFile;
use builder::host::overwrite::Overwrite;
use builder::machine::flash::{Seed, Target, flash};
use builder::pack::disk::grub::Grub;
use builder::pack::disk::writer::BlockWriter as _;
use builder::pack::disk::{self, Boot, DiskSpec, SLACK};
use builder::pack::disk::{ext4, initramfs};
use builder::plan::{DiskFormat, Output};
use builder::store::Store;
use tests::tools::{run, said, succeed, tool};

const MIB: u64 = 1 << 20;
/// Where the root begins, and the EFI system partition (`builder::pack::disk`).
const ROOT_AT: u64 = 66 * MIB;
const ESP: std::ops::Range<u64> = 2 * MIB..66 * MIB;

/// A root with all that a disk needs; the programs in it do nothing.
fn root() -> (Tree, Memory) {
    let (mut tree, mut contents) = (Tree::new(), Memory::default());
    let mut put = |path: &str, node| tree.insert(TreePath::new(path).unwrap(), node).unwrap();
    put("boot/vmlinuz-6.1", contents.file(vec![0x6b; 3_000_000], 0o644));
    put("usr/lib/os-release", contents.file("ID=debian\n", 0o644));
    let modules = "kernel/ext4.ko:\nkernel/virtio_blk.ko:\n";
    for (name, text) in [("dep", modules), ("alias", "alias virtio:d2* virtio_blk\n"), ("builtin", "")] {
        put(&format!("usr/lib/modules/6.1/modules.{name}"), contents.file(text, 0o644));
    }
    for name in ["ext4", "virtio_blk"] {
        put(&format!("usr/lib/modules/6.1/kernel/{name}.ko"), contents.file(name, 0o644));
    }
    let mut ping = contents.file(vec![9; 100_000], 0o755);
    ping.xattrs.insert("security.capability".into(), "0100000200200000000000000000000000000000".into());
    put("usr/bin/ping", ping);
    put("usr/bin/sudo", contents.file("sudo", 0o4755));
    put("bin", Node::symlink("usr/bin"));
    put("etc/long", Node::symlink("x/".repeat(200)));
    put("var/lib/etcd", Node::dir(0o700).owned_by(10_000_000, 10_000_000));
    for number in 0..3000 {
        put(&format!("usr/share/many/{number}"), contents.file(number.to_string(), 0o644));
    }
    (tree, contents)
}

/// A PE32+ file of one section, with room for five more.
fn stub() -> Vec<u8> {
    let mut bytes = vec![0; 0x600];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, b"MZ");
    put(0x3c, &0x80_u32.to_le_bytes());
    put(0x80, b"PE\0\0\x64\x86\x01\0");
    put(0x94, &240_u16.to_le_bytes());
    put(0x98, &0x20b_u16.to_le_bytes());
    put(0x98 + 36, &0x200_u32.to_le_bytes());
    put(0x98 + 60, &0x400_u32.to_le_bytes());
    for (at, field) in [(0x190, 0x180_u32), (0x194, 0x1000), (0x198, 0x200), (0x19c, 0x400)] {
        put(at, &field.to_le_bytes());
    }
    bytes
}

fn image(folder: &Path, name: &str) -> PathBuf {
    let (tree, contents) = root();
    let epoch = Epoch::new(1_763_201_230).unwrap();
    let disk =
        DiskSpec { identity: Digest::of("disk"), epoch, arguments: "console=ttyS0".into(), slack: SLACK / 8 };
    let kernel = initramfs::Kernel::find(&tree).unwrap();
    let (first, own) = initramfs::tree(&kernel, &tree, &contents, b"init").unwrap();
    let initramfs = initramfs::pack(&first, &Union(&own, &contents), epoch).unwrap();
    let mut boot = vec![0x90; 512];
    boot[510..].copy_from_slice(&[0x55, 0xaa]);
    let grub = Grub { boot: &boot, core: &[0x90; 40_000] };
    let boot = Boot { stub: &stub(), grub, initramfs: &initramfs };
    let path = folder.join(name);
    let mut file = AtomicFile::new(&path).unwrap();
    let length = disk::write(&disk, &boot, &tree, &contents, &mut file).unwrap();
    file.commit(length).unwrap();
    path
}

/// A stretch of a file as a file of its own.
fn part(image: &Path, range: std::ops::Range<u64>, to: &Path) {
    let bytes = fs::read(image).unwrap();
    fs::write(to, &bytes[range.start as usize..range.end as usize]).unwrap();
}

fn sound_table(disk: &Path) -> String {
    let checked = run(tool("sgdisk", "gdisk").arg("--verify").arg(disk));
    assert!(said(&checked).contains("No problems found"), "{}", said(&checked));
    String::from_utf8(succeed(tool("sgdisk", "gdisk").arg("--print").arg(disk))).unwrap()
}

#[test]
fn every_part_of_a_disk_is_sound() {
    let folder = tempfile::tempdir().unwrap();
    let path = image(folder.path(), "hale.raw");
    let table = sound_table(&path);
    for name in ["EF02  hale-bios", "EF00  HALE-ESP", "8304  hale-root"] {
        assert!(table.contains(name), "{name} in\n{table}");
    }
    let found = fs::metadata(&path).unwrap();
    let length = found.len();
    assert!(found.blocks() * 512 < length / 2, "{} of {length} bytes are no hole", found.blocks() * 512);
    let (root, esp) = (folder.path().join("root"), folder.path().join("esp"));
    part(&path, ROOT_AT..length - MIB, &root);
    succeed(tool("e2fsck", "e2fsprogs").args(["-f", "-n"]).arg(&root));
    let ask = |request: &str| {
        let asked = run(tool("debugfs", "e2fsprogs").args(["-R", request]).arg(&root));
        said(&asked)
    };
    for (request, expected) in [
        ("stat /usr/bin/sudo", "Mode:  04755"),
        ("stat /var/lib/etcd", "User: 10000000   Group: 10000000"),
        ("stat /var/lib/etcd", "mtime: 0x69185"),
        ("stat /bin", "Fast link dest: \"usr/bin\""),
        ("ea_list /usr/bin/ping", "security.capability"),
        ("cat /usr/share/many/2999", "2999"),
        ("stat /boot/initrd.img-6.1", "Type: regular"),
    ] {
        assert!(ask(request).contains(expected), "{request}: no {expected:?} in\n{}", ask(request));
    }
    part(&path, ESP, &esp);
    succeed(tool("fsck.vfat", "dosfstools").arg("-n").arg(&esp));
    let listing = succeed(tool("mdir", "mtools").arg("-i").arg(&esp).args(["-b", "-/", "::"]));
    assert!(String::from_utf8_lossy(&listing).contains("::/EFI/BOOT/BOOTX64.EFI"));
    let again = image(folder.path(), "again.raw");
    assert!(fs::read(&path).unwrap() == fs::read(&again).unwrap(), "two runs differ");
}

#[test]
fn a_file_system_has_the_room_that_was_asked_for() {
    let (tree, contents) = root();
    let folder = tempfile::tempdir().unwrap();
    for slack in [0, 64 * MIB, 600 * MIB] {
        let length = ext4::length(&tree, slack);
        let spec = ext4::Ext4 { uuid: [1; 16], label: "room".into(), epoch: Epoch::new(1).unwrap(), length };
        let path = folder.path().join("room");
        let mut file = AtomicFile::new(&path).unwrap();
        ext4::write(&spec, &tree, &contents, &mut file).unwrap();
        file.commit(length).unwrap();
        succeed(tool("e2fsck", "e2fsprogs").args(["-f", "-n"]).arg(&path));
        let header = succeed(tool("dumpe2fs", "e2fsprogs").arg("-h").arg(&path));
        let header = String::from_utf8(header).unwrap();
        let free = header.lines().find_map(|line| line.strip_prefix("Free blocks:")).unwrap();
        let free: u64 = free.trim().parse().unwrap();
        assert!(free * ext4::BLOCK >= slack, "{free} free blocks for a slack of {slack}");
    }
}

#[test]
fn what_a_killed_process_left_goes_with_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let (dist, store) = (folder.path().join("dist"), Store::open(&folder.path().join("store")).unwrap());
    let disk = store.put_bytes(b"a disk").unwrap();
    let path = dist.join("hale.raw");
    let left = || {
        fs::create_dir_all(&dist).unwrap();
        fs::write(dist.join(".hale-hale.raw"), [0xff; 9000]).unwrap();
        fs::write(dist.join(".hale-hale.raw.link"), "").unwrap();
    };
    let holds = |expected: &[u8]| {
        assert!(fs::read(&path).unwrap() == expected);
        let names: Vec<_> = fs::read_dir(&dist).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["hale.raw"]);
    };
    left();
    publish(&store, &disk, &path).unwrap();
    holds(b"a disk");
    fs::write(dist.join(".hale-hale.raw"), [0xff; 9000]).unwrap();
    let mut file = AtomicFile::new(&path).unwrap();
    file.write_at(4, b"whole").unwrap();
    file.commit(10).unwrap();
    holds(b"\0\0\0\0whole\0");
    drop(AtomicFile::new(&path).unwrap());
    holds(b"\0\0\0\0whole\0");
}

#[test]
fn other_forms_hold_the_same_disk() {
    let folder = tempfile::tempdir().unwrap();
    let raw = image(folder.path(), "hale.raw");
    let store = Store::open(&folder.path().join("store")).unwrap();
    let (disk, _) = store.put(fs::File::open(&raw).unwrap()).unwrap();
    let form = |format| match convert(&store, &disk, format).unwrap() {
        Output::Blob { content, .. } => store.path_of(&content),
        Output::Tree { .. } => panic!("a disk is one file"),
    };
    let (qcow2, zst) = (form(DiskFormat::Qcow2), form(DiskFormat::RawZst));
    succeed(tool("qemu-img", "qemu-utils").arg("check").arg(&qcow2));
    let back = folder.path().join("back");
    succeed(tool("qemu-img", "qemu-utils").args(["convert", "-O", "raw"]).arg(&qcow2).arg(&back));
    assert!(fs::read(&back).unwrap() == fs::read(&raw).unwrap(), "qcow2 holds another disk");
    let unpacked = succeed(tool("zstd", "zstd").args(["-d", "-c"]).arg(&zst));
    assert!(unpacked == fs::read(&raw).unwrap());
    assert!(fs::metadata(&qcow2).unwrap().len() < fs::metadata(&raw).unwrap().len());
}

#[test]
fn a_flashed_disk_is_sound_and_has_its_seed() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("seed");
    fs::create_dir_all(source.join("pki")).unwrap();
    fs::write(source.join("node.toml"), "role = \"master\"\n").unwrap();
    fs::write(source.join("pki/ca.crt"), "certificate").unwrap();
    let seed = Seed::read(&source).unwrap();
    let (image, disk) = (image(folder.path(), "hale.raw"), folder.path().join("disk"));
    fs::write(&disk, vec![0xff; 8 << 20]).unwrap();
    flash(&image, &Target::open(&disk, Overwrite::Any).unwrap(), Some(&seed), &mut |_, _, _| {}).unwrap();
    let table = sound_table(&disk);
    let line = table.lines().find(|line| line.ends_with("HALE-SEED")).unwrap_or_else(|| panic!("{table}"));
    let start: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    let at = start * 512;
    let (root, files) = (folder.path().join("root"), folder.path().join("files"));
    part(&disk, at..at + seed.length(), &files);
    succeed(tool("fsck.vfat", "dosfstools").arg("-n").arg(&files));
    let text = succeed(tool("mtype", "mtools").arg("-i").arg(&files).arg("::/node.toml"));
    assert_eq!(text, b"role = \"master\"\n");
    part(&disk, ROOT_AT..fs::metadata(&image).unwrap().len() - MIB, &root);
    succeed(tool("e2fsck", "e2fsprogs").args(["-f", "-n"]).arg(&root));
}
