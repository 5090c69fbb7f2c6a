//! Packs trees as an OCI image layout.

use super::context::{RunStep, StepContext};
use crate::base::{Epoch, Result};
use crate::pack::image::oci;
use crate::plan::{ImageStep, LayerSpec, Output};

impl RunStep for ImageStep {
    fn run(&self, context: &StepContext<'_>) -> Result<Output> {
        let layers = self.layers.iter().map(|spec| layer(spec, self.epoch, context));
        let image = oci::ImageSpec {
            entrypoint: Vec::new(),
            title: self.title.clone(),
            version: self.version.to_string(),
            description: Some(self.about.clone()),
            licenses: Some(self.licenses.clone()),
            arch: self.arch,
            epoch: self.epoch,
            base: None,
            annotations: self.annotations.clone(),
            layers: layers.collect::<Result<_>>()?,
        };
        let (tree, documents) = oci::layout(&image)?;
        context.keep(&tree, &documents)
    }
}

fn layer(spec: &LayerSpec, epoch: Epoch, context: &StepContext<'_>) -> Result<oci::PackageLayer> {
    let tree = context.inputs.tree(&spec.tree)?;
    let mut writer = context.store.writer()?;
    let written = oci::write_layer(&tree, context.store, epoch, &mut writer)?;
    writer.commit()?;
    Ok(oci::PackageLayer { package: spec.package.clone(), version: spec.version.to_string(), layer: written })
}
