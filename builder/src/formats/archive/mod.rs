//! Archives that others wrote: compressed tar, read strictly and in one pass.
//!
//! Packages, releases and image layers are all read here, so that what one refuses no other takes. Every
//! refusal is an integrity fault. Nothing is written anywhere: contents go to a [`Sink`], the rest is a
//! [`Tree`](crate::base::tree::Tree), so a name cannot escape, and a file cannot be written through a link.

mod compression;
mod read;
mod tar;

use std::io;

use crate::base::Fault;

pub use compression::Compression;
pub(crate) use compression::{WINDOW, xz};
pub use read::{Forget, Sink, read};
pub use tar::{Content, Entry, EntryKind, Tar};

/// Turns an error of an untrusted stream into a fault.
pub(crate) fn broken(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Fault::integrity("truncated"),
        _ => Fault::integrity("unreadable").cause(error),
    }
}
