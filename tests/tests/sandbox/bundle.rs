//! A role's bundle, built once from this checkout: its forms agree file by file, its documents cover it,
//! building again makes nothing, and without a good lock nothing is built.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::path::{Path, PathBuf};

use builder::base::progress::Silent;
use builder::base::{Class, Digest, Fault};
use builder::build::executor::{BuildResults, StepResult, build};
use builder::build::planner::BuildTarget;
use builder::build::planner::bundle::{self, BundlePlan};
use builder::build::steps::StepRunner;
use builder::dist;
use builder::host::checkout::Project;
use builder::plan::Step;
use builder::store::Store;
use macro_rules_attribute::apply;
use serde_json::Value;
use tests::checkout;
use tests::forms::{FileFacts, FileTree, assert_same, of_debs, of_layout};
use tests::runner::Shared;
use tests::system::copy_sources;
use tests::tools::{prefixed, put, run, said, succeed, tool};
use tests::trial;

/// A finished build.
struct BuiltBundle {
    top: tempfile::TempDir,
    store: Store,
    planned: BundlePlan,
    built: BuildResults,
}

impl Shared for BuiltBundle {
    fn make() -> Self {
        let top = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(&top.path().join("store")).unwrap_or_else(|fault| panic!("{fault}"));
        let planned =
            bundle::plan(&target(checkout::top()), &store).unwrap_or_else(|fault| panic!("{fault}"));
        let built = realise(&planned, &store, 2);
        let output = built[&planned.goal].0;
        let to = top.path().join("dist/master");
        dist::bundle::export(&store, &output, &planned.plan, &to).unwrap_or_else(|fault| panic!("{fault}"));
        Self { top, store, planned, built }
    }
}

impl BuiltBundle {
    fn dist(&self) -> PathBuf {
        self.top.path().join("dist/master")
    }

