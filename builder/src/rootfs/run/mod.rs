//! One run of the sandbox over a root tree: laid out, run, and what changed taken back.

pub(super) mod apply;
pub(super) mod configure;
pub(super) mod lower;
pub(super) mod work;
