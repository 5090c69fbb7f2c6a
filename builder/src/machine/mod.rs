//! Machines that boot what was built: real ones, by a disk that is written, and virtual ones.

pub mod flash;
pub mod vm;
