use std::path::Path;

use super::*;
use crate::base::name::Arch;
use crate::base::{Class, Epoch};
use crate::build::steps::payload::unpack;
use crate::fetch::provide;
use crate::host::checkout::Project;
use crate::plan::{BundleStep, DebStep, Output, PayloadStep, Step};

/// A checkout of the shipped recipes that may be handed things, and a store.
struct Bench {
    _folder: tempfile::TempDir,
    project: Project,
    store: Store,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let checkout = folder.path().join("checkout");
        let shipped = Project::at(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap());
        for (name, text) in shipped.files().unwrap() {
            let path = checkout.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let store = Store::open(&folder.path().join("store")).unwrap();
        Self { project: Project::at(checkout), store, _folder: folder }
    }

    fn recipe(&self) -> Recipe {
        self.project.recipe(&"1.17".parse().unwrap()).unwrap()
    }

    fn hand_over(&self, component: &str, version: &str, file: &str, bytes: &[u8]) {
        let path = self.store.scratch().join(file);
        std::fs::write(&path, bytes).unwrap();
        let (line, name) = ("1.17".parse().unwrap(), component.parse().unwrap());
        let version = Version::new(version).unwrap();
        provide::add(&self.project, &self.store, &line, &name, &version, &path).unwrap();
    }

    fn plan(&self) -> Result<ComponentsPlan> {
        let recipe = self.recipe();
        let lock = Lock {
            line: recipe.line.name.clone(),
            arch: Arch::Amd64,
            recipe: recipe.lock_digest().unwrap(),
            epoch: Epoch::new(1_763_201_230).unwrap(),
            suites: BTreeMap::new(),
            inputs: Lock::inputs_of(&recipe).unwrap(),
            packages: BTreeMap::new(),
            sources: BTreeMap::new(),
        };
        let local = self.project.local(&recipe.line.name).unwrap();
        plan(self.project.files().unwrap(), &recipe, &lock.with_local(&local), &self.store)
    }

    /// Makes the payload of a component's plan.
    fn payload(&self, planned: &ComponentsPlan, label: &str) -> Result<crate::base::tree::Tree> {
        let (_, step) = planned.plan.find(label).unwrap();
        let Step::Payload(PayloadStep { input, release, texts }) = &step.step else { panic!("{label}") };
        let input = self.store.output(input).unwrap().unwrap();
        let Output::Tree { tree } = unpack(&self.store, input, release, texts)? else { panic!("no tree") };
        self.store.tree(&tree)
    }
}

fn program(text: &str) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(18, 0);
    bytes.extend([62, 0]);
    bytes.extend(text.as_bytes());
    bytes
}

#[test]
fn what_is_not_here_is_listed_with_what_brings_it() {
    let bench = Bench::new();
    let planned = bench.plan().unwrap();
    assert!(planned.goal.is_none() && planned.plan.is_empty());
    let mends: BTreeMap<_, _> =
        planned.missing.iter().map(|(name, missing)| (name.as_str(), missing.help.as_str())).collect();
    let names = ["cni-plugins", "cri-o", "crictl", "crun", "kube-proxy", "kubeadm", "kubectl", "kubelet"];
    assert_eq!(mends.keys().copied().collect::<Vec<_>>(), names);
    assert_eq!(mends["kubelet"], "cargo xtask fetch --only kubelet");
    assert!(
        mends["cri-o"].contains("cargo xtask input add cri-o FILE --version 1.17.4"),
        "{}",
        mends["cri-o"]
    );
}

#[test]
fn what_was_handed_over_becomes_a_package_that_says_so() {
    let bench = Bench::new();
    bench.hand_over("kubelet", "1.20.2", "kubelet", &program("kubelet"));
    let planned = bench.plan().unwrap();
    let own = &planned.packages["kubelet"];
    assert_eq!(own.as_str(), "1.20.2+hale1+local");
    let (_, deb) = planned.plan.find("deb kubelet").unwrap();
    let Step::Deb(DebStep { package, .. }) = &deb.step else { panic!("no package") };
    assert_eq!(package.control["Version"], own.as_str());
    assert!(package.control["Depends"].contains("conntrack, ebtables"), "{:?}", package.control);
    let tree = bench.payload(&planned, "payload kubelet").unwrap();
    let paths: Vec<_> =
        tree.iter().filter(|(_, node)| !node.is_dir()).map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["usr/bin/kubelet", "usr/share/doc/kubelet/copyright"]);
    let (_, bundle) = planned.plan.find("components").unwrap();
    let Step::Bundle(BundleStep { parts, .. }) = &bundle.step else { panic!("no bundle") };
    assert_eq!(
        parts.keys().map(TreePath::as_str).collect::<Vec<_>>(),
        ["kubelet_1.20.2+hale1+local_amd64.deb"]
    );
}

#[test]
fn half_a_bundle_is_refused_by_name() {
    let bench = Bench::new();
    bench.hand_over("cri-o", "1.17.4", "crio", &program("crio"));
    let planned = bench.plan().unwrap();
    let fault = bench.payload(&planned, "payload cri-o").unwrap_err();
    assert_eq!(fault.what(), "cri-o 1.17.4: one file was given where several are needed");
    bench.hand_over("cri-o", "1.17.4", "crio.tar.gz", b"no archive");
    let planned = bench.plan().unwrap();
    let fault = bench.payload(&planned, "payload cri-o").unwrap_err();
    assert_eq!(fault.class(), Class::Integrity, "{fault}");
}

#[test]
fn a_version_that_the_line_forbids_is_refused_with_the_rule() {
    for (component, version, rule) in [
        ("crun", "0.13", "old-crun"),
        ("crun", "1.18.2", "crun-without-cgroup-v1"),
        ("kubelet", "1.17.4", "old-kubernetes"),
        ("cni-plugins", "0.8.5", "spoofed-routers"),
    ] {
        let bench = Bench::new();
        bench.hand_over(component, version, component, &program(component));
        let fault = bench.plan().expect_err(rule);
        assert!(fault.what().contains(&format!("refused by rule `{rule}`")), "{fault}");
        assert!(fault.help_text().unwrap().contains("[overrides]"), "{fault}");
    }
}
