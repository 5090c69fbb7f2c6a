//! Disks that are flashed: a person is asked first, and a disk that is used, too small or pulled is met as it should be.
//! The disks are loop devices.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use builder::base::{Class, Digest};
use builder::host::overwrite::Overwrite;
use builder::machine::flash::{Target, flash};
use builder::pack::disk::gpt::{Found, Gpt, Partition, Purpose};
use tests::cli::{TestCheckout, program};
use tests::loops::Loop;
use tests::tools::{need_root, put, run, said, succeed, tool};

const MIB: u64 = 1 << 20;
/// `O_EXCL` of open(2): nobody else may have a device so.
const O_EXCL: i32 = 0o200;

/// An image of 34 MiB, of which one partition is full.
fn image(path: &Path) {
    let root = Partition { purpose: Purpose::Root, name: "root".into(), start: MIB, length: 32 * MIB };
    let mut bytes = Vec::new();
    Gpt { seed: Digest::of("image"), length: 34 * MIB, partitions: vec![root] }
        .write(&[1; 440], &mut bytes)
        .unwrap();
    for (number, byte) in bytes[MIB as usize..33 * MIB as usize].iter_mut().enumerate() {
        *byte = (number % 251) as u8 + 1;
    }
    put(path, bytes);
}

/// Something that is mounted, for as long as this lives.
struct Mounted(PathBuf);

