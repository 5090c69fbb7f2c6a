//! The kinds of step: a file for each, called as its text calls it. What a kind does stands in the file of the same
//! name in [`build::steps`](crate::build::steps).

mod bundle;
mod closure;
mod compile;
mod converted;
mod deb;
mod disk;
mod files;
mod image;
mod input;
mod install;
mod kind;
mod payload;
mod preload;
mod program;
mod root;
mod tools;
mod unpack;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::id::StepId;
use super::intermediate::IntermediateKind;
use crate::base::digest::Checksum;
use crate::base::{Digest, Result, json};
use kind::StepKind;

pub use bundle::BundleStep;
pub use closure::ClosureStep;
pub use compile::CompileStep;
pub use converted::{ConvertedStep, DiskFormat};
pub use deb::{DebMetadata, DebStep};
pub use disk::DiskStep;
pub use files::FilesStep;
pub use image::{ImageStep, LayerSpec};
pub use input::InputStep;
pub use install::InstallStep;
pub use payload::PayloadStep;
pub use preload::{Mapping, PreloadStep, Preloaded};
pub use program::ProgramStep;
pub use root::RootStep;
pub use tools::ToolsStep;
pub use unpack::UnpackStep;

/// Declares the enum of all kinds; each kind becomes a [`Step`] by `into`.
macro_rules! step {
    ($($kind:ident($step:ident),)*) => {
        /// One derivation: everything that decides its output.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "step", rename_all = "kebab-case")]
        pub enum Step {
            $(#[doc = concat!("See [`", stringify!($step), "`].")] $kind($step),)*
        }

        impl Step {
            fn kind(&self) -> &dyn StepKind {
                match self {
                    $(Self::$kind(step) => step,)*
                }
            }
        }

        $(impl From<$step> for Step {
            fn from(step: $step) -> Self {
                Self::$kind(step)
            }
        })*
    };
}

step! {
    Input(InputStep),
    Files(FilesStep),
    Program(ProgramStep),
    Unpack(UnpackStep),
    Payload(PayloadStep),
    Deb(DebStep),
    Image(ImageStep),
    Root(RootStep),
    Install(InstallStep),
    Compile(CompileStep),
    Tools(ToolsStep),
    Closure(ClosureStep),
    Preload(PreloadStep),
    Disk(DiskStep),
    Converted(ConvertedStep),
    Bundle(BundleStep),
}

impl Step {
    /// Returns the canonical text: the format number and the step, as sorted JSON.
    pub fn text(&self) -> Result<Vec<u8>> {
        json::canonical(&(self.kind().format(), self))
    }

    /// Returns the digest of the canonical text.
    pub fn id(&self) -> Result<StepId> {
        Ok(StepId(Digest::of(self.text()?)))
    }

    /// Returns the steps whose outputs it needs.
    pub fn inputs(&self) -> BTreeSet<StepId> {
        self.kind().inputs()
    }

    /// Returns the kind of what it makes on its way and keeps ([`Intermediate`](super::intermediate::Intermediate)).
    pub fn intermediates(&self) -> Option<IntermediateKind> {
        self.kind().intermediates()
    }
}

impl StepId {
    /// Returns the id of the step that stands for bytes pinned by `checksum`, wherever they come from.
    pub fn of_input(checksum: Checksum) -> Result<Self> {
        Step::from(InputStep { checksum }).id()
    }
}

#[cfg(test)]
mod tests;