    fn json(&self, name: &str) -> Value {
        let bytes = std::fs::read(self.dist().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A package's `.deb`, by its name.
    fn deb(&self, package: &str) -> PathBuf {
        let begins = format!("{package}_");
        let mut found = self.files().into_keys().filter(|name| name.starts_with(&begins));
        let name = found.next().unwrap_or_else(|| panic!("no package {package}"));
        assert_eq!(found.next(), None, "two packages {package}");
        self.dist().join(name)
    }

    /// Digests of all that was put in `dist`, by path.
    fn files(&self) -> BTreeMap<String, Digest> {
        let mut files = BTreeMap::new();
        for entry in walkdir::WalkDir::new(self.dist()) {
            let entry = entry.expect("dist can be read");
            if entry.file_type().is_file() {
                let name = entry.path().strip_prefix(self.dist()).expect("below dist");
                let bytes = std::fs::read(entry.path()).expect("a file");
                files.insert(name.to_str().expect("UTF-8").to_owned(), Digest::of(bytes));
            }
        }
        files
    }
}

fn target(root: &Path) -> BuildTarget {
    let project = Project::at(root);
    let line = project.default_line().unwrap_or_else(|fault| panic!("{fault}"));
    let role = "master".parse().unwrap_or_else(|fault| panic!("{fault}"));
    BuildTarget { project, line, role, toolchain: checkout::toolchain() }
}

fn realise(planned: &BundlePlan, store: &Store, jobs: usize) -> BuildResults {
    let jobs = NonZero::new(jobs).expect("not zero");
    let runner = StepRunner {
        store,
        checkout: checkout::top().to_owned(),
        toolchain: checkout::toolchain(),
        progress: Box::new(Silent),
    };
    build(&planned.plan, &runner, jobs).unwrap_or_else(|fault| panic!("{fault}"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{value} has no text {key}"))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("no list {key}"))
}

/// What the manifest says of one package, or of all.
fn promised(manifest: &Value, package: Option<&str>) -> FileTree {
    let entries = list(manifest, "files").iter();
    let entries = entries.filter(|entry| package.is_none_or(|name| text(entry, "package") == name));
    let form = entries.map(|entry| {
        let what = match text(entry, "kind") {
            "dir" => "dir".to_owned(),
            "file" => format!("file {}", text(entry, "content")),
            "symlink" => format!("link {}", text(entry, "target")),
            kind => panic!("{kind} is no kind of file"),
        };
        let number = |key: &str| entry[key].as_u64().expect("a number") as u32;
        let mode = u32::from_str_radix(text(entry, "mode"), 8).expect("an octal number");
        let path = text(entry, "path").strip_prefix('/').expect("an absolute path");
        (path.to_owned(), FileFacts { mode, owner: (number("uid"), number("gid")), what })
    });
    form.collect()
}

fn packages(manifest: &Value) -> Vec<&str> {
    list(manifest, "packages").iter().map(|package| text(package, "name")).collect()
}

#[apply(trial)]
fn packages_hold_what_the_manifest_says(bundle: &BuiltBundle) {
    let manifest = bundle.json("manifest.json");
    assert_eq!(packages(&manifest), ["hale", "hale-common", "hale-master"]);
    for package in packages(&manifest) {
        let form = of_debs([bundle.deb(package).as_path()]);
        assert!(form.values().any(|found| found.what.starts_with("file ")), "{package} has no files");
        assert_same("manifest.json", &promised(&manifest, Some(package)), package, &form);
    }
    let sums = bundle.files();
    for package in list(&manifest, "packages") {
        let deb = bundle.deb(text(package, "name"));
        let name = deb.file_name().and_then(|name| name.to_str()).expect("UTF-8");
        assert_eq!(sums[name].to_string(), text(package, "deb"), "{name}");
        assert_eq!(deb.metadata().expect("the package").len(), package["size"], "{name}");
    }
}

/// The image's name in its layout's index.
fn reference(bundle: &BuiltBundle) -> String {
    let index = bundle.json("oci/index.json");
    let [only] = list(&index, "manifests") else { panic!("an index of one image: {index}") };
    text(&only["annotations"], "org.opencontainers.image.ref.name").to_owned()
}

#[apply(trial)]
fn the_image_holds_what_the_manifest_says(bundle: &BuiltBundle) {
    let form = of_layout(&bundle.dist().join("oci"), &reference(bundle));
    assert_same("manifest.json", &promised(&bundle.json("manifest.json"), None), "the image", &form);
}

#[apply(trial)]
fn one_layer_a_package(bundle: &BuiltBundle) {
    let image = format!("{}:{}", bundle.dist().join("oci").display(), reference(bundle));
    let image = prefixed("oci:", Path::new(&image));
    let inspect = |options: &[&str]| -> Value {
        let said = succeed(tool("skopeo", "skopeo").arg("inspect").args(options).arg(image.as_ref()));
        serde_json::from_slice(&said).expect("skopeo prints JSON")
    };
    let (seen, raw, manifest) = (inspect(&[]), inspect(&["--raw"]), bundle.json("manifest.json"));
    assert_eq!(list(&seen, "Layers").len(), packages(&manifest).len());
    assert_eq!(text(&seen, "Architecture"), text(&manifest, "arch"));
    let titles = list(&raw, "layers").iter();
    let titles: Vec<_> =
        titles.map(|layer| text(&layer["annotations"], "org.opencontainers.image.title")).collect();
    assert_eq!(titles, packages(&manifest));
    let about = &raw["annotations"];
    for (key, expect) in [
        ("hale.line", text(&manifest, "line")),
        ("hale.role", text(&manifest, "role")),
        ("hale.lock", text(&manifest, "lock")),
        ("org.opencontainers.image.title", "hale-master"),
        ("org.opencontainers.image.created", text(&seen, "Created")),
    ] {
        assert_eq!(text(about, key), expect, "{key}");
    }
}

#[apply(trial)]
fn the_sums_cover_everything(bundle: &BuiltBundle) {
    let check = |folder: &Path| {
        let mut sum = tool("sha256sum", "coreutils");
        run(sum.args(["--check", "--strict", "--quiet", "SHA256SUMS"]).current_dir(folder))
    };
    let output = check(&bundle.dist());
    assert!(output.status.success(), "{}", said(&output));
    let sums = std::fs::read_to_string(bundle.dist().join("SHA256SUMS")).expect("the sums");
    let covered: BTreeSet<_> =
        sums.lines().map(|line| line.split_once("  ").expect("a sum and a path").1.to_owned()).collect();
    assert_eq!(covered, all_but(bundle, &["SHA256SUMS", "plan.json", ".hale"]));
}

fn all_but(bundle: &BuiltBundle, names: &[&str]) -> BTreeSet<String> {
    bundle.files().into_keys().filter(|name| !names.contains(&name.as_str())).collect()
}

#[apply(trial)]
fn the_bill_and_the_provenance_cover_everything(bundle: &BuiltBundle) {
    let (manifest, bill) = (bundle.json("manifest.json"), bundle.json("sbom.spdx.json"));
    let sha256 = |file: &Value| {
        let mut sums = list(file, "checksums").iter();
        let sum = sums.find(|sum| text(sum, "algorithm") == "SHA256").expect("a SHA-256");
        format!("sha256:{}", text(sum, "checksumValue"))
    };
    let pair = |file: &Value| (text(file, "fileName").trim_start_matches('.').to_owned(), sha256(file));
    let billed: BTreeMap<_, _> = list(&bill, "files").iter().map(pair).collect();
    let files = list(&manifest, "files").iter().filter(|entry| text(entry, "kind") == "file");
    let expect: BTreeMap<_, _> =
        files.map(|entry| (text(entry, "path").to_owned(), text(entry, "content").to_owned())).collect();
    assert_eq!(billed, expect);

    let provenance = bundle.json("provenance.intoto.json");
    let digest = |subject: &Value| text(&subject["digest"], "sha256").to_owned();
    let pair = |subject: &Value| (text(subject, "name").to_owned(), digest(subject));
    let subjects: BTreeMap<_, _> = list(&provenance, "subject").iter().map(pair).collect();
    let mut before = bundle.files();
    before.retain(|name, _| {
        !["SHA256SUMS", "plan.json", "provenance.intoto.json", ".hale"].contains(&name.as_str())
    });
    let before: BTreeMap<_, _> =
        before.into_iter().map(|(name, digest)| (name, digest.hex().to_string())).collect();
    assert_eq!(subjects, before);
}

fn field(deb: &Path, name: &str) -> String {
    let said = succeed(tool("dpkg-deb", "dpkg").arg("--field").arg(deb).arg(name));
    String::from_utf8(said).expect("UTF-8").trim_end().to_owned()
}

#[apply(trial)]
fn what_is_pinned_is_depended_on_exactly(bundle: &BuiltBundle) {
    let depends = |package: &str| -> BTreeMap<String, Option<String>> {
        let depends = field(&bundle.deb(package), "Depends");
        let relation = |text: &str| match text.split_once(' ') {
            None => (text.to_owned(), None),
            Some((name, version)) => {
                let version = version.strip_prefix("(= ").and_then(|rest| rest.strip_suffix(')'));
                (name.to_owned(), Some(version.unwrap_or_else(|| panic!("{text} is not exact")).to_owned()))
            }
        };
        depends.split(", ").map(relation).collect()
    };
    let own = depends("hale-master");
    let exact: BTreeSet<_> =
        own.iter().filter(|(_, version)| version.is_some()).map(|(name, _)| name).collect();
    let lock = &bundle.planned.lock;
    for name in ["cni-plugins", "cri-o", "crictl", "crun", "kube-proxy", "kubeadm", "kubectl", "kubelet"] {
        let locked = lock.inputs[name].version.to_string();
        let version = own.get(name).cloned().flatten().unwrap_or_else(|| panic!("{name} in {own:?}"));
        assert_eq!(version.split("+hale").next(), Some(locked.as_str()), "{name}");
    }
    let conmon = lock.packages.values().find(|locked| locked.name.as_str() == "conmon").expect("conmon");
    assert_eq!(own["conmon"], Some(conmon.version.to_string()));
    assert_eq!(own["hale-common"], Some(field(&bundle.deb("hale-common"), "Version")));
    assert_eq!(exact.len(), 10, "{exact:?}");
    assert_eq!(depends("hale-common")["hale"], Some(field(&bundle.deb("hale"), "Version")));
}

#[apply(trial)]
fn a_second_build_makes_nothing(bundle: &BuiltBundle) {
    let planned =
        bundle::plan(&target(checkout::top()), &bundle.store).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(planned.goal, bundle.planned.goal);
    let built = realise(&planned, &bundle.store, 1);
    let made = built.values().filter(|(_, way)| *way == StepResult::Built).count();
    assert_eq!(made, 0);
    assert_eq!(built[&planned.goal].0, bundle.built[&bundle.planned.goal].0);
    let first = bundle.built.values().filter(|(_, way)| *way == StepResult::Built).count();
    assert_eq!(first, bundle.planned.plan.len(), "the first build makes every step");
}

/// A copy of the checkout elsewhere, planned and built with one worker in a store of its own. The program
/// alone is carried over: its own test compiles it in two places.
#[apply(trial)]
fn another_store_and_another_place_give_the_same(bundle: &BuiltBundle) {
    let top = tempfile::tempdir().expect("a temporary directory");
    let place = top.path().join("another, longer path");
    copy_sources(&place);
    let store = Store::open(&top.path().join("store")).unwrap_or_else(|fault| panic!("{fault}"));
    let planned = bundle::plan(&target(&place), &store).unwrap_or_else(|fault| panic!("{fault}"));
    let programs = planned.plan.iter().filter(|(_, planned)| matches!(planned.step, Step::Program(_)));
    let mut carried = 0;
    for (id, _) in programs {
        let output = bundle.built[&id].0;
        store.put(std::fs::File::open(bundle.store.path_of(&output.digest())).expect("the program")).unwrap();
        store.record(&id, &output).unwrap_or_else(|fault| panic!("{fault}"));
        carried += 1;
    }
    let built = realise(&planned, &store, 1);
    let made = built.values().filter(|(_, way)| *way == StepResult::Built).count();
    assert_eq!((made, carried), (planned.plan.len() - 1, 1));
    let outputs =
        |built: &BuildResults| -> BTreeMap<_, _> { built.iter().map(|(id, (out, _))| (*id, *out)).collect() };
    assert_eq!(outputs(&built), outputs(&bundle.built));
}

#[apply(trial)]
fn no_good_lock_no_build(bundle: &BuiltBundle) {
    let top = tempfile::tempdir().expect("a temporary directory");
    copy_sources(top.path());
    let lock = top.path().join("recipes/lines/1.17.lock");
    let line = top.path().join("recipes/lines/1.17.toml");
    let (locked, recipe) = (std::fs::read_to_string(&lock).unwrap(), std::fs::read_to_string(&line).unwrap());
    let replaced = |text: &str, old: &str, new: &str| {
        assert!(text.contains(old), "{old}");
        text.replacen(old, new, 1)
    };
    let pinned = format!("recipe = \"{}\"", bundle.planned.lock.recipe);
    let other = if pinned.ends_with("0\"") { "1\"" } else { "0\"" };
    let flipped = format!("{}{other}", &pinned[..pinned.len() - 2]);
    let recipe_line = locked[..locked.find(&pinned).expect("a recipe")].lines().count() + 1;
    let mistyped = replaced(&locked, "schema = 1", "schema =  1");
    for (class, words, lock_text, line_text, at) in [
        (Class::User, "is missing", None, recipe.clone(), None),
        (
            Class::User,
            "is stale",
            Some(locked.clone()),
            replaced(
                &recipe,
                "[pins.kubeadm]\nversion = \"1.17.17\"",
                "[pins.kubeadm]\nversion = \"1.17.16\"",
            ),
            Some(recipe_line),
        ),
        (
            Class::Integrity,
            "its digest disagrees",
            Some(replaced(&locked, &pinned, &flipped)),
            recipe.clone(),
            Some(2),
        ),
        (Class::User, "edited by hand", Some(mistyped), recipe.clone(), Some(3)),
    ] {
        put(&line, line_text);
        let _ = std::fs::remove_file(&lock);
        lock_text.iter().for_each(|text| put(&lock, text));
        let fault = refused(top.path(), &bundle.store, words, at);
        assert_eq!(fault.class(), class, "{fault}");
    }
    put(&lock, locked);
    put(&line, recipe);
    assert!(bundle::plan(&target(top.path()), &bundle.store).is_ok(), "the copy is good otherwise");
}

/// No plan, but a fault that says where and what to do.
fn refused(place: &Path, store: &Store, words: &str, at: Option<usize>) -> Fault {
    let Err(fault) = bundle::plan(&target(place), store) else { panic!("planned, though the lock {words}") };
    assert!(fault.to_string().contains(words) && fault.to_string().contains("lock"), "{words}: {fault}");
    assert_eq!(fault.help_text(), Some("cargo xtask lock 1.17"), "{fault}");
    assert_eq!(fault.place().map(|place| place.line()), at, "{fault}");
    match fault.place() {
        Some(place) => assert_eq!(place.file, "recipes/lines/1.17.lock"),
        None => assert!(fault.what().contains("recipes/lines/1.17.lock"), "{fault}"),
    }
    fault
}
