//! What is made in namespaces of this machine: root trees, compiled packages, bundles, machines without a kernel of their
//! own.

mod bundle;
mod plain;
mod root;
mod source;

use std::process::ExitCode;

fn main() -> ExitCode {
    root::step().unwrap_or_else(|| tests::runner::main(&[]))
}
