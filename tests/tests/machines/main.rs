//! Machines of ours, booted in QEMU: what guests find is told by themselves, script by script.

mod cluster;
mod machine;
mod phases;
mod walkthrough;

use std::process::ExitCode;

use tests::runner;

fn main() -> ExitCode {
    runner::main(&[cluster::FILE, machine::FILE, phases::FILE, walkthrough::FILE])
}
