//! A role's system of real Debian packages, in a store and a checkout of the test's own.
//!
//! A locked package may leave Debian's mirrors any day, so the lock is made afresh, from the machine's own
//! apt sources. What nobody publishes where tests run (Kubernetes, CRI-O) is stood in for by *fixtures*:
//! packages of our own packer around a few lines of shell, or around Debian's build of the same program.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use builder::base::name::{LineName, RoleName};
use builder::base::progress::Silent;
use builder::base::tree::{Contents, Kind, Tree, TreePath};
use builder::base::{Digest, Epoch, Fault, Result};
use builder::build::executor::{BuildResults, build};
use builder::build::planner::BuildTarget;
use builder::build::planner::inputs;
use builder::build::planner::system;
use builder::build::steps::StepRunner;
use builder::fetch::locked;
use builder::fetch::mirror::{Mirrors, SuiteReader};
use builder::fetch::provide;
use builder::fetch::{self, Client, FetchLimits};
use builder::host::cargo;
use builder::host::checkout::Project;
use builder::lock::resolve::{UpdatePolicy, resolve};
use builder::lock::{Lock, LockedOrigin, LockedPackage};
use builder::plan::{Output, Plan, ProgramStep, Step, StepId};
use builder::recipe::Recipe;
use builder::recipe::component::Product;
use builder::rootfs::tools;
use builder::store::Store;
use tempfile::TempDir;

use crate::checkout::top;
use crate::tools::{put, succeed, tool};

/// What a plan is made from.
const SOURCES: [&str; 8] =
    ["Cargo.lock", "Cargo.toml", "builder", "node", "overlays", "recipes", "rust-toolchain.toml", "xtask"];

/// Packages that guests need to be tested, and no node has.
const GUESTS: &str = "about = \"What tests run inside guests\"\npackages = [\n    \"apt-utils\",\n    \
     \"containernetworking-plugins\",\n    \"crun\",\n    \"debsums\",\n    \"podman\",\n    \
     \"python3-yaml\",\n    \"skopeo\",\n    \"unattended-upgrades\",\n    \"usr-is-merged\",\n]\n";

/// What seeds on CDs are made with.
const ISO: &str =
    "about = \"What makes ISO 9660\"\npackages = [\n    \"genisoimage\",\n    \"usr-is-merged\",\n]\n";

/// A checkout with a fresh lock, and a store with what it names of Debian.
pub struct TestSystem {
    /// The checkout.
    pub project: Project,
    /// The store.
    pub store: Store,
    /// The recipe of the site's line.
    pub recipe: Recipe,
    /// The lock.
    pub lock: Lock,
    /// The test's own folder.
    pub folder: TempDir,
}

impl TestSystem {
    /// The site's line: copies the checkout, locks, fetches. The store is `$HALE_STORE` if there is one, so
    /// that whoever works on the tests fetches nothing twice.
    pub fn new() -> Result<Self> {
        Self::of(&Project::at(top()).default_line()?)
    }

