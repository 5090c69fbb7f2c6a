use std::io::Cursor;

use super::*;
use crate::base::{Class, Digest};

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn control() -> Paragraph {
    let mut control = Paragraph::new();
    let fields = [
        ("Description", "one line\nand\n\nmore"),
        ("X-Lock", "sha256:0"),
        ("Depends", "crun (= 1.8.1-1+deb12u1)"),
        ("Version", "1:1.17-1"),
        ("Maintainer", "Hale <hale@localhost>"),
        ("Architecture", "all"),
        ("Package", "hale-master"),
    ];
    for (name, value) in fields {
        control.set(name, value).unwrap();
    }
    control
}

struct Sample {
    control: Paragraph,
    conffiles: BTreeSet<TreePath>,
    scripts: BTreeMap<Script, String>,
    triggers: Vec<String>,
    tree: Tree,
    memory: Memory,
}

fn sample() -> Sample {
    let (mut tree, mut memory) = (Tree::new(), Memory::default());
    tree.insert(path("etc/hale.conf"), memory.file("a = 1\n", 0o640).owned_by(0, 10_000_000)).unwrap();
    tree.insert(path("usr/bin/hale"), memory.file(vec![1; 1025], 0o755)).unwrap();
    tree.insert(path("usr/bin/crun"), Node::symlink("hale")).unwrap();
    Sample {
        control: control(),
        conffiles: BTreeSet::from([path("etc/hale.conf")]),
        scripts: BTreeMap::from([(Script::Postinst, "#!/bin/sh\nset -e\n".into())]),
        triggers: vec!["activate-noawait ldconfig".into()],
        tree,
        memory,
    }
}

impl Sample {
    fn write(&self) -> Result<Vec<u8>> {
        let (mut out, mut scratch) = (Vec::new(), Cursor::new(Vec::new()));
        let Self { control, conffiles, scripts, triggers, tree, memory } = self;
        let deb = DebSpec { control, conffiles, scripts, triggers, tree };
        write(&deb, memory, Epoch::new(1_763_201_230)?, &mut scratch, &mut out)?;
        Ok(out)
    }

    fn control_file(&self) -> String {
        let Self { control, conffiles, scripts, triggers, tree, .. } = self;
        fields(&DebSpec { control, conffiles, scripts, triggers, tree }).unwrap().to_string()
    }
}

#[test]
fn fields_stand_in_dpkgs_order() {
    let expect = "Package: hale-master\nVersion: 1:1.17-1\nArchitecture: all\n\
        Maintainer: Hale <hale@localhost>\nInstalled-Size: 8\nDepends: crun (= 1.8.1-1+deb12u1)\n\
        X-Lock: sha256:0\nDescription: one line\n and\n .\n more\n";
    assert_eq!(sample().control_file(), expect);
    assert_eq!(file_name(&control()).unwrap(), "hale-master_1.17-1_all.deb");
}

#[test]
fn what_dpkg_would_refuse_is_refused_here() {
    type Break = fn(&mut Sample);
    let cases: [(&str, Break); 8] = [
        ("`Description` is missing", |s| s.control.set("Description", "").unwrap()),
        ("`Package` is missing", |s| s.control.set("Package", "").unwrap()),
        ("not a package name", |s| s.control.set("Package", "../x").unwrap()),
        ("not a Debian version", |s| s.control.set("Version", "v1/2").unwrap()),
        ("not an architecture", |s| s.control.set("Architecture", "x86_64").unwrap()),
        ("postinst script cannot be run", |s| {
            s.scripts.values_mut().for_each(|text| *text = "set -e\n".into())
        }),
        ("conffile usr/bin is no file", |s| s.conffiles = BTreeSet::from([path("usr/bin")])),
        ("conffile etc/none is no file", |s| s.conffiles = BTreeSet::from([path("etc/none")])),
    ];
    for (expect, spoil) in cases {
        let mut sample = sample();
        spoil(&mut sample);
        let fault = sample.write().unwrap_err();
        assert!(fault.what().contains(expect), "{expect:?}: {fault}");
        assert_ne!(fault.class(), Class::Bug, "{fault}");
    }
}

#[test]
fn a_scratch_file_in_use_is_left_as_it_is() {
    let sample = sample();
    let Sample { control, conffiles, scripts, triggers, tree, memory } = &sample;
    let deb = DebSpec { control, conffiles, scripts, triggers, tree };
    let (mut out, mut scratch) = (Vec::new(), Cursor::new(b"other things".to_vec()));
    scratch.set_position(5);
    write(&deb, memory, Epoch::new(1_763_201_230).unwrap(), &mut scratch, &mut out).unwrap();
    assert!(out == sample.write().unwrap() && scratch.into_inner().starts_with(b"other"));
}

#[test]
fn golden() {
    assert_eq!(
        Digest::of(sample().write().unwrap()).hex(),
        "080a2e23f6df61c8324f574171634d61272c31457f78bfa3a4ee088b00f4e7af",
        "the bytes of every .deb changed: if that is meant, put the new digest here and say why in the commit"
    );
}
