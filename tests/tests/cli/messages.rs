//! The program as a person meets it: what it says when something is wrong, with which exit code, and that it
//! then leaves everything as it was.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use tests::cli::{TestCheckout, program};
use tests::server::{Reply, Server};
use tests::tools::{put, run, said, tool};

const LOCK: &str = "recipes/lines/1.17.lock";
const LINE: &str = "recipes/lines/1.17.toml";

/// The program refuses with this code, says what the snapshot `name` holds, and changes nothing there.
#[track_caller]
fn refuses(checkout: &TestCheckout, name: &str, words: &[&str], code: i32) {
    let before = checkout.state();
    let text = without_digests(&checkout.refuses(words, code));
    assert!(checkout.state() == before, "{name}: {words:?} changed something");
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| {
        insta::assert_snapshot!(
            name,
            format!("$ cargo xtask {}\n{}\nexit {code}", words.join(" "), text.trim_end())
        );
    });
}

/// Digests change with every recipe; that they are there is enough.
fn without_digests(text: &str) -> String {
    let mut parts = text.split("sha256:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + "sha256:…" + part.trim_start_matches(|c: char| c.is_ascii_hexdigit())
    })
}

#[test]
fn words_that_mean_nothing() {
    let checkout = TestCheckout::new();
    for (name, words) in [
        ("unknown-verb", &["biuld"][..]),
        ("no-role", &["build"]),
        ("unknown-role", &["build", "gateway"]),
        ("unknown-line", &["build", "master", "--line", "9.99"]),
        ("no-line-name", &["lint", "../1.17"]),
        ("unknown-step", &["why", "master", "nothing"]),
        ("unknown-shell", &["completions", "klingon"]),
        ("unknown-component", &["input", "add", "kubeletz", "x", "--version", "1.17.17"]),
        ("no-version", &["input", "add", "kubelet", "x", "--version", "1:x_"]),
        ("no-file", &["input", "add", "kubelet", "nowhere", "--version", "1.17.17"]),
        ("nothing-to-remove", &["input", "remove", "kubelet"]),
        ("no-jobs", &["build", "master", "--jobs", "0"]),
    ] {
        refuses(&checkout, name, words, 2);
    }
}

#[test]
fn what_must_be_there_first() {
    let checkout = TestCheckout::new();
    refuses(&checkout, "no-key", &["repo"], 2);
    refuses(&checkout, "no-key-to-show", &["key", "show"], 2);
    refuses(&checkout, "key-in-the-checkout", &["key", "new", "--key", "checkout/key.asc"], 2);
    checkout.succeeds(&["key", "new"]);
    refuses(&checkout, "a-key-already", &["key", "new"], 2);
    refuses(&checkout, "no-bundles", &["repo"], 2);
    refuses(&checkout, "no-bundles-to-compare", &["diff", "dist/master", "dist/node"], 2);
    let key = checkout.path("home/.config/hale/repository-key.asc");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    refuses(&checkout, "a-key-that-others-can-read", &["repo"], 2);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    put(checkout.path("suites.list"), "deb http://127.0.0.1:9/debian another main\n");
    refuses(&checkout, "no-mirror-of-the-suite", &["fetch", "--sources", "suites.list"], 2);
    put(checkout.path("suites.list"), "deb http://127.0.0.1:9/debian\n");
    refuses(&checkout, "a-line-that-is-no-source", &["fetch", "--sources", "suites.list"], 2);
}

#[test]
fn no_lock_or_a_stale_one() {
    let checkout = TestCheckout::new();
    checkout.succeeds(&["key", "new"]);
    checkout.edit(LINE, "[pins.kubeadm]\nversion = \"1.17.17\"", "[pins.kubeadm]\nversion = \"1.17.16\"");
    refuses(&checkout, "stale-lock", &["build", "master"], 2);
    for words in
        [&["plan", "master"][..], &["fetch"], &["repo"], &["build", "components"], &["why", "node", "image"]]
    {
        let text = checkout.refuses(words, 2);
        assert!(text.contains("the lock is stale") && text.contains("help: cargo xtask lock 1.17"), "{text}");
    }
    fs::remove_file(checkout.root().join(LOCK)).unwrap();
    refuses(&checkout, "no-lock", &["build", "master"], 2);
    for words in [&["plan", "master"][..], &["fetch"], &["repo"], &["lock", "--update", "conmon"]] {
        let text = checkout.refuses(words, 2);
        assert!(text.contains("lock") && text.contains("help: cargo xtask lock 1.17"), "{text}");
    }
}

/// Any digit of the lock: every verb that reads it refuses, names the line, and says what mends it.
#[test]
fn a_lock_edited_by_one_digit() {
    let checkout = TestCheckout::new();
    checkout.succeeds(&["key", "new"]);
    let path = checkout.root().join(LOCK);
    let lock = fs::read_to_string(&path).unwrap();
    let digits: Vec<usize> = lock.match_indices(|c: char| c.is_ascii_digit()).map(|(at, _)| at).collect();
    let spread = digits.iter().step_by(digits.len() / 12);
    for (count, at) in digits[..2].iter().chain(spread).enumerate() {
        let mut edited = lock.clone().into_bytes();
        edited[*at] = b'0' + (edited[*at] - b'0' + 1) % 10;
        fs::write(&path, edited).unwrap();
        let before = checkout.state();
        for words in [&["build", "master"][..], &["fetch"], &["lint"], &["plan", "node"], &["repo"]] {
            // A text that is no lock of ours is the user's fault; one that is another lock is a broken seal.
            let output = checkout.run(words);
            let text = said(&output);
            assert!(matches!(output.status.code(), Some(2 | 4)), "digit {count}: {words:?}: {text}");
            assert!(
                text.contains(LOCK) && text.contains("cargo xtask lock"),
                "digit {count}: {words:?}: {text}"
            );
        }
        assert!(checkout.state() == before, "digit {count}: something was changed");
    }
    fs::write(&path, &lock).unwrap();
    let at = lock.find("size = ").unwrap() + "size = ".len();
    let digit = if lock[at..].starts_with('1') { "2" } else { "1" };
    fs::write(&path, format!("{}{digit}{}", &lock[..at], &lock[at + 1..])).unwrap();
    refuses(&checkout, "edited-lock", &["build", "master"], 4);
    fs::write(&path, &lock).unwrap();
    checkout.succeeds(&["lint"]);
}