    /// The same with another line.
    pub fn of(line: &LineName) -> Result<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("checkout");
        copy_sources(&place);
        put(place.join("recipes/groups/guests.toml"), GUESTS);
        put(place.join("recipes/groups/iso.toml"), ISO);
        let store = std::env::var_os("HALE_STORE").map_or_else(|| folder.path().join("store"), PathBuf::from);
        let (project, store) = (Project::at(place), Store::open(&store)?);
        let recipe = project.recipe(line)?;
        let lock = lock(&project, &recipe, &store)?;
        project.write_lock(&lock)?;
        fetch_debian(&lock, &store)?;
        Ok(Self { project, store, recipe, lock, folder })
    }

    /// The checkout's own line as it is locked, with what its owner handed over, and the store that has it:
    /// `$HALE_STORE`. Fails when a component of a role is not at hand.
    pub fn handed_over(line: &str) -> Result<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("checkout");
        copy_sources(&place);
        let line = LineName::new(line)?;
        let (own, project) = (Project::at(top()), Project::at(place));
        if let Ok(local) = std::fs::read(own.local_lock_path(&line)) {
            put(project.local_lock_path(&line), local);
        }
        let store = std::env::var_os("HALE_STORE").map_or_else(|| folder.path().join("store"), PathBuf::from);
        let (recipe, store) = (project.recipe(&line)?, Store::open(&store)?);
        let lock = project.lock(&recipe)?;
        let system = Self { project, store, recipe, lock, folder };
        for role in ["master", "node"] {
            let left_out = system::plan(&system.target(role), &system.store)?.left_out;
            if let Some((package, why)) = left_out.first_key_value() {
                return Err(Fault::user(format!("{package} of role {role} lacks {why:?}"))
                    .help("cargo xtask input add hands over a component; HALE_STORE names the store"));
            }
        }
        Ok(system)
    }

    /// What is built.
    pub fn target(&self, role: &str) -> BuildTarget {
        let line: LineName = self.recipe.line.name.clone();
        BuildTarget {
            project: self.project.clone(),
            line,
            role: RoleName::new(role).expect("a role"),
            toolchain: crate::checkout::toolchain(),
        }
    }

    /// Hands over a fixture for every component that a package or an image of ours is made of, and that is
    /// neither Debian's nor compiled from Debian's source.
    pub fn add_fixtures(&mut self) -> Result<()> {
        let fixtures = self.folder.path().join("fixtures");
        let mut doubles = BTreeMap::new();
        for package in ["crun", "containernetworking-plugins"] {
            doubles.extend(self.files_of(package)?);
        }
        for (name, component) in &self.recipe.components {
            let from = self.lock.inputs.get(name).map(|input| &input.from);
            if from.is_none_or(|from| matches!(from, LockedOrigin::SourcePackage { .. })) {
                continue;
            }
            let folder = fixtures.join(name.as_str());
            let version = self.recipe.line.pins[name].version();
            match &component.becomes {
                Product::AsIs => continue,
                Product::Deb(package) => {
                    for (path, payload) in &package.files {
                        let place = payload.places(path, version.as_str())?.remove(0);
                        let double = doubles.get(path.as_str()).cloned();
                        put(
                            folder.join(place.as_str()),
                            double.unwrap_or_else(|| fixture(path).into_bytes()),
                        );
                    }
                }
                // An image takes only programs that the kernel itself can run. Nothing runs this one.
                Product::Image(image) => {
                    let alone = &self.files_of("catatonit")?["usr/bin/catatonit"];
                    image.programs.iter().for_each(|path| put(folder.join(path.file_name()), alone));
                }
            }
            let archive = fixtures.join(format!("{name}-fixture.tar.gz"));
            succeed(tool("tar", "tar").arg("-czf").arg(&archive).arg("-C").arg(&folder).arg("."));
            provide::add(&self.project, &self.store, &self.recipe.line.name, name, version, &archive)?;
        }
        self.lock = self.project.lock(&self.recipe)?;
        Ok(())
    }

    /// Compiles `hale` from the real checkout, where Cargo has its crates compiled already.
    pub fn add_program(&self) -> Result<()> {
        let sources = cargo::identity(self.project.root(), &crate::checkout::toolchain())?;
        let id = Step::from(ProgramStep { sources, epoch: self.lock.epoch }).id()?;
        if self.store.output(&id)?.is_none() {
            let deb = cargo::build(top(), &crate::checkout::toolchain(), self.lock.epoch)?.deb;
            let content = self.store.put_bytes(&deb)?;
            self.store.record(&id, &Output::Blob { content, size: deb.len() as u64 })?;
        }
        Ok(())
    }

    /// Realises a plan.
    pub fn build(&self, plan: &Plan) -> Result<BuildResults> {
        let runner = StepRunner {
            store: &self.store,
            checkout: self.project.root().to_owned(),
            toolchain: crate::checkout::toolchain(),
            progress: Box::new(Silent),
        };
        build(plan, &runner, std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN))
    }

    /// Realises a plan and gives the output of one step of it.
    pub fn output(&self, plan: &mut Plan, step: StepId) -> Result<Digest> {
        plan.want(step);
        Ok(self.build(plan)?[&step].0.digest())
    }

    /// Programs that run from the store.
    pub fn tools(&self, group: &str) -> Result<tools::Tools> {
        let mut plan = Plan::new();
        let step = inputs::tools(&mut plan, &self.lock, &self.store, group)?;
        let tree = self.output(&mut plan, step)?;
        tools::Tools::open(&self.store, &tree, self.lock.epoch)
    }

    /// The time of all files.
    pub fn epoch(&self) -> Epoch {
        self.lock.epoch
    }

    /// The tree with the files of more packages laid beside its own, never installed.
    pub fn beside(&self, mut tree: Tree, left_out: &[&str]) -> Result<Tree> {
        let here =
            |p: &&LockedPackage| p.wanted_by.contains("guests") && !left_out.contains(&p.name.as_str());
        let unpacked: Vec<Digest> =
            self.lock.packages.values().filter(here).map(|package| package.sha256).collect();
        for unpacked in builder::rootfs::unpack_all(&self.store, &unpacked)? {
            for (path, node) in self.store.tree(&unpacked)?.iter() {
                let Some(path) = path.as_str().strip_prefix("data/") else { continue };
                let path = merged(path);
                if tree.get(&path).is_none() {
                    tree.insert(TreePath::new(path)?, node.clone())?;
                }
            }
        }
        Ok(tree)
    }

    /// The bytes of a locked package's files, by the path that they are given where it is packed.
    fn files_of(&self, name: &str) -> Result<BTreeMap<String, Vec<u8>>> {
        let package = self.lock.packages.values().find(|p| p.name.as_str() == name);
        let package = package.unwrap_or_else(|| panic!("the lock has no {name}"));
        let tree = builder::rootfs::unpack_all(&self.store, &[package.sha256])?.remove(0);
        let mut files = BTreeMap::new();
        for (path, node) in self.store.tree(&tree)?.iter() {
            if let (Some(path), Kind::File { content, .. }) =
                (path.as_str().strip_prefix("data/"), &node.kind)
            {
                files.insert(path.to_owned(), self.store.read(content)?);
            }
        }
        Ok(files)
    }
}

