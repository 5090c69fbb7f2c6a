//! Root trees from small packages, some of them hostile, with this machine's dpkg inside.

mod packages;
mod sandbox;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use builder::base::name::PackageName;
use builder::base::tree::{Contents, Kind, Tree};
use builder::base::{Class, Digest, Epoch, Result};
use builder::host::sandbox::Sandbox;
use builder::rootfs::{Builder, Timeouts, unpack_all};
use builder::store::Store;
use macro_rules_attribute::apply;
use packages::{base, busy, owning, pack, script, with_postinst};
use tests::stores::alone;
use tests::tools::{is_root, need_root, put, run, said, succeed, tool};
use tests::trial;

/// The argument that makes this program assemble one root in a process of its own.
const STEP: &str = "__step";

/// A user that every Debian has, with a group of the same number.
const NOBODY: u32 = 65_534;

/// A user and group beyond Debian's own.
const OWNER: u32 = 10_000_000;

/// Does what this program is for when it is called as `__step STORE DEB... [-- DEB]`: prints the digest of the root
/// made of the packages, with the last one installed on top.
pub(crate) fn step() -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    words.next().filter(|word| word == STEP)?;
    Some(make(&words.map(PathBuf::from).collect::<Vec<_>>()))
}

fn make(words: &[PathBuf]) -> ExitCode {
    let (store, debs) = words.split_first().expect("a store");
    let (debs, more) = debs.split_at(debs.iter().position(|word| word == "--").unwrap_or(debs.len()));
    let made = root(store, debs).and_then(|(digest, _)| match more {
        [_, deb] => install(store, &digest, "more", deb),
        _ => Ok(digest),
    });
    match made {
        Ok(digest) => println!("{digest}"),
        Err(fault) => {
            eprintln!("{fault}");
            return ExitCode::from(fault.exit_code());
        }
    }
    ExitCode::SUCCESS
}

fn epoch() -> Epoch {
    Epoch::new(1_700_000_000).expect("an epoch")
}

/// Assembles `.deb` files in a store; scripts have 20 s together.
fn root(store: &Path, debs: &[PathBuf]) -> Result<(Digest, Tree)> {
    root_with(&Sandbox::of_this_program()?, store, debs, 20)
}

fn root_with(sandbox: &Sandbox, store: &Path, debs: &[PathBuf], limit: u64) -> Result<(Digest, Tree)> {
    let store = Store::open(store)?;
    let limits = Timeouts { script: limit, dpkg: limit, compile: limit };
    let builder = Builder { store: &store, sandbox, epoch: epoch(), limits };
    let kept: Result<Vec<Digest>> = debs.iter().map(|deb| keep(&store, deb)).collect();
    let digest = builder.assemble(&unpack_all(&store, &kept?)?)?;
    Ok((digest, store.tree(&digest)?))
}

/// Installs one more package, which may own files by [`OWNER`], and holds it.
fn install(store: &Path, root: &Digest, package: &str, deb: &Path) -> Result<Digest> {
    let (store, sandbox) = (Store::open(store)?, Sandbox::of_this_program()?);
    let limits = Timeouts { script: 20, dpkg: 20, compile: 20 };
    let builder = Builder { store: &store, sandbox: &sandbox, epoch: epoch(), limits };
    let name = PackageName::new(package).expect("a name");
    let held = BTreeSet::from([name.clone()]);
    builder.install(root, &BTreeMap::from([(name, keep(&store, deb)?)]), OWNER, &held)
}

fn keep(store: &Store, deb: &Path) -> Result<Digest> {
    Ok(store.put(std::fs::File::open(deb).expect("a package"))?.0)
}

fn text(store: &Path, tree: &Tree, path: &str) -> String {
    let store = Store::open(store).expect("the store opens");
    match tree.get(path).map(|node| &node.kind) {
        Some(Kind::File { content, .. }) => String::from_utf8(store.read(content).unwrap()).unwrap(),
        other => panic!("{path} is {other:?}"),
    }
}

