//! The packaged shim and real conmon and crun: what becomes of containers, and of who attacks them. Needs root.

mod container;
mod hostpath;
mod takeover;