/// Recipes and overlays with a mistake in them: file, line and caret, and what would be right.
#[test]
fn mistakes_in_the_checkout() {
    for (name, file, old, new, words) in [
        ("misspelt-site-key", "recipes/site.toml", "name = ", "nmae = ", &["build", "master"][..]),
        (
            "misspelt-overlay-key",
            "overlays/common/etc/containers/storage.conf",
            "remap-uids",
            "remap-uid",
            &["lint"],
        ),
        ("misspelt-line-key", LINE, "revision = 1", "revisoin = 1", &["lint"]),
        ("torn-recipe", "recipes/roles/master.toml", "components = [", "components = ", &["plan", "master"]),
        (
            "role-of-unknown-components",
            "recipes/roles/node.toml",
            "\"kubelet\"",
            "\"kublet\"",
            &["build", "node"],
        ),
    ] {
        let checkout = TestCheckout::new();
        checkout.edit(file, old, new);
        refuses(&checkout, name, words, 2);
    }
}

#[test]
fn places_that_are_none() {
    let checkout = TestCheckout::new();
    let nothing = checkout.path("nothing");
    fs::create_dir(&nothing).unwrap();
    let output = run(checkout.command(&["build", "master"]).env("HALE_ROOT", &nothing));
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("is no checkout of Hale: it has no recipes/"), "{}", said(&output));
    assert!(said(&output).contains("name it with --project"), "{}", said(&output));
    assert_eq!(fs::read_dir(&nothing).unwrap().count(), 0);

    symlink(&nothing, checkout.path("link")).unwrap();
    put(checkout.path("file"), "");
    fs::create_dir(checkout.path("open")).unwrap();
    fs::set_permissions(checkout.path("open"), fs::Permissions::from_mode(0o777)).unwrap();
    for (name, store) in [
        ("store-below-a-file", "/dev/null/store"),
        ("store-is-a-file", "file"),
        ("store-is-a-link", "link"),
        ("store-open-to-everybody", "open"),
    ] {
        refuses(&checkout, name, &["build", "master", "--store", store], 5);
    }
}

/// A disk that cannot be written to, for the store.
#[test]
fn a_read_only_place() {
    let checkout = TestCheckout::new();
    fs::create_dir(checkout.path("disk")).unwrap();
    let script = "mount -t tmpfs -o ro none \"$1\" && exec \"$0\" --store \"$1/store\" build master";
    let mut shell = tool("unshare", "util-linux");
    shell.envs(checkout.command(&[]).get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(program())
        .arg(checkout.path("disk"));
    let output = run(&mut shell);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(said(&output).contains("Read-only file system"), "{}", said(&output));
    assert!(said(&output).contains("--store or HALE_STORE"), "{}", said(&output));
}

/// Mirrors that are not there, or that serve something else.
#[test]
fn mirrors_that_misbehave() {
    let checkout = TestCheckout::new();
    let server = Server::start();
    let suites = "bookworm bookworm-updates bookworm-security";
    let sources = |uri: &str| {
        let uri = uri.trim_end_matches('/');
        put(
            checkout.path("apt.sources"),
            format!("Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\n"),
        );
    };
    let refused = |words: &[&str], code: i32, part: &str| {
        let before = checkout.state();
        let text = checkout.refuses(&[words, &["--sources", "apt.sources"]].concat(), code);
        assert!(text.contains(part), "{part:?} in {text}");
        assert!(checkout.state() == before, "{words:?} changed something");
    };
    // Nobody listens on the port of discard (RFC 863).
    sources("http://127.0.0.1:9/debian");
    refused(&["lock"], 3, "cannot reach");
    sources(&server.url("/debian"));
    refused(&["lock"], 3, "is gone");
    for suite in suites.split(' ') {
        server.put(&format!("/debian/dists/{suite}/InRelease"), Reply::Html);
    }
    refused(&["lock"], 3, "no InRelease file");

    let lock = fs::read_to_string(checkout.root().join(LOCK)).unwrap();
    let package = lock.split("[[package]]").find(|entry| entry.contains("name = \"conmon\"")).unwrap();
    let path = package.split("path = \"").nth(1).unwrap().split('"').next().unwrap();
    let size = package.split("size = ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
    let only = ["fetch", "--only", "conmon"];
    refused(&only, 3, "cargo xtask lock 1.17 --update conmon");
    server.put(&format!("/debian/{path}"), Reply::Body(vec![0; size]));
    refused(&only, 4, "MISSING: conmon");
    server.put(&format!("/debian/{path}"), Reply::Body(vec![0; size / 2]));
    refused(&only, 4, "MISSING: conmon");
    let blobs = fs::read_dir(checkout.store().join("blobs/sha256")).unwrap().count();
    assert_eq!(blobs, 0, "something wrong was kept");
}
