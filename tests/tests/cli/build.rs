//! Whole builds through the program, disturbed: killed at random, two at once, a full disk, a flipped bit.
//! What comes out in the end is what an undisturbed build makes, and nothing else is left lying about.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tests::checkout;
use tests::cli::{TestCheckout, program, state_of};
use tests::tools::{run, said, succeed, tool};

/// What an undisturbed build makes, by path below `dist` and below the store.
struct Baseline {
    dist: BTreeMap<PathBuf, String>,
    store: BTreeSet<PathBuf>,
    time: Duration,
}

static BASELINE: LazyLock<Baseline> = LazyLock::new(|| {
    let checkout = TestCheckout::with_program();
    let start = Instant::now();
    checkout.succeeds(&["build", "master"]);
    Baseline { time: start.elapsed(), dist: dist_of(&checkout.root()), store: stored(&checkout) }
});

/// `dist` of a checkout, by path below it: nothing but what was exported may be there.
fn dist_of(checkout: &Path) -> BTreeMap<PathBuf, String> {
    let dist = checkout.join("dist");
    let below = |path: PathBuf| path.strip_prefix(&dist).expect("below dist").to_owned();
    state_of(&dist, Path::new("")).into_iter().map(|(path, what)| (below(path), what)).collect()
}

/// The files of a store by name, but for the roots, which are named by where `dist` is.
fn stored(checkout: &TestCheckout) -> BTreeSet<PathBuf> {
    let store = checkout.store();
    let files = state_of(&store, &store.join("roots")).into_keys().filter(|path| path.is_file());
    files.map(|path| path.strip_prefix(&store).expect("below the store").to_owned()).collect()
}

/// The checkout is as if nothing had happened, and the store is sound.
fn assert_untouched(checkout: &TestCheckout, what: &str) {
    assert_eq!(dist_of(&checkout.root()), BASELINE.dist, "{what}: dist");
    assert_eq!(stored(checkout), BASELINE.store, "{what}: the store");
    assert_sound(checkout, what);
}

