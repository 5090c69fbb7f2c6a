//! Signatures against GnuPG: it believes ours, and we believe its, or refuse them for its reasons.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use builder::base::Epoch;
use builder::formats::openpgp::{Fingerprint, Keyring, SigningKey, verify_clearsigned};
use tests::tools::{put, run, said, succeed, tool};

const MADE: u64 = 1_700_000_000;

fn at(seconds: u64) -> Epoch {
    Epoch::new(seconds).unwrap()
}

#[test]
fn gpgv_believes_our_signatures_and_no_flipped_byte() {
    let top = tempfile::tempdir().unwrap();
    let path = |name: &str| top.path().join(name);
    let key = SigningKey::generate([7; 32], "Hale test <test@example.org>", at(MADE)).unwrap();
    put(path("key.gpg"), key.certificate_bytes().unwrap());
    let text = "Origin: Hale\n- dash\n\nSHA256:\n 00 1 main/Packages\n";
    let message = key.clearsign(text, at(MADE + 60)).unwrap();
    put(path("InRelease"), &message);
    put(path("Release"), text);
    put(path("Release.gpg"), key.sign_detached(text.as_bytes(), at(MADE + 60)).unwrap());
    let gpgv = |files: &[&str]| {
        let mut command = tool("gpgv", "gpgv");
        command.arg("--keyring").arg(path("key.gpg")).args(files.iter().map(|name| path(name)));
        run(&mut command)
    };
    for files in [&["InRelease"][..], &["Release.gpg", "Release"]] {
        let output = gpgv(files);
        assert!(output.status.success() && said(&output).contains("Good signature"), "{}", said(&output));
    }
    put(path("InRelease"), message.replace("Origin", "0rigin"));
    put(path("Release"), text.replace("Origin", "0rigin"));
    for files in [&["InRelease"][..], &["Release.gpg", "Release"]] {
        assert!(!gpgv(files).status.success());
    }
    let shown = succeed(
        tool("gpg", "gnupg")
            .arg("--homedir")
            .arg(top.path())
            .arg("--show-keys")
            .arg("--with-colons")
            .arg(path("key.gpg")),
    );
    assert!(String::from_utf8_lossy(&shown).contains(key.fingerprint().as_str()));
}

/// A GnuPG home whose clock stands still.
struct Gpg {
    home: tempfile::TempDir,
}

impl Gpg {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn command(&self, time: u64) -> Command {
        let mut command = tool("gpg", "gnupg");
        command.arg("--homedir").arg(self.home.path()).arg(format!("--faked-system-time={time}!"));
        command.args(["--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"]);
        command
    }

    /// Makes a key that can sign for `days` (0: for ever) and gives its fingerprint.
    fn key(&self, name: &str, days: u32) -> Fingerprint {
        let life = format!("{days}d");
        succeed(self.command(MADE).args([
            "--quick-gen-key",
            name,
            "ed25519",
            "sign",
            if days == 0 { "never" } else { &life },
        ]));
        let listed = succeed(self.command(MADE).args(["--with-colons", "--list-keys", name]));
        let listed = String::from_utf8(listed).unwrap();
        let line = listed.lines().find(|line| line.starts_with("fpr:")).expect("a fingerprint");
        line.split(':').nth(9).unwrap().parse().unwrap()
    }

    fn clearsign(&self, name: &str, time: u64, more: &[&str]) -> String {
        let text = self.path("text");
        put(&text, "Origin: x\n");
        let message = succeed(
            self.command(time)
                .args(["--local-user", name])
                .args(more)
                .args(["--output", "-", "--clearsign"])
                .arg(text),
        );
        String::from_utf8(message).unwrap()
    }

    fn keyring(&self, pin: &Fingerprint) -> Keyring {
        let bytes = succeed(self.command(MADE).args(["--armor", "--export"]));
        Keyring::pinned(&[&bytes], &BTreeSet::from([pin.clone()])).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::join(self.home.path(), name)
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let mut end = tool("gpgconf", "gpgconf");
        drop(run(end.arg("--homedir").arg(self.home.path()).args(["--kill", "gpg-agent"])));
    }
}

#[test]
fn we_believe_gnupg_as_long_as_its_keys_are_good() {
    let gpg = Gpg::new();
    let (short, other) = (gpg.key("short", 10), gpg.key("other", 0));
    let day = 86_400;
    let message = gpg.clearsign("short", MADE + day, &[]);
    let dying = gpg.clearsign("other", MADE + day, &["--default-sig-expire", "2d"]);
    let weak = gpg.clearsign("other", MADE + day, &["--digest-algo", "SHA1", "--allow-weak-digest-algos"]);
    for (message, pin, time, expect) in [
        (&message, &short, MADE + 2 * day, "good"),
        (&message, &short, MADE + 11 * day, "the key expired"),
        (&message, &short, MADE, "it was made later"),
        (&message, &other, MADE + 2 * day, "not signed by a pinned key"),
        (&dying, &other, MADE + 2 * day, "good"),
        (&dying, &other, MADE + 4 * day, "it has expired"),
        (&weak, &other, MADE + 2 * day, "too weak"),
    ] {
        match verify_clearsigned(message, &gpg.keyring(pin), at(time)) {
            Ok(verified) => assert_eq!((verified.text.as_str(), expect), ("Origin: x\n", "good")),
            Err(fault) => assert!(fault.to_string().contains(expect), "{expect}: {fault}"),
        }
    }
}

#[test]
fn subkeys_count_until_they_are_revoked() {
    let gpg = Gpg::new();
    let pin = gpg.key("main", 0);
    succeed(gpg.command(MADE).args(["--quick-add-key", pin.as_str(), "ed25519", "sign", "never"]));
    let message = gpg.clearsign("main", MADE + 60, &[]);
    let verified = verify_clearsigned(&message, &gpg.keyring(&pin), at(MADE + 120)).unwrap();
    assert_eq!(verified.signers, std::slice::from_ref(&pin));
    // The revocation certificate that gpg made with the key, without the colon that guards it.
    let certificate = std::fs::read_to_string(gpg.path(&format!("openpgp-revocs.d/{pin}.rev"))).unwrap();
    put(gpg.path("revocation"), certificate.replace(":-----BEGIN", "-----BEGIN"));
    succeed(gpg.command(MADE + 90).arg("--import").arg(gpg.path("revocation")));
    let fault = verify_clearsigned(&message, &gpg.keyring(&pin), at(MADE + 120)).unwrap_err();
    assert!(fault.to_string().contains("is revoked"), "{fault}");
}
