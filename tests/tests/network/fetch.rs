//! Fetching from places that fail, lie and stall: what comes out is the locked bytes or nothing.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use builder::base::digest::Checksum;
use builder::base::progress::Silent;
use builder::base::tree::Contents;
use builder::base::{Class, Digest, Fault, Url};
use builder::fetch::{Client, FetchLimits, FetchRequest, FetchSummary, Locations, fetch};
use builder::plan::Output;
use builder::store::Store;
use tempfile::TempDir;
use tests::server::{Answer, Request, Server};

/// A store, and what to fetch into it.
struct FetchTest {
    folder: TempDir,
    bytes: Vec<u8>,
    limits: FetchLimits,
}

impl FetchTest {
    fn new() -> Self {
        let bytes =
            (0..150_000u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 8).to_le_bytes()).collect();
        let limits = FetchLimits {
            stall: Duration::from_millis(600),
            rate: 10_000,
            window: Duration::from_millis(300),
            deadline: Duration::from_secs(20),
            tries: 3,
            pause: Duration::from_millis(2),
            bytes: 1 << 20,
        };
        Self { folder: tempfile::tempdir().unwrap(), bytes, limits }
    }

    fn root(&self) -> std::path::PathBuf {
        self.folder.path().join("store")
    }

    fn wanted(&self, urls: &[String]) -> FetchRequest {
        FetchRequest {
            name: "thing".to_owned(),
            source: Locations::Urls(urls.iter().map(|url| Url::new(url).unwrap()).collect()),
            size: Some(self.bytes.len() as u64),
            checksum: Some(Checksum::Sha256(Digest::of(&self.bytes))),
            help: "cargo xtask input add thing PATH --version 1".to_owned(),
        }
    }

    fn fetch(&self, wanted: &FetchRequest) -> FetchSummary {
        let store = Store::open(&self.root()).unwrap();
        let client = Client::new(self.limits.clone(), None).unwrap();
        fetch(&store, &client, std::slice::from_ref(wanted), &quiet()).unwrap()
    }

    /// The bytes must come, and nothing else may be left.
    fn succeeds(&self, wanted: &FetchRequest) -> FetchSummary {
        let summary = self.fetch(wanted);
        assert!(summary.missing.is_empty(), "{:?}", summary.missing);
        let store = Store::open(&self.root()).unwrap();
        assert_eq!(store.read(&Digest::of(&self.bytes)).unwrap(), self.bytes);
        drop(store);
        assert_eq!(files(&self.root()), ["blobs", "steps"], "nothing but the blob and its record");
        summary
    }

    /// The fault must be of this class, and nothing may be left; a cut download may be.
    fn fails(&self, wanted: &FetchRequest, class: Class) -> Fault {
        let summary = self.fetch(wanted);
        assert_eq!((summary.missing.len(), summary.fetched.len()), (1, 0), "{:?}", summary.fetched);
        let fault = summary.missing[0].1.clone();
        assert_eq!(fault.class(), class, "{fault}");
        assert_eq!(summary.gravest().map(Fault::class), Some(class));
        let left: Vec<String> =
            files(&self.root()).into_iter().filter(|name| name != "tmp/partial").collect();
        assert!(left.is_empty(), "{left:?}");
        if class == Class::Integrity {
            assert!(files(&self.root()).is_empty(), "wrong bytes are not kept for later");
        }
        fault
    }
}

fn quiet() -> Silent {
    Silent
}

/// The folders of a store in which there are files, once for each file; the lock file aside.
fn files(root: &Path) -> Vec<String> {
    let entries = walkdir::WalkDir::new(root).sort_by_file_name().into_iter().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| !entry.file_type().is_dir() && entry.path() != root.join("lock"));
    let folder =
        |path: &Path| path.parent().unwrap().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    files.map(|entry| folder(entry.path()).replace("blobs/sha256", "blobs")).collect()
}

fn serve(
    test: &FetchTest,
    answer: impl Fn(&Request, &[u8]) -> Answer + Send + Sync + 'static,
) -> (Server, FetchRequest) {
    let bytes = test.bytes.clone();
    let server = Server::answering(move |request| answer(request, &bytes));
    let wanted = test.wanted(&[server.url("/thing")]);
    (server, wanted)
}

