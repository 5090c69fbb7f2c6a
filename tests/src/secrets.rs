//! What no image may hold: keys, seeds, passwords, a way in for anybody, the builder's paths.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use builder::base::tree::{Contents, Kind, Tree};
use builder::store::Store;
use memchr::memmem;

/// Bytes read at a time, and how much of the last piece is looked at again with the next.
const PIECE: usize = 1 << 20;
const OVERLAP: usize = 4096;

/// How every private key's first line ends.
const MARK: &[u8] = b"PRIVATE KEY-----\n";

/// Paths of a root that must not be there, or must be empty, by how they begin.
const FORBIDDEN: [&str; 12] = [
    "etc/hale/",
    "etc/ssh/authorized_keys",
    "etc/ssh/hale-operator",
    "etc/ssh/ssh_host_",
    "etc/ssh/sshd_config.d/",
    "etc/sudoers.d/hale",
    "home/",
    "etc/ssl/private/",
    "root/.ssh/",
    "var/lib/systemd/credential.secret",
    "var/lib/systemd/random-seed",
    "var/lib/hale/",
];

/// Everything in a root tree that is a secret by its place, or lets somebody in: keys, seeds, an id, a password, a person,
/// SSH that is started.
pub fn in_tree(store: &Store, tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (path, node) in tree.iter() {
        let path = path.as_str();
        if let Kind::Symlink { target } = &node.kind {
            let starts = path.starts_with("etc/systemd/system/") && path.contains(".wants/ssh");
            found.extend((starts && target != "/dev/null").then(|| format!("SSH is started by {path}")));
        }
        let Kind::File { content, size } = &node.kind else { continue };
        if path == "etc/passwd" {
            let text = String::from_utf8(store.read(content).expect("the file is in the store"));
            let text = text.expect("/etc/passwd is text");
            // Those of people (Debian Policy 9.2.2).
            let is_person = |line: &&str| {
                line.split(':')
                    .nth(2)
                    .and_then(|id| id.parse::<u32>().ok())
                    .is_some_and(|id| (1000..60_000).contains(&id))
            };
            found.extend(text.lines().filter(is_person).map(|line| format!("a person in {path}: {line}")));
        }
        if FORBIDDEN.iter().any(|begin| path.starts_with(begin)) || path == "etc/machine-id" && *size > 0 {
            found.push(path.to_owned());
        }
        if path == "etc/shadow" {
            let text = store.read(content).expect("the file is in the store");
            let text = String::from_utf8(text).expect("/etc/shadow is text");
            let hashed =
                text.lines().filter(|line| line.split(':').nth(1).is_some_and(|hash| hash.len() > 2));
            found.extend(hashed.map(|line| format!("a password in {path}: {line}")));
        }
    }
    found
}

