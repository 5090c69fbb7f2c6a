//! Whether this machine can be what its role says; each no is one line that says what to do.

use crate::config::Timestamp;
use crate::config::role::RoleConfig;
use crate::fault::{Class, Fault, Result};
use crate::host::{files, ip};
use crate::kubernetes::context::Node;
use crate::kubernetes::{kubeadm, paths};
use crate::machine;
use crate::network;

/// Free space under `/var/lib` below which images and etcd will not fit, in bytes.
const SPACE: u64 = 1 << 30;
/// The legacy controllers that kubelet 1.17 and CRI-O 1.17 want.
const CONTROLLERS: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];
/// Maximum difference between two clocks, in seconds.
const SKEW: i64 = 300;

/// Returns whether the machine fits.
pub(super) fn is_done(node: &Node) -> Result<bool> {
    Ok(examine(node).is_ok())
}

/// Makes the network if node.toml says so, then reports what does not fit.
pub(super) fn apply(node: &Node) -> Result<()> {
    network::apply(node)?;
    examine(node)
}

fn examine(node: &Node) -> Result<()> {
    // What is asked for once is not asked for again.
    let begun = files::read(node.host, paths::KUBELET)?.is_some();
    if let Some(fault) = node.config.missing(node.role).filter(|_| !begun) {
        return Err(fault);
    }
    machine::check(node.host, node.config)?;
    cgroups(node)?;
    clock(node)?;
    space(node)?;
    bridge(node)?;
    resolver(node)?;
    kubeadm::check_version(node)
}

fn cgroups(node: &Node) -> Result<()> {
    let missing = CONTROLLERS.iter().find(|name| !node.host.path(&format!("/sys/fs/cgroup/{name}")).is_dir());
    let Some(name) = missing else { return Ok(()) };
    let what = format!(
        "the kernel gives no legacy cgroup `{name}`, which Kubernetes and CRI-O {} need",
        node.role.line
    );
    Err(Fault::machine(what).help(
        "boot with systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1 on the kernel's command line",
    ))
}

/// Refuses a clock that is earlier than what is installed, or outside the token's life.
fn clock(node: &Node) -> Result<()> {
    let wrong = |what: String| {
        Err(Fault::transient(what).help("set the clock: timedatectl set-time, or reach a time server"))
    };
    let now = node.host.now();
    let installed =
        std::fs::metadata(node.host.path(RoleConfig::PATH)).and_then(|metadata| metadata.modified());
    let installed = installed.ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let installed = installed.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0));
    if now < installed.saturating_sub(86_400) {
        return wrong(format!(
            "the clock says {}, before {} was made",
            Timestamp::from_seconds(now)?,
            RoleConfig::PATH
        ));
    }
    let joined = files::read(node.host, paths::KUBELET)?.is_some();
    let Some(join) = node.config.join.as_ref().filter(|_| !joined) else { return Ok(()) };
    if join.issued.is_some_and(|issued| now < issued.seconds() - SKEW) {
        return wrong(format!("the clock says {}, before the token was made", Timestamp::from_seconds(now)?));
    }
    match join.expires {
        Some(expires) if now > expires.seconds() => {
            let clock = Timestamp::from_seconds(now)?;
            let what = format!("the clock says {clock}, and the bootstrap token ended at {expires}");
            let fault = Fault::new(Class::Missing, what);
            Err(fault.help(
                "run `hale token` on the master and put the new [join] into /etc/hale/node.toml, or set the clock",
            ))
        }
        _ => Ok(()),
    }
}

fn space(node: &Node) -> Result<()> {
    let path = node.host.path("/var/lib");
    let stat = rustix::fs::statvfs(&path).map_err(|e| Fault::io("examine", &path, e))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free >= SPACE {
        return Ok(());
    }
    Err(Fault::transient(format!("/var/lib has {} MiB free, and needs 1024", free >> 20))
        .help("free some space"))
}

fn bridge(node: &Node) -> Result<()> {
    let name = node.role.cluster.bridge.as_str();
    if !node.host.path(&format!("/sys/class/net/{name}/bridge")).is_dir() {
        let fault = Fault::new(Class::Missing, format!("there is no bridge {name}"));
        return Err(fault.help("make it, or set network.bridge = \"make\" in /etc/hale/node.toml"));
    }
    let expected = node.address()?;
    let found = ip::addresses(node.host, name)?;
    if found.contains(&expected) {
        return Ok(());
    }
    let found = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let found = if found.is_empty() { "no address".to_owned() } else { found };
    let fault = Fault::new(Class::Missing, format!("{name} has {found}, not {expected}"));
    Err(fault.help(format!("give {name} the address {expected}")))
}

fn resolver(node: &Node) -> Result<()> {
    if node.host.path(paths::RESOLVER).exists() {
        return Ok(());
    }
    Err(Fault::new(Class::Missing, format!("there is no {}", paths::RESOLVER))
        .help("name a name server in it"))
}
