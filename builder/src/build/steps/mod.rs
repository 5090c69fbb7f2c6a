//! Makes each kind of step: opens its inputs in the store, calls the packer, records the output.

pub mod disk;
pub mod payload;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Seek;
use std::path::PathBuf;

use super::executor::Executor;
use crate::base::digest::Checksum;
use crate::base::name::Arch;
use crate::base::progress::Progress;
use crate::base::tree::{Contents, Kind, Memory, Node, Tree, TreePath};
use crate::base::{Digest, Epoch, Fault, Result};
use crate::formats::debian::control::Paragraph;
use crate::formats::debian::deb::{UnpackLimits, UnpackedDeb};
use crate::host::cargo::{self, Toolchain};
use crate::host::sandbox::Sandbox;
use crate::pack::disk::writer::Layered;
use crate::pack::disk::{DiskSpec, SLACK};
use crate::pack::document::{manifest, provenance, sbom};
use crate::pack::image::containers_storage::{self, Stored};
use crate::pack::image::{closure, erofs, oci};
use crate::pack::package::deb;
use crate::plan::bill::BillOfMaterials;
use crate::plan::{DebMetadata, LabelledStep, LayerSpec, Output, Preloaded, Step, StepId};
use crate::rootfs::tools::Tools;
use crate::rootfs::{self, Builder};
use crate::store::Store;

/// The store, and the checkout that programs are compiled from.
pub struct StepRunner<'a> {
    /// Where inputs are and outputs go.
    pub store: &'a Store,
    /// The checkout's top folder.
    pub checkout: PathBuf,
    /// Where the compiler is.
    pub toolchain: Toolchain,
    /// Where it is told how far a build is.
    pub progress: Box<dyn Progress>,
}

/// Outputs of a step's inputs.
type Inputs = BTreeMap<StepId, Output>;

impl Executor for StepRunner<'_> {
    fn recall(&self, id: StepId) -> Result<Option<Output>> {
        self.store.output(&id)
    }

    fn make(&self, id: StepId, planned: &LabelledStep, inputs: &Inputs) -> Result<Output> {
        let output = self.realise(id, &planned.step, inputs)?;
        self.store.record(&id, &output)?;
        Ok(output)
    }

    fn expect(&self, steps: usize) {
        self.progress.expect(steps as u64);
    }

    fn report(&self, planned: &LabelledStep, done: bool) {
        match done {
            true => self.progress.advance(1),
            false => self.progress.name(&planned.label),
        }
    }
}

