use std::io::Write;

use super::*;
use crate::base::tree::{Contents, Memory};
use crate::base::{Class, Epoch};
use crate::formats::archive::Forget;
use crate::pack::package::deb;
use crate::pack::stream::{gzip, tar};
use crate::recipe::component::WantedFile;

const KUBELET: &str = "usr/bin/kubelet";

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

/// The beginning of an ELF program, and something to tell it by.
fn program(machine: u8, text: &str) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(18, 0);
    bytes.extend([machine, 0]);
    bytes.extend(text.as_bytes());
    bytes
}

fn release(archive: ArchiveKind, files: &[(&str, &[&str])]) -> UpstreamRelease {
    let wanted =
        |places: &[&str]| WantedFile { places: places.iter().map(|p| path(p)).collect(), mode: 0o755 };
    let files = files.iter().map(|(to, places)| (path(to), wanted(places))).collect();
    UpstreamRelease { name: "kubelet 1.17.17".into(), archive, arch: Arch::Amd64, files }
}

fn tree_of(files: &[(&str, Vec<u8>)]) -> (Tree, Memory) {
    let (mut tree, mut memory) = (Tree::new(), Memory::default());
    for (name, bytes) in files {
        // Upstream's builder owns its files and lets its group write; none of it reaches a node.
        let node = memory.file(bytes.clone(), 0o775).owned_by(1000, 1000);
        tree.insert(path(name), node).unwrap();
    }
    (tree, memory)
}

fn tar_gz(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (tree, memory) = tree_of(files);
    let mut bytes = gzip::Gzip::new(Vec::new()).unwrap();
    tar::write(&tree, &memory, Epoch::new(0).unwrap(), tar::Style::Layer, &mut bytes).unwrap();
    bytes.finish().unwrap()
}

fn package(files: &[(&str, Vec<u8>)], arch: &str) -> Vec<u8> {
    let (tree, contents) = tree_of(files);
    let text = format!("Package: demo\nVersion: 1\nArchitecture: {arch}\nMaintainer: m\nDescription: d\n");
    deb::sample(&text, &tree, &contents)
}

#[track_caller]
fn refused(release: &UpstreamRelease, bytes: &[u8], class: Class, what: &str) {
    let fault = tree(release, &mut &bytes[..], bytes.len() as u64, &mut Forget).expect_err(what);
    assert!(fault.to_string().contains(what), "{what}: {fault}");
    assert!(fault.what().starts_with("kubelet 1.17.17: "), "{fault}");
    assert_eq!(fault.class(), class, "{fault}");
}

#[test]
fn every_form_becomes_the_same_tree() {
    let program = program(62, "kubelet");
    let places: &[&str] = &["kubelet", "kubernetes/node/bin/kubelet", "kubernetes/server/bin/kubelet"];
    let server = [
        ("kubernetes/LICENSES", b"text".to_vec()),
        ("kubernetes/server/bin/kubelet", program.clone()),
        ("kubernetes/server/bin/kube-proxy", b"other".to_vec()),
    ];
    let mut expected = Tree::new();
    expected.insert(path(KUBELET), Node::file(Digest::of(&program), program.len() as u64, 0o755)).unwrap();
    for (archive, bytes) in [
        (ArchiveKind::None, program.clone()),
        (ArchiveKind::TarGz, tar_gz(&[("kubelet", program.clone())])),
        (ArchiveKind::TarGz, tar_gz(&server)),
        (ArchiveKind::Deb, package(&[("usr/bin/kubelet", program.clone()), ("etc/x", vec![1])], "amd64")),
    ] {
        let mut memory = Memory::default();
        let release = release(archive, &[(KUBELET, places)]);
        let found = tree(&release, &mut bytes.as_slice(), bytes.len() as u64, &mut memory).unwrap();
        assert_eq!(found, expected, "{archive:?}");
        assert_eq!(memory.read(&Digest::of(&program)).unwrap(), program);
    }
}

#[test]
fn a_bundle_with_a_missing_program_is_refused_by_name() {
    let crio = [("usr/bin/crio", &["crio", "crio-v1.17.4/bin/crio"][..]), ("usr/bin/pinns", &["pinns"][..])];
    let only = tar_gz(&[("crio", program(62, "crio")), ("README", vec![])]);
    let tar = release(ArchiveKind::TarGz, &crio);
    refused(
        &tar,
        &only,
        Class::Integrity,
        "pinns is not in the archive (expected pinns, found crio, README)",
    );
    let other = tar_gz(&[("pinns", program(62, "pinns"))]);
    refused(&tar, &other, Class::Integrity, "expected crio or crio-v1.17.4/bin/crio, found pinns");
    let deb = package(&[("usr/bin/crio", program(62, "crio")), ("bin/pinns", program(62, "pinns"))], "amd64");
    let wanted = release(ArchiveKind::Deb, &crio);
    refused(&wanted, &deb, Class::Integrity, "pinns is not in the package (expected usr/bin/pinns");
    let bare = release(ArchiveKind::None, &crio);
    refused(&bare, &program(62, "crio"), Class::User, "one file was given where several are needed");
}

#[test]
fn what_cannot_run_here_is_refused() {
    let bare = release(ArchiveKind::None, &[(KUBELET, &[])]);
    for (bytes, what) in [
        (program(183, "kubelet"), "usr/bin/kubelet: a program for another machine"),
        (b"<!DOCTYPE html><html>".to_vec(), "no program"),
        (b"\x7fELF".to_vec(), "no program"),
        (Vec::new(), "no program"),
    ] {
        refused(&bare, &bytes, Class::Integrity, what);
    }
    let deb = package(&[(KUBELET, program(183, "kubelet"))], "arm64");
    refused(
        &release(ArchiveKind::Deb, &[(KUBELET, &[])]),
        &deb,
        Class::Integrity,
        "a package for another machine",
    );
}

#[test]
fn archives_are_read_strictly_to_their_end() {
    let wanted = release(ArchiveKind::TarGz, &[(KUBELET, &["kubelet"])]);
    let good = tar_gz(&[("kubelet", program(62, "kubelet"))]);
    for end in 0..good.len() {
        assert!(tree(&wanted, &mut &good[..end], end as u64, &mut Forget).is_err(), "{end}");
    }
    refused(&wanted, &[good.clone(), good].concat(), Class::Integrity, "bytes after the compressed stream");
    let mut link = Tree::new();
    link.insert(path("kubelet"), Node::symlink("/bin/sh")).unwrap();
    let mut bytes = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    tar::write(&link, &Memory::default(), Epoch::new(0).unwrap(), tar::Style::Deb, &mut bytes).unwrap();
    bytes.flush().unwrap();
    refused(&wanted, &bytes.finish().unwrap(), Class::Integrity, "is no plain file");
}

#[test]
fn what_was_compiled_is_taken() {
    let take = |name: &str, machine: u8| {
        let (tree, memory) = tree_of(&[(name, program(machine, "x"))]);
        of_tree(&release(ArchiveKind::None, &[(KUBELET, &["kubelet", "elsewhere"])]), &tree, &memory)
    };
    let taken = take("kubelet", 62).unwrap();
    assert_eq!(taken.get(KUBELET).map(|node| (node.mode, node.uid)), Some((0o755, 0)));
    assert!(take("elsewhere", 62).is_ok());
    for (name, machine, what) in
        [("kubeadm", 62, "kubelet was not compiled"), ("kubelet", 183, "another machine")]
    {
        let fault = take(name, machine).unwrap_err();
        assert!(fault.to_string().contains(what), "{fault}");
    }
}