impl Mounted {
    fn new(words: &[&str], what: &Path, at: &Path) -> Self {
        succeed(tool("mount", "mount").args(words).arg(what).arg(at));
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = tool("umount", "mount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_is_used_or_too_small_is_left_alone() {
    need_root();
    let folder = tempfile::tempdir().unwrap();
    let (file, point) = (folder.path().join("file"), folder.path().join("point"));
    fs::create_dir(&point).unwrap();
    put(&file, vec![0x5a; 8 * MIB as usize]);
    succeed(tool("mke2fs", "e2fsprogs").args(["-q", "-F", "-t", "ext4"]).arg(&file));
    let disk = Loop::over(&file);
    let refused = |part: &str| {
        let fault = Target::open(disk.device(), Overwrite::Own).expect_err(part);
        let text = fault.to_string();
        assert!(text.contains(part) && text.contains(&*disk.device().to_string_lossy()), "{part}: {text}");
        fault.class()
    };
    let mounted = Mounted::new(&[], disk.device(), &point);
    assert_eq!(refused(&format!("mounted at {}", point.display())), Class::User);
    drop(mounted);
    // In use in a way that no list of ours shows: the kernel says so.
    let holder = fs::OpenOptions::new().read(true).custom_flags(O_EXCL).open(disk.device()).unwrap();
    assert_eq!(refused("busy"), Class::Machine);
    drop(holder);
    let (before, image_path) = (fs::read(&file).unwrap(), folder.path().join("image"));
    image(&image_path);
    let fault =
        flash(&image_path, &Target::open(disk.device(), Overwrite::Own).unwrap(), None, &mut |_, _, _| {})
            .unwrap_err();
    assert_eq!(fault.class(), Class::User);
    assert!(fault.to_string().contains("is too small"), "{fault}");
    assert!(fs::read(&file).unwrap() == before, "something was written");
}

/// `cargo xtask WORDS…` in a terminal in which somebody types.
fn in_a_terminal(checkout: &TestCheckout, words: &[&str], typed: &str) -> Output {
    let line: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let line = format!("'{}' {}", program().display(), line.join(" "));
    let mut script = tool("script", "bsdutils");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).current_dir(checkout.path("."));
    script.envs(checkout.command(&[]).get_envs().filter_map(|(name, value)| Some((name, value?))));
    script.env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut script = script.spawn().expect("a terminal");
    let mut keys = script.stdin.take().expect("a keyboard");
    keys.write_all(typed.as_bytes()).expect("somebody can type");
    let output = script.wait_with_output().expect("it ends");
    drop(keys);
    output
}

#[test]
fn a_person_sees_which_disk_it_is_and_is_asked() {
    need_root();
    let checkout = TestCheckout::new();
    let (raw, file) = (checkout.root().join("dist/images/hale-master.raw"), checkout.path("disk"));
    image(&raw);
    put(&file, vec![0x5a; 40 * MIB as usize]);
    let disk = Loop::over(&file);
    let before = fs::read(&file).unwrap();
    let device = disk.device().to_string_lossy().into_owned();
    let words = ["flash", "master", "--to", &device];
    let refused = checkout.refuses(&words, 2);
    assert!(refused.contains("needs a yes") && refused.contains("--yes"), "{refused}");
    for typed in ["no\n", "y\n", "\n"] {
        let output = in_a_terminal(&checkout, &words, typed);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(2), "{typed:?}: {text}");
        for part in
            [&format!("{device}: 0.0 GB, model unknown, serial unknown, fixed"), "will be lost", "not yes"]
        {
            assert!(text.contains(part), "{typed:?}: no {part:?} in {text}");
        }
    }
    assert!(fs::read(&file).unwrap() == before, "something was written");
    let output = in_a_terminal(&checkout, &words, "yes\n");
    let text = said(&output);
    assert!(output.status.success() && text.contains("read back and equal"), "{text}");
    for part in ["writing", "reading back", "MiB of ", "B/s, ", " left"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    let holds = || {
        let (disk, image) = (fs::read(&file).unwrap(), fs::read(&raw).unwrap());
        let range = Found::LENGTH..33 * MIB as usize;
        Found::read(&disk).is_ok() && disk[range.clone()] == image[range]
    };
    assert!(holds());
    fs::write(&file, &before).unwrap();
    checkout.succeeds(&[&words[..], &["--yes"]].concat());
    assert!(holds());
    // Nobody is asked about a file that is a disk of Hale's.
    checkout.succeeds(&["flash", "master", "--to", "file"]);
    assert!(Found::read(&fs::read(checkout.path("file")).unwrap()).is_ok());
}

#[test]
fn a_seed_is_a_disk_of_its_own() {
    let checkout = TestCheckout::new();
    fs::create_dir(checkout.path("seed")).unwrap();
    let words = ["seed", "seed", "--to", "seed.img"];
    assert!(checkout.refuses(&words, 2).contains("node.toml"));
    assert!(!checkout.path("seed.img").exists());
    put(checkout.path("seed/node.toml"), "name = \"one\"\n");
    assert!(checkout.succeeds(&words).contains("HALE-SEED"));
    let disk = checkout.path("seed.img");
    succeed(tool("fsck.vfat", "dosfstools").arg("-n").arg(&disk));
    let text = succeed(tool("mtype", "mtools").arg("-i").arg(&disk).arg("::/node.toml"));
    assert_eq!(text, b"name = \"one\"\n");
    let first = fs::read(&disk).unwrap();
    assert_eq!(&first[43..52], b"HALE-SEED");
    assert_eq!(mode(&disk), 0o600, "its token is for nobody else");
    fs::set_permissions(&disk, fs::Permissions::from_mode(0o644)).unwrap();
    checkout.succeeds(&words);
    assert!(fs::read(&disk).unwrap() == first, "the same files are the same disk");
    assert_eq!(mode(&disk), 0o600);
    // A disk with a seed is as secret as the seed, and one without is an image as others.
    image(&checkout.root().join("dist/images/hale-node.raw"));
    for (seed, expect) in [(&[][..], 0o644), (&["--seed", "seed"], 0o600)] {
        put(checkout.path("disk"), "");
        fs::set_permissions(checkout.path("disk"), fs::Permissions::from_mode(0o644)).unwrap();
        checkout.succeeds(&[&["flash", "node", "--to", "disk"], seed].concat());
        assert_eq!(mode(&checkout.path("disk")), expect, "{seed:?}");
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// A disk that takes some MiB and then fails, as a stick does that is pulled: a loop device over a file in
/// memory that has no more room. What goes first stands first.
struct Stick {
    disk: Loop,
    _mounted: Mounted,
    folder: tempfile::TempDir,
}

impl Stick {
    fn new(bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Mounted::new(&["-t", "tmpfs", "-o", "size=16M"], Path::new("stick"), folder.path());
        let file = folder.path().join("stick");
        fs::File::create(&file).and_then(|file| file.set_len(bytes)).unwrap();
        Self { disk: Loop::over(&file), _mounted: mounted, folder }
    }

    /// Puts it back: it takes everything again.
    fn mend(&self) {
        succeed(tool("mount", "mount").args(["-o", "remount,size=1G"]).arg(self.folder.path()));
    }
}

#[test]
fn a_stick_pulled_while_it_is_written_boots_not_and_can_be_flashed_again() {
    need_root();
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("image");
    image(&source);
    let stick = Stick::new(64 * MIB);
    let device = stick.disk.device();
    let write = || flash(&source, &Target::open(device, Overwrite::Own)?, None, &mut |_, _, _| {});
    let fault = write().expect_err("it was pulled");
    assert_eq!(fault.class(), Class::Machine, "{fault}");
    for part in [&*device.to_string_lossy(), "check that the disk is still there, then flash it again"] {
        assert!(fault.to_string().contains(part), "no {part:?} in {fault}");
    }
    let mut start = [0xff; 34 * 512];
    fs::File::open(device).and_then(|mut disk| disk.read_exact(&mut start)).unwrap();
    assert!(start.iter().all(|byte| *byte == 0), "a table before its data");
    stick.mend();
    write().unwrap();
    let checked = run(tool("sgdisk", "gdisk").arg("--verify").arg(device));
    assert!(said(&checked).contains("No problems found"), "{}", said(&checked));
}
