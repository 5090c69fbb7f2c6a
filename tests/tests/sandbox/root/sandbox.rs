//! What a script may, what it may not, and what is said when there is no sandbox.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use builder::store::Store;
use macro_rules_attribute::apply;
use tests::tools::{need_root, put, run, said, succeed, tool};
use tests::trial;

use super::packages::with_postinst;
use super::{STEP, root, text, user_with};

#[apply(trial)]
fn a_script_that_tries_the_network() {
    // 192.0.2.0/24 is for documentation (RFC 5737). Without an address the kernel counts no packet of IPv6.
    for place in ["udp/192.0.2.1/53", "tcp/192.0.2.1/80"] {
        let (folder, debs) = with_postinst(&format!("(echo > /dev/{place}) || true"));
        let fault = root(&folder.path().join("store"), &debs).err().expect(place).to_string();
        assert!(fault.contains("tried to use the network"), "{place}: {fault}");
    }
}

/// Every namespace is another one than ours, the host's files are not there, and of root's rights few are left.
#[apply(trial)]
fn a_script_is_apart_and_may_little() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path().display();
    let does = format!(
        "for space in user mnt pid net uts ipc; do readlink /proc/self/ns/$space; done > /etc/spaces\n\
         while read -r name value; do case $name in CapEff:|CapBnd:|NoNewPrivs:) echo $name $value;; esac; done \
         < /proc/self/status > /etc/rights\n\
         for try in 'echo x > /proc/sys/kernel/hostname' 'echo x > /proc/sysrq-trigger' '[ -e {here} ]' \
         'chown 70000 /etc/spaces' 'echo > /dev/udp/2001:db8::1/53'; do \
         if ( eval \"$try\" ) 2>/dev/null; then echo $try; fi; done > /etc/could"
    );
    let (place, debs) = with_postinst(&does);
    let store = place.path().join("store");
    let (_, tree) = root(&store, &debs).unwrap();
    let spaces = text(&store, &tree, "etc/spaces");
    let spaces: Vec<&str> = spaces.lines().collect();
    for (index, space) in ["user", "mnt", "pid", "net", "uts", "ipc"].into_iter().enumerate() {
        let ours = std::fs::read_link(format!("/proc/self/ns/{space}")).expect("a namespace");
        assert!(spaces[index].starts_with(&format!("{space}:[")), "{spaces:?}");
        assert_ne!(PathBuf::from(spaces[index]), ours);
    }
    assert_eq!(text(&store, &tree, "etc/could"), "", "what a script could");
    // CHOWN to SETUID are 0 to 7, SYS_CHROOT is 18, SETFCAP is 31 (linux/capability.h).
    let expect = "CapEff: 00000000800400ff\nCapBnd: 00000000800400ff\nNoNewPrivs: 1\n";
    assert_eq!(text(&store, &tree, "etc/rights"), expect);
}

/// Puts a folder of the user's under descriptor 9 and a secret into a session keyring, as a terminal's shell or a
/// login may, and goes on as the program that is named.
const HOLDER: &str = r#"exec 9< "$0"
exec perl -e 'my @key = ("user", "hale-probe", "a secret"); syscall(250, 1, 0);
syscall(248, $key[0], $key[1], $key[2], 8, -3) > 0 or die; exec @ARGV' "$@""#;

/// What a program can do with what it was left. System calls by number (keyctl(2)): KEYCTL_SEARCH is 10.
const PROBE: &str = r#"
if [ -e /proc/self/fd/9/secret ]; then echo descriptor; fi
if perl -e 'my @key = ("user", "hale-probe"); exit(syscall(250, 10, -3, $key[0], $key[1], 0) > 0 ? 0 : 1)'
then echo key; fi
if unshare --user bash -c true 2>/dev/null; then echo namespace; fi"#;

/// What the caller holds is not the script's, nor may it begin anew as root of a namespace of its own.
#[apply(trial)]
fn what_the_caller_holds_stays_outside() {
    let (folder, debs) = with_postinst(&format!("( {PROBE}\n ) > /etc/could"));
    put(folder.path().join("secret"), "");
    let holder = || {
        let mut holder = tool("bash", "bash");
        holder.args(["-c", HOLDER]).arg(folder.path());
        holder
    };
    // The same program, outside.
    let could = succeed(holder().args(["bash", "-c", PROBE]));
    assert_eq!(String::from_utf8_lossy(&could), "descriptor\nkey\nnamespace\n");
    let path = folder.path().join("store");
    let own = std::env::current_exe().expect("a test has a path");
    let digest = succeed(holder().arg(own).arg(STEP).arg(&path).args(&debs));
    let digest = String::from_utf8(digest).expect("a digest").trim().parse().expect("a digest");
    let tree = Store::open(&path).and_then(|store| store.tree(&digest)).unwrap();
    assert_eq!(text(&path, &tree, "etc/could"), "", "what a script could");
}

/// All names of a file have what the script gave it, whichever is looked at first.
#[apply(trial)]
fn names_of_one_file_are_alike() {
    let does = "echo x > /etc/b; chown 33:44 /etc/b; chmod 4755 /etc/b; ln /etc/b /etc/a; ln /etc/a /etc/c";
    let (place, debs) = with_postinst(does);
    let (_, tree) = root(&place.path().join("store"), &debs).unwrap();
    for name in ["etc/a", "etc/b", "etc/c"] {
        let node = tree.get(name).expect(name);
        assert_eq!((node.uid, node.gid, node.mode), (33, 44, 0o4755), "{name}");
    }
}

/// No subordinate ids, too few of them, and nothing that hands them out.
#[apply(trial)]
fn an_ordinary_user_is_told_what_is_missing() {
    need_root();
    let usermod = "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 nobody";
    let whole = "nobody:3000000:65536\n";
    for (subordinate, with_helper, parts) in [
        ("", true, ["user nobody has no 65536 subordinate ids in /etc/subuid", usermod]),
        ("nobody:3000000:65535\n", true, ["no 65536 subordinate ids", usermod]),
        (whole, false, ["refused the user and group ids of the root tree", "apt-get install uidmap"]),
    ] {
        let (folder, debs) = with_postinst("true");
        let mut command = user_with(folder.path(), subordinate);
        if !with_helper {
            let bin = folder.path().join("bin");
            std::fs::create_dir(&bin).unwrap();
            std::fs::set_permissions(&bin, PermissionsExt::from_mode(0o755)).unwrap();
            for (program, package) in [("sh", "dash"), ("mount", "mount"), ("setpriv", "util-linux")] {
                std::os::unix::fs::symlink(tool(program, package).get_program(), bin.join(program)).unwrap();
            }
            command.env("PATH", bin);
        }
        let output = run(command.arg(STEP).arg(folder.path().join("home/store")).args(&debs));
        assert_eq!(output.status.code(), Some(5), "{}", said(&output));
        for part in parts {
            assert!(said(&output).contains(part), "no {part:?} in {}", said(&output));
        }
    }
}
