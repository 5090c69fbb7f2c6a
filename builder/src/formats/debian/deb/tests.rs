//! Good packages, and hostile ones built by hand.

use std::io::Write;

use super::*;
use crate::base::Digest;
use crate::base::tree::Memory;
use crate::formats::archive::Forget;

const LIMITS: UnpackLimits = UnpackLimits { data: 1 << 20, control: 1 << 16, entries: 100 };
const CONTROL: &str = "Package: demo\nVersion: 1:2.0-1\nArchitecture: amd64\n";

/// One tar entry with its header filled in by hand.
struct Raw {
    header: [u8; 512],
    content: Vec<u8>,
}

fn entry(name: &str, kind: u8, content: &[u8]) -> Raw {
    let mut raw = Raw { header: [0; 512], content: content.to_vec() };
    raw.set(0, name.as_bytes());
    raw.set(100, if kind == b'5' { b"0000755" } else { b"0000644" });
    raw.set(108, b"0000000");
    raw.set(116, b"0000000");
    raw.set(124, format!("{:011o}", content.len()).as_bytes());
    raw.set(136, b"00000000000");
    raw.header[156] = kind;
    raw.set(257, b"ustar\x0000");
    raw
}

fn link(name: &str, kind: u8, target: &str) -> Raw {
    let mut raw = entry(name, kind, b"");
    raw.set(157, target.as_bytes());
    raw
}

fn file(name: &str) -> Raw {
    entry(name, b'0', b"content")
}

fn pax(records: &[u8]) -> Raw {
    entry("./PaxHeaders/x", b'x', records)
}

fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let length = (1..).find(|length| length.to_string().len() + rest.len() == *length).unwrap();
    format!("{length}{rest}").into_bytes()
}

