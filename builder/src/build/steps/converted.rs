//! Disks in other forms.

use super::context::{RunStep, StepContext};
use crate::base::tree::Contents;
use crate::base::{Digest, Fault, Result};
use crate::pack::disk::qcow2;
use crate::pack::stream::zstd::{self, Effort};
use crate::plan::{ConvertedStep, DiskFormat, Output};
use crate::store::Store;

impl RunStep for ConvertedStep {
    fn run(&self, context: &StepContext<'_>) -> Result<Output> {
        convert(context.store, &context.inputs.output(&self.disk)?.digest(), self.format)
    }
}

/// Makes another form of a raw disk that the store has.
pub fn convert(store: &Store, raw: &Digest, format: DiskFormat) -> Result<Output> {
    let length = store.size_of(raw)?.ok_or_else(|| Fault::bug(format!("the store has no disk {raw}")))?;
    let mut source = store.open(raw)?;
    let (content, size) = match format {
        DiskFormat::Raw => (*raw, length),
        DiskFormat::Qcow2 => {
            let mut file = store.sparse_writer()?;
            let written = qcow2::write(&mut source, length, &mut file)?;
            file.commit(written)?
        }
        DiskFormat::RawZst => {
            let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            let mut writer = store.writer()?;
            zstd::compress(&mut source, length, Effort::Thorough, cores, &mut writer)?;
            writer.commit()?
        }
    };
    Ok(Output::Blob { content, size })
}
