//! What the shim adds to a call of crun: both called again and again on the bundle of a container
//! of CRI-O's.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use builder::base::{Epoch, Fault, Result};
use builder::host::cargo;

use super::measurement::{Goal, Measurement, Unit};
use crate::context::Context;

/// Calls of each.
const CALLS: u32 = 300;
/// How often each kind is measured, in turns; the quickest counts, which other work disturbed least.
const ROUNDS: u32 = 5;

/// Lays the package over `/usr` where nobody else sees it, then calls `$3` on a container of CRI-O's, whose configuration
/// `$2` is fresh in each call. crun prints its help instead of making the container: what it does then is not ours.
const LOOP: &str = r#"
mount -t overlay overlay -o "lowerdir=$1/usr:/usr" /usr
for folder in /run /var/lib; do mount -t tmpfs -o mode=755 tmpfs "$folder"; done
id=0000000000000000000000000000000000000000000000000000000000000000
bundle=/run/containers/storage/overlay-containers/$id/userdata
copy=/var/lib/containers/storage/overlay-containers/$id/userdata
mkdir -p "$bundle" "$copy"
i=0
while [ "$i" -lt "$4" ]; do
    cp "$2" "$copy/config.json"
    "$3" create --bundle "$bundle" --help >/dev/null
    i=$((i + 1))
done
"#;

/// What the shim is told of the site.
const SITE: &str =
    "apparmor-profile = \"unconfined\"\nfirst-id = 10000000\nids = 65536\ncontrol-plane-id = 20000000\n";

/// What CRI-O 1.17 writes for a container, as far as the shim looks at it, and long as a real one: with host paths, each
/// of which is judged.
fn config() -> String {
    let proc =
        r#"{"destination":"/proc","type":"proc","source":"proc","options":["nosuid","noexec","nodev"]}"#;
    let path = r#"{"destination":"/usr","type":"bind","source":"/usr","options":["rbind","ro"]}"#;
    let mounts = [vec![proc; 40], vec![path; 20]].concat().join(",");
    let map = r#"[{"containerID":0,"hostID":10000000,"size":65536}]"#;
    let capabilities = r#"{"bounding":["CAP_NET_BIND_SERVICE"]}"#;
    format!(
        r#"{{"ociVersion":"1.0.1-dev","process":{{"args":["/pause"],"capabilities":{capabilities}}},"mounts":[{mounts}],"annotations":{{"io.kubernetes.cri-o.SeccompProfilePath":""}},"linux":{{"resources":{{"memory":{{"limit":0}}}},"namespaces":[{{"type":"user"}}],"uidMappings":{map},"gidMappings":{map}}}}}"#
    )
}

pub(super) fn run(context: &Context, record: &mut dyn FnMut(Measurement)) -> Result<()> {
    let scratch = tempfile::tempdir().map_err(|e| Fault::machine("no scratch directory").cause(e))?;
    let (deb, root) = (scratch.path().join("hale.deb"), scratch.path().join("root"));
    let package = cargo::build(context.root()?, &context.toolchain(), Epoch::new(0)?)?;
    fs::write(&deb, package.deb).map_err(|e| Fault::io("write", &deb, e))?;
    succeed(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&root), "dpkg")?;
    let template = scratch.path().join("template");
    fs::write(&template, config()).map_err(|e| Fault::io("write", &template, e))?;
    let site = root.join("usr/lib/hale/shim.toml");
    fs::write(&site, SITE).map_err(|e| Fault::io("write", &site, e))?;
    let mut quickest = [f64::INFINITY; 2];
    for _ in 0..ROUNDS {
        for (best, program) in quickest.iter_mut().zip(["/usr/bin/crun", "/usr/lib/hale/crun"]) {
            *best = best.min(time(&root, &template, program)?);
        }
    }
    let [direct, shim] = quickest;
    let row = |what: &str, value: f64, goal| Measurement {
        what: what.to_owned(),
        value,
        unit: Unit::Seconds,
        goal,
    };
    record(row("one call of crun", direct, None));
    record(row("one call through the shim", shim, None));
    record(row("added by the shim", (shim - direct).max(0.0), Some(Goal::AtMost(0.002))));
    Ok(())
}

/// Seconds that one call takes.
fn time(root: &Path, template: &Path, program: &str) -> Result<f64> {
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount", "sh", "-ec", LOOP, "loop"]);
    unshare.arg(root).arg(template).arg(program).arg(CALLS.to_string());
    let start = Instant::now();
    succeed(&mut unshare, "util-linux crun")?;
    Ok(start.elapsed().as_secs_f64() / f64::from(CALLS))
}

fn succeed(command: &mut Command, packages: &str) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let help = format!("apt-get install {packages}");
    let output =
        command.output().map_err(|e| Fault::machine(format!("cannot run {name}")).cause(e).help(&help))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Fault::machine(format!("{name} failed")).cause(said).help(help))
}