/// The store is what it says. A child that a killed builder was about to start holds the store a moment
/// longer, until it has become the other program.
fn assert_sound(checkout: &TestCheckout, what: &str) {
    let start = Instant::now();
    loop {
        let output = checkout.run(&["verify"]);
        if output.status.success() {
            assert!(said(&output).ends_with(" 0 damaged or missing\n"), "{what}: {}", said(&output));
            return;
        }
        let waits = said(&output).contains("is in use") && start.elapsed() < Duration::from_secs(10);
        assert!(waits, "{what}: {}", said(&output));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Numbers that look random, from a seed that a failing test names (Vigna's SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)) % limit.max(1)
    }
}

/// Starts a build, kills it after `pause`, and says whether it was killed in time.
fn killed(mut build: Command, pause: Duration) -> bool {
    let mut child = build.spawn().expect("the program starts");
    std::thread::sleep(pause);
    child.kill().expect("a child can be killed");
    !child.wait().expect("a child ends").success()
}

#[test]
fn killed_at_random_and_built_again() {
    let seed = std::env::var("HALE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("HALE_SEED={seed} repeats this run");
    let (mut dice, mut kills) = (Dice(seed), 0);
    let limit = BASELINE.time.as_micros() as u64;
    for round in 0..6 {
        let checkout = TestCheckout::with_program();
        for _ in 0..4 {
            let pause = Duration::from_micros(dice.below(limit));
            let mut build = checkout.command(&["build", "master"]);
            build.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            kills += u32::from(killed(build, pause));
            // At no time is there half a bundle, and what the store names is right.
            assert_sound(&checkout, &format!("HALE_SEED={seed}, round {round}"));
            let bundle = checkout.root().join("dist/master");
            if bundle.exists() {
                let mut sums = tool("sha256sum", "coreutils");
                succeed(sums.args(["--check", "--strict", "--quiet", "SHA256SUMS"]).current_dir(bundle));
            }
        }
        checkout.succeeds(&["build", "master"]);
        assert_untouched(&checkout, &format!("HALE_SEED={seed}, round {round}"));
    }
    assert!(kills >= 8, "HALE_SEED={seed}: only {kills} of 24 builds were killed in time");
}

/// The same with the compiler's part in it: the project's own checkout, whose `hale` cargo has compiled.
#[test]
fn killed_while_the_program_is_packed() {
    let checkout = TestCheckout::new();
    let dist = checkout.root().join("dist");
    let build = || {
        let mut build = checkout.command(&["build", "master", "--dist"]);
        build.arg(&dist).env("HALE_ROOT", checkout::top());
        build
    };
    let mut kills = 0;
    for pause in [20, 150, 400] {
        kills += u32::from(killed(build(), Duration::from_millis(pause)));
        assert_sound(&checkout, &format!("after {pause} ms"));
    }
    assert!(kills > 0, "the build is too fast to be killed");
    succeed(&mut build());
    // A checkout that was handed something makes other packages.
    let local = fs::read_dir(checkout::top().join("recipes/lines")).expect("lines");
    let handed = local.flatten().any(|entry| entry.file_name().to_string_lossy().ends_with(".local.lock"));
    assert!(!handed, "the checkout has a .local.lock: cargo xtask input remove what it names");
    assert_untouched(&checkout, "the project's own checkout");
}

#[test]
fn several_builders_at_once() {
    for round in 0..4 {
        let checkout = TestCheckout::with_program();
        let mut children = Vec::new();
        for _ in 0..3 {
            let mut build = checkout.command(&["build", "master"]);
            build.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
            children.push(build.spawn().expect("the program starts"));
        }
        for child in children {
            let output = child.wait_with_output().expect("a builder ends");
            assert!(output.status.success(), "round {round}: {}", said(&output));
        }
        assert_untouched(&checkout, &format!("round {round}"));
    }
}

/// Builds with the store, then with `dist`, on a disk that is too small, and then makes it larger. Each run
/// prints its exit code.
const FULL: &str = r#"
set -u
build() { "$PROGRAM" "$@" build master --dist "$DIST"; echo "code $?"; }
mount -t tmpfs -o size=$1,mode=0755 none "$2" && cp -a "$2.before/." "$2" || exit 1
build
ls -A "$DIST" | sed 's/^/there: /'
mount -o remount,size=64m "$2" || exit 1
build
"$PROGRAM" verify; echo "code $?"
mkdir "$2.after" && cp -a "$2/." "$2.after"
"#;

/// What such a run said. `small` is the folder that lies on the small disk.
fn on_a_full_disk(checkout: &TestCheckout, size: &str, small: &Path, dist: &Path) -> String {
    let before = small.with_file_name(format!("{}.before", small.file_name().unwrap().to_string_lossy()));
    fs::create_dir_all(small.parent().expect("a folder")).expect("a folder can be made");
    match fs::rename(small, &before) {
        Ok(()) => {}
        Err(_) => fs::create_dir(&before).expect("a folder can be made"),
    }
    fs::create_dir(small).expect("a folder can be made");
    let mut shell = tool("unshare", "util-linux");
    shell.envs(checkout.command(&[]).get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.env("PROGRAM", program()).env("DIST", dist);
    shell.args(["--user", "--map-root-user", "--mount", "sh", "-c", FULL, "sh", size]).arg(small);
    let output = run(&mut shell);
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

#[test]
fn a_full_disk_stops_a_build_and_loses_nothing() {
    // Enough for `hale`, not for all that is made of it.
    let checkout = TestCheckout::with_program();
    let said = on_a_full_disk(&checkout, "2500k", &checkout.store(), &checkout.root().join("dist"));
    assert!(said.contains("No space left on device"), "{said}");
    assert!(said.contains("help: free some space, or run `cargo xtask gc`"), "{said}");
    let codes: Vec<_> = said.lines().filter(|line| line.starts_with("code ")).collect();
    assert_eq!(codes, ["code 5", "code 0", "code 0"], "{said}");
    assert!(!said.contains("there: "), "half a bundle: {said}");
    assert_eq!(dist_of(&checkout.root()), BASELINE.dist);
}

#[test]
fn a_full_disk_leaves_the_last_bundle_where_it_was() {
    let checkout = TestCheckout::with_program();
    let dist = checkout.path("disk/dist");
    checkout.succeeds(&["build", "master", "--dist", dist.to_str().expect("UTF-8")]);
    checkout.edit("overlays/common.toml", "that every machine", "which every machine");
    // Room for what is there, in pages of 4 KiB, and for little more: files that stay are linked.
    let files = state_of(&dist, Path::new("")).into_keys().filter_map(|path| fs::metadata(path).ok());
    let pages: u64 = files.filter(|found| found.is_file()).map(|found| found.len().div_ceil(4096)).sum();
    let said = on_a_full_disk(&checkout, &format!("{}k", pages * 4 + 40), &checkout.path("disk"), &dist);
    assert!(said.contains("No space left on device"), "{said}");
    assert!(said.contains("help: free some space, or run `cargo xtask gc`"), "{said}");
    let codes: Vec<_> = said.lines().filter(|line| line.starts_with("code ")).collect();
    assert_eq!(codes, ["code 5", "code 0", "code 0"], "{said}");
    assert_eq!(
        said.lines().filter(|line| line.starts_with("there: ")).collect::<Vec<_>>(),
        ["there: master"]
    );
}

/// Every file that a build reads or makes, spoilt in one bit, one after another: the build that meets it stops
/// with 4, or does not need it; `verify` finds it; and the next build mends it.
#[test]
fn a_flipped_bit_in_the_store_is_found_and_mended() {
    let checkout = TestCheckout::with_program();
    checkout.succeeds(&["build", "master"]);
    let blobs = checkout.store().join("blobs/sha256");
    let mut names: Vec<_> = fs::read_dir(&blobs).expect("blobs").map(|entry| entry.unwrap().path()).collect();
    names.sort();
    // `hale` itself would have to be compiled again.
    names.retain(|path| !is_the_program(path));
    let (mut dice, mut stopped) = (Dice(17), 0);
    // What goes into the bundle must be met; a part of the rest may be.
    let name = |path: &Path| path.file_name().expect("a name").to_str().expect("UTF-8").to_owned();
    let exported = |path: &Path| BASELINE.dist.values().any(|what| what.contains(&name(path)));
    let (met, others): (Vec<_>, Vec<_>) = names.iter().partition(|path| exported(path));
    for path in met.iter().step_by(2).chain(others.iter().step_by(4)) {
        let mut bytes = fs::read(path).expect("a blob");
        let at = dice.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << dice.below(8);
        fs::remove_file(path).expect("a blob can be removed");
        fs::write(path, bytes).expect("a blob can be written");
        let dist = checkout.root().join("dist");
        fs::remove_dir_all(&dist).expect("dist can be removed");
        let output = checkout.run(&["build", "master"]);
        match output.status.code() {
            Some(0) if !exported(path) => {
                assert_eq!(
                    dist_of(&checkout.root()),
                    BASELINE.dist,
                    "{}: wrong bytes got out",
                    path.display()
                );
            }
            Some(4) => {
                assert!(!dist.join("master").exists(), "{}: half a bundle", path.display());
                assert!(said(&output).contains("cargo xtask verify"), "{}", said(&output));
                stopped += 1;
            }
            _ => panic!("{}: {}", path.display(), said(&output)),
        }
        let found = checkout.refuses(&["verify"], 4);
        assert!(found.contains(&name(path)), "{found}");
        checkout.succeeds(&["build", "master"]);
        assert_eq!(dist_of(&checkout.root()), BASELINE.dist, "{}: not mended", path.display());
        assert!(checkout.succeeds(&["verify"]).ends_with(" 0 damaged or missing\n"), "{}", path.display());
    }
    assert!(stopped > 3, "only {stopped} builds met the bit");
}

/// Whether a blob is the package that the compiler made.
fn is_the_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.len() > 1 << 20)
        && fs::read(path).unwrap().starts_with(b"!<arch>")
}