#[apply(trial)]
fn the_same_bytes_whatever_path_and_umask() {
    let (folder, debs) = busy();
    let exe = std::env::current_exe().unwrap();
    let mut outputs = Vec::new();
    for (store, umask, time_zone) in [("a", "022", "Etc/GMT+12"), ("a longer path: ü,x", "077", "Etc/GMT-14")]
    {
        let mut shell = tool("sh", "dash");
        shell.env("TZ", time_zone).args(["-c", "umask $0; exec \"$@\"", umask]).arg(&exe);
        outputs.push(succeed(shell.arg(STEP).arg(folder.path().join(store)).args(&debs)));
    }
    assert_eq!(outputs[0], outputs[1]);
}

#[apply(trial)]
fn what_scripts_do_is_in_the_tree() {
    let (folder, debs) = busy();
    let store = folder.path().join("store");
    let (_, tree) = root(&store, &debs).unwrap();
    let made = tree.get("etc/made").unwrap();
    assert_eq!((made.uid, made.gid, made.mode), (7, 9, 0o4750));
    assert_eq!(tree.get("etc/link").unwrap().kind, Kind::Symlink { target: "made".to_owned() });
    assert_eq!(tree.get("bin").unwrap().kind, Kind::Symlink { target: "usr/bin".to_owned() });
    let gone = ["usr/share/old", "usr/share/folder/a", "var/log/now", "var/cache/x/y", "tmp/x", "run/y"];
    for path in gone.into_iter().chain(["usr/sbin/policy-rc.d"]) {
        assert!(tree.get(path).is_none(), "{path}");
    }
    assert_eq!(text(&store, &tree, "usr/share/folder/new"), "new\n");
    assert_eq!(text(&store, &tree, "etc/machine-id"), "");
    assert_eq!(text(&store, &tree, "etc/shadow"), "root:*:19675:0:::::\n");
    let seen = text(&store, &tree, "etc/seen");
    assert!(seen.starts_with("hale UTC 0022 "), "{seen}");
    let status = text(&store, &tree, "var/lib/dpkg/status");
    assert_eq!(status.matches("Status: install ok installed").count(), 2, "{status}");
    assert!(status.contains("Conffiles:\n /etc/victim.conf b9a771b420047cfaa3543e66c78f44f6\n"), "{status}");
}

#[apply(trial)]
fn a_failing_script_is_shown() {
    let (folder, debs) = with_postinst("echo the deep reason; exit 3");
    let fault = root(&folder.path().join("store"), &debs).unwrap_err();
    let words = fault.to_string();
    assert_eq!(fault.class(), Class::User);
    assert!(
        words.contains("configuring the packages failed") && words.contains("the deep reason"),
        "{words}"
    );
    assert!(words.contains("victim"), "{words}");
}

#[apply(trial)]
fn a_hanging_script_is_killed_and_named() {
    let (folder, debs) = with_postinst("echo I wait; sleep 600");
    let sandbox = Sandbox::of_this_program().unwrap();
    let fault = root_with(&sandbox, &folder.path().join("store"), &debs, 3).unwrap_err().to_string();
    assert!(fault.contains("killed in postinst of victim") && fault.contains("I wait"), "{fault}");
}

#[apply(trial)]
fn two_packages_with_one_path() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let one = pack(folder.path(), "one", "", &[("usr/share/x", "1\n")]);
    let two = pack(folder.path(), "two", "", &[("usr/share/x", "2\n")]);
    let heir = pack(folder.path(), "heir", "Replaces: one (<< 2)\n", &[("usr/share/x", "3\n")]);
    let base = base(folder.path());
    let fault = root(&store, &[base.clone(), one.clone(), two]).unwrap_err().to_string();
    assert!(fault.contains("/usr/share/x is in one and in two"), "{fault}");
    let (_, tree) = root(&store, &[base, one, heir]).unwrap();
    assert_eq!(text(&store, &tree, "usr/share/x"), "3\n");
    assert!(!text(&store, &tree, "var/lib/dpkg/info/one.list").contains("/usr/share/x"));
}

