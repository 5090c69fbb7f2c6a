//! The verbs, a file each: its arguments, what it does, what it tells.

pub(crate) mod bench;
pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod components;
pub(crate) mod diff;
pub(crate) mod fetch;
pub(crate) mod flash;
pub(crate) mod gc;
pub(crate) mod image;
pub(crate) mod input;
pub(crate) mod key;
pub(crate) mod lint;
pub(crate) mod lock;
pub(crate) mod plan;
pub(crate) mod repo;
pub(crate) mod seed;
pub(crate) mod test;
pub(crate) mod verify;
pub(crate) mod vm;
