//! Every phase of a master of line 1.20 in a booted machine, without anything that was handed over: the real
//! kubeadm through `hale bootstrap`, the control plane in our images, kube-proxy on the host.
//!
//! Two programs are stood in for. CRI-O and its crictl are fixtures that say they are there; CoreDNS' image is a
//! fixture that nobody runs. The kubelet cannot work without CRI-O: in its unit's place `guests/kubelet.py` runs
//! the static pods by podman and our shim, with the manifests' mounts, and speaks for the node. There are no
//! ordinary pods; `cluster` has them, when CRI-O was handed over.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use builder::base::name::LineName;
use builder::base::tree::{Memory, Tree, TreePath};
use builder::base::{Fault, Result};
use builder::build::planner::system;
use builder::host::overwrite::Overwrite;
use builder::machine::flash::{Target, flash};
use builder::machine::vm::{Drive, Firmware};
use libtest_mimic::{Failed, Trial};
use tests::checks;
use tests::loops::Loop;
use tests::runner::{File, Shared, shared};
use tests::system::TestSystem;
use tests::tools::{put, succeed, tool};
use tests::vm::{Guest, Host, Outcome};

const LINE: &str = "1.20";
/// The guest's checks.
const GUEST: &str = "phases";
/// What it is told.
const SEED: &str = "name = \"master\"\n\n[network]\nbridge = \"make\"\n";
/// Where the kubelet's stand-in lies in the image, and what puts it into the kubelet's unit.
const STAND_IN: &str = "usr/lib/hale-trial/kubelet.py";
const DROP_IN: &str = "etc/systemd/system/kubelet.service.d/90-trial.conf";
/// What the disk is grown to, in bytes.
const DISK: u64 = 8 << 30;
/// The machine's memory in MiB.
const MEMORY: u32 = 3072;
/// The machine's time on a processor; emulation gets ten times as much.
const LIMIT: Duration = Duration::from_secs(240);

/// What the runner must know of this file: all results come from one machine, which the first who asks starts.
pub(crate) const FILE: File = File { name: "phases", at_once: Some(1), found: scripts };

fn scripts() -> Vec<Trial> {
    let trial = |check: String| {
        let name = check.trim_end_matches(".sh").to_owned();
        Trial::test(format!("phases::{name}"), move || shared::<Found>().result(&name))
    };
    checks::of(GUEST).into_iter().map(trial).collect()
}

/// What each check found.
type Outcomes = BTreeMap<String, Outcome>;

/// What the machine found, if it came up.
struct Found(Option<Outcomes>);

impl Shared for Found {
    fn make() -> Self {
        Self(std::panic::catch_unwind(|| run().unwrap_or_else(|fault| panic!("{fault}"))).ok())
    }
}

impl Found {
    fn result(&self, check: &str) -> std::result::Result<(), Failed> {
        match self.0.as_ref().ok_or("the machine did not come up: see above")?.get(check) {
            Some(Outcome { ok: true, .. }) => Ok(()),
            Some(Outcome { detail, .. }) => Err(detail.replace("; ", "\n").into()),
            None => Err("no result".into()),
        }
    }
}

fn run() -> Result<Outcomes> {
    let mut system = TestSystem::of(&LineName::new(LINE)?)?;
    system.add_fixtures()?;
    system.add_program()?;
    let planned = system::plan(&system.target("master"), &system.store)?;
    assert!(planned.left_out.is_empty(), "{:?}", planned.left_out);
    let root = system.output(&mut planned.plan.clone(), planned.root)?;
    // Of Debian's container tools only the programs: our configuration is on trial.
    let tree = system.beside(system.store.tree(&root)?, &["golang-github-containers-common"])?;
    let file = |name: &str| system.folder.path().join(name);
    let (image, disk) = (file("image"), file("disk"));
    checks::image(&system, with_stand_in(&system, tree)?, GUEST, &image)?;
    put(&disk, "");
    checks::grow(&disk, DISK)?;
    flashed(&image, &disk, &seed(system.folder.path()))?;
    let checks = checks::archive(GUEST, &file("payload"), &file("checks.tar"));
    let disks = vec![Drive::Kept(disk.clone()), checks];
    let guest = Guest { memory: MEMORY, disks, ..Guest::of(disk, Firmware::Bios) };
    let host = Host::with(system.tools(system::TOOLS)?);
    let mut running = host.boot(GUEST, &guest, LIMIT);
    let outcomes = running.outcomes();
    running.kill();
    Ok(outcomes.into_iter().map(|outcome| (outcome.test.clone(), outcome)).collect())
}

/// What the machine is told: the cluster's CA is somebody's own, so its key is a secret that is wiped.
fn seed(folder: &Path) -> String {
    let words =
        "req -x509 -newkey rsa:2048 -nodes -subj /CN=kubernetes -days 3650 -keyout ca.key -out ca.crt";
    succeed(tool("openssl", "openssl").args(words.split(' ')).current_dir(folder));
    let text = |name| fs::read_to_string(folder.join(name)).expect("openssl has written it");
    let quote = "\"\"\"";
    let (certificate, key) = (text("ca.crt"), text("ca.key"));
    format!("{SEED}\n[ca]\ncertificate = {quote}{certificate}{quote}\nkey = {quote}{key}{quote}\n")
}

/// Flashes the image with a seed, as to any disk, and removes it.
fn flashed(image: &Path, disk: &Path, text: &str) -> Result<()> {
    let device = Loop::over(disk);
    let target = Target::open(device.device(), Overwrite::Own)?;
    flash(image, &target, Some(&checks::seed_with(text)?), &mut |_, _, _| {})?;
    fs::remove_file(image).map_err(|e| Fault::io("remove", image, e))
}

/// The root with the kubelet's stand-in, started as the kubelet is.
fn with_stand_in(system: &TestSystem, mut tree: Tree) -> Result<Tree> {
    let mut own = Memory::default();
    let drop_in = format!("[Service]\nExecStart=\nExecStart=/usr/bin/python3 /{STAND_IN}\n");
    for (path, text) in [(STAND_IN, include_str!("../../guests/kubelet.py")), (DROP_IN, &drop_in)] {
        tree.insert(TreePath::new(path)?, own.file(text, 0o644))?;
    }
    system.store.put_all(&own)?;
    Ok(tree)
}
