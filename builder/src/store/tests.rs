use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::base::Class;
use crate::base::tree::{Node, TreePath};
use crate::pack::disk::writer::BlockWriter;

fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    (folder, store)
}

fn step(name: &str) -> StepId {
    StepId(Digest::of(name))
}

fn blob(store: &Store, text: &str) -> Output {
    Output::Blob { content: store.put_bytes(text.as_bytes()).unwrap(), size: text.len() as u64 }
}

/// A tree of one file, kept.
fn tree(store: &Store, text: &str) -> Output {
    let content = store.put_bytes(text.as_bytes()).unwrap();
    let mut tree = Tree::new();
    tree.insert(TreePath::new("etc/file").unwrap(), Node::file(content, text.len() as u64, 0o644)).unwrap();
    Output::Tree { tree: store.put_tree(&tree).unwrap() }
}

fn damage(store: &Store, content: &Digest, change: impl FnOnce(&mut Vec<u8>)) {
    let path = store.path_of(content);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn what_is_put_is_read_and_kept_once() {
    let (_folder, store) = store();
    let (content, size) = store.put(&b"hello"[..]).unwrap();
    assert_eq!((content, size), (Digest::of("hello"), 5));
    assert_eq!(store.put(&b"hello"[..]).unwrap().0, content);
    assert_eq!(store.put_bytes(b"hello").unwrap(), content);
    assert_eq!(store.read(&content).unwrap(), b"hello");
    assert_eq!(store.read(&store.put_bytes(b"").unwrap()).unwrap(), b"");
    assert_eq!(fs::metadata(store.path_of(&content)).unwrap().permissions().mode() & 0o7777, 0o444);
    assert_eq!((entries(&store.blobs()), entries(store.scratch())), (2, 0));
}

#[test]
fn nothing_is_kept_of_an_unfinished_blob() {
    let (_folder, store) = store();
    let mut writer = store.writer().unwrap();
    writer.write_all(b"half").unwrap();
    let batch = store.batch().unwrap();
    let waiting = batch.put_bytes(b"waiting").unwrap();
    assert_eq!(entries(store.scratch()), 2);
    assert!(!store.contains(&waiting));
    drop((writer, batch));
    assert_eq!((entries(&store.blobs()), entries(store.scratch())), (0, 0));
}

#[test]
fn a_batch_becomes_visible_at_once() {
    let (_folder, store) = store();
    let batch = store.batch().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let batch = &batch;
            scope.spawn(move || {
                for n in 0..50 {
                    batch.put(format!("{}", n + 10 * thread).as_bytes()).unwrap();
                }
            });
        }
    });
    assert_eq!(entries(&store.blobs()), 0);
    batch.commit().unwrap();
    assert_eq!((entries(&store.blobs()), entries(store.scratch())), (80, 0));
    assert_eq!(store.read(&Digest::of("79")).unwrap(), b"79");
}

#[test]
fn a_damaged_blob_is_never_read_to_its_end() {
    let (_folder, store) = store();
    let text = vec![7u8; 100_000];
    let check = |change: fn(&mut Vec<u8>), length: usize| {
        let content = store.put_bytes(&text).unwrap();
        damage(&store, &content, change);
        assert_eq!(store.read(&content).unwrap_err().class(), Class::Integrity);
        // A consumer that knows the length and never asks for the end.
        let mut buffer = vec![0; length];
        let error = store.open(&content).unwrap().read_exact(&mut buffer).unwrap_err();
        assert_eq!(Fault::io("read", "it", error).class(), Class::Integrity);
        fs::remove_file(store.path_of(&content)).unwrap();
    };
    check(|bytes| bytes[0] ^= 1, 100_000);
    check(|bytes| bytes[99_999] ^= 0x80, 100_000);
    check(|bytes| bytes.truncate(99_999), 99_999);
    check(|bytes| bytes.push(0), 100_001);
    let content = store.put_bytes(&text).unwrap();
    fs::remove_file(store.path_of(&content)).unwrap();
    symlink("/dev/zero", store.path_of(&content)).unwrap();
    assert!(store.read(&content).is_err());
    assert_eq!(store.read(&Digest::of("absent")).unwrap_err().class(), Class::Integrity);
}

#[test]
fn a_blob_of_the_wrong_length_is_replaced() {
    let (_folder, store) = store();
    let content = store.put_bytes(b"hello").unwrap();
    damage(&store, &content, |bytes| bytes.truncate(2));
    store.put_bytes(b"hello").unwrap();
    assert_eq!(store.read(&content).unwrap(), b"hello");
}