#[apply(trial)]
fn more_packages_and_holds() {
    let (folder, debs) = with_postinst("true");
    let path = folder.path().join("store");
    let (digest, _) = root(&path, &debs).unwrap();
    let more = owning(folder.path());
    let lost = pack(folder.path(), "lost", "Depends: nobody\n", &[]);
    let fault = install(&path, &digest, "lost", &lost).unwrap_err().to_string();
    assert!(fault.contains("nobody"), "{fault}");
    let installed = install(&path, &digest, "more", &more).unwrap();
    // Laid out once, and once more when it is gone, for the same bytes.
    assert_eq!(trees(&path).len(), 1);
    assert_eq!(alone(&path).gc(false).unwrap().trees, 1);
    let (again, _) = root(&path, &debs).unwrap();
    assert_eq!((again, install(&path, &again, "more", &more).unwrap()), (digest, installed));
    assert_eq!(trees(&path).len(), 1);
    let tree = Store::open(&path).unwrap().tree(&installed).unwrap();
    assert_eq!(text(&path, &tree, "usr/share/more"), "more\n");
    let node = tree.get("var/lib/owned/file").expect("what the script made");
    assert_eq!((node.uid, node.gid, node.mode), (OWNER, OWNER, 0o640));
    let status = text(&path, &tree, "var/lib/dpkg/status");
    assert_eq!(status.matches("Status: install ok installed").count(), 2, "{status}");
    assert_eq!(status.matches("Status: hold ok installed").count(), 1, "{status}");
}

#[apply(trial)]
fn a_kernel_that_refuses() {
    let (folder, debs) = with_postinst("true");
    // A user namespace in which no other may be made is like a kernel where the setting is 0.
    let exe = std::env::current_exe().unwrap();
    let wrapper = folder.path().join("refused");
    let text = format!(
        "#!/bin/sh\nexec unshare --user --map-root-user sh -c \
         'echo 0 > /proc/sys/user/max_user_namespaces; exec \"$0\" \"$@\"' '{}' \"$@\"\n",
        exe.display()
    );
    put(&wrapper, text);
    std::fs::set_permissions(&wrapper, PermissionsExt::from_mode(0o755)).unwrap();
    tool("unshare", "util-linux");
    let fault = root_with(&Sandbox::new(wrapper), &folder.path().join("store"), &debs, 20).unwrap_err();
    assert_eq!(fault.class(), Class::Machine);
    let words = fault.to_string();
    assert!(words.contains("refused a user namespace") && words.contains("max_user_namespaces"), "{words}");
}

#[apply(trial)]
fn killed_and_run_again() {
    let (folder, debs) = with_postinst("true");
    let does = |owner: u32| {
        let owned = format!("chown -R {owner}:{owner} /usr/share/x /srv/x; chmod 700 /srv/x");
        script(&format!("mkdir -p /srv/x /usr/share/x; {owned}; echo now asleep; sleep 600"))
    };
    let sleeper = |name: &str, owner| pack(folder.path(), name, "", &[("DEBIAN/postinst", &does(owner)[..])]);
    let (first, more) = (sleeper("first", 5), sleeper("more", OWNER));
    let ordinary = is_root().then(|| folder.path().join("home/store"));
    for store in [Some(folder.path().join("store")), ordinary].into_iter().flatten() {
        let step = |debs: &[&PathBuf]| {
            let mut step =
                if store.ends_with("home/store") { ordinary_user(folder.path()) } else { this_program() };
            step.arg(STEP).arg(&store).args(debs);
            step
        };
        kill_asleep(&store, &mut step(&[&debs[0], &first]));
        // The same while more packages are installed, by somebody who is beyond Debian's ids.
        kill_asleep(&store, &mut step(&[&debs[0], &debs[1], &PathBuf::from("--"), &more]));
        // Whoever comes next sweeps what was left.
        succeed(&mut step(&[&debs[0]]));
        assert_eq!(scratches(&store), Vec::<PathBuf>::new());
    }
}

/// Without waiting for a script to sleep: while packages are read, laid out, configured, installed, or kept.
#[apply(trial)]
fn killed_at_any_time_and_run_again() {
    let (folder, debs) = busy();
    let more = owning(folder.path());
    let step = |store: &str| {
        let mut step = this_program();
        step.arg(STEP).arg(folder.path().join(store)).args(&debs).arg("--").arg(&more);
        step.stdout(Stdio::piped()).stderr(Stdio::null());
        step
    };
    let begun = Instant::now();
    let expect = succeed(&mut step("calm"));
    let (whole, store, mut killed) = (begun.elapsed(), folder.path().join("killed"), 0);
    for part in 1..=8 {
        let mut child = step("killed").spawn().unwrap();
        std::thread::sleep(whole * part / 10);
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
    }
    assert!(killed > 3, "only {killed} of 8 were killed in time");
    assert_eq!(succeed(&mut step("killed")), expect);
    assert_eq!(scratches(&store), Vec::<PathBuf>::new());
    let report = alone(&store).verify().unwrap();
    assert!(report.damaged.is_empty(), "{:?}", report.damaged);
}

