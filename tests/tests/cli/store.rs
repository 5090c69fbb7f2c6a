//! The store under several processes, kills, a full disk and odd umasks.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output as Ran, Stdio};
use std::time::{Duration, Instant};

use builder::base::{Class, Digest};
use builder::plan::{Output, StepId};
use builder::store::Store;
use tempfile::TempDir;
use tests::stores::alone;
use tests::tools::tool;

const WORKER: &str = env!("CARGO_BIN_EXE_store-worker");

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("a store");
    (folder, root)
}

fn worker(what: &str, root: &Path, count: u64) -> Command {
    let mut command = Command::new(WORKER);
    command.arg(what).arg(root).arg(count.to_string());
    command
}

fn ran(mut command: Command) -> Ran {
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ran.stderr));
    ran
}

/// Everything in the store, by path, with its permissions; the lock file aside.
fn contents(root: &Path) -> BTreeMap<PathBuf, (Vec<u8>, u32)> {
    let entries = walkdir::WalkDir::new(root).into_iter().map(|entry| entry.unwrap());
    let inside = entries.filter(|entry| entry.path() != root && entry.path() != root.join("lock"));
    let read = |entry: walkdir::DirEntry| {
        let bytes = if entry.file_type().is_dir() { Vec::new() } else { fs::read(entry.path()).unwrap() };
        let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
        (entry.path().strip_prefix(root).unwrap().to_owned(), (bytes, mode))
    };
    inside.map(read).collect()
}

/// What a store looks like in which one undisturbed worker has written.
fn expected(count: u64) -> BTreeMap<PathBuf, (Vec<u8>, u32)> {
    let (_folder, root) = place();
    ran(worker("write", &root, count));
    contents(&root)
}

fn assert_sound(root: &Path, blobs: u64) {
    let report = alone(root).verify().unwrap();
    assert_eq!((report.damaged.as_slice(), report.blobs), (&[][..], blobs));
}

#[test]
fn several_builders_at_once_end_with_the_same_store() {
    let (_folder, root) = place();
    let whats = ["write", "batch", "write", "batch", "write"];
    let workers: Vec<Child> = whats.iter().map(|what| worker(what, &root, 120).spawn().unwrap()).collect();
    for mut worker in workers {
        assert!(worker.wait().unwrap().success());
    }
    assert_eq!(contents(&root), expected(120));
    assert_sound(&root, 121);
}

#[test]
fn a_kill_at_any_time_leaves_nothing_half_written() {
    let (_folder, root) = place();
    let mut killed = 0;
    for round in 0..40u64 {
        let what = ["write", "batch", "disks"][(round % 3) as usize];
        let mut child = worker(what, &root, 60).spawn().unwrap();
        // Unevenly spread over the time that a worker needs.
        std::thread::sleep(Duration::from_micros(500 + round * 7919 % 40_000));
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        // What is recorded is there, and what is there is right.
        let report = alone(&root).verify().unwrap();
        assert!(report.damaged.is_empty(), "{:?}", report.damaged);
    }
    assert!(killed > 10, "only {killed} of 40 were killed in time: make the work longer");
    ran(worker("write", &root, 60));
    assert_eq!(contents(&root), expected(60));
}

#[test]
fn a_killed_holder_s_lock_is_free_at_once() {
    let (_folder, root) = place();
    let mut holder = worker("hold", &root, 0);
    let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let fault = Store::open_exclusive(&root).err().expect("gc must not run during a build");
    assert!(fault.class() == Class::Machine && fault.help_text().is_some(), "{fault}");
    assert!(Store::open(&root).unwrap().contains(&Digest::of("made while gc wants to run")));
    holder.kill().unwrap();
    holder.wait().unwrap();
    let begun = Instant::now();
    assert_eq!(alone(&root).gc(false).unwrap().removed, 1);
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn the_umask_has_no_say() {
    let expect = expected(5);
    for umask in ["000", "027", "077", "777"] {
        let (_folder, root) = place();
        let mut shell = tool("sh", "dash");
        shell.args(["-c", "umask $0; exec \"$@\"", umask, WORKER, "write"]).arg(&root).arg("5");
        ran(shell);
        assert_eq!(contents(&root), expect, "umask {umask}");
        let mode = fs::metadata(&root).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, 0o755, "umask {umask}");
    }
}

#[test]
fn a_full_disk_loses_nothing() {
    // A disk of one MiB for the store, in a namespace of its own; the mirror beside it is on another.
    let folder = tempfile::tempdir().unwrap();
    let script = "mkdir \"$1/store\" && mount -t tmpfs -o size=1m,mode=0755 none \"$1/store\" && \
                  exec \"$0\" fill \"$1/store\" 3000000";
    let mut unshare = tool("unshare", "util-linux");
    unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, WORKER]).arg(folder.path());
    let ran = ran(unshare);
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert_eq!(said.matches("os error 28").count(), 6, "{said}");
}

#[test]
fn a_deleted_index_and_deleted_blobs_come_back() {
    let (_folder, root) = place();
    ran(worker("write", &root, 30));
    let expect = contents(&root);
    fs::remove_dir_all(root.join("steps")).unwrap();
    ran(worker("write", &root, 30));
    assert_eq!(contents(&root), expect);
    let lost: Vec<PathBuf> =
        fs::read_dir(root.join("blobs/sha256")).unwrap().map(|e| e.unwrap().path()).collect();
    lost.iter().step_by(3).for_each(|path| fs::remove_file(path).unwrap());
    let report = alone(&root).verify().unwrap();
    assert_eq!(report.damaged.len(), 11);
    // The tree's record goes with any of its files.
    let tree = StepId(Digest::of("tree"));
    assert!(matches!(Store::open(&root).unwrap().output(&tree), Ok(None::<Output>)));
    ran(worker("write", &root, 30));
    assert_eq!(contents(&root), expect);
}
