//! Who gets into a machine: `hale machine` with Debian's own useradd, sshd, sudo and ssh, in namespaces of the test's own.

use std::path::Path;
use std::process::Stdio;

use tests::tools::{need_root, run, said, succeed, tool};
use tests::{checkout, hale};

/// The whole way of an operator: in by a key, to root, and out again; and whoever is none.
#[test]
fn who_is_named_gets_in_and_nobody_else() {
    need_root();
    ["ssh-keygen", "sshd", "visudo", "sudo"].iter().for_each(|program| {
        let found = ["/usr/bin", "/usr/sbin"].iter().any(|folder| Path::new(folder).join(program).is_file());
        assert!(found, "`{program}` is missing: `cargo xtask test --oracles` names its package");
    });
    let folder = tempfile::tempdir().expect("a folder");
    let mut unshare = tool("unshare", "util-linux");
    unshare.args(["--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child", "--", "sh", "-eu"]);
    unshare.arg(checkout::top().join("tests/tests/cli/access/machine.sh"));
    unshare.args([folder.path(), &hale::root(), &checkout::top().join("node/examples/role.toml")]);
    let output = run(unshare.stdin(Stdio::null()));
    let told = said(&output);
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).ends_with("done\n"), "{told}");
}

/// bash itself completes verbs and options with what `hale completions` prints.
#[test]
fn bash_completes_hale() {
    let program = hale::root().join("usr/bin/hale");
    let script = succeed(std::process::Command::new(&program).arg("completions").stdin(Stdio::null()));
    let script = String::from_utf8(script).expect("the script is text");
    let complete = |words: &str| {
        let count = words.split(' ').count() - 1;
        let ask = "_hale hale \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"; echo \"${COMPREPLY[*]}\"";
        let text = format!("{script}\nCOMP_WORDS=({words} ''); COMP_CWORD={}\n{ask}\n", count + 1);
        let text = text.replace("('hale' '')", "(hale '')");
        let answer = succeed(tool("bash", "bash").args(["--norc", "-c", &text]));
        String::from_utf8(answer).expect("words")
    };
    let verbs = complete("hale");
    for verb in ["bootstrap", "status", "kubeconfig", "machine", "token"] {
        assert!(verbs.split_whitespace().any(|word| word == verb), "{verb}: {verbs}");
    }
    assert!(complete("hale kubeconfig").contains("--days"));
    assert!(complete("hale status").contains("--brief"));
}

/// What `openssl passwd` and mkpasswd-like programs make of a password is taken, and a password itself is not.
#[test]
fn a_hash_of_openssls_is_taken() {
    for option in ["-6", "-5"] {
        let mut openssl = tool("openssl", "openssl");
        let hash = succeed(openssl.args(["passwd", option, "hunter2"]));
        let hash = String::from_utf8(hash).expect("a hash").trim().to_owned();
        assert!(node::config::access::PasswordHash::try_from(hash.clone()).is_ok(), "{hash}");
    }
    let weak = succeed(tool("openssl", "openssl").args(["passwd", "-1", "hunter2"]));
    let weak = String::from_utf8(weak).expect("a hash").trim().to_owned();
    assert!(node::config::access::PasswordHash::try_from(weak).is_err(), "MD5");
}

/// Every key that ssh-keygen makes is taken as it stands in its file, or refused for its length.
#[test]
fn a_key_of_ssh_keygens_is_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let kinds = [
        ("ed25519", "256"),
        ("ecdsa", "256"),
        ("ecdsa", "384"),
        ("ecdsa", "521"),
        ("rsa", "2048"),
        ("rsa", "1024"),
    ];
    for (kind, bits) in kinds {
        let file = folder.path().join(format!("{kind}{bits}"));
        let mut keygen = tool("ssh-keygen", "openssh-client");
        succeed(
            keygen.args(["-q", "-t", kind, "-b", bits, "-N", "", "-C", "ann of example", "-f"]).arg(&file),
        );
        let text = std::fs::read_to_string(file.with_extension("pub")).expect("the public key");
        let taken = text.parse::<node::config::access::SshKey>();
        assert_eq!(taken.is_ok(), (kind, bits) != ("rsa", "1024"), "{text}: {taken:?}");
        let private = std::fs::read_to_string(&file).expect("the private key");
        let refused = private.parse::<node::config::access::SshKey>().expect_err("a private key").to_string();
        assert!(
            refused.contains("must stay where it is") && !refused.contains(&private[60..100]),
            "{refused}"
        );
    }
}
