//! Plans: which steps make a bundle, the components' packages, the images, a disk.

pub mod bundle;
pub mod components;
pub mod images;
pub mod inputs;
pub mod system;
