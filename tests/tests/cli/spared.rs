//! Nothing of the user's is lost: what a verb would write over, and did not write itself, stays as it is, and the
//! verb says so.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use builder::base::Digest;
use builder::pack::disk::gpt::{Gpt, Partition, Purpose};
use builder::store::Store;
use tests::cli::TestCheckout;
use tests::loops::Loop;
use tests::tools::{need_root, put, succeed, tool};

const MIB: u64 = 1 << 20;
const THESIS: &str = "three years of work\n";

/// A disk as Hale makes them, with one partition.
fn image(path: &Path, about: &str) {
    let root = Partition { purpose: Purpose::Root, name: "root".into(), start: MIB, length: 2 * MIB };
    let mut bytes = Vec::new();
    Gpt { seed: Digest::of(about), length: 4 * MIB, partitions: vec![root] }
        .write(&[1; 440], &mut bytes)
        .unwrap();
    bytes[MIB as usize..][..about.len()].copy_from_slice(about.as_bytes());
    put(path, bytes);
}

/// The verb refuses, names each of these, and changes nothing there.
#[track_caller]
fn spares(checkout: &TestCheckout, words: &[&str], parts: &[&str]) {
    let before = checkout.state();
    let text = checkout.refuses(words, 2);
    assert!(checkout.state() == before, "{words:?} changed something: {text}");
    for part in parts {
        assert!(text.contains(part), "{words:?}: no {part:?} in {text}");
    }
}

/// The verb with its outputs in `dist`.
fn to<'w>(verb: &[&'w str], dist: &'w str) -> Vec<&'w str> {
    [verb, &["--dist", dist]].concat()
}

/// Folders: a person's own one, one of Hale's with something of a person's in it, a file, a link.
#[test]
fn a_folder_is_replaced_when_all_in_it_is_hales() {
    let checkout = TestCheckout::with_program();
    checkout.succeeds(&["key", "new"]);
    let pinns = checkout.path("pinns");
    put(&pinns, "#!/bin/sh\n");
    checkout.succeeds(&["input", "add", "crictl", "pinns", "--version", "1.17.0"]);
    for (verb, folder) in [
        (&["build", "master"][..], "master"),
        (&["build", "node"], "node"),
        (&["build", "components"], "components"),
        (&["repo"], "repo"),
    ] {
        let (fresh, home) = (format!("{folder}-fresh"), format!("{folder}-home"));
        if folder == "repo" {
            for dist in [&fresh, &home] {
                checkout.succeeds(&["build", "master", "--dist", dist]);
            }
        }
        // What stands in the way for no reason but its name.
        let thesis = checkout.path(&home).join(folder).join("a/thesis.txt");
        put(&thesis, THESIS);
        spares(
            &checkout,
            &to(verb, &home),
            &[&format!("{home}/{folder}/a"), "would be lost", "--dist", "mv "],
        );
        fs::remove_dir_all(checkout.path(&home).join(folder)).unwrap();
        put(checkout.path(&home).join(folder), THESIS);
        spares(&checkout, &to(verb, &home), &["is no folder", "--dist"]);
        // Its own is replaced, damaged or not, and an empty one; nothing is touched when it is whole.
        let place = checkout.path(&fresh).join(folder);
        fs::create_dir_all(&place).unwrap();
        checkout.succeeds(&to(verb, &fresh));
        let made = checkout.state();
        checkout.succeeds(&to(verb, &fresh));
        assert!(checkout.state() == made, "{verb:?} again changed something");
        let is_one = |path: &Path| path.starts_with(&place) && path.is_file() && !path.ends_with(".hale");
        let file = made.keys().find(|path| is_one(path)).unwrap();
        fs::write(file, "spoilt").unwrap();
        checkout.succeeds(&to(verb, &fresh));
        assert!(checkout.state() == made, "{verb:?} did not mend {}", file.display());
        // Not when something of a person's lies among it.
        put(place.join("notes/a.txt"), THESIS);
        fs::write(file, "spoilt").unwrap();
        spares(&checkout, &to(verb, &fresh), &[&format!("{fresh}/{folder}/notes"), "1 more"]);
        fs::remove_dir_all(place.join("notes")).unwrap();
        // A link to a folder is a person's way to have it elsewhere.
        let elsewhere = checkout.path(&fresh).join("elsewhere");
        fs::rename(&place, &elsewhere).unwrap();
        symlink("elsewhere", &place).unwrap();
        checkout.succeeds(&to(verb, &fresh));
        assert!(fs::symlink_metadata(&place).unwrap().is_symlink(), "{verb:?} replaced the link");
        assert!(fs::read(elsewhere.join(file.strip_prefix(&place).unwrap())).unwrap() != b"spoilt");
    }
}

