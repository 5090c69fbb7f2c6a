//! `hale`: the one program of ours that runs on a node. Called `crun`, it is the shim.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

/// The one program of Hale's that runs on a node.
#[derive(Parser)]
#[command(name = "hale", version)]
struct Cli {}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    if Path::new(&name).file_name().is_some_and(|name| name == node::shim::NAME) {
        let fault = node::shim::run(&arguments.collect::<Vec<OsString>>());
        eprintln!("{fault}");
        return ExitCode::from(fault.exit_code());
    }
    let Cli {} = Cli::parse();
    ExitCode::SUCCESS
}
