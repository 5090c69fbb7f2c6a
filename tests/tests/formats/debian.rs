//! Debian's formats against Debian's own tools.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::symlink;
use std::path::Path;

use builder::base::tree::Kind;
use builder::formats::archive::Forget;
use builder::formats::debian::deb::{UnpackLimits, UnpackedDeb};
use builder::formats::debian::version::Version;
use tests::tools::{put, run, succeed, tool};

/// Real versions, and the corners of the order.
const VERSIONS: &str = "0 0.0 00 0~ 0-0 1 1.0 1.00 0:1.0 1:0 1.0-0 1.0-1 1.0-1.1 1.0~rc1 1.0~rc1-1 1.0~~ 1.0+ 1.0a 1.0A
    1.0+dfsg 1.0+ds-1 1.0+ds0-1 1.16.2+ds-1 1.16.2+ds0-1 1.2-3-4 1.2-4-1 1:1.2.13.dfsg-1 2.36-9+deb12u14
    2.36-9+deb12u9 252.39-1~deb12u2 252.39-1 5.36.0-7+deb12u4 1:7.2+dfsg-7+deb12u18+b3 1:7.2+dfsg-7+deb12u18
    6.1.192-2 6.1.0-56 20230311+deb12u1 3.134 9.1-1~ 1.46.2-2 1.47.0-2+b2 1.47.0~rc1-1 2:4.0.2-3 2022.11-6+deb12u2
    99999999999999999998 99999999999999999999 1.1.1n-0+deb11u5 1.10 1.9 1.0.0 1.0.0.0 1.0-1~bpo12+1 4.0.1+really4.0.0-1";

#[test]
fn versions_are_ordered_as_dpkg_does() {
    let versions: Vec<&str> = VERSIONS.split_whitespace().collect();
    let mut pairs = 0;
    for (index, left) in versions.iter().enumerate() {
        for step in [1, 2, 3, 5, 8, 13, 21, 34] {
            let right = versions[(index + step) % versions.len()];
            let order = Version::new(left).unwrap().cmp(&Version::new(right).unwrap());
            let sign = match order {
                Ordering::Less => "lt",
                Ordering::Equal => "eq",
                Ordering::Greater => "gt",
            };
            let said = run(tool("dpkg", "dpkg").args(["--compare-versions", left, sign, right]));
            assert!(said.status.success(), "dpkg does not say {left} {sign} {right}");
            pairs += 1;
        }
    }
    assert!(pairs > 400);
}

fn build(top: &Path, compression: &str) -> std::path::PathBuf {
    let root = top.join("root");
    put(
        root.join("DEBIAN/control"),
        "Package: demo\nVersion: 1:2.0-1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: one\n two\n",
    );
    put(root.join("DEBIAN/conffiles"), "/etc/demo.conf\n");
    put(root.join("etc/demo.conf"), "key=value\n");
    put(root.join("usr/bin/demo"), vec![7; 100_000]);
    put(root.join(format!("usr/share/{}/{}", "d".repeat(90), "n".repeat(120))), "long");
    put(root.join("usr/share/grün"), "not ASCII");
    symlink("../bin/demo", root.join("usr/share/link")).unwrap();
    std::fs::hard_link(root.join("usr/bin/demo"), root.join("usr/bin/same")).unwrap();
    let package = top.join("demo.deb");
    let mut command = tool("dpkg-deb", "dpkg");
    succeed(
        command.arg("--root-owner-group").arg(format!("-Z{compression}")).arg("-b").arg(&root).arg(&package),
    );
    package
}

#[test]
fn packages_are_read_as_dpkg_reads_them() {
    for compression in ["gzip", "xz", "zstd", "none"] {
        let top = tempfile::tempdir().unwrap();
        let package = build(top.path(), compression);
        let size = package.metadata().unwrap().len();
        let reader = BufReader::new(File::open(&package).unwrap());
        let deb = UnpackedDeb::read("demo.deb", reader, UnpackLimits::for_size(size), &mut Forget).unwrap();
        for field in ["Package", "Version", "Architecture", "Description"] {
            let said = succeed(tool("dpkg-deb", "dpkg").arg("-f").arg(&package).arg(field));
            assert_eq!(
                String::from_utf8(said).unwrap().trim_end().replace("\n ", "\n"),
                deb.control.get(field).unwrap()
            );
        }
        let listing = succeed(tool("dpkg-deb", "dpkg").arg("--fsys-tarfile").arg(&package));
        let archive = top.path().join("data.tar");
        put(&archive, listing);
        let listing = succeed(tool("tar", "tar").args(["--quoting-style=literal", "-tf"]).arg(&archive));
        let listing = String::from_utf8(listing).unwrap();
        let theirs: BTreeSet<&str> = listing
            .lines()
            .map(|line| line.trim_start_matches("./").trim_end_matches('/'))
            .filter(|path| !path.is_empty())
            .collect();
        let ours: BTreeSet<&str> = deb.tree.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(ours, theirs, "{compression}");
        let (demo, same) = (deb.tree.get("usr/bin/demo").unwrap(), deb.tree.get("usr/bin/same").unwrap());
        assert!(demo == same && matches!(demo.kind, Kind::File { size: 100_000, .. }));
        assert_eq!(deb.conffiles.len(), 1);
    }
}