fn this_program() -> Command {
    Command::new(std::env::current_exe().expect("this program"))
}

/// This program, run by nobody, whose home is below a folder, and who has subordinate ids.
fn ordinary_user(folder: &Path) -> Command {
    user_with(folder, "nobody:3000000:65536\n")
}

/// The same with these subordinate ids (subuid(5)).
fn user_with(folder: &Path, subordinate: &str) -> Command {
    let (home, ids) = (folder.join("home"), folder.join("sub"));
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).expect("a mode");
    std::fs::create_dir_all(&home).expect("a home");
    std::os::unix::fs::chown(&home, Some(NOBODY), Some(NOBODY)).expect("an owner");
    put(&ids, subordinate);
    tool("newuidmap", "uidmap");
    let mut command = tool("unshare", "util-linux");
    command.args(["--mount", "sh", "-c"]).arg(
        "mount --bind $0 /etc/subuid && mount --bind $0 /etc/subgid && \
         exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"",
    );
    command.arg(ids).arg(std::env::current_exe().expect("this program"));
    command
}

/// Starts a step, and kills it when a script of it sleeps.
fn kill_asleep(store: &Path, command: &mut Command) {
    let mut child = command.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let asleep = |work: PathBuf| {
        std::fs::read_to_string(work.join("log")).is_ok_and(|said| said.contains("now asleep"))
    };
    let waited = (0..1200).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        scratches(store)
            .into_iter()
            .flat_map(|scratch| std::fs::read_dir(scratch).into_iter().flatten())
            .flatten()
            .any(|work| asleep(work.path()))
    });
    assert!(waited, "the script never ran");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What is laid out as files in a store.
fn trees(store: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(store.join("trees")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// What processes work in, below a store.
fn scratches(store: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(store.join("tmp")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| !path.ends_with("partial")).collect()
}

/// Run by an ordinary user, the others are this one's half already, and there is no root to compare with.
#[apply(trial)]
fn an_ordinary_user_makes_the_same() {
    need_root();
    let (folder, debs) = busy();
    let more = owning(folder.path());
    let own = folder.path().join("store");
    let expect = install(&own, &root(&own, &debs).unwrap().0, "more", &more).unwrap();
    let mut command = ordinary_user(folder.path());
    command.arg(STEP).arg(folder.path().join("home/store")).args(&debs).arg("--").arg(&more);
    let printed = succeed(&mut command);
    assert_eq!(String::from_utf8_lossy(&printed).trim(), expect.to_string());
    // What stays there can be removed by its user without help, whoever owns it inside.
    let laid = trees(&folder.path().join("home/store")).remove(0);
    for entry in walkdir::WalkDir::new(laid) {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().uid(), NOBODY, "{}", entry.path().display());
    }
}

/// Full while packages are unpacked, and while a script writes.
#[apply(trial)]
fn a_full_disk() {
    let writes = "for n in {1..200}; do printf '%1000000s' >> /var/big; done";
    for (postinst, size) in [("true", "8m"), (writes, "100m")] {
        let (folder, debs) = with_postinst(postinst);
        let disk = folder.path().join("disk");
        std::fs::create_dir(&disk).unwrap();
        let mut command = tool("unshare", "util-linux");
        if !is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "sh", "-c"]);
        command.arg("mount -t tmpfs -o size=$0 disk \"$1\" && shift && exec \"$@\"").arg(size).arg(&disk);
        let output =
            run(command.arg(std::env::current_exe().unwrap()).arg(STEP).arg(disk.join("store")).args(&debs));
        assert_eq!(output.status.code(), Some(5), "{}", said(&output));
        assert!(said(&output).contains("No space left"), "{}", said(&output));
    }
}
