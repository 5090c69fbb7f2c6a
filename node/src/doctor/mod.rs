//! `hale doctor`: every promise of the node, proven on the running machine, with its evidence.

use std::fmt::Write;
use std::time::Duration;

use crate::bootstrap;
use crate::bootstrap::phases::dns;
use crate::fault::Result;
use crate::host::{Command, apt, systemd};
use crate::kubernetes::context::Node;
use crate::kubernetes::retry::retry;
use crate::kubernetes::{api, ownership};
use crate::text::terminal::plain;

mod bundles;
pub(crate) mod certificates;
mod containers;
pub mod finding;
mod machine;
pub mod report;
mod shipped;
mod sockets;

use finding::{Evidence, Finding, Verdict};

/// A check of one promise.
type Check = fn(&Node) -> Result<Evidence>;

/// Every promise, in the order of the report.
const PROMISES: [(&str, Check); 22] = [
    ("the bootstrap is done", done),
    ("every container process is mapped to the role's ids", containers::mapped),
    ("every container process has only the role's capabilities", containers::capable),
    ("every container process runs under AppArmor", containers::confined),
    ("every container process runs under seccomp", containers::filtered),
    ("every bundle is root's", bundles::check),
    ("nothing listens but what the role allows", sockets::check),
    ("the packet filter lets in what the role allows", machine::filter),
    ("every file that pods and kubelet read has its owner", owned),
    ("packaged files are as packaged", packaged),
    ("what the bootstrap wrote is as it wrote it", shipped::written),
    ("nobody else sets what our units and CRI-O do", shipped::overlaid),
    ("pinned packages have their versions and are held", pinned),
    ("every program that runs is the one that is installed", machine::programs),
    ("the kernel is set as the package says", machine::sysctls),
    ("no unit failed", machine::units),
    ("there is space left", machine::space),
    ("something sets the clock", machine::clock),
    ("the way out is there", machine::uplink),
    ("certificates do not end soon", certificates::check),
    ("the node is ready", ready),
    ("DNS answers through the service address", resolved),
];

/// Maximum time for a check, so that it is tried three times: a slow machine keeps its promises too.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// Checks every promise. A check that cannot be made is a no, with the reason.
pub fn examine(node: &Node) -> Vec<Finding> {
    let find = |(promise, check): (&str, Check)| {
        let (verdict, evidence) = match retry(node, CHECK_TIMEOUT, &|| check(node)) {
            Ok(Evidence { counted, judged: false, .. }) => (Verdict::NothingToJudge, vec![counted]),
            Ok(Evidence { exceptions, counted, .. }) if exceptions.is_empty() => {
                (Verdict::Yes, vec![counted])
            }
            Ok(Evidence { exceptions, .. }) => (Verdict::No, exceptions),
            Err(fault) => (Verdict::No, vec![fault.to_string()]),
        };
        let evidence = evidence.iter().map(|line| plain(line)).collect();
        Finding { promise: promise.to_owned(), verdict, evidence }
    };
    PROMISES.into_iter().map(find).collect()
}

/// Formats findings as a table for people.
pub fn table(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let _ = writeln!(text, "{:<4} {}", finding.verdict.word(), finding.promise);
        for line in &finding.evidence {
            let _ = writeln!(text, "       {line}");
        }
    }
    text
}

fn done(node: &Node) -> Result<Evidence> {
    let yes = node.host.path(bootstrap::MARKER).is_file();
    Ok(Evidence::of(yes, "all phases are journaled", "it is not: see `hale status`"))
}

fn owned(node: &Node) -> Result<Evidence> {
    Ok(Evidence::new(ownership::differences(node)?, "the table of paths"))
}

fn packaged(node: &Node) -> Result<Evidence> {
    let names: Vec<String> =
        apt::versions(node.host, &node.role.package_names())?.into_iter().map(|(name, _)| name).collect();
    let arguments: Vec<&str> = ["--verify"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let output = node.host.run(&Command::new("/usr/bin/dpkg", &arguments).minutes(5))?;
    let lines = output.stdout.lines().chain(output.stderr.lines()).map(str::to_owned).collect();
    Ok(Evidence::new(lines, format!("dpkg --verify of {} packages", names.len())))
}

fn pinned(node: &Node) -> Result<Evidence> {
    let (versions, held) = (apt::versions(node.host, &node.role.package_names())?, apt::held(node.host)?);
    let mut exceptions = Vec::new();
    for package in &node.role.packages {
        match versions.iter().find(|(name, _)| *name == package.name) {
            None => exceptions.push(format!("{} is not installed", package.name)),
            Some((name, version)) if *version != package.version => {
                exceptions.push(format!("{name} is {version}, not {}", package.version));
            }
            Some((name, _)) if !held.contains(name) => {
                exceptions.push(format!("{name} is not held: `hale hold`"))
            }
            Some(_) => {}
        }
    }
    if !node.host.path("/etc/apt/preferences.d/hale").is_file() {
        exceptions.push("/etc/apt/preferences.d/hale is missing".to_owned());
    }
    Ok(Evidence::new(exceptions, format!("{} packages", node.role.packages.len())))
}

fn resolved(node: &Node) -> Result<Evidence> {
    Ok(Evidence::new(Vec::new(), dns::query(node)?))
}

fn ready(node: &Node) -> Result<Evidence> {
    let unit = if node.role.kube_proxy.here { "kube-proxy.service" } else { "kubelet.service" };
    let runs = systemd::enabled_and_active(node.host, unit)?;
    let yes = api::is_ready(node)? && runs;
    Ok(Evidence::of(
        yes,
        format!("the API server says so, and {unit} runs"),
        format!("{} is not, or {unit} does not run", node.name),
    ))
}

#[cfg(test)]
mod tests;