impl StepRunner<'_> {
    fn realise(&self, id: StepId, step: &Step, inputs: &Inputs) -> Result<Output> {
        match step {
            Step::Input { checksum } => Err(missing(checksum)),
            Step::Files { tree } => self.files(tree),
            Step::Program { epoch, .. } => self.program(*epoch),
            Step::Unpack { deb } => self.unpack(output(inputs, deb)?),
            Step::Deb { package, tree, epoch } => self.deb(package, &self.tree(inputs, tree)?, *epoch),
            Step::Image { .. } => self.image(step, inputs),
            Step::Payload { input, release, texts } => {
                payload::unpack(self.store, output(inputs, input)?, release, texts)
            }
            Step::Root { packages, epoch } => {
                let unpacked = rootfs::unpacked(self.store, &blobs(inputs, packages.values())?)?;
                self.root(*epoch, |builder| builder.assemble(&unpacked))
            }
            Step::Install { root, packages, held, owner, epoch } => {
                let root = output(inputs, root)?.digest();
                let debs = blobs(inputs, packages.values())?;
                let debs = packages.keys().cloned().zip(debs).collect();
                self.root(*epoch, |builder| builder.install(&root, &debs, *owner, held))
            }
            Step::Compile { source, root, compilation, epoch } => {
                let root = output(inputs, root)?.digest();
                let files = source.keys().cloned().zip(blobs(inputs, source.values())?).collect();
                self.root(*epoch, |builder| builder.compile(&root, &files, compilation))
            }
            Step::Tools { packages } => {
                let unpacked = rootfs::unpacked(self.store, &blobs(inputs, packages.values())?)?;
                Ok(Output::Tree { tree: rootfs::merge_only(self.store, &unpacked)? })
            }
            Step::Closure { tree, programs } => {
                let tree = closure::closure(&self.tree(inputs, tree)?, self.store, programs)?;
                Ok(Output::Tree { tree: self.store.put_tree(&tree)? })
            }
            Step::Preload { .. } => self.preload(step, inputs),
            Step::Disk { root, tools, arguments, epoch } => {
                let tools = Tools::open(self.store, &output(inputs, tools)?.digest(), *epoch)?;
                let disk =
                    DiskSpec { identity: id.0, epoch: *epoch, arguments: arguments.join(" "), slack: SLACK };
                disk::assemble(&disk, &self.tree(inputs, root)?, self.store, &tools)
            }
            Step::Converted { disk, format } => {
                disk::convert(self.store, &output(inputs, disk)?.digest(), *format)
            }
            Step::Bundle { parts, bill } => self.bundle(parts, bill.as_ref(), inputs),
        }
    }

    /// Makes a root tree in a sandbox whose helpers are this very program.
    fn root(&self, epoch: Epoch, make: impl FnOnce(&Builder<'_>) -> Result<Digest>) -> Result<Output> {
        let sandbox = Sandbox::of_this_program()?;
        let builder =
            Builder { store: self.store, sandbox: &sandbox, epoch, limits: rootfs::Timeouts::default() };
        Ok(Output::Tree { tree: make(&builder)? })
    }

    fn files(&self, tree: &Digest) -> Result<Output> {
        let whole = self.store.tree(tree)?;
        let missing = whole.iter().find(|(_, node)| match &node.kind {
            Kind::File { content, .. } => !self.store.contains(content),
            Kind::Dir | Kind::Symlink { .. } => false,
        });
        match missing {
            Some((path, _)) => Err(Fault::bug(format!("the contents of {path} were not put into the store"))),
            None => Ok(Output::Tree { tree: *tree }),
        }
    }

    fn program(&self, epoch: Epoch) -> Result<Output> {
        let package = cargo::build(&self.checkout, &self.toolchain, epoch)?;
        let size = package.deb.len() as u64;
        Ok(Output::Blob { content: self.store.put_bytes(&package.deb)?, size })
    }

    fn unpack(&self, deb: Output) -> Result<Output> {
        let Output::Blob { content, size } = deb else { return Err(Fault::bug("a package is a file")) };
        let batch = self.store.batch()?;
        let read = UnpackedDeb::read(
            &content.short(),
            self.store.open(&content)?,
            UnpackLimits::for_size(size),
            &mut &batch,
        )?;
        batch.commit()?;
        Ok(Output::Tree { tree: self.store.put_tree(&read.tree)? })
    }

    /// Whoever owns a file rewrites it, and some owners are ids that containers run with: all is root's. What belongs
    /// to others is made on the node (tmpfiles.d(5)) or lies in a file system that is only read.
    fn deb(&self, package: &DebMetadata, tree: &Tree, epoch: Epoch) -> Result<Output> {
        if let Some((path, node)) = tree.iter().find(|(_, node)| (node.uid, node.gid) != (0, 0)) {
            return Err(Fault::integrity(format!("/{path} of a package is not root's"))
                .expected_found("0:0", format!("{}:{}", node.uid, node.gid)));
        }
        let mut control = Paragraph::new();
        for (name, value) in &package.control {
            control.set(name, value.as_str())?;
        }
        let (conffiles, scripts) = (&package.conffiles, &package.scripts);
        let deb = deb::DebSpec { control: &control, conffiles, scripts, triggers: &package.triggers, tree };
        let mut scratch = self.scratch()?;
        let mut writer = self.store.writer()?;
        deb::write(&deb, self.store, epoch, &mut scratch, &mut writer)?;
        let (content, size) = writer.commit()?;
        Ok(Output::Blob { content, size })
    }

    /// A file without a name, for what is read once more.
    fn scratch(&self) -> Result<File> {
        let made = tempfile::tempfile_in(self.store.scratch());
        made.map_err(|e| Fault::io("write in", self.store.scratch(), e))
    }

    fn image(&self, step: &Step, inputs: &Inputs) -> Result<Output> {
        let Step::Image { title, version, about, licenses, annotations, arch, layers, epoch } = step else {
            return Err(Fault::bug("not an image"));
        };
        let image = oci::ImageSpec {
            entrypoint: Vec::new(),
            title: title.clone(),
            version: version.to_string(),
            description: Some(about.clone()),
            licenses: Some(licenses.clone()),
            arch: *arch,
            epoch: *epoch,
            base: None,
            annotations: annotations.clone(),
            layers: layers.iter().map(|layer| self.layer(layer, *epoch, inputs)).collect::<Result<_>>()?,
        };
        let (tree, documents) = oci::layout(&image)?;
        self.keep(&tree, &documents)
    }

    fn layer(&self, layer: &LayerSpec, epoch: Epoch, inputs: &Inputs) -> Result<oci::PackageLayer> {
        let tree = self.tree(inputs, &layer.tree)?;
        let mut writer = self.store.writer()?;
        let written = oci::write_layer(&tree, self.store, epoch, &mut writer)?;
        writer.commit()?;
        Ok(oci::PackageLayer {
            package: layer.package.clone(),
            version: layer.version.to_string(),
            layer: written,
        })
    }

    /// Puts images into a store that is only read, one file system beside the package's other files.
    fn preload(&self, step: &Step, inputs: &Inputs) -> Result<Output> {
        let Step::Preload { files, at, images, mapping, arch, epoch } = step else {
            return Err(Fault::bug("no images"));
        };
        let made = images.values().map(|image| self.image_of(image, *arch, *epoch, inputs));
        let made = made.collect::<Result<Vec<_>>>()?;
        let mut stored = Vec::new();
        for (name, (tree, layer, documents)) in images.keys().zip(&made) {
            let (manifest, config) = (&documents.manifest[..], &documents.config[..]);
            stored.push(Stored { name: name.clone(), manifest, config, layers: vec![(*layer, tree)] });
        }
        let (store, documents) = containers_storage::write(&stored, Some(*mapping), *epoch)?;
        let mut tree = self.tree(inputs, files)?;
        let mut scratch = self.scratch()?;
        erofs::write(&store, &Layered(&documents, self.store), *epoch, &mut scratch)?;
        let whole = scratch.rewind().map_err(|e| Fault::io("read in", self.store.scratch(), e));
        let (content, size) = whole.and_then(|()| self.store.put(&scratch))?;
        tree.insert(at.clone(), Node::file(content, size, 0o644))?;
        Ok(Output::Tree { tree: self.store.put_tree(&tree)? })
    }

    fn image_of(
        &self,
        image: &Preloaded,
        arch: Arch,
        epoch: Epoch,
        inputs: &Inputs,
    ) -> Result<(Tree, oci::WrittenLayer, oci::Documents)> {
        let tree = self.tree(inputs, &image.tree)?;
        let layer = oci::write_layer(&tree, self.store, epoch, &mut std::io::sink())?;
        let documents = oci::documents(&oci::ImageSpec::preloaded(image, layer, arch, epoch))?;
        Ok((tree, layer, documents))
    }

    fn bundle(
        &self,
        parts: &BTreeMap<TreePath, StepId>,
        bill: Option<&BillOfMaterials>,
        inputs: &Inputs,
    ) -> Result<Output> {
        let mut tree = Tree::new();
        for (path, part) in parts {
            match output(inputs, part)? {
                Output::Blob { content, size } => {
                    tree.insert(path.clone(), Node::file(content, size, 0o644))?
                }
                Output::Tree { tree: inner } => {
                    tree.insert(path.clone(), Node::dir(0o755))?;
                    for (below, node) in self.store.tree(&inner)?.iter() {
                        tree.insert(path.join(below.as_str())?, node.clone())?;
                    }
                }
            }
        }
        let mut documents = Memory::default();
        if let Some(bill) = bill {
            self.describe(bill, inputs, &mut tree, &mut documents)?;
        }
        let sums = documents.file(manifest::checksums(&tree), 0o644);
        tree.insert(TreePath::new("SHA256SUMS")?, sums)?;
        self.keep(&tree, &documents)
    }

    /// Adds the documents that say what a bundle is: each covers what was there before it.
    fn describe(
        &self,
        bill: &BillOfMaterials,
        inputs: &Inputs,
        tree: &mut Tree,
        documents: &mut Memory,
    ) -> Result<()> {
        let trees = bill
            .packages
            .iter()
            .map(|package| self.tree(inputs, &package.tree))
            .collect::<Result<Vec<_>>>()?;
        let versions: Vec<_> = bill.packages.iter().map(|package| package.version.to_string()).collect();
        let mut packages = Vec::new();
        for ((package, tree), version) in bill.packages.iter().zip(&trees).zip(&versions) {
            let Output::Blob { content, size } = output(inputs, &package.deb)? else {
                return Err(Fault::bug(format!("{} is no file", package.name)));
            };
            packages.push(manifest::PackageContents {
                name: &package.name,
                version,
                arch: package.arch,
                deb: (content, size),
                origin: package.origin.clone(),
                source: package.source,
                tree,
            });
        }
        let whole = manifest::BundleContents {
            line: &bill.line,
            role: &bill.role,
            arch: bill.arch,
            epoch: bill.epoch,
            recipe: bill.recipe,
            lock: bill.lock,
            packages,
            inputs: bill.inputs.iter().cloned().collect(),
        };
        let mut add = |tree: &mut Tree, name: &str, bytes: Vec<u8>| {
            let node = documents.file(bytes, 0o644);
            tree.insert(TreePath::new(name)?, node)
        };
        add(tree, "manifest.json", manifest::document(&whole)?)?;
        add(tree, "sbom.spdx.json", sbom::document(&whole, self.store)?)?;
        let provenance = provenance::document(&whole, tree, &bill.builder)?;
        add(tree, "provenance.intoto.json", provenance)
    }

    /// Puts a tree and what it holds of `contents` into the store.
    fn keep(&self, tree: &Tree, contents: &Memory) -> Result<Output> {
        let batch = self.store.batch()?;
        for (_, bytes) in contents.iter() {
            batch.put_bytes(bytes)?;
        }
        let tree = batch.put_bytes(&tree.to_json()?)?;
        batch.commit()?;
        Ok(Output::Tree { tree })
    }

    fn tree(&self, inputs: &Inputs, step: &StepId) -> Result<Tree> {
        match output(inputs, step)? {
            Output::Tree { tree } => self.store.tree(&tree),
            Output::Blob { .. } => {
                Err(Fault::bug(format!("step {step} made a file where a tree was needed")))
            }
        }
    }
}

fn output(inputs: &Inputs, step: &StepId) -> Result<Output> {
    inputs.get(step).copied().ok_or_else(|| Fault::bug(format!("step {step} was not made first")))
}

/// The digests of `.deb`s.
fn blobs<'a>(inputs: &Inputs, debs: impl Iterator<Item = &'a StepId>) -> Result<Vec<Digest>> {
    debs.map(|deb| Ok(output(inputs, deb)?.digest())).collect()
}

fn missing(checksum: &Checksum) -> Fault {
    Fault::remote(format!("the bytes of {checksum} are not in the store")).help("cargo xtask fetch")
}
