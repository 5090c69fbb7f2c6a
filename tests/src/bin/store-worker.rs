//! A process that works on a store and that tests may kill: `store-worker WHAT ROOT [COUNT]`.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use builder::base::digest::Checksum;
use builder::base::progress::Silent;
use builder::base::tree::{Contents, Node, Tree, TreePath};
use builder::base::{Class, Digest, Fault, Result, Url};
use builder::build::steps::converted;
use builder::fetch::{Client, FetchLimits, FetchRequest, Locations, fetch};
use builder::pack::disk::writer::BlockWriter;
use builder::plan::{DiskFormat, Output, StepId};
use builder::store::Store;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let count = words.get(2).and_then(|count| count.parse().ok()).unwrap_or(0);
    let work = match words.first().map(String::as_str) {
        Some("write") => write,
        Some("batch") => batch,
        Some("disks") => disks,
        Some("hold") => hold,
        Some("fill") => fill,
        _ => return ExitCode::from(Class::Bug as u8),
    };
    match work(Path::new(&words[1]), count) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::from(fault.exit_code())
        }
    }
}

fn bytes(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(1 + (number as usize * 7919) % 4000)
}

/// Blobs, each with its step, as a build makes them; then a tree of all of them.
fn write(root: &Path, count: u64) -> Result<()> {
    let store = Store::open(root)?;
    let mut tree = Tree::new();
    for number in 0..count {
        let (content, size) = store.put(&bytes(number)[..])?;
        store.record(&StepId(Digest::of(number.to_le_bytes())), &Output::Blob { content, size })?;
        tree.insert(TreePath::new(format!("files/{number}"))?, Node::file(content, size, 0o644))?;
    }
    finish(&store, &tree)
}

/// The same with one sync.
fn batch(root: &Path, count: u64) -> Result<()> {
    let store = Store::open(root)?;
    let (batch, mut tree) = (store.batch()?, Tree::new());
    for number in 0..count {
        let (content, size) = batch.put(&bytes(number)[..])?;
        tree.insert(TreePath::new(format!("files/{number}"))?, Node::file(content, size, 0o644))?;
    }
    batch.commit()?;
    finish(&store, &tree)
}

/// The same bytes as sparse files that are written from the end, as disks are.
fn disks(root: &Path, count: u64) -> Result<()> {
    let store = Store::open(root)?;
    let mut tree = Tree::new();
    for number in 0..count {
        let (bytes, mut disk) = (bytes(number), store.sparse_writer()?);
        for at in (0..bytes.len()).step_by(1000).rev() {
            let piece = &bytes[at..bytes.len().min(at + 1000)];
            disk.write_at(at as u64, piece).map_err(|e| Fault::io("write", root, e))?;
        }
        let (content, size) = disk.commit(bytes.len() as u64)?;
        tree.insert(TreePath::new(format!("files/{number}"))?, Node::file(content, size, 0o644))?;
    }
    finish(&store, &tree)
}

fn finish(store: &Store, tree: &Tree) -> Result<()> {
    let tree = store.put_tree(tree)?;
    store.record(&StepId(Digest::of("tree")), &Output::Tree { tree })
}

/// Keeps the store open until its input ends.
fn hold(root: &Path, _: u64) -> Result<()> {
    let store = Store::open(root)?;
    store.put_bytes(b"made while gc wants to run")?;
    println!("ready");
    std::io::stdin().read_to_end(&mut Vec::new()).map_err(|e| Fault::io("read", "standard input", e))?;
    Ok(())
}

/// Meets a full disk in every way there is to write, and must lose nothing and leave nothing.
fn fill(root: &Path, size: u64) -> Result<()> {
    let store = Store::open(root)?;
    let kept = store.put_bytes(b"small")?;
    // Its other forms are as large: nothing in it repeats.
    let noise: Vec<u8> = (0..22_000_u64).flat_map(|n| *Digest::of(n.to_le_bytes()).bytes()).collect();
    let raw = store.put_bytes(&noise[..noise.len() / 512 * 512])?;
    let big = vec![7; size as usize];
    let place = root.with_file_name("mirror");
    std::fs::write(&place, &big).map_err(|e| Fault::io("write", &place, e))?;
    let wanted = FetchRequest {
        name: "big".to_owned(),
        source: Locations::Urls(vec![Url::new(format!("file://{}", place.display()))?]),
        size: Some(size),
        checksum: Some(Checksum::Sha256(Digest::of(&big))),
        help: String::new(),
    };
    let client = Client::new(FetchLimits::default(), None)?;
    let tries = [
        store.put(&big[..]).map(drop),
        store.put_bytes(&big).map(drop),
        store.batch().and_then(|batch| batch.put(&big[..]).map(drop)),
        converted::convert(&store, &raw, DiskFormat::Qcow2).map(drop),
        converted::convert(&store, &raw, DiskFormat::RawZst).map(drop),
        fetch(&store, &client, &[wanted], &Silent).map(drop),
    ];
    for tried in tries {
        let fault = tried.err().ok_or_else(|| Fault::bug("the disk is not full"))?;
        let mended = fault.help_text().is_some_and(|help| help.contains("cargo xtask gc"));
        if fault.class() != Class::Machine || !mended {
            return Err(fault.context("another fault than a full disk"));
        }
        println!("{fault}");
    }
    let names = |folder: &Path| std::fs::read_dir(folder).map_or(usize::MAX, |entries| entries.count());
    if store.read(&kept)? != b"small" {
        return Err(Fault::bug("a full disk spoilt a blob"));
    }
    let left = (names(&root.join("blobs/sha256")), names(store.scratch()));
    if left != (2, 0) {
        return Err(Fault::bug("a full disk left something").expected_found("two blobs", format!("{left:?}")));
    }
    // What was fetched so far waits to be resumed; gc makes room of it.
    drop(store);
    let collected = Store::open_exclusive(root)?.gc(false)?;
    let store = Store::open(root)?;
    if collected.removed != 3 || store.contains(&kept) || store.put_bytes(b"also small").is_err() {
        return Err(Fault::bug("gc makes no room on a full disk"));
    }
    Ok(())
}