/// A stand-in for a program: it does nothing, and CRI-O's says that it is ready.
fn fixture(path: &TreePath) -> String {
    let does = match path.file_name() {
        "crio" => "systemd-notify --ready\nexec sleep infinity",
        _ => "exit 0",
    };
    format!("#!/bin/sh\n# A fixture of Hale's tests: not {}.\n{does}\n", path.file_name())
}

/// Where a package's path is in a root whose /bin, /lib and /sbin are links.
fn merged(path: &str) -> String {
    let first = path.split('/').next().unwrap_or_default();
    let linked = ["bin", "lib", "lib64", "sbin"].contains(&first) && path != first;
    if linked { format!("usr/{path}") } else { path.to_owned() }
}

/// Copies what a plan is made from.
pub fn copy_sources(to: &Path) {
    for part in SOURCES {
        for entry in walkdir::WalkDir::new(top().join(part)) {
            let entry = entry.expect("the checkout can be read");
            let name = to.join(entry.path().strip_prefix(top()).expect("below the checkout"));
            if entry.file_type().is_dir() {
                std::fs::create_dir_all(name).expect("a directory can be made");
            } else if entry.path_is_symlink() {
                let target = entry.path().read_link().expect("a link");
                std::os::unix::fs::symlink(target, name).expect("a link can be made");
            } else if !entry.path().to_string_lossy().ends_with(".local.lock") {
                put(name, std::fs::read(entry.path()).expect("a file"));
            }
        }
    }
}

/// A lock of what the archive offers now.
pub fn lock(project: &Project, recipe: &Recipe, store: &Store) -> Result<Lock> {
    let client = Client::new(FetchLimits::default(), None)?;
    #[expect(clippy::disallowed_methods, reason = "signatures of the archive expire")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let cache = store.root().join("tmp/partial");
    let reader = SuiteReader {
        client: &client,
        cache: &cache,
        now: Epoch::new(now.as_secs())?,
        arch: recipe.line.arch,
        sources: recipe.sources.keys().cloned().collect(),
    };
    let mirrors = Mirrors::read(&["/etc/apt/sources.list", "/etc/apt/sources.list.d"].map(PathBuf::from))?;
    let snapshot = reader.snapshot(&mirrors, project.files()?, &recipe.line, None)?;
    resolve(recipe, snapshot, UpdatePolicy::All)
}

/// Fetches Debian's packages of a lock; what is not Debian's nobody here can reach.
pub fn fetch_debian(lock: &Lock, store: &Store) -> Result<()> {
    let mirrors = Mirrors::read(&["/etc/apt/sources.list", "/etc/apt/sources.list.d"].map(PathBuf::from))?;
    let mut debian = lock.clone();
    debian.inputs.clear();
    let wanted =
        locked::wanted(&debian, &|suite| Ok(mirrors.of(&suite.name)?.into_iter().cloned().collect()))?;
    let client = Client::new(FetchLimits::default(), None)?;
    let summary = fetch::fetch(store, &client, &wanted, &Silent)?;
    match summary.missing.into_iter().next() {
        Some((_, fault)) => Err(fault),
        None => Ok(()),
    }
}