/// Everything in a file's bytes, holes and unused blocks included, that is a private key in PEM's form
/// (RFC 7468) and none of the `public` ones, or one of `words`.
pub fn in_bytes(file: &Path, words: &[&[u8]], public: &[Vec<u8>]) -> Vec<String> {
    let mut source = File::open(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let (mut buffer, mut kept, mut at, mut found) = (vec![0; OVERLAP + PIECE], 0, 0, Vec::new());
    loop {
        let count = source.read(&mut buffer[kept..]).expect("the file can be read");
        let piece = &buffer[..kept + count];
        for (offset, what) in secrets(piece, words, public) {
            // What begins in the overlap was found with the piece before.
            if offset + OVERLAP >= kept || at == 0 {
                found.push(format!("{what} at byte {}", at + offset));
            }
        }
        if count == 0 {
            found.dedup();
            return found;
        }
        let rest = piece.len().saturating_sub(OVERLAP);
        at += rest;
        kept = piece.len() - rest;
        buffer.copy_within(rest..rest + kept, 0);
    }
}

fn secrets(piece: &[u8], words: &[&[u8]], public: &[Vec<u8>]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for word in words {
        found.extend(
            memmem::find_iter(piece, word).map(|at| (at, String::from_utf8_lossy(word).into_owned())),
        );
    }
    for at in memmem::find_iter(piece, MARK) {
        // A program that knows the words has no key: only text of base64 after them is one.
        let body = &piece[at + MARK.len()..];
        let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
        if body.len() >= 32 && body[..32].iter().all(base64) && !public.iter().any(|key| key == &body[..32]) {
            found.push((at, format!("the private key {}", String::from_utf8_lossy(&body[..32]))));
        }
    }
    found
}

/// How the keys that GnuTLS tries itself with begin: everybody who has the library has them.
pub fn published(store: &Store, tree: &Tree) -> Vec<Vec<u8>> {
    let library = |path: &str| path.starts_with("usr/lib/") && path.contains("/libgnutls.so.");
    let contents = tree.iter().filter_map(|(path, node)| match &node.kind {
        Kind::File { content, .. } if library(path.as_str()) => Some(content),
        _ => None,
    });
    contents.flat_map(|content| keys(&store.read(content).expect("the file is in the store"))).collect()
}

/// The first letters of each key's body.
fn keys(bytes: &[u8]) -> Vec<Vec<u8>> {
    let found = secrets(bytes, &[], &[]).into_iter();
    found.map(|(at, _)| bytes[at + MARK.len()..][..32].to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use builder::base::tree::{Memory, TreePath};

    use super::*;

    /// Every kind of secret is found by its place, and what only looks like one is not.
    #[test]
    fn a_secret_is_known_by_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let (mut tree, mut contents) = (Tree::new(), Memory::default());
        let mut put = |path: &str, text: &str| {
            let node = contents.file(text, 0o600);
            tree.insert(TreePath::new(path).unwrap(), node).unwrap();
            store.put_bytes(text.as_bytes()).unwrap();
        };
        let secrets = [
            "etc/hale/operator.conf",
            "etc/machine-id",
            "etc/ssh/hale-operator.keys",
            "etc/ssh/ssh_host_rsa_key",
            "etc/ssh/sshd_config.d/10-hale.conf",
            "etc/ssl/private/ssl-cert.key",
            "etc/sudoers.d/hale-operator",
            "home/ann/.ssh/authorized_keys",
            "root/.ssh/authorized_keys",
            "var/lib/hale/identity",
            "var/lib/systemd/credential.secret",
            "var/lib/systemd/random-seed",
        ];
        for path in secrets {
            put(path, "x");
        }
        put(
            "etc/passwd",
            "root:x:0:0::/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/bash\nk8s:x:10000000:10000000::/:\n",
        );
        put("etc/shadow", "root:*:1::::::\nann:!:1::::::\nbob:$y$hash:1::::::\n");
        for path in ["etc/ssh/sshd_config", "usr/lib/hale/role.toml", "etc/ssl/certs/ca.pem"] {
            put(path, "x");
        }
        let mut found = in_tree(&store, &tree);
        let password = found.iter().position(|what| what.starts_with("a password in etc/shadow: bob:"));
        found.remove(password.expect("the password"));
        let person = found.iter().position(|what| what.starts_with("a person in etc/passwd: ann:"));
        found.remove(person.expect("the person"));
        assert_eq!(found, secrets);
        for (target, expect) in [("/lib/systemd/system/ssh.service", 1), ("/dev/null", 0)] {
            let mut started = Tree::new();
            let path = TreePath::new("etc/systemd/system/multi-user.target.wants/ssh.service").unwrap();
            started.insert(path, builder::base::tree::Node::symlink(target)).unwrap();
            assert_eq!(in_tree(&store, &started).len(), expect, "{target}");
        }
        let mut clean = Tree::new();
        clean.insert(TreePath::new("etc/machine-id").unwrap(), contents.file("", 0o444)).unwrap();
        assert_eq!(in_tree(&store, &clean), Vec::<String>::new());
    }

    /// A canary is found wherever it lies, also across two pieces, and words about keys are no keys.
    #[test]
    fn a_planted_canary_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let key = format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n", "b3BlbnNzaC1rZXk".repeat(4));
        for at in [0, 10, PIECE - 20, PIECE + OVERLAP - 20, PIECE * 2 - 1] {
            let mut bytes = vec![0; PIECE * 3];
            bytes[at..at + key.len()].copy_from_slice(key.as_bytes());
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(in_bytes(&path, &[], &[]).len(), 1, "at {at}");
            assert!(in_bytes(&path, &[b"BEGIN OPENSSH"], &[]).len() >= 2, "at {at}");
        }
        std::fs::write(&path, "-----BEGIN PRIVATE KEY-----\n%s\nand more").unwrap();
        assert!(in_bytes(&path, &[b"canary"], &[]).is_empty());
        let public = keys(key.as_bytes());
        std::fs::write(&path, &key).unwrap();
        assert_eq!((public.len(), in_bytes(&path, &[], &public).len()), (1, 0));
    }
}
