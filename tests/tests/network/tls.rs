//! TLS as the lock's second guard: a server that cannot prove who it is serves nothing, though its bytes are
//! pinned by digest anyway. Certificates and servers are OpenSSL's.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use builder::base::digest::Checksum;
use builder::base::progress::Silent;
use builder::base::tree::Contents;
use builder::base::{Class, Digest, Fault, Url};
use builder::fetch::{Client, FetchLimits, FetchRequest, Locations, fetch};
use builder::store::Store;
use tests::tools::{put, succeed, tool};

const BYTES: &str = "what the lock names";

/// A server of one file, until it is dropped.
struct Server {
    child: Child,
    port: String,
}

impl Server {
    /// Serves `thing` of the folder with the certificate `name`.
    fn start(folder: &Path, name: &str, options: &[&str]) -> Self {
        let mut server = tool("openssl", "openssl");
        server.args(["s_server", "-accept", "127.0.0.1:0", "-HTTP"]).args(options).current_dir(folder);
        server.args(["-cert", &format!("{name}.pem"), "-key", &format!("{name}.key")]);
        // It ends when its input does.
        server.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = server.spawn().expect("openssl starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let line = lines.find_map(|line| line.ok()?.strip_prefix("ACCEPT 127.0.0.1:").map(str::to_owned));
        Self { child, port: line.expect("openssl says where it listens") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An authority `ca`, and certificates by it for 127.0.0.1 and for somebody else, and one that is over.
fn certificates(folder: &Path) {
    let openssl = |words: &[&str]| drop(succeed(tool("openssl", "openssl").args(words).current_dir(folder)));
    let request = |name: &str, more: &[&str]| {
        let files = [format!("{name}.key"), format!("/CN={name}")];
        let words = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout"];
        openssl(&[&words, &[&*files[0], "-subj", &*files[1]][..], more].concat());
    };
    for name in ["ca", "stranger"] {
        let file = format!("{name}.pem");
        request(name, &["-x509", "-days", "2", "-out", &file, "-addext", "subjectAltName=IP:127.0.0.1"]);
    }
    for (name, host, days) in
        [("good", "IP:127.0.0.1", "2"), ("other", "IP:127.0.0.2", "2"), ("old", "IP:127.0.0.1", "-1")]
    {
        let [csr, pem, extensions] = ["csr", "pem", "ext"].map(|ending| format!("{name}.{ending}"));
        put(folder.join(&extensions), format!("subjectAltName={host}\nbasicConstraints=CA:FALSE\n"));
        request(name, &["-out", &csr]);
        let by = ["x509", "-req", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-in"];
        openssl(&[&by, &[&*csr, "-out", &*pem, "-days", days, "-extfile", &*extensions][..]].concat());
    }
}

/// Fetches the thing from the server; gives the fault, if there is one.
fn fetched(folder: &Path, server: &Server) -> Option<Fault> {
    let store = tempfile::tempdir().unwrap();
    let store = Store::open(&store.path().join("store")).unwrap();
    let wanted = FetchRequest {
        name: "thing".to_owned(),
        source: Locations::Urls(vec![Url::new(format!("https://127.0.0.1:{}/thing", server.port)).unwrap()]),
        size: Some(BYTES.len() as u64),
        checksum: Some(Checksum::Sha256(Digest::of(BYTES))),
        help: String::new(),
    };
    let limits = FetchLimits { tries: 1, stall: Duration::from_secs(20), ..FetchLimits::default() };
    let client = Client::new(limits, Some(&folder.join("ca.pem"))).unwrap();
    let summary = fetch(&store, &client, &[wanted], &Silent).unwrap();
    let kept = store.read(&Digest::of(BYTES)).is_ok();
    assert_eq!(kept, summary.missing.is_empty(), "{:?}", summary.missing);
    summary.missing.into_iter().next().map(|(_, fault)| fault)
}

#[test]
fn who_cannot_prove_who_it_is_serves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    certificates(folder);
    let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{BYTES}", BYTES.len());
    put(folder.join("thing"), head);
    for version in ["-tls1_2", "-tls1_3"] {
        let fault = fetched(folder, &Server::start(folder, "good", &[version]));
        assert!(fault.is_none(), "{version}: {fault:?}");
    }
    // OpenSSL speaks the old versions when it is told that nothing matters.
    let old = |version| [version, "-cipher", "ALL:@SECLEVEL=0"];
    for (what, name, options, part) in [
        ("a certificate that is over", "old", &[][..], "Expired"),
        ("somebody else's certificate", "other", &[], "invalid peer certificate"),
        ("a certificate by itself", "stranger", &[], "invalid peer certificate"),
        ("TLS 1.0", "good", &old("-tls1"), "rotocol"),
        ("TLS 1.1", "good", &old("-tls1_1"), "rotocol"),
    ] {
        let fault = fetched(folder, &Server::start(folder, name, options));
        let fault = fault.unwrap_or_else(|| panic!("{what} was good enough"));
        assert_eq!(fault.class(), Class::Remote, "{what}: {fault}");
        let causes = format!("{} {}", fault.what(), fault.causes().join(" "));
        assert!(causes.contains(part), "{what}: {causes}");
    }
}
