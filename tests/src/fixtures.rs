//! Role packages and component packages around programs of the tests' own: what an operator has who handed
//! every component over, real in everything but those programs.

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use builder::base::name::{ComponentName, LineName, RoleName};
use builder::base::progress::Silent;
use builder::base::tree::{Node, Tree, TreePath};
use builder::base::{Epoch, Result};
use builder::build::executor::build;
use builder::build::planner::BuildTarget;
use builder::build::planner::bundle;
use builder::build::planner::components;
use builder::build::steps::StepRunner;
use builder::dist;
use builder::dist::repository::{Bundles, gather, publish};
use builder::fetch::provide;
use builder::formats::debian::version::Version;
use builder::formats::openpgp::SigningKey;
use builder::host::checkout::Project;
use builder::lock::Lock;
use builder::pack::package::repository::Suite;
use builder::plan::{Output, Plan, StepId};
use builder::recipe::Recipe;
use builder::store::Store;
use tempfile::TempDir;

use crate::checkout;
use crate::tools::{put, succeed, tool};

/// The components that are Kubernetes itself, which are of one version.
const KUBERNETES: [&str; 4] = ["kubelet", "kubeadm", "kubectl", "kube-proxy"];

/// The packages of both roles and of every component that becomes one.
pub struct Shelf {
    folder: TempDir,
}

impl Shelf {
    /// Packs everything with Kubernetes of this version. `program` gives a program's text by its name: a
    /// script, since the packer takes nothing that cannot be run.
    pub fn stock(kubernetes: &str, program: &dyn Fn(&str) -> String) -> Self {
        let shelf = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        shelf.fill(kubernetes, program).unwrap_or_else(|fault| panic!("{fault}"));
        shelf
    }

    /// The `.deb`s.
    pub fn debs(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("all")).expect("a folder").flatten();
        let mut debs: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        debs.sort();
        debs
    }

    /// Publishes them in a signed repository at `to`, for nodes that find it at `uri`.
    pub fn publish(&self, to: &Path, uri: &str) -> Result<()> {
        let (store, lock) = (self.store()?, self.lock()?);
        let suite = Suite {
            name: "hale-test".parse()?,
            description: "Packages around programs of the tests".to_owned(),
            epoch: lock.epoch,
            arches: [lock.arch].into(),
            uri: uri.to_owned(),
        };
        let key = SigningKey::generate([7; 32], "Test", Epoch::new(1_577_836_800)?)?;
        let bundles = Bundles { roles: vec![bundle(&store, &self.debs())], components: None };
        let offers = gather(&store, &bundles, &[RoleName::new("all")?].into(), &lock)?;
        publish(&store, &suite, offers, &key, to).map(drop)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn store(&self) -> Result<Store> {
        Store::open(&self.path("store"))
    }

    fn project(&self) -> Project {
        Project::at(self.path("checkout"))
    }

    fn line(&self) -> Result<LineName> {
        self.project().default_line()
    }

    fn recipe(&self) -> Result<Recipe> {
        self.project().recipe(&self.line()?)
    }

    fn lock(&self) -> Result<Lock> {
        self.project().lock(&self.recipe()?)
    }

    fn fill(&self, kubernetes: &str, program: &dyn Fn(&str) -> String) -> Result<()> {
        checkout::copy(&self.path("checkout"));
        let (store, recipe) = (self.store()?, self.recipe()?);
        for (name, component) in &recipe.components {
            let Some(package) = component.package() else { continue };
            let files = package.files.keys().map(|path| path.file_name()).collect::<Vec<_>>();
            let file = self.hand_out(name, &files, program);
            let pinned = recipe.line.pins[name].version();
            let is_kubernetes = KUBERNETES.contains(&name.as_str());
            let version = if is_kubernetes { Version::new(kubernetes)? } else { pinned.clone() };
            provide::add(&self.project(), &store, &self.line()?, name, &version, &file)?;
        }
        let lock = self.lock()?;
        let components = components::plan(self.project().files()?, &recipe, &lock, &store)?;
        assert!(components.missing.is_empty(), "{:?}", components.missing);
        self.make(&store, &components.plan, components.goal.expect("there are components"), "components")?;
        for role in recipe.roles.values() {
            let target = BuildTarget {
                project: self.project(),
                line: self.line()?,
                role: role.name.clone(),
                toolchain: checkout::toolchain(),
            };
            let planned = bundle::plan(&target, &store)?;
            self.make(&store, &planned.plan, planned.goal, role.name.as_str())?;
        }
        self.conmon(&lock)
    }

    /// A file such as an operator has: the program itself, or an archive of several.
    fn hand_out(
        &self,
        component: &ComponentName,
        files: &[&str],
        program: &dyn Fn(&str) -> String,
    ) -> PathBuf {
        let folder = self.path("handed").join(component.as_str());
        files.iter().for_each(|name| put(folder.join(name), program(name)));
        let [one] = files else {
            let archive = self.path("handed").join(format!("{component}.tar.gz"));
            succeed(tool("tar", "tar").arg("-czf").arg(&archive).arg("-C").arg(&folder).args(files));
            return archive;
        };
        folder.join(one)
    }

    /// Builds, and keeps the packages. `hale` is compiled where it has been compiled already.
    fn make(&self, store: &Store, plan: &Plan, goal: StepId, name: &str) -> Result<()> {
        let runner = StepRunner {
            store,
            checkout: checkout::top().to_owned(),
            toolchain: checkout::toolchain(),
            progress: Box::new(Silent),
        };
        let built = build(plan, &runner, NonZero::<usize>::MIN)?;
        let output: Output = built[&goal].0;
        dist::bundle::export(store, &output, plan, &self.path(name))?;
        let debs = fs::read_dir(self.path(name)).expect("a folder").flatten();
        for deb in debs.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "deb"))
        {
            put(self.path("all").join(deb.file_name().expect("a file")), fs::read(&deb).expect("a package"));
        }
        Ok(())
    }

    /// Debian's one component, in the locked version, which Debian may have replaced meanwhile.
    fn conmon(&self, lock: &Lock) -> Result<()> {
        let locked = lock.packages.values().find(|package| package.name.as_str() == "conmon");
        let version = &locked.expect("conmon is locked").version;
        pack(&self.path("all"), "conmon", version.as_str());
        Ok(())
    }
}

/// Packages as a bundle of a role that the store has.
pub fn bundle(store: &Store, debs: &[PathBuf]) -> Tree {
    let mut tree = Tree::new();
    for deb in debs {
        let (content, size) = store.put(fs::File::open(deb).expect("a package")).expect("room");
        let name = deb.file_name().and_then(|name| name.to_str()).expect("a name");
        let path = TreePath::new(name).expect("a path");
        tree.insert(path, Node::file(content, size, 0o644)).expect("a file once");
    }
    tree
}

/// Packs a package of one script with dpkg-deb into `folder`.
pub fn pack(folder: &Path, name: &str, version: &str) {
    let tree = tempfile::tempdir().expect("a temporary folder");
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: T <t@example.org>\nDescription: of the tests\n"
    );
    put(tree.path().join("DEBIAN/control"), control);
    put(tree.path().join("usr/bin").join(name), "#!/bin/sh\n");
    fs::create_dir_all(folder).expect("a folder");
    let mut dpkg_deb = tool("dpkg-deb", "dpkg");
    succeed(dpkg_deb.args(["--root-owner-group", "-Znone", "--build"]).arg(tree.path()).arg(folder));
}
