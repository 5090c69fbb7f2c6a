//! `hale`: the one program of ours that runs on a node. Called `crun` or `conmon`, it is the shim.

use std::cell::Cell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use node::bootstrap::journal::{Entry, Journal};
use node::commands::progress::ProgressReporter;
use node::commands::token::{self, Guest};
use node::commands::volume::{self, Volume};
use node::commands::{issue, reset, status};
use node::config::role::RoleConfig;
use node::config::{AddressRange, DnsLabel};
use node::doctor::finding::Verdict;
use node::doctor::{self, report};
use node::fault::{Fault, Result};
use node::host::{RealHost, apt, files, seed};
use node::kubernetes::api;
use node::kubernetes::context::{Node, load_config};
use node::kubernetes::policy::{self, Exemption};
use node::people::{self, Group, PersonName};
use node::{bootstrap, machine, network, renew};

/// Sets a Hale node up, proves its promises, and keeps them.
#[derive(Parser)]
#[command(name = "hale", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Set this node up; goes on where an earlier attempt ended, and waits for what is missing.
    Bootstrap,
    /// Show what was done, when, what it waits for, and which unit failed.
    Status {
        /// In a few lines: what this machine is, how it stands, what is next.
        #[arg(long, conflicts_with = "json")]
        brief: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Prove every promise on the running machine; exit code 1 on any no.
    Doctor {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Hold the pinned packages.
    Hold {
        /// Wait for another package manager, up to half an hour.
        #[arg(long)]
        wait: bool,
    },
    /// Let the pinned packages go.
    Unhold {
        /// Wait for another package manager, up to half an hour.
        #[arg(long)]
        wait: bool,
    },
    /// On the master: print what a new node must be told to join. It is a secret, and good for one node.
    Token {
        /// The node's name; without it, any that the cluster does not know yet.
        #[arg(long = "for")]
        name: Option<DnsLabel>,
        /// The range that its pods must have.
        #[arg(long)]
        pods: Option<AddressRange>,
        /// How long it is good for, at most 72.
        #[arg(long, default_value_t = token::HOURS)]
        hours: u16,
        /// With credentials for a kube-proxy of the node's own.
        #[arg(long)]
        kube_proxy: bool,
    },
    /// On the master: print a kubeconfig for a person. It is a secret, and good until its certificate ends.
    Kubeconfig {
        /// The person's name.
        name: PersonName,
        /// How many days it is good for, at most 365.
        #[arg(long, default_value_t = people::DAYS)]
        days: u16,
        /// A group of the person's, in place of hale:operators; may be given again.
        #[arg(long)]
        group: Vec<Group>,
    },
    /// Make this machine what node.toml says beside the cluster: who may enter it, where apt finds packages.
    Machine,
    /// Renew the certificates that end soon; on the master, approve what nodes ask for.
    Renew {
        /// Renew them all now.
        #[arg(long)]
        force: bool,
    },
    /// On the master: approve what invited nodes ask for, until nobody is invited any more.
    Approve,
    /// On the master: let the pods of one namespace have more than others.
    Allow {
        /// The namespace.
        namespace: DnsLabel,
        /// What.
        more: Exemption,
    },
    /// Print what makes bash complete `hale`.
    Completions,
    /// Make the network as /etc/hale/node.toml says now: packet filter, bridge, uplink, names.
    Network,
    /// Make a folder of this machine's for pods to keep data in; print what `kubectl apply -f -` must be told of it.
    Volume {
        /// Its name, and its claim's.
        name: DnsLabel,
        /// The namespace of the pods that claim it.
        #[arg(long, default_value = "default")]
        namespace: DnsLabel,
        /// The user in the container that owns it.
        #[arg(long, default_value_t = 0)]
        user: u32,
        /// Its size, as the cluster is told; nothing holds a pod to it.
        #[arg(long, default_value = "1Gi")]
        size: String,
    },
    /// Wait until the API server answers: kube-proxy's unit starts after it.
    Wait,
    /// Undo the bootstrap; says what will be lost, and does nothing without `--yes`.
    Reset {
        /// Do it.
        #[arg(long)]
        yes: bool,
    },
}

fn run(verb: Verb) -> Result<ExitCode> {
    let host = RealHost::new(Some(PathBuf::from("/var/lib/hale/log")));
    let role = RoleConfig::parse(&files::need(&host, RoleConfig::PATH)?)?;
    match verb {
        Verb::Bootstrap => set_up(&host, &role)?,
        Verb::Status { brief, json } => {
            let status = status::of(&host, &role)?;
            let text = if brief { status::brief(&role, &status) } else { status::table(&status)? };
            print(json, &status, &text)?;
        }
        Verb::Hold { wait } => show(&apt::hold(&host, &role.package_names(), wait)?, "held"),
        Verb::Unhold { wait } => show(&apt::unhold(&host, &role.package_names(), wait)?, "let go"),
        Verb::Machine => {
            seed::import(&host, &role)?;
            let config = load_config(&host, &role)?;
            machine::apply(&host, &role, &config)?;
            network::filter::refresh(&Node::new(&host, &role, &config)?)?;
        }
        // Before anything of the node is read: it needs nothing of it.
        Verb::Completions => {}
        Verb::Reset { yes } => return undo(&host, &role, yes),
        verb => {
            let config = load_config(&host, &role)?;
            return run_on(&Node::new(&host, &role, &config)?, verb);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a verb that needs to know what `node.toml` says.
fn run_on(node: &Node, verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Doctor { json } => {
            let findings = doctor::examine(node);
            print(json, &findings, &doctor::table(&findings))?;
            let is_broken = findings.iter().any(|finding| finding.verdict == Verdict::No);
            return Ok(ExitCode::from(u8::from(is_broken)));
        }
        Verb::Token { name, pods, hours, kube_proxy } => {
            print!("{}", token::token(node, &Guest { name, pods, hours }, kube_proxy)?.expose());
        }
        Verb::Kubeconfig { name, days, group } => {
            let groups = if group.is_empty() { vec![Group::operators()] } else { group };
            print!("{}", people::for_person(node, &name, &groups, days)?.expose());
        }
        Verb::Approve => renew::approve_the_invited(node)?,
        Verb::Allow { namespace, more } => {
            let name = policy::allow(node, &namespace, more)?;
            println!("pods of {namespace} may have it; this takes it back:");
            println!("  kubectl delete rolebinding -n {namespace} {name}");
        }
        Verb::Renew { force } => {
            let _alone = Journal::open(node.host)?;
            println!("{}", renew::renew(node, force)?);
            machine::kubeconfig::refresh(node.host, node.role, node.config)?;
        }
        Verb::Network => network::apply(node)?,
        Verb::Volume { name, namespace, user, size } => {
            print!("{}", volume::make(node, &Volume { name, namespace, user, size })?);
        }
        Verb::Wait => api::wait_until_healthy(node)?,
        // The machine's.
        _ => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the bootstrap to its end, and tells whoever listens.
fn set_up(host: &RealHost, role: &RoleConfig) -> Result<()> {
    let mut progress = ProgressReporter::open(host);
    let is_first = Cell::new(true);
    // Called with the journal open: one who finds another at work tells nothing of what that one does.
    let before = || {
        if is_first.replace(false) {
            issue::recall(host);
        }
        if seed::import(host, role)? { machine::restart(host) } else { Ok(()) }
    };
    let mut watch = |entry: &Entry| {
        progress.report(entry);
        // A console that cannot be told must not stop the node.
        let _ = issue::show(host, entry);
    };
    bootstrap::until_done(host, role, &before, &mut watch)?;
    // The operator's kubeconfig can be made now. The node is done, whatever comes of this and of telling.
    let told = machine::restart(host).and_then(|()| report_all(host, role, &mut progress));
    if let Err(fault) = told {
        eprintln!("hale: not all is told: {fault}");
    }
    Ok(())
}

/// Undoes the bootstrap, if the operator said yes.
fn undo(host: &RealHost, role: &RoleConfig, yes: bool) -> Result<ExitCode> {
    let config = load_config(host, role)?;
    let node = Node::new(host, role, &config)?;
    println!("This will be lost:");
    reset::losses(&node).iter().for_each(|loss| println!("  {loss}"));
    if !yes {
        println!("Nothing was done; `hale reset --yes` does it.");
        return Ok(ExitCode::FAILURE);
    }
    reset::reset(&node)?;
    Ok(ExitCode::SUCCESS)
}

/// Tells ports how to join this master, and what the machine is like now.
fn report_all(host: &RealHost, role: &RoleConfig, progress: &mut ProgressReporter) -> Result<()> {
    let config = load_config(host, role)?;
    let node = Node::new(host, role, &config)?;
    if token::hand_out(&node)? {
        eprintln!("hale: a join file is at the port");
    }
    if people::hand_out(&node)? {
        eprintln!("hale: a kubeconfig is at the port");
    }
    if progress.has_port() {
        progress.send_boot_report(host, &report::of(&node)?);
    }
    Ok(())
}

fn show(names: &[String], what: &str) {
    println!("{} packages {what}: {}", names.len(), names.join(" "));
}

/// Prints for machines or for people.
fn print(json: bool, value: &impl serde::Serialize, text: &str) -> Result<()> {
    if !json {
        print!("{text}");
        return Ok(());
    }
    let json =
        serde_json::to_string_pretty(value).map_err(|e| Fault::machine(format!("cannot print: {e}")))?;
    println!("{json}");
    Ok(())
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    if let Some(name) = node::shim::ShimName::of(Path::new(&name)) {
        let fault = node::shim::run(name, &arguments.collect::<Vec<OsString>>());
        eprintln!("{fault}");
        return ExitCode::from(fault.exit_code());
    }
    let verb = Cli::parse().verb;
    if matches!(verb, Verb::Completions) {
        clap_complete::generate(Shell::Bash, &mut Cli::command(), "hale", &mut std::io::stdout());
        return ExitCode::SUCCESS;
    }
    run(verb).unwrap_or_else(|fault| {
        eprintln!("hale: {fault}");
        if !rustix::process::geteuid().is_root() {
            eprintln!("hale: only root may do most of it: sudo hale ...");
        }
        ExitCode::from(fault.exit_code())
    })
}
