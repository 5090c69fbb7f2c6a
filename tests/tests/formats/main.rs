//! What is written and read, asked of other programs that write and read it: packages, signatures, images, disks.

mod closure;
mod debian;
mod disk;
mod forms;
mod imagestore;
mod openpgp;
mod program;