#[test]
fn steps_are_known_as_long_as_their_output_is_there() {
    let (_folder, store) = store();
    let output = tree(&store, "x");
    assert_eq!(store.output(&step("a")).unwrap(), None);
    store.record(&step("a"), &output).unwrap();
    assert_eq!(store.output(&step("a")).unwrap(), Some(output));
    let Output::Tree { tree } = output else { unreachable!() };
    assert_eq!(store.tree(&tree).unwrap().len(), 2);
    fs::remove_file(store.path_of(&tree)).unwrap();
    assert_eq!(store.output(&step("a")).unwrap(), None);
    let absent = Output::Blob { content: Digest::of("absent"), size: 6 };
    assert_eq!(store.record(&step("b"), &absent).unwrap_err().class(), Class::Bug);
    fs::write(store.steps().join(step("c").to_string()), "{").unwrap();
    assert_eq!(store.output(&step("c")).unwrap(), None);
}

#[test]
fn gc_keeps_what_a_living_owner_needs() {
    let (folder, store) = store();
    let (kept, dropped, other) = (tree(&store, "kept"), tree(&store, "dropped"), blob(&store, "other"));
    for (name, output) in [("kept", &kept), ("dropped", &dropped), ("other", &other)] {
        store.record(&step(name), output).unwrap();
    }
    let gone = folder.path().join("gone");
    store.add_root(folder.path(), &[kept]).unwrap();
    store.add_root(&gone, &[other]).unwrap();
    fs::write(store.partial().join("sha256:x"), "half").unwrap();
    fs::create_dir(store.trees().join("laid")).unwrap();
    fs::write(store.trees().join("laid/program"), "").unwrap();
    let root = store.root().to_owned();
    assert_eq!(Store::open_exclusive(&root).err().unwrap().class(), Class::Machine);
    drop(store);

    let alone = Store::open_exclusive(&root).unwrap();
    let dry = alone.gc(true).unwrap();
    assert_eq!((dry.kept, dry.removed, dry.steps, dry.trees, &dry.gone), (2, 4, 2, 1, &vec![gone]));
    assert!(root.join("trees/laid/program").exists());
    assert_eq!(alone.gc(false).unwrap(), dry);
    assert!(!root.join("trees/laid").exists());
    assert_eq!(alone.gc(false).unwrap().removed, 0);
    drop(alone);

    let store = Store::open(&root).unwrap();
    assert_eq!(store.output(&step("kept")).unwrap(), Some(kept));
    assert!(store.contains(&Digest::of("kept")) && !store.contains(&Digest::of("dropped")));
    assert_eq!(store.output(&step("dropped")).unwrap(), None);
}

#[test]
fn a_tree_is_checked_out_once_and_whole() {
    let (_folder, store) = store();
    let name = Digest::of("name");
    let lay = |text: &str| {
        store.checkout_tree(&name, |folder| {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("file"), text).unwrap();
            if text == "half" { Err(Fault::machine("broken off")) } else { Ok(()) }
        })
    };
    assert!(lay("half").is_err() && entries(&store.trees()) == 0);
    let laid = lay("first").unwrap();
    assert_eq!(lay("second").unwrap(), laid);
    assert_eq!(fs::read_to_string(laid.join("file")).unwrap(), "first");
    // Somebody else lays the same out meanwhile.
    fs::remove_dir_all(&laid).unwrap();
    let raced = store.checkout_tree(&name, |folder| {
        fs::create_dir(folder).unwrap();
        lay("faster").map(drop)
    });
    assert_eq!(fs::read_to_string(raced.unwrap().join("file")).unwrap(), "faster");
}

#[test]
fn holes_are_read_as_zeros() {
    let (_folder, store) = store();
    for (stretches, length) in
        [(&[][..], 3 << 20), (&[0][..], 1 << 20), (&[1 << 20][..], 3 << 20), (&[0, 2 << 20], (2 << 20) + 7)]
    {
        let mut expect = vec![0; length as usize];
        let mut file = store.sparse_writer().unwrap();
        for &at in stretches {
            expect[at as usize..at as usize + 7].fill(9);
            file.write_at(at, &[9; 7]).unwrap();
        }
        let (content, size) = file.commit(length).unwrap();
        assert_eq!((content, size), (Digest::of(&expect), length), "{stretches:?}");
        assert!(store.read(&content).unwrap() == expect, "{stretches:?}");
    }
}