/// What lies beside an exported folder under a name like those of unfinished ones.
#[test]
fn a_neighbour_of_a_folder_stays() {
    let checkout = TestCheckout::with_program();
    for name in [".export-2024/a", ".hale-export-mine/a", "store-like/.export-x/a"] {
        put(checkout.path("home").join(name), THESIS);
    }
    checkout.succeeds(&["build", "node", "--dist", "home"]);
    checkout.succeeds(&["build", "node", "--dist", "home/store-like"]);
    for name in [".export-2024/a", ".hale-export-mine/a", "store-like/.export-x/a"] {
        assert_eq!(
            fs::read_to_string(checkout.path("home").join(name)).ok().as_deref(),
            Some(THESIS),
            "{name}"
        );
    }
}

/// A gc removes all that is not kept: it must be a store's.
#[test]
fn a_folder_that_is_no_store_is_not_made_one() {
    let checkout = TestCheckout::new();
    for (folder, file) in [
        ("work", "tmp/thesis.txt"),
        ("layout", "blobs/sha256/thesis.txt"),
        ("letters", "trees/thesis/thesis.txt"),
    ] {
        put(checkout.path(folder).join(file), THESIS);
        put(checkout.path(folder).join("index.json"), "{}");
        for verb in ["gc", "verify", "fetch"] {
            spares(&checkout, &[verb, "--store", folder], &["is no store", folder, "HALE_STORE"]);
        }
    }
    fs::create_dir(checkout.path("empty")).unwrap();
    for folder in ["empty", "none", "none"] {
        checkout.succeeds(&["gc", "--store", folder]);
    }
}

/// Files: a text, a folder, a link, in the place of each thing that a verb writes where it is told.
#[test]
fn a_file_is_replaced_when_it_is_hales() {
    let checkout = TestCheckout::new();
    image(&checkout.root().join("dist/images/hale-master.raw"), "the image");
    put(checkout.path("seed/node.toml"), "name = \"one\"\n");
    put(checkout.path("thesis.txt"), THESIS);
    drop(Store::open(&checkout.store()).unwrap());
    fs::create_dir(checkout.path("folder")).unwrap();
    symlink("thesis.txt", checkout.path("link")).unwrap();
    symlink("/dev/null", checkout.path("device")).unwrap();
    let flash = |to| vec!["flash", "master", "--to", to];
    let seed = |to| vec!["seed", "seed", "--to", to];
    let report = |to| vec!["vm", "master", "--report", to];
    let join = |to| vec!["vm", "master", "--join", to];
    for words in [flash, seed, report, join] {
        for to in ["thesis.txt", "folder", "link", "device"] {
            spares(&checkout, &words(to), &[to, "help: name "]);
        }
        for to in ["store/new", "store/blobs/sha256/new", "store/lock"] {
            spares(&checkout, &words(to), &[to, "lies in the store"]);
            assert!(!to.ends_with("new") || !checkout.path(to).exists(), "{to} was made");
        }
    }
    // Told to, and where nothing is lost.
    put(checkout.path("nothing"), "");
    fs::File::create(checkout.path("hole")).and_then(|file| file.set_len(9 * MIB)).unwrap();
    for words in [flash, seed] {
        for to in ["new", "nothing", "hole"] {
            for again in [words(to), words(to)] {
                checkout.succeeds(&again);
            }
        }
        spares(&checkout, &words("thesis.txt"), &["--overwrite"]);
        checkout.succeeds(&[words("thesis.txt"), vec!["--overwrite"]].concat());
        assert_ne!(fs::read(checkout.path("thesis.txt")).unwrap(), THESIS.as_bytes());
        put(checkout.path("thesis.txt"), THESIS);
        for name in ["new", "nothing", "hole"] {
            fs::remove_file(checkout.path(name)).unwrap();
            put(checkout.path(name), "");
        }
    }
}

