//! The canonical text of every kind of step, as it stands in stores and plans of people: a step whose text changes
//! gets another id, and everything below it is built again.

use std::collections::BTreeMap;

use super::*;
use crate::base::Epoch;
use crate::base::name::{Arch, ComponentName, LineName, OverlayName, PackageName, RoleName};
use crate::base::tree::TreePath;
use crate::formats::debian::script::Script;
use crate::formats::debian::version::Version;
use crate::plan::bill::{BillOfMaterials, BundlePackage, FileOrigin, Input};
use crate::recipe::component::{ArchiveKind, UpstreamRelease, WantedFile};
use crate::recipe::source_build::Compilation;

/// One text a line, in the order of [`steps`].
const GOLDEN: &str = include_str!("golden.txt");

fn id(of: &str) -> StepId {
    StepId(Digest::of(of))
}

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn name(text: &str) -> PackageName {
    PackageName::new(text).unwrap()
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn texts<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn bill() -> BillOfMaterials {
    let package = |of: &str, origin: FileOrigin, source: Checksum| BundlePackage {
        name: name(of),
        version: version("0.1.0-1"),
        arch: Arch::Amd64,
        origin,
        source,
        deb: id("deb"),
        tree: id("tree"),
    };
    let input = |name: &str, checksum: Option<Checksum>, location: Option<&str>| Input {
        name: name.to_owned(),
        version: "1:2.3-4".to_owned(),
        checksum,
        location: location.map(str::to_owned),
        local: location.is_none(),
    };
    let sha256 = Checksum::Sha256(Digest::of("source"));
    BillOfMaterials {
        line: LineName::new("1.17").unwrap(),
        role: RoleName::new("master").unwrap(),
        arch: Arch::Amd64,
        epoch: Epoch::new(1_700_000_000).unwrap(),
        recipe: Digest::of("recipe"),
        lock: Digest::of("lock"),
        builder: Digest::of("builder"),
        packages: vec![
            package("hale", FileOrigin::Program(name("hale")), sha256),
            package("hale-common", FileOrigin::Overlay(OverlayName::new("common").unwrap()), sha256),
            package("kubelet", FileOrigin::Component(ComponentName::new("kubelet").unwrap()), sha256),
        ],
        inputs: [input("crun", Some(sha256), Some("pool/main/c/crun.deb")), input("etcd", None, None)].into(),
    }
}

fn payload() -> Step {
    let wanted = WantedFile { places: vec![path("kubernetes/bin/kubelet"), path("kubelet")], mode: 0o755 };
    Step::Payload(PayloadStep {
        input: id("input"),
        release: UpstreamRelease {
            name: "kubelet 1.17.17".to_owned(),
            archive: ArchiveKind::TarGz,
            arch: Arch::Amd64,
            files: [(path("usr/bin/kubelet"), wanted)].into(),
        },
        texts: [(path("usr/share/doc/kubelet/copyright"), "A text.\n".to_owned())].into(),
    })
}

fn deb(epoch: Epoch) -> Step {
    let package = DebMetadata {
        control: texts([("Package", "hale-master"), ("Version", "1.17.17+hale1")]),
        conffiles: [path("etc/hale/role.toml")].into(),
        scripts: [(Script::Postinst, "#!/bin/sh\n".to_owned())].into(),
        triggers: vec!["activate-noawait ldconfig".to_owned()],
    };
    Step::Deb(DebStep { package, tree: id("tree"), epoch })
}

fn image(epoch: Epoch) -> Step {
    Step::Image(ImageStep {
        title: "hale-master".to_owned(),
        version: version("1.17.17+hale1"),
        about: "Files of a master".to_owned(),
        licenses: "MIT OR Apache-2.0".to_owned(),
        annotations: texts([("hale.line", "1.17")]),
        arch: Arch::Amd64,
        layers: vec![LayerSpec { package: name("hale"), version: version("0.1.0-1"), tree: id("tree") }],
        epoch,
    })
}

fn compile(epoch: Epoch) -> Step {
    let compilation = Compilation {
        command: vec!["make".to_owned(), "all".to_owned()],
        environment: texts([("GOFLAGS", "-trimpath")]),
        outputs: [path("bin/etcd")].into(),
    };
    let source = [("etcd_3.4.dsc".to_owned(), id("dsc"))].into();
    Step::Compile(CompileStep { source, root: id("root"), compilation, epoch })
}

fn preload(epoch: Epoch) -> Step {
    let image = Preloaded {
        component: name("etcd"),
        version: version("3.4.3"),
        license: "Apache-2.0".to_owned(),
        entrypoint: vec!["/usr/bin/etcd".to_owned()],
        tree: id("layer"),
    };
    Step::Preload(PreloadStep {
        files: id("files"),
        at: path("usr/lib/hale/images.erofs"),
        images: [("k8s.gcr.io/etcd:3.4.3-0".to_owned(), image)].into(),
        mapping: Mapping { first: 1_000_000, count: 65_536 },
        arch: Arch::Amd64,
        epoch,
    })
}

/// One of each kind, and of each that has a format number of its own.
fn steps() -> Vec<Step> {
    let epoch = Epoch::new(1_700_000_000).unwrap();
    let packages: BTreeMap<_, _> = [(name("crun"), id("crun")), (name("systemd"), id("systemd"))].into();
    let converted = |format| Step::Converted(ConvertedStep { disk: id("disk"), format });
    let parts: BTreeMap<_, _> = [(path("hale.deb"), id("deb")), (path("oci"), id("image"))].into();
    vec![
        Step::Input(InputStep { checksum: Checksum::Sha256(Digest::of("input")) }),
        Step::Files(FilesStep { tree: Digest::of("files") }),
        Step::Program(ProgramStep { sources: Digest::of("sources"), epoch }),
        Step::Unpack(UnpackStep { deb: id("deb") }),
        payload(),
        deb(epoch),
        image(epoch),
        Step::Root(RootStep { packages: packages.clone(), epoch }),
        Step::Install(InstallStep {
            root: id("root"),
            packages: packages.clone(),
            held: [name("crun")].into(),
            owner: 1_000_000,
            epoch,
        }),
        compile(epoch),
        Step::Tools(ToolsStep { packages }),
        Step::Closure(ClosureStep { tree: id("tree"), programs: [path("usr/bin/etcd")].into() }),
        preload(epoch),
        Step::Disk(DiskStep {
            root: id("root"),
            tools: id("tools"),
            arguments: vec!["quiet".to_owned()],
            epoch,
        }),
        converted(DiskFormat::Raw),
        converted(DiskFormat::Qcow2),
        converted(DiskFormat::RawZst),
        Step::Bundle(BundleStep { parts: parts.clone(), bill: Some(bill()) }),
        Step::Bundle(BundleStep { parts, bill: None }),
    ]
}

#[test]
fn the_text_of_every_kind_stays() {
    let texts = steps().into_iter().map(|step| String::from_utf8(step.text().unwrap()).unwrap());
    let texts: Vec<String> = texts.collect();
    let golden: Vec<&str> = GOLDEN.lines().collect();
    assert_eq!(texts, golden, "\n{}\n", texts.join("\n"));
    for (step, text) in steps().iter().zip(golden) {
        assert_eq!(step.id().unwrap(), StepId(Digest::of(text)));
        let (_, read): (u32, Step) = serde_json::from_str(text).unwrap();
        assert_eq!(&read, step);
    }
}
