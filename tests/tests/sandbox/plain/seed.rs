//! A seed on ext4, mounted by the kernel: taken or refused, and not a byte of it written. vfat and CDs are taken in
//! booted machines (`tests/tests/machines/machine`), for not every kernel that tests run on knows them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use builder::base::Digest;
use macro_rules_attribute::apply;
use tests::loops::Loop;
use tests::tools::{put, succeed, tool};
use tests::trial;

use super::bootstrap::{prepare, wait_for};
use super::machine::{Machine, Root};

/// A disk of 16 MiB with this label, and what `fill` puts into a folder.
fn disk(place: &Path, fill: impl Fn(&Path)) -> PathBuf {
    let (folder, disk) = (place.join("folder"), place.join("disk"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).expect("a folder");
    fill(&folder.join("node.toml"));
    let _ = fs::remove_file(&disk);
    let mut mke2fs = tool("mke2fs", "e2fsprogs");
    mke2fs.args(["-q", "-t", "ext4", "-L", "HALE-SEED", "-d"]).arg(folder).arg(&disk).arg("16M");
    succeed(&mut mke2fs);
    disk
}

/// A file as a block device of the machine, `/dev/seed`; detached when it is dropped.
struct Plugged {
    disk: Loop,
}

impl Plugged {
    fn new(machine: &Machine, disk: &Path) -> Self {
        let plugged = Self { disk: Loop::over(disk) };
        let number = fs::metadata(plugged.disk.device()).expect("a device").rdev();
        machine.succeeds(&format!(
            "mkdir -p /dev/disk/by-label; rm -f /dev/seed; mknod /dev/seed b {} {}; ln -sf /dev/seed /dev/disk/by-label/HALE-SEED",
            number >> 8,
            number & 0xff
        ));
        plugged
    }
}

/// What the bootstrap waits for with this disk. The disk is the same afterwards, and not mounted.
fn told(machine: &Machine, disk: &Path) -> String {
    let digest = || Digest::of(fs::read(disk).expect("the disk"));
    let before = digest();
    machine.succeeds("rm -rf /etc/hale /var/lib/hale");
    let plugged = Plugged::new(machine, disk);
    let bootstrap = machine.spawn("exec hale bootstrap");
    let line = wait_for(machine, "preflight", &["waiting"]);
    machine.stop("hale", bootstrap);
    assert!(!machine.succeeds("cat /proc/self/mounts").contains("/run/hale/seed"), "it is mounted still");
    drop(plugged);
    assert!(digest() == before, "it was written to");
    line["why"].as_str().expect("a reason").to_owned()
}

const SEED: &str = "name = \"sown\"\n";
/// What a node waits for that its seed told no more than its name.
const TAKEN: &str = "/etc/hale/node.toml has no [join]";

#[apply(trial)]
fn a_seed_on_ext4_is_taken_or_refused(root: &Root) {
    let machine = root.machine("hale-node");
    prepare(&machine, "10.0.3.2");
    let place = tempfile::tempdir().expect("a folder");
    let write = |file: &Path, mode: u32| {
        put(file, SEED);
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).expect("a mode");
    };
    let check = |fill: &dyn Fn(&Path), expect: &str| {
        let why = told(&machine, &disk(place.path(), fill));
        assert!(why.contains(expect) && !why.contains('\n'), "{expect}: {why}");
        let is_taken = machine.path("etc/hale/node.toml").exists();
        assert_eq!(is_taken, expect == TAKEN, "{why}");
    };
    check(&|file| write(file, 0o600), TAKEN);
    assert_eq!(
        machine.succeeds("stat -c '%a %U' /etc/hale/node.toml; cat /etc/hale/node.toml"),
        format!("600 root\n{SEED}")
    );
    check(
        &|file| write(file, 0o644),
        "node.toml on the seed disk has mode 0644; it holds secrets; chmod 0600 node.toml there",
    );
    check(&|_| {}, "the seed disk has no node.toml; make it with `cargo xtask seed`");
    check(&|file| symlink("/etc/shadow", file).expect("a link"), "is no regular file");
    check(&|file| fs::create_dir(file).expect("a folder"), "is no regular file");
    let huge = |file: &Path| {
        write(file, 0o600);
        fs::OpenOptions::new()
            .write(true)
            .open(file)
            .and_then(|file| file.set_len(1 << 30))
            .expect("a length");
    };
    check(&huge, "more than 65536 bytes");
    let noise = place.path().join("noise");
    put(&noise, vec![0x5a; 1 << 20]);
    let why = told(&machine, &noise);
    assert!(
        why.contains("is neither vfat, ISO nor ext4") && why.contains("make it with `cargo xtask seed`"),
        "{why}"
    );
}

/// It was pulled while another machine wrote to it: its journal wants to be replayed, which would write to it.
#[apply(trial)]
fn a_seed_with_a_journal_to_replay_is_not_written_to(root: &Root) {
    let machine = root.machine("hale-node");
    prepare(&machine, "10.0.3.2");
    let place = tempfile::tempdir().expect("a folder");
    let (clean, pulled) = (disk(place.path(), |file| put(file, SEED)), place.path().join("pulled"));
    let plugged = Plugged::new(&machine, &clean);
    machine.succeeds("mount -t ext4 /dev/seed /mnt; chmod 600 /mnt/node.toml; umount /mnt; mount -t ext4 /dev/seed /mnt; echo >/mnt/more; sync");
    fs::copy(&clean, &pulled).expect("a copy");
    machine.succeeds("umount /mnt");
    drop(plugged);
    let head = succeed(tool("dumpe2fs", "e2fsprogs").arg("-h").arg(&pulled));
    assert!(String::from_utf8_lossy(&head).contains("needs_recovery"), "nothing is to be replayed");
    assert!(told(&machine, &pulled).contains(TAKEN));
}