#[test]
fn a_digest_follows_the_writer_of_a_disk() {
    let (_folder, store) = store();
    let mut file = store.sparse_writer().unwrap();
    let mut expect = vec![0; 80 << 20];
    // What was a hole when the first stretch was read is none when the next one is.
    for (at, settled) in [(70, 0), (3, 20), (21, 40), (45, 46), (50, 60)] {
        expect[at << 20..(at << 20) + 9].fill(at as u8);
        file.write_at((at as u64) << 20, &[at as u8; 9]).unwrap();
        file.finalize_up_to(settled << 20);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(file.write_at(35 << 20, b"late").is_err(), "its digest is made already");
    assert_eq!(file.commit(80 << 20).unwrap(), (Digest::of(&expect), 80 << 20));
    assert_eq!((entries(&store.blobs()), entries(store.scratch())), (1, 0));
}

#[test]
fn verify_finds_every_flipped_bit_and_forgets_what_hangs_on_it() {
    let (folder, store) = store();
    let tree = tree(&store, "content");
    let Output::Tree { tree: digest } = tree else { unreachable!() };
    store.record(&step("tree"), &tree).unwrap();
    let plain = blob(&store, "plain");
    store.record(&step("plain"), &plain).unwrap();
    store.add_root(folder.path(), &[tree]).unwrap();
    let root = store.root().to_owned();
    damage(&store, &Digest::of("content"), |bytes| bytes[0] ^= 4);
    fs::remove_file(store.path_of(&plain.digest())).unwrap();
    fs::write(store.blobs().join("junk"), "").unwrap();
    let laid = store.checkout_tree(&digest, |folder| Ok(fs::create_dir(folder).unwrap())).unwrap();
    drop(store);

    let report = Store::open_exclusive(&root).unwrap().verify().unwrap();
    let whats: Vec<_> = report.damaged.iter().map(|damage| damage.what.as_str()).collect();
    assert_eq!(report.damaged.len(), 3, "{whats:?}");
    assert!(!laid.exists(), "what cannot be checked goes");
    let content = report.damaged.iter().find(|damage| damage.what.starts_with("its bytes")).unwrap();
    assert_eq!((&content.steps, &content.owners), (&vec![step("tree")], &vec![folder.path().to_owned()]));
    assert!(report.damaged.iter().any(|damage| damage.what == "missing" && damage.steps == [step("plain")]));
    let again = Store::open_exclusive(&root).unwrap().verify().unwrap();
    // The root still misses the tree's content until it is made anew; nothing else is wrong.
    assert_eq!((again.blobs, again.damaged.len()), (1, 1));
    assert_eq!(Store::open(&root).unwrap().output(&step("tree")).unwrap(), None);
    assert!(Store::open(&root).unwrap().contains(&digest));
}

#[test]
fn one_thousand_random_bits() {
    let (_folder, store) = store();
    let batch = store.batch().unwrap();
    let blobs: Vec<Digest> = (0..1000u32)
        .map(|n| batch.put_bytes(&n.to_le_bytes().repeat(1 + n as usize % 97)).unwrap())
        .collect();
    batch.commit().unwrap();
    let mut state = 1u64;
    for content in &blobs {
        damage(&store, content, |bytes| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let bit = (state >> 33) as usize % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        });
    }
    let good = store.put_bytes(b"good").unwrap();
    let root = store.root().to_owned();
    drop(store);
    assert_eq!(Store::open_exclusive(&root).unwrap().verify().unwrap().damaged.len(), 1000);
    let store = Store::open(&root).unwrap();
    assert!(store.contains(&good) && blobs.iter().all(|content| !store.contains(content)));
}

#[test]
fn a_root_that_others_could_change_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().join("real");
    drop(Store::open(&real).unwrap());
    let link = folder.path().join("link");
    symlink(&real, &link).unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    fs::set_permissions(&real, Permissions::from_mode(0o777)).unwrap();
    for bad in [link, file, real] {
        let fault = Store::open(&bad).err().unwrap_or_else(|| panic!("{} was opened", bad.display()));
        assert_eq!(fault.class(), Class::Machine);
    }
}

#[test]
fn what_dead_processes_left_is_cleared_and_the_living_are_left_alone() {
    let (_folder, store) = store();
    let tmp = store.root().join("tmp");
    let dead = tmp.join("1-0");
    fs::create_dir(&dead).unwrap();
    fs::write(dead.join("0"), "half a blob").unwrap();
    fs::write(store.partial().join("sha256:x"), "half a download").unwrap();
    let mut writer = store.writer().unwrap();
    writer.write_all(b"alive").unwrap();
    let second = Store::open(store.root()).unwrap();
    assert!(!dead.exists() && store.partial().join("sha256:x").exists());
    assert_eq!(writer.commit().unwrap().0, Digest::of("alive"));
    assert!(second.contains(&Digest::of("alive")) && second.scratch() != store.scratch());
}

#[test]
fn an_export_is_whole_or_nothing() {
    let (folder, store) = store();
    let content = store.put_bytes(b"hello").unwrap();
    let to = folder.path().join("out");
    store.export(&content, &to, 0o755).unwrap();
    assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o7777, 0o755);
    damage(&store, &content, |bytes| bytes[0] ^= 1);
    assert_eq!(store.export(&content, &to, 0o755).unwrap_err().class(), Class::Integrity);
    assert_eq!(fs::read(&to).unwrap(), b"hello");
    assert_eq!(entries(folder.path()), 2);
}