/// Disks and images of other programs are told from ours.
#[test]
fn a_disk_that_another_program_made_stays() {
    let checkout = TestCheckout::new();
    let images = checkout.root().join("dist/images");
    let (raw, qcow2, zst) = (
        images.join("hale-master.raw"),
        images.join("hale-master.qcow2"),
        images.join("hale-master.raw.zst"),
    );
    image(&raw, "the image");
    fs::copy(&raw, checkout.path("copy")).unwrap();
    fs::copy(&raw, checkout.path("disk")).unwrap();
    // What is laid over an image is a person's; so is a disk that they partitioned, be it once ours.
    let mut overlay = tool("qemu-img", "qemu-utils");
    succeed(overlay.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b", "hale-master.raw"]).arg(&qcow2));
    put(&zst, THESIS);
    let mut sgdisk = tool("sgdisk", "gdisk");
    succeed(sgdisk.args(["--zap-all", "--new=1:2048:4095", "--new=2:4096:6143"]).arg(checkout.path("disk")));
    let image = |format| ["image", "master", "--without-components", "--format", format];
    spares(&checkout, &image("qcow2"), &["hale-master.qcow2", "would be lost"]);
    spares(&checkout, &image("zstd"), &["hale-master.raw.zst", "would be lost"]);
    put(&raw, THESIS);
    spares(&checkout, &image("zstd")[..3], &["hale-master.raw", "would be lost"]);
    fs::copy(checkout.path("copy"), &raw).unwrap();
    spares(&checkout, &["flash", "master", "--to", "disk"], &["disk would be lost", "--overwrite"]);
    checkout.succeeds(&["flash", "master", "--to", "copy"]);
}

/// The image under another name, by a hard link, a link, a loop device; and any other file of the store.
#[test]
fn an_image_is_never_written_over_itself() {
    need_root();
    let checkout = TestCheckout::new();
    let images = checkout.root().join("dist/images");
    // As `image` leaves them: names of the store's files.
    for role in ["master", "node"] {
        let raw = images.join(format!("hale-{role}.raw"));
        image(&raw, role);
        let store = Store::open(&checkout.store()).unwrap();
        let (content, _) = store.put(fs::File::open(&raw).unwrap()).unwrap();
        fs::remove_file(&raw).unwrap();
        fs::hard_link(store.path_of(&content), &raw).unwrap();
    }
    let (own, other) = (images.join("hale-master.raw"), images.join("hale-node.raw"));
    fs::hard_link(&own, checkout.path("hard")).unwrap();
    symlink(&own, checkout.path("soft")).unwrap();
    let plugged = Loop::over(&own);
    let device = plugged.device().to_str().unwrap();
    let copy = checkout.path("copy");
    fs::copy(&own, &copy).unwrap();
    let blobs = || {
        let blobs = fs::read_dir(checkout.store().join("blobs/sha256")).unwrap();
        blobs.map(|blob| Digest::of(fs::read(blob.unwrap().path()).unwrap())).collect::<Vec<_>>()
    };
    let before = blobs();
    let refused: Vec<_> = [own.to_str().unwrap(), "hard", "soft", device, other.to_str().unwrap()]
        .map(|to| (to.to_owned(), checkout.run(&["flash", "master", "--to", to, "--yes", "--overwrite"])))
        .into();
    drop(plugged);
    for (to, output) in refused {
        let text = tests::tools::said(&output);
        assert_eq!(output.status.code(), Some(2), "{to}: {text}");
        assert!(text.contains("another name of"), "{to}: {text}");
    }
    assert!(blobs() == before, "the store's files changed");
    checkout.succeeds(&["flash", "master", "--to", "copy"]);
}
