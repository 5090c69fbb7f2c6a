use super::*;
use crate::base::Digest;
use crate::base::tree::{Memory, Tree, TreePath};
use crate::host::overwrite::Overwrite;
use crate::pack::disk::gpt::{Gpt, Partition, Purpose};
use std::fs;

/// An image of one partition with a pattern and a hole in it.
fn image(folder: &Path) -> std::path::PathBuf {
    let root = Partition { purpose: Purpose::Root, name: "root".into(), start: 1 << 20, length: 9 << 20 };
    let mut bytes = Vec::new();
    Gpt { seed: Digest::of("x"), length: 11 << 20, partitions: vec![root] }
        .write(&[1; 440], &mut bytes)
        .unwrap();
    bytes[(1 << 20) + 5..(2 << 20) + 77].fill(0xab);
    bytes[(9 << 20)..(9 << 20) + 4096].fill(0xcd);
    let path = folder.join("image.raw");
    fs::write(&path, bytes).unwrap();
    path
}

fn seed() -> Seed {
    let (mut tree, mut contents) = (Tree::new(), Memory::default());
    tree.insert(TreePath::new("node.toml").unwrap(), contents.file("role = \"master\"\n", 0o600)).unwrap();
    Seed::new(tree, contents).unwrap()
}

#[test]
fn a_used_target_ends_up_as_a_fresh_one() {
    let folder = tempfile::tempdir().unwrap();
    let (image, seed) = (image(folder.path()), seed());
    let (fresh, used) = (folder.path().join("fresh"), folder.path().join("used"));
    // Whatever was there, and a flash that broke off, leave no trace.
    fs::write(&used, vec![0xff; 17 << 20]).unwrap();
    let mut phases = Vec::new();
    for path in [&fresh, &used, &used] {
        let target = Target::open(path, Overwrite::Any).unwrap();
        flash(&image, &target, Some(&seed), &mut |phase, done, total| phases.push((phase, done == total)))
            .unwrap();
    }
    let (source, disk, used) =
        (fs::read(&image).unwrap(), fs::read(&fresh).unwrap(), fs::read(&used).unwrap());
    assert_eq!(disk.len(), used.len());
    assert!(phases.contains(&(Phase::Writing, true)) && phases.contains(&(Phase::Verifying, true)));
    assert!(source[Found::LENGTH..10 << 20] == disk[Found::LENGTH..10 << 20]);
    let table = Found::read(&disk).unwrap();
    let start = (disk.len() as u64 - seed.length() - 33 * 512) / ALIGN * ALIGN;
    assert!(disk[..10 << 20] == used[..10 << 20], "holes of the image are zeros on a used disk");
    assert!(disk[start as usize..] == used[start as usize..], "so are those of the seed");
    assert_eq!(table.end(), start + seed.length(), "the seed is the last partition");
    assert_eq!(&disk[start as usize + 43..start as usize + 52], b"HALE-SEED");
}

#[test]
fn broken_off_anywhere_it_boots_not_and_can_be_done_again() {
    let folder = tempfile::tempdir().unwrap();
    let (image, seed) = (image(folder.path()), seed());
    let (fresh, broken) = (folder.path().join("fresh"), folder.path().join("broken"));
    let run = |path: &Path, tell: &mut dyn FnMut(Phase, u64, u64)| {
        flash(&image, &Target::open(path, Overwrite::Any).unwrap(), Some(&seed), tell).unwrap();
    };
    let mut calls = 0;
    run(&fresh, &mut |_, _, _| calls += 1);
    let expect = fs::read(&fresh).unwrap();
    for last in 0..calls {
        // A disk that booted before.
        fs::write(&broken, &expect).unwrap();
        let (mut call, mut phase) = (0, None);
        let off = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run(&broken, &mut |now, _, _| {
                (call, phase) = (call + 1, Some(now));
                if call > last {
                    std::panic::resume_unwind(Box::new(()));
                }
            });
        }));
        assert!(off.is_err());
        let boots = Found::read(&fs::read(&broken).unwrap()).is_ok();
        assert_eq!(boots, phase == Some(Phase::Verifying), "a table stands for a whole disk (call {last})");
        run(&broken, &mut |_, _, _| {});
        assert!(fs::read(&broken).unwrap() == expect, "broken off at call {last}");
    }
    assert!(calls > 4);
}

#[test]
fn what_must_not_be_flashed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Target::open(folder.path(), Overwrite::Own).is_err(), "a directory");
    assert!(Target::open(Path::new("/dev/null"), Overwrite::Own).is_err(), "a character device");
    assert!(Target::open(Path::new("/dev/no-such-disk"), Overwrite::Own).is_err(), "no new files in /dev");
    let target = Target::open(&folder.path().join("disk"), Overwrite::Own).unwrap();
    let empty = folder.path().join("empty");
    fs::write(&empty, vec![0; 1 << 20]).unwrap();
    let refused = flash(&empty, &target, None, &mut |_, _, _| {}).unwrap_err();
    assert!(refused.to_string().contains("partition table"), "{refused}");
    assert_eq!(fs::metadata(folder.path().join("disk")).unwrap().len(), 0, "nothing was written");
}

/// A disk that gives other bytes back than it took: in the image, in the seed, in either copy of the table.
#[test]
fn what_is_read_back_is_held_against_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let (image, seed, path) = (image(folder.path()), seed(), folder.path().join("disk"));
    let run = |spoil: Option<u64>| {
        let mut left = spoil;
        flash(&image, &Target::open(&path, Overwrite::Any).unwrap(), Some(&seed), &mut |phase, _, _| {
            if let (Phase::Verifying, Some(at)) = (phase, left) {
                let disk = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
                let mut byte = [0];
                disk.read_exact_at(&mut byte, at).unwrap();
                disk.write_all_at(&[byte[0] ^ 1], at).unwrap();
                left = None;
            }
        })
    };
    run(None).unwrap();
    let disk = fs::read(&path).unwrap();
    let (length, end) = (disk.len() as u64, Found::read(&disk).unwrap().end());
    // Bytes that are read after the first piece of the image is: data, a hole, the seed's begin and its end.
    for (at, what) in [
        ((9 << 20) + 7, "image"),
        (8 << 20, "image"),
        (end - seed.length() + 43, "seed"),
        (end - 1, "seed"),
        (512 + 56, "partition table"),
        (length - 512 + 56, "partition table"),
    ] {
        let fault = run(Some(at)).expect_err(what);
        assert_eq!(fault.exit_code(), 4, "{fault}");
        let text = fault.to_string();
        for part in [&format!("does not hold its {what}"), &format!("at byte {at}"), "try again"] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }
    run(None).unwrap();
}
