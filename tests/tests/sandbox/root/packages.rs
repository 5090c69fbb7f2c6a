//! The packages that roots are made of here: this machine's dpkg and shell, and small ones with scripts.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tests::tools::{put, run, succeed, tool};

/// What dpkg needs to run, and what the scripts below use; with the package that brings it.
const PROGRAMS: [(&str, &str); 17] = [
    ("bash", "bash"),
    ("chmod", "coreutils"),
    ("chown", "coreutils"),
    ("date", "coreutils"),
    ("diff", "diffutils"),
    ("dpkg", "dpkg"),
    ("dpkg-deb", "dpkg"),
    ("dpkg-query", "dpkg"),
    ("dpkg-split", "dpkg"),
    ("ln", "coreutils"),
    ("mkdir", "coreutils"),
    ("perl", "perl-base"),
    ("readlink", "coreutils"),
    ("rm", "coreutils"),
    ("sleep", "coreutils"),
    ("tar", "tar"),
    ("unshare", "util-linux"),
];
const SYSTEM_PROGRAMS: [(&str, &str); 2] = [("ldconfig", "libc-bin"), ("start-stop-daemon", "dpkg")];

/// Packs a package with dpkg-deb. `files` are paths and texts; those of `DEBIAN` become scripts.
pub(crate) fn pack(folder: &Path, name: &str, fields: &str, files: &[(&str, &str)]) -> PathBuf {
    let tree = folder.join(name);
    let control = format!(
        "Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: T <t@example.org>\n{fields}Description: t\n"
    );
    put(tree.join("DEBIAN/control"), control);
    for (path, text) in files {
        put(tree.join(path), text);
        let mode = if path.starts_with("DEBIAN") { 0o755 } else { 0o644 };
        std::fs::set_permissions(tree.join(path), PermissionsExt::from_mode(mode)).expect("a mode");
    }
    close(&tree, folder.join(format!("{name}.deb")))
}

fn close(tree: &Path, deb: PathBuf) -> PathBuf {
    let mut dpkg_deb = tool("dpkg-deb", "dpkg");
    succeed(dpkg_deb.args(["--root-owner-group", "-Znone", "--build"]).arg(tree).arg(&deb));
    deb
}

/// A package whose script makes what belongs to [`OWNER`].
pub(crate) fn owning(folder: &Path) -> PathBuf {
    let does = "mkdir /var/lib/owned; echo x > /var/lib/owned/file; chmod 640 /var/lib/owned/file\n\
                chown -R 10000000:10000000 /var/lib/owned";
    pack(
        folder,
        "more",
        "Depends: victim\n",
        &[("usr/share/more", "more\n"), ("DEBIAN/postinst", &script(does))],
    )
}

pub(crate) fn script(text: &str) -> String {
    format!("#!/bin/bash\nset -e\n{text}\n")
}

/// A package of this machine's own dpkg and shell, with the libraries that they need.
pub(crate) fn base(folder: &Path) -> PathBuf {
    let tree = folder.join("base");
    for folder in ["etc", "tmp", "var/cache", "var/log"] {
        std::fs::create_dir_all(tree.join(folder)).expect("a folder");
    }
    put(tree.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n");
    put(tree.join("etc/group"), "root:x:0:\n");
    let in_bin = PROGRAMS.iter().map(|(name, package)| (format!("/usr/bin/{name}"), package));
    let in_sbin = SYSTEM_PROGRAMS.iter().map(|(name, package)| (format!("/usr/sbin/{name}"), package));
    for (path, package) in in_bin.chain(in_sbin) {
        let found = [path.clone(), path.replacen("/usr", "", 1)].into_iter().find(|p| Path::new(p).exists());
        let found =
            found.unwrap_or_else(|| panic!("{path} is missing: install the Debian package `{package}`"));
        copy(Path::new(&found), &tree.join(&path[1..]));
        let listed = run(tool("ldd", "libc-bin").arg(&found));
        for library in
            String::from_utf8_lossy(&listed.stdout).split_whitespace().filter(|w| w.starts_with('/'))
        {
            copy(Path::new(library), &tree.join(&library[1..]));
        }
    }
    std::os::unix::fs::symlink("bash", tree.join("usr/bin/sh")).expect("a link");
    pack(folder, "base", "", &[])
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
    std::fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
}

/// A folder of the test, the base package and one with this postinst.
pub(crate) fn with_postinst(postinst: &str) -> (tempfile::TempDir, [PathBuf; 2]) {
    let folder = tempfile::tempdir().expect("a folder");
    let debs =
        [base(folder.path()), pack(folder.path(), "victim", "", &[("DEBIAN/postinst", &script(postinst))])];
    (folder, debs)
}

const BUSY: &str = "\
    date +%s.%N > /var/log/now; date +%N > /etc/machine-id; mkdir -p /var/cache/x; date +%N > /var/cache/x/y\n\
    echo root:*:$(( $(date +%s) / 86400 )):0::::: > /etc/shadow; chmod 640 /etc/shadow\n\
    echo made > /etc/made; chown 7:9 /etc/made; chmod 4750 /etc/made; ln -s made /etc/link\n\
    rm /usr/share/old; rm -r /usr/share/folder; mkdir /usr/share/folder; echo new > /usr/share/folder/new\n\
    echo $HOSTNAME $TZ $(umask) $$ > /etc/seen; echo x > /tmp/x; echo y > /run/y";

pub(crate) fn busy() -> (tempfile::TempDir, [PathBuf; 2]) {
    let folder = tempfile::tempdir().expect("a folder");
    let postinst = script(BUSY);
    let files = [
        ("DEBIAN/postinst", postinst.as_str()),
        ("usr/share/old", "old\n"),
        ("usr/share/folder/a", "a\n"),
        ("etc/victim.conf", "conf\n"),
        ("DEBIAN/conffiles", "/etc/victim.conf\n"),
    ];
    let debs = [base(folder.path()), pack(folder.path(), "victim", "", &files)];
    (folder, debs)
}
