//! Packs images as a read-only store: one file system beside the package's other files.

use std::io::Seek;

use super::context::{RunStep, StepContext};
use crate::base::tree::{Node, Tree, Union};
use crate::base::{Fault, Result};
use crate::pack::image::containers_storage::{self, Stored};
use crate::pack::image::{erofs, oci};
use crate::plan::{Output, PreloadStep, Preloaded};

impl RunStep for PreloadStep {
    fn run(&self, context: &StepContext<'_>) -> Result<Output> {
        let made = self.images.values().map(|image| self.image(image, context));
        let made = made.collect::<Result<Vec<_>>>()?;
        let mut stored = Vec::new();
        for (name, (tree, layer, documents)) in self.images.keys().zip(&made) {
            let (manifest, config) = (&documents.manifest[..], &documents.config[..]);
            stored.push(Stored { name: name.clone(), manifest, config, layers: vec![(*layer, tree)] });
        }
        let (images, documents) = containers_storage::write(&stored, Some(self.mapping), self.epoch)?;
        let mut tree = context.inputs.tree(&self.files)?;
        let (store, mut scratch) = (context.store, context.scratch()?);
        erofs::write(&images, &Union(&documents, store), self.epoch, &mut scratch)?;
        let rewound = scratch.rewind().map_err(|e| Fault::io("read in", store.scratch(), e));
        let (content, size) = rewound.and_then(|()| store.put(&scratch))?;
        tree.insert(self.at.clone(), Node::file(content, size, 0o644))?;
        Ok(Output::Tree { tree: store.put_tree(&tree)? })
    }
}

impl PreloadStep {
    /// Returns an image's tree, its layer and its documents.
    fn image(
        &self,
        image: &Preloaded,
        context: &StepContext<'_>,
    ) -> Result<(Tree, oci::WrittenLayer, oci::Documents)> {
        let tree = context.inputs.tree(&image.tree)?;
        let layer = oci::write_layer(&tree, context.store, self.epoch, &mut std::io::sink())?;
        let documents = oci::documents(&oci::ImageSpec::preloaded(image, layer, self.arch, self.epoch))?;
        Ok((tree, layer, documents))
    }
}