impl Raw {
    fn set(&mut self, at: usize, bytes: &[u8]) {
        self.header[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn with(mut self, at: usize, bytes: &[u8]) -> Self {
        self.set(at, bytes);
        self
    }

    fn bytes(mut self) -> Vec<u8> {
        self.header[148..156].fill(b' ');
        let sum: u32 = self.header.iter().map(|byte| u32::from(*byte)).sum();
        self.set(148, format!("{sum:06o}\0 ").as_bytes());
        let mut bytes = self.header.to_vec();
        bytes.extend(&self.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }
}

fn tar(entries: Vec<Raw>) -> Vec<u8> {
    let mut bytes: Vec<u8> = entries.into_iter().flat_map(Raw::bytes).collect();
    bytes.extend([0; 1024]);
    bytes
}

fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in members {
        writeln!(bytes, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, 0, 100_644, content.len()).unwrap();
        bytes.extend(*content);
        bytes.extend(std::iter::repeat_n(b'\n', content.len() % 2));
    }
    bytes
}

fn control() -> Vec<u8> {
    tar(vec![entry("./", b'5', b""), entry("./control", b'0', CONTROL.as_bytes())])
}

fn package(data: &[u8]) -> Vec<u8> {
    ar(&[("debian-binary", b"2.0\n"), ("control.tar", &control()), ("data.tar", data)])
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut writer = liblzma::write::XzEncoder::new(Vec::new(), 1);
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut writer = ::zstd::Encoder::new(Vec::new(), 19).unwrap();
    writer.include_checksum(true).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn read(bytes: &[u8]) -> Result<UnpackedDeb> {
    UnpackedDeb::read("demo.deb", bytes, LIMITS, &mut Forget)
}

#[track_caller]
fn refused(bytes: &[u8], what: &str) {
    let fault = read(bytes).expect_err(what);
    assert_eq!(fault.class(), Class::Integrity, "{fault}");
    assert!(fault.to_string().contains(what), "{what}: {fault}");
    assert!(fault.what().starts_with("demo.deb: "), "{fault}");
}

#[track_caller]
fn refused_data(entries: Vec<Raw>, what: &str) {
    refused(&package(&tar(entries)), what);
}

#[test]
fn a_package_is_read_whole() {
    let scripts = tar(vec![
        entry("./control", b'0', CONTROL.as_bytes()),
        entry("./conffiles", b'0', b"/etc/demo.conf\nremove-on-upgrade /etc/gone\n"),
        entry("./postinst", b'0', b"#!/bin/sh\n"),
        entry("./triggers", b'0', b"activate-noawait ldconfig\n"),
    ]);
    let long = format!("./usr/{}", "n".repeat(120));
    let data = tar(vec![
        entry("./", b'5', b""),
        entry("./etc/", b'5', b"").with(100, b"0000750").with(116, b"0000052"),
        file("./etc/demo.conf"),
        entry("./usr/", b'5', b""),
        entry("././@LongLink", b'L', format!("{long}\0").as_bytes()).with(257, b"ustar  \0"),
        file("./usr/nnn").with(108, &[0x80, 0, 0, 0, 0, 0x98, 0x96, 0x80]).with(257, b"ustar  \0"),
        pax(&[record("path", "./usr/é"), record("size", "7"), record("mtime", "1.5")].concat()),
        file("./usr/plain"),
        link("./usr/hard", b'1', "./etc/demo.conf"),
        link("./usr/soft", b'2', "../../../etc/passwd"),
    ]);
    for (suffix, packed) in
        [("", data.clone()), (".gz", gzip(&data)), (".xz", xz(&data)), (".zst", zstd(&data))]
    {
        let name = format!("data.tar{suffix}");
        let bytes = ar(&[("debian-binary", b"2.0\n"), ("control.tar.gz", &gzip(&scripts)), (&name, &packed)]);
        let mut memory = Memory::default();
        let deb = UnpackedDeb::read("demo.deb", bytes.as_slice(), LIMITS, &mut memory).unwrap();
        assert_eq!((deb.name.as_str(), deb.version.as_str(), deb.arch), ("demo", "1:2.0-1", Arch::Amd64));
        assert_eq!(deb.conffiles, [TreePath::new("etc/demo.conf").unwrap()]);
        assert_eq!(deb.script(Script::Postinst), Some(&b"#!/bin/sh\n"[..]));
        assert!(deb.triggers().is_some() && deb.script(Script::Preinst).is_none());
        let names: Vec<&str> = deb.tree.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(names, ["etc", "etc/demo.conf", "usr", "usr/hard", &long[2..], "usr/soft", "usr/é"]);
        assert_eq!((deb.tree.get("etc").unwrap().mode, deb.tree.get("etc").unwrap().gid), (0o750, 42));
        assert_eq!(deb.tree.get(&long[2..]).unwrap().uid, 10_000_000);
        assert_eq!(deb.tree.get("usr/hard"), deb.tree.get("etc/demo.conf"));
        assert_eq!(memory.iter().map(|(_, bytes)| bytes).collect::<Vec<_>>(), [b"content"]);
    }
}

#[test]
fn names_that_escape() {
    let long = "x".repeat(99);
    for name in ["../x", "./../x", "/etc/passwd", "./a/../../b", "a//b", "./a/./b", "..", "./a\nb", "", "a/"]
    {
        refused_data(vec![file(name)], "a path that cannot be in a tree");
    }
    for name in ["./", "."] {
        refused_data(vec![file(name)], "the root is not a directory");
        refused_data(vec![link(name, b'2', "/")], "the root is not a directory");
    }
    refused_data(vec![file("./a").with(2, b"\xff")], "not UTF-8");
    refused_data(vec![pax(&record("path", "../x")), file("./a")], "cannot be in a tree");
    let three = format!("{long}{long}{long}");
    refused_data(vec![pax(&record("path", &three)), file("./a")], "cannot be in a tree");
    refused_data(vec![file("x").with(345, b"../..")], "cannot be in a tree");
}

#[test]
fn links_that_escape() {
    let dir = |name: &str| entry(name, b'5', b"");
    refused_data(vec![link("./a", b'2', "/etc"), file("./a/passwd")], "which is no directory");
    refused_data(vec![link("./a", b'2', "/etc"), dir("./a/b/")], "which is no directory");
    refused_data(vec![link("./a", b'2', "/etc"), dir("./a")], "stands twice");
    refused_data(vec![file("./a/b"), link("./a", b'2', "/etc")], "two entries");
    refused_data(vec![link("./a", b'1', "../etc/passwd")], "links to");
    refused_data(vec![link("./a", b'1', "/etc/passwd")], "links to");
    refused_data(vec![link("./a", b'1', "./later"), file("./later")], "is a hard link to");
    refused_data(vec![link("./s", b'2', "/etc/passwd"), link("./a", b'1', "./s")], "is a hard link to");
    refused_data(vec![dir("./d/"), link("./a", b'1', "./d")], "is a hard link to");
    refused_data(vec![link("./a", b'1', "./")], "is a hard link to");
    refused_data(vec![link("./a", b'2', "")], "a link to nowhere");
}

#[test]
fn entries_that_are_not_ours() {
    for (kind, what) in [
        (b'3', "a device"),
        (b'4', "a device"),
        (b'6', "a fifo"),
        (b'S', "sparse"),
        (b'g', "global"),
        (b'7', "unknown type"),
        (b'V', "unknown type"),
    ] {
        refused_data(vec![entry("./x", kind, b"")], what);
    }
    refused_data(vec![file("./x"), file("x")], "stands twice");
    refused_data(vec![file("./x"), entry("./x/", b'5', b"")], "stands twice");
    refused_data(vec![entry("./x", b'5', b""), entry("./x/", b'5', b"")], "stands twice");
    refused_data(vec![entry("./x", b'2', b"content")], "no file");
    refused_data(vec![file("./x").with(100, b"0107777")], "over 07777");
    refused_data(vec![file("./x").with(108, b"-000001")], "an owner");
    refused_data(vec![file("./x").with(108, &[0xff; 8])], "an owner");
    refused_data(vec![file("./x").with(108, &[0x80, 0, 0, 1, 0, 0, 0, 0])], "an owner");
    refused_data(vec![file("./x").with(124, b"0000000000z")], "a size");
    refused_data(vec![file("./x").with(124, &[0x80, 0xff, 0xff, 0xff, 0xff, 0xff])], "a size");
    refused_data(vec![file("./x").with(257, b"star\0")], "neither ustar, GNU nor");
    refused_data((0..101).map(|index| file(&format!("./{index}"))).collect(), "more than 100 entries");
}

/// Directories that no entry names are counted as those that one does, and so are the letters of their paths.
#[test]
fn directories_that_are_implied() {
    // ustar's prefix has 155 bytes, and the name 100.
    let below = |number: usize, depth: usize| {
        let prefix = format!("{number}{}", "/a".repeat(depth - 1));
        file("f").with(345, prefix.as_bytes())
    };
    assert!(read(&package(&tar(vec![below(0, 40), below(1, 40)]))).is_ok());
    refused_data(vec![below(0, 40), below(1, 40), below(2, 40)], "more than 100 entries");
    assert!(read(&package(&tar(vec![below(0, 63)]))).is_ok());
    refused_data(vec![below(0, 64)], "cannot be in a tree");
    let long = |number: usize| {
        let part = format!("{number:0>63}/");
        let path = format!("{}f", part.repeat(63));
        vec![pax(&record("path", &path)), file("x")]
    };
    let wide = |entries: usize| {
        let limits = UnpackLimits { data: 16 << 20, entries: 500_000, ..LIMITS };
        let data = tar((0..entries).flat_map(long).collect());
        UnpackedDeb::read("demo.deb", &*package(&data), limits, &mut Forget)
    };
    assert_eq!(wide(4).unwrap().tree.len(), 4 * 64);
    let Err(fault) = wide(400) else { panic!("paths of more than 64 MiB") };
    assert!(fault.to_string().contains("paths"), "{fault}");
}

#[test]
fn what_is_said_twice_or_badly() {
    let long = |name: &str| entry("././@LongLink", b'L', name.as_bytes());
    refused_data(vec![pax(&record("size", "0")), file("./x")], "says its size twice");
    refused_data(vec![pax(&record("size", "1024")), file("./x")], "says its size twice");
    refused_data(vec![pax(&record("uid", "7")), long("z"), file("./x")], "both GNU and PAX");
    refused_data(vec![pax(&record("path", "y")), long("z"), file("./x")], "two long names");
    refused_data(vec![long("y"), long("z"), file("./x")], "two long names");
    refused_data(vec![pax(b""), pax(b""), file("./x")], "two PAX headers");
    refused_data(vec![pax(&[record("path", "y"), record("path", "z")].concat()), file("./x")], "two values");
    refused_data(vec![pax(b"")], "an extension of no entry");
    for bad in
        ["99 path=x\n", "9 path=x", "5 pat\n", "x path=x\n", "+9 path=x\n", "0 path=x\n", "10 path=\0x\n"]
    {
        refused_data(vec![pax(bad.as_bytes()), file("./x")], "malformed PAX");
    }
    refused_data(vec![pax(&record("size", "-7")), file("./x")], "not a number");
    refused_data(vec![pax(&record("uid", "4294967296")), file("./x")], "too large");
    for key in ["GNU.sparse.map", "SCHILY.xattr.security.capability", "hdrcharset"] {
        refused_data(vec![pax(&record(key, "1")), file("./x")], "not understood");
    }
    refused_data(vec![entry("././@LongLink", b'L', &vec![b'x'; 70_000]), file("./x")], "too long");
}

#[test]
fn archives_that_do_not_end_where_they_should() {
    let data = tar(vec![file("./x")]);
    let good = package(&data);
    assert!(read(&good).is_ok());
    for end in 0..good.len() {
        assert!(read(&good[..end]).is_err(), "{end} of {} bytes", good.len());
    }
    refused(&[good.clone(), b"\n".to_vec()].concat(), "bytes after data.tar");
    let members = |list: &[(&str, &[u8])]| {
        ar(&[&[("debian-binary", &b"2.0\n"[..]), ("control.tar", &control())], list].concat())
    };
    refused(&members(&[("data.tar", &data), ("data.tar", &data)]), "bytes after data.tar");
    refused(&members(&[("data.tar", &data), ("_gpgorigin", b"x")]), "bytes after data.tar");
    for name in
        ["data.tar.bz2", "data.tar.lzma", "data.zip", "_extra", "control.tar", "data.tar/", "../data.tar", ""]
    {
        refused(&members(&[(name, &data)]), "a member out of place");
    }
    refused(&ar(&[("debian-binary", b"3.0\n")]), "expected 2.0");
    refused(&ar(&[("debian-binary", b"2.0\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n")]), "bytes too many");
    refused(&ar(&[("control.tar", &control())]), "a member out of place");
    refused(b"PK\x03\x04aaaaaaa", "not a Debian package");
    for size in ["-1        ", "x         ", "          ", "1 1       ", "0x10      ", "99999999999"] {
        let mut bytes = good.clone();
        bytes[8 + 48..8 + 48 + size.len().min(10)].copy_from_slice(&size.as_bytes()[..size.len().min(10)]);
        assert!(read(&bytes).is_err(), "{size}");
    }
    let mut padded = package(&data[..data.len() - 1]);
    assert!(read(&padded).is_err());
    padded = package(&[data.clone(), vec![0; 9216]].concat());
    assert!(read(&padded).is_ok());
    refused(&package(&[data.clone(), vec![1; 512]].concat()), "bytes after the end of the archive");
    refused(&package(&[data.clone(), data.clone()].concat()), "bytes after the end of the archive");
    refused(&package(&[&data[..1024], &[0; 512][..], &data[..1024]].concat()), "one zero block");
}

type Pack = fn(&[u8]) -> Vec<u8>;

#[test]
fn streams_that_are_broken_or_too_large() {
    let data = tar(vec![file("./x")]);
    let with = |name: &str, packed: &[u8]| {
        ar(&[("debian-binary", b"2.0\n"), ("control.tar", &control()), (name, packed)])
    };
    let packs: [(&str, Pack); 3] = [("data.tar.gz", gzip), ("data.tar.xz", xz), ("data.tar.zst", zstd)];
    let bomb = tar(vec![entry("./zeros", b'0', &vec![0; 2 << 20])]);
    for (name, pack) in packs {
        let packed = pack(&data);
        assert!(read(&with(name, &packed)).is_ok());
        for end in 0..packed.len() {
            assert!(read(&with(name, &packed[..end])).is_err(), "{name} {end}");
        }
        refused(&with(name, &[packed.clone(), vec![0; 4]].concat()), name);
        refused(&with(name, &[packed.clone(), packed.clone()].concat()), name);
        refused(&with(name, &pack(&bomb)), "a decompression bomb");
        refused(&with(name, b"not compressed at all"), name);
    }
    refused(&with("data.tar", &bomb), "a decompression bomb");
    let late = tar(vec![file("./x"), entry("./big", b'0', b"").with(124, b"77777777777")]);
    refused(&with("data.tar", &late), "cut short");
    let heavy = tar(vec![entry("./control", b'0', &vec![b'x'; 1 << 17])]);
    refused(&ar(&[("debian-binary", b"2.0\n"), ("control.tar", &heavy)]), "a decompression bomb");
}

#[test]
fn control_archives_that_are_not_ours() {
    let with = |entries: Vec<Raw>| {
        ar(&[("debian-binary", b"2.0\n"), ("control.tar", &tar(entries)), ("data.tar", &tar(vec![]))])
    };
    let control = |text: &str| entry("./control", b'0', text.as_bytes());
    refused(&with(vec![]), "no member control");
    refused(&with(vec![control(CONTROL), control(CONTROL)]), "stands twice");
    refused(&with(vec![control(CONTROL), file("./sub/x")]), "only plain files");
    refused(&with(vec![control(CONTROL), link("./postinst", b'2', "/bin/sh")]), "only plain files");
    refused(&with(vec![control("Package: ../x\nVersion: 1\nArchitecture: all\n")]), "not a package name");
    refused(&with(vec![control("Package: demo\nVersion: x\nArchitecture: all\n")]), "not a Debian version");
    refused(&with(vec![control("Package: demo\nVersion: 1\n")]), "`Architecture` is missing");
    refused(&with(vec![control("Package: demo\nVersion: 1\nArchitecture: vax\n")]), "not an architecture");
    refused(&with(vec![control(&format!("{CONTROL}\n{CONTROL}"))]), "one paragraph");
    for conffiles in ["etc/x", "/../x", "/etc/none"] {
        refused(&with(vec![control(CONTROL), entry("./conffiles", b'0', conffiles.as_bytes())]), "conffile");
    }
}

#[test]
fn a_failing_sink_is_not_called_corruption() {
    struct Full;
    impl Sink for Full {
        fn keep(&mut self, _: &mut dyn Read) -> Result<(Digest, u64)> {
            Err(Fault::machine("no space left"))
        }
    }
    let good = package(&tar(vec![file("./x")]));
    let fault = UnpackedDeb::read("demo.deb", &good[..], LIMITS, &mut Full).unwrap_err();
    assert_eq!(fault.class(), Class::Machine);
}

#[test]
fn damage_never_panics() {
    let good = package(&xz(&tar(vec![file("./x")])));
    let (control, data) = (gzip(&control()), xz(&tar(vec![file("./x")])));
    let packed = ar(&[("debian-binary", b"2.0\n"), ("control.tar.gz", &control), ("data.tar.xz", &data)]);
    for bytes in [good, packed] {
        for index in 0..bytes.len() {
            for bit in [0x01, 0x10, 0x80] {
                let mut bytes = bytes.clone();
                bytes[index] ^= bit;
                let _ = read(&bytes);
            }
        }
    }
}
