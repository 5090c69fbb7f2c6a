//! What a script may, what it may not, and what is said when there is no sandbox.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tests::tools::{run, said, tool};

use crate::packages::with_postinst;
use crate::{STEP, root, text, user_with};

pub(crate) fn a_script_that_tries_the_network() {
    // 192.0.2.0/24 is for documentation (RFC 5737). Without an address the kernel counts no packet of IPv6.
    for place in ["udp/192.0.2.1/53", "tcp/192.0.2.1/80"] {
        let (folder, debs) = with_postinst(&format!("(echo > /dev/{place}) || true"));
        let fault = root(&folder.path().join("store"), &debs).err().expect(place).to_string();
        assert!(fault.contains("tried to use the network"), "{place}: {fault}");
    }
}

/// Every namespace is another one than ours, the host's files are not there, and of root's rights few are left.
pub(crate) fn a_script_is_apart_and_may_little() {
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

/// No subordinate ids, too few of them, and nothing that hands them out.
pub(crate) fn an_ordinary_user_is_told_what_is_missing() {
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