#[test]
fn what_is_there_is_not_fetched_again() {
    let test = FetchTest::new();
    let (server, wanted) = serve(&test, Answer::file);
    let summary = test.succeeds(&wanted);
    assert_eq!((summary.fetched[0].bytes, summary.outputs.len()), (test.bytes.len() as u64, 1));
    assert_eq!(test.succeeds(&wanted).present, ["thing"]);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn any_length_may_be_unknown_and_sha512_will_do() {
    let test = FetchTest::new();
    let (_server, mut wanted) = serve(&test, |_, bytes| Answer::new(200, bytes).without_length());
    wanted.size = None;
    let sha512: Checksum = format!("sha512:{}", "0".repeat(128)).parse().unwrap();
    wanted.checksum = Some(sha512.same_kind(&test.bytes[..]).unwrap());
    test.succeeds(&wanted);
    assert_eq!(test.succeeds(&wanted).present.len(), 1);
}

#[test]
fn a_connection_cut_at_many_offsets_is_resumed() {
    let test = FetchTest::new();
    // 50 cuts, unevenly spread, some within the first bytes.
    let (server, wanted) = serve(&test, |request, bytes| match request.before {
        before if before < 50 => Answer::file(request, bytes).cut(before * before * 9 + 1),
        _ => Answer::file(request, bytes),
    });
    test.succeeds(&wanted);
    assert!(server.requests().len() > 40, "{}", server.requests().len());
}

#[test]
fn a_cut_download_is_resumed_by_the_next_fetch() {
    let test = FetchTest::new();
    let (_server, wanted) = serve(&test, |request, bytes| match request.before {
        0 => Answer::file(request, bytes).cut(70_000),
        1..=3 => Answer::new(503, "later"),
        _ => {
            assert!(request.range().is_some_and(|from| from > 0), "asks for the rest only");
            Answer::file(request, bytes)
        }
    });
    test.fails(&wanted, Class::Remote);
    assert_eq!(files(&test.root()), ["tmp/partial"]);
    test.succeeds(&wanted);
}

#[test]
fn a_server_that_cannot_resume_serves_all_again() {
    let test = FetchTest::new();
    let (_server, wanted) = serve(&test, |request, bytes| match request.before {
        0 => Answer::new(200, bytes).cut(70_000),
        _ => Answer::new(200, bytes),
    });
    test.succeeds(&wanted);
}

#[test]
fn parts_that_do_not_fit_together_are_fetched_anew() {
    let test = FetchTest::new();
    let (_server, wanted) = serve(&test, |request, bytes| match request.before {
        0 => Answer::new(200, vec![7; bytes.len()]).cut(70_000),
        _ => Answer::file(request, bytes),
    });
    test.succeeds(&wanted);
    // The part begins at another byte than the one asked for.
    let test = FetchTest::new();
    let (_server, wanted) = serve(&test, |request, bytes| match request.before {
        0 => Answer::new(200, bytes).cut(70_000),
        1 => Answer::new(206, &bytes[..1000]).header("Content-Range", format!("bytes 0-999/{}", bytes.len())),
        _ => Answer::file(request, bytes),
    });
    test.succeeds(&wanted);
}

#[test]
fn leftovers_of_another_time_do_no_harm() {
    let test = FetchTest::new();
    let (_server, wanted) = serve(&test, Answer::file);
    let name = wanted.checksum.unwrap().to_string().replace(':', "-");
    for junk in [vec![1; 1000], vec![1; test.bytes.len()], vec![1; test.bytes.len() + 1]] {
        drop(Store::open(&test.root()).unwrap());
        fs::write(test.root().join("tmp/partial").join(&name), junk).unwrap();
        test.succeeds(&wanted);
        fs::remove_dir_all(test.root()).unwrap();
    }
}

#[test]
fn wrong_bytes_are_refused() {
    let check = |answer: fn(&Request, &[u8]) -> Answer, part: &str| {
        let test = FetchTest::new();
        let (_server, wanted) = serve(&test, answer);
        let fault = test.fails(&wanted, Class::Integrity);
        assert!(fault.to_string().contains(part), "{fault}");
    };
    check(|_, bytes| Answer::new(200, &bytes[1..]), "wrong length");
    check(|_, bytes| Answer::new(200, [bytes, b"x"].concat()), "wrong length");
    check(|_, bytes| Answer::new(200, [bytes, b"x"].concat()).without_length(), "too long");
    check(|_, bytes| Answer::new(200, vec![0; bytes.len()]), "wrong bytes");
    check(
        |_, _| Answer::new(200, "<html>log in</html>").header("Content-Type", "text/html"),
        "captive portal",
    );
    check(|_, _| Answer::new(200, vec![0; 4096]).endless(), "too long");
}

#[test]
fn an_endless_body_of_unknown_length_ends() {
    let test = FetchTest::new();
    let (_server, mut wanted) = serve(&test, |_, _| Answer::new(200, vec![0; 4096]).endless());
    wanted.size = None;
    test.fails(&wanted, Class::Integrity);
}

#[test]
fn truncation_without_a_length_is_not_taken_for_the_end() {
    let test = FetchTest::new();
    let (_server, wanted) = serve(&test, |request, bytes| match request.range() {
        None => Answer::new(200, &bytes[..70_000]).without_length(),
        Some(_) => Answer::new(416, ""),
    });
    test.fails(&wanted, Class::Remote);
}

#[test]
fn what_is_gone_is_asked_for_once() {
    for status in [404, 410, 403, 401, 418] {
        let test = FetchTest::new();
        let (server, wanted) = serve(&test, move |_, _| Answer::new(status, "no"));
        let fault = test.fails(&wanted, Class::Remote);
        assert!(fault.to_string().contains(&status.to_string()), "{fault}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn what_fails_now_is_asked_for_again_but_not_for_ever() {
    let test = FetchTest::new();
    let (server, wanted) = serve(&test, |_, _| Answer::new(500, "oops"));
    test.fails(&wanted, Class::Remote);
    assert_eq!(server.requests().len(), 3);
    let (_server, wanted) = serve(&test, |request, bytes| match request.before {
        0 => Answer::new(429, "slowly"),
        1 => Answer::new(503, "soon"),
        _ => Answer::file(request, bytes),
    });
    test.succeeds(&wanted);
    // Nobody listens.
    let test = FetchTest::new();
    let gone = Server::answering(|_| Answer::new(200, "")).url("/thing");
    test.fails(&test.wanted(&[gone]), Class::Remote);
}

#[test]
fn a_slow_drip_is_given_up_and_another_mirror_continues() {
    let test = FetchTest::new();
    let (slow, mut wanted) = serve(&test, |_, bytes| Answer::new(200, bytes).drip(Duration::from_millis(5)));
    let begun = Instant::now();
    let fault = test.fails(&wanted, Class::Remote);
    assert!(fault.to_string().contains("too slow"), "{fault}");
    let (fast, _) = serve(&test, Answer::file);
    wanted.source =
        Locations::Urls([&slow, &fast].map(|server| Url::new(server.url("/thing")).unwrap()).into());
    let summary = test.succeeds(&wanted);
    assert_eq!(
        (summary.fetched[0].from.as_str(), summary.fetched[0].refused.len()),
        (&*fast.url("/thing"), 1)
    );
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn silence_is_given_up() {
    let test = FetchTest::new();
    let (_server, wanted) = serve(&test, |request, bytes| {
        // The head comes, and then nothing.
        Answer::file(request, bytes).drip(Duration::from_secs(3))
    });
    let begun = Instant::now();
    test.fails(&wanted, Class::Remote);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn redirects_are_followed_a_few_times_and_only_over_the_network() {
    let test = FetchTest::new();
    let secret = test.folder.path().join("secret");
    fs::write(&secret, &test.bytes).unwrap();
    let (_server, wanted) = serve(&test, |request, bytes| match request.path.as_str() {
        "/thing" => Answer::new(302, "").header("Location", "there"),
        _ => Answer::file(request, bytes),
    });
    test.succeeds(&wanted);
    let check = |location: String, part: &str| {
        let test = FetchTest::new();
        let (server, wanted) = serve(&test, move |_, _| Answer::new(301, "").header("Location", &*location));
        let fault = test.fails(&wanted, Class::Remote);
        assert!(fault.to_string().contains(part), "{fault}");
        server.requests().len()
    };
    assert_eq!(check(format!("file://{}", secret.display()), "file of this machine"), 1);
    assert_eq!(check("/thing".to_owned(), "more than 5 times"), 6);
    check("gopher://a/".to_owned(), "no address");
    check("/%0d%0aX:y".to_owned(), "no address");
}

#[test]
fn mirrors_are_asked_in_order_and_each_is_verified() {
    let test = FetchTest::new();
    let (good, mut wanted) = serve(&test, Answer::file);
    let (gone, _) = serve(&test, |_, _| Answer::new(404, ""));
    let (lies, _) = serve(&test, |_, bytes| Answer::new(200, vec![9; bytes.len()]));
    let (lies_again, _) = serve(&test, |_, _| Answer::new(200, "<html>").header("Content-Type", "text/html"));
    let places = |servers: &[&Server]| {
        Locations::Urls(servers.iter().map(|server| Url::new(server.url("/thing")).unwrap()).collect())
    };
    wanted.source = places(&[&gone, &lies, &good, &lies_again]);
    let summary = test.succeeds(&wanted);
    let classes: Vec<Class> = summary.fetched[0].refused.iter().map(Fault::class).collect();
    assert_eq!(classes, [Class::Remote, Class::Integrity]);
    assert!(lies_again.requests().is_empty());
    let test = FetchTest::new();
    wanted.source = places(&[&gone, &lies, &lies_again]);
    test.fails(&wanted, Class::Integrity);
}

#[test]
fn a_file_on_this_machine_is_a_place_too() {
    let test = FetchTest::new();
    let place = test.folder.path().join("a mirror");
    let wanted = test.wanted(&[format!("file://{}", place.display()).replace(' ', "%20")]);
    test.fails(&wanted, Class::Remote);
    fs::write(&place, "wrong").unwrap();
    test.fails(&wanted, Class::Remote);
    fs::write(&place, vec![0; test.bytes.len()]).unwrap();
    test.fails(&wanted, Class::Integrity);
    fs::write(&place, &test.bytes).unwrap();
    test.succeeds(&wanted);
}

#[test]
fn what_the_operator_must_provide_is_named_and_fails_nothing() {
    let test = FetchTest::new();
    let mut wanted = test.wanted(&[]);
    (wanted.source, wanted.checksum) = (Locations::Provided, None);
    let summary = test.fetch(&wanted);
    assert_eq!(summary.missing[0].1.help_text(), Some(&*wanted.help));
    assert!(summary.gravest().is_none());
}

#[test]
fn many_are_fetched_at_once_and_listed_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::answering(|request| match request.path.as_str() {
        "/7" => Answer::new(404, ""),
        path => Answer::new(200, path.as_bytes()),
    });
    let name = |n: usize| format!("/{n}");
    let wanted: Vec<FetchRequest> = (0..30)
        .map(|n| FetchRequest {
            name: name(n),
            source: Locations::Urls(vec![Url::new(server.url(&name(n))).unwrap()]),
            size: None,
            checksum: Some(Checksum::Sha256(Digest::of(name(n)))),
            help: String::new(),
        })
        .collect();
    let store = Store::open(folder.path()).unwrap();
    let client = Client::new(FetchTest::new().limits, None).unwrap();
    let summary = fetch(&store, &client, &wanted, &quiet()).unwrap();
    let fetched: Vec<&str> = summary.fetched.iter().map(|fetched| fetched.name.as_str()).collect();
    assert_eq!(fetched, (0..30).filter(|n| *n != 7).map(name).collect::<Vec<_>>());
    assert_eq!(summary.missing[0].0, "/7");
    assert!(summary.outputs.iter().all(|output| matches!(output, Output::Blob { .. })));
}
