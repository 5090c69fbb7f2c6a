//! Machines of ours, booted: what guests find is reported by themselves, check by check.
//!
//! ```text
//! first    our image by UEFI, its first boot on a larger disk; every write recorded
//! cut      the same first boot, cut at five of its flushes, and booted again
//! pods     our image by BIOS: a container under our configuration; upgrades that want too much
//! plain    a Debian without us: apt-get installs the role from our signed repository
//! ```
//! The guests' checks are the scripts in `guests/`; each script is a test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use builder::base::name::{PackageName, SuiteName};
use builder::base::{Digest, Result};
use builder::debian::deb::{Deb, Limits};
use builder::image;
use builder::openpgp::SigningKey;
use builder::pack::apt::{Offer, Suite};
use builder::pack::disk::{Disk as DiskOf, SLACK};
use builder::plan::{Output, Plan, Step};
use builder::repository::{Gathered, publish};
use builder::sandbox::{VERB, helper};
use builder::system;
use builder::tree::{Contents, Kind, Memory, Node, Tree, TreePath};
use builder::vm::{Card, Disk, Firmware};
use libtest_mimic::{Arguments, Failed, Trial};
use tests::powercut::{Record, copy_disk};
use tests::secrets;
use tests::server::{Answer, Server};
use tests::system::World;
use tests::tools::{put, succeed, tool};
use tests::vm::{Guest, Host, Outcome, Running};

/// How many moments of the first boot lose their power.
const CUTS: usize = 5;
/// The disk that an image is flashed to, in bytes: larger than the image.
const DISK: u64 = 3 << 30;
/// A guest's time on a processor; emulation gets ten times as much.
const LIMIT: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == VERB) {
        return helper(words.next());
    }
    let stage: Arc<LazyLock<Stage>> = Arc::new(LazyLock::new(Stage::new));
    let mut trials = Vec::new();
    for guest in ["first", "cut", "pods", "plain"] {
        for check in checks(guest) {
            let name = check.trim_end_matches(".sh").to_owned();
            let stage = Arc::clone(&stage);
            trials.push(Trial::test(format!("{guest}::{name}"), move || stage.result(guest, &name)));
        }
    }
    let own = Arc::clone(&stage);
    trials.push(Trial::test("no_secret_is_in_the_image", move || own.no_secret()));
    let mut arguments = Arguments::from_args();
    // One guest at a time; who waits for the same one waits for nothing else.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn guests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guests")
}

/// The scripts of a guest, in order.
fn checks(guest: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(guests().join(guest)).expect("the guest's checks").flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

type Outcomes = BTreeMap<String, Outcome>;

/// The images, and what guests have found so far.
struct Stage {
    world: World,
    host: Host,
    /// The node's root as it is shipped; nothing of a test's in it.
    shipped: Digest,
    packages: Vec<Offer>,
    found: Mutex<BTreeMap<&'static str, std::result::Result<Outcomes, String>>>,
}

impl Stage {
    fn new() -> Self {
        Self::build().unwrap_or_else(|fault| panic!("{fault}"))
    }

    fn build() -> Result<Self> {
        let mut world = World::new()?;
        world.add_fixtures()?;
        world.add_program()?;
        let planned = system::plan(&world.order("master"), &world.store)?;
        assert!(planned.left_out.is_empty(), "{:?}", planned.left_out);
        let mut plan = planned.plan.clone();
        let shipped = world.output(&mut plan, planned.root)?;
        let mut packages = Vec::new();
        if let Some(Step::Install { packages: own, .. }) = plan.get(&planned.root).map(|p| &p.step) {
            for deb in own.values() {
                if let Some(Output::Blob { content, size }) = world.store.output(deb)? {
                    packages.push(offer(&world, content, size)?);
                }
            }
        }
        let host = Host::with(world.tools(system::TOOLS)?);
        Ok(Self { world, host, shipped, packages, found: Mutex::default() })
    }

    /// What a guest found at one check; the guest is booted by the first who asks.
    fn result(&self, guest: &'static str, check: &str) -> std::result::Result<(), Failed> {
        let mut found = self.found.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // The boots after the cuts go with the boot that was cut.
        let stage = if guest == "cut" { "first" } else { guest };
        let outcomes = found.entry(stage).or_insert_with(|| {
            let boot = || match stage {
                "first" => self.first_boot(),
                "pods" => self.pods(),
                _ => self.plain(),
            };
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(boot)).map_err(|_| "see above".to_owned())
        });
        match outcomes {
            Err(why) => Err(format!("{guest} did not come up: {why}").into()),
            Ok(outcomes) => match outcomes.get(check) {
                Some(Outcome { ok: true, .. }) => Ok(()),
                Some(Outcome { detail, .. }) => Err(detail.replace("; ", "\n").into()),
                None => Err("no result".into()),
            },
        }
    }

    /// The first boot, and what is left of it when the power goes.
    fn first_boot(&self) -> Outcomes {
        let folder = self.world.folder.path();
        let (before, disk, log) = (folder.join("before"), folder.join("first"), folder.join("log"));
        let tree = self.world.store.tree(&self.shipped).expect("the root");
        self.disk(tree, &before);
        fs::OpenOptions::new()
            .write(true)
            .open(&before)
            .and_then(|f| f.set_len(DISK))
            .expect("a larger disk");
        copy_disk(&before, &disk);
        put(&log, "");
        let first = Guest {
            disks: vec![Disk::Recorded { disk, log: log.clone() }, self.payload("first", &[])],
            ..Guest::of(&before, Firmware::Uefi)
        };
        let mut outcomes = finish(self.host.boot("first", &first, LIMIT));
        let record = Record::read(&log);
        for cut in 0..CUTS {
            let flush = record.flushes() * (cut + 1) / (CUTS + 1);
            let after = folder.join("after");
            record.cut(&before, &after, flush, |index| {
                Digest::of(format!("{cut} {index}")).bytes()[0] & 1 == 0
            });
            let again = Guest {
                disks: vec![Disk::Kept(after), self.payload("cut", &[])],
                ..Guest::of(&before, Firmware::Uefi)
            };
            for (check, outcome) in finish(self.host.boot(&format!("cut-{flush}"), &again, LIMIT)) {
                // The first that fails stands for all.
                let worse = |old: &Outcome| !old.ok;
                if !outcomes.get(&check).is_some_and(worse) {
                    let detail = format!("cut at flush {flush} of {}: {}", record.flushes(), outcome.detail);
                    outcomes.insert(check, Outcome { detail, ..outcome });
                }
            }
        }
        outcomes
    }

    fn pods(&self) -> Outcomes {
        let image = self.world.folder.path().join("pods");
        let tree = self.world.store.tree(&self.shipped).expect("the root");
        // Of Debian's container tools only the programs: our configuration is on trial.
        let tree =
            self.world.beside(tree, &["golang-github-containers-common"]).expect("the guests' packages");
        self.disk(tree, &image);
        let extra = self.foreign();
        let guest = Guest {
            disks: vec![Disk::Snapshot(image.clone()), self.payload("pods", &[("", &extra)])],
            memory: 2048,
            ..Guest::of(&image, Firmware::Bios)
        };
        finish(self.host.boot("pods", &guest, LIMIT))
    }

    fn plain(&self) -> Outcomes {
        let folder = self.world.folder.path();
        let (image, extra) = (folder.join("plain"), folder.join("plain-files"));
        self.disk(self.plain_root().expect("a plain root"), &image);
        let (server, suite) = self.repository(&extra).expect("a repository");
        let port = server.url("").rsplit(':').next().expect("a port").to_owned();
        put(extra.join("settings"), format!("PORT={port}\nSUITE={suite}\n"));
        put(extra.join("listing"), self.listing().expect("a listing"));
        let guest = Guest {
            disks: vec![Disk::Snapshot(image.clone()), self.payload("plain", &[("", &extra)])],
            cards: vec![Card::User(Vec::new())],
            ..Guest::of(&image, Firmware::Bios)
        };
        finish(self.host.boot("plain", &guest, LIMIT))
    }

    /// A Debian of the machine's packages alone, with the program that our initramfs starts with.
    fn plain_root(&self) -> Result<Tree> {
        let world = &self.world;
        let mut plan = Plan::new();
        let packages = system::packages(&mut plan, &world.lock, &world.store, &["machine"])?;
        let root = plan.add("root", Step::Root { packages, epoch: world.epoch() })?;
        let root = world.output(&mut plan, root)?;
        let mut tree = world.store.tree(&root)?;
        let shipped = world.store.tree(&self.shipped)?;
        for path in [image::INIT, "etc/fstab"] {
            tree.insert(TreePath::new(path)?, shipped.get(path).expect("the image has it").clone())?;
        }
        Ok(tree)
    }

    /// Writes a disk with a root, and the unit that runs what stands on the second disk.
    fn disk(&self, mut tree: Tree, to: &Path) {
        let store = &self.world.store;
        let mut own = Memory::default();
        let unit = own.file(UNIT, 0o644);
        for (path, node) in [
            ("etc/systemd/system/hale-trial.service", unit),
            (
                "etc/systemd/system/multi-user.target.wants/hale-trial.service",
                Node::symlink("/etc/systemd/system/hale-trial.service"),
            ),
        ] {
            tree.insert(TreePath::new(path).expect("a path"), node).expect("a place for the unit");
        }
        let disk = || -> Result<()> {
            for (_, bytes) in own.iter() {
                store.put_bytes(bytes)?;
            }
            let arguments = self.world.recipe.line.kernel_arguments.join(" ");
            let identity = Digest::of(to.file_name().unwrap_or_default().as_encoded_bytes());
            let disk = DiskOf { identity, epoch: self.world.epoch(), arguments, slack: SLACK };
            let made = image::assemble(&disk, &tree, store, &self.world.tools("boot")?)?;
            copy_disk(&store.path_of(&made.digest()), to);
            Ok(())
        };
        disk().unwrap_or_else(|fault| panic!("{fault}"));
    }

    /// The second disk of a guest: an archive of its checks and what they need.
    fn payload(&self, guest: &str, extra: &[(&str, &Path)]) -> Disk {
        let folder = self.world.folder.path().join(format!("payload-{guest}"));
        let archive = folder.with_extension("tar");
        put(folder.join("run"), fs::read(guests().join("run.sh")).expect("the runner"));
        for check in checks(guest) {
            put(
                folder.join("checks").join(&check),
                fs::read(guests().join(guest).join(&check)).expect("a check"),
            );
        }
        let mut tar = tool("tar", "tar");
        tar.arg("-cf").arg(&archive).arg("-C").arg(&folder).arg(".");
        for (inside, from) in extra {
            tar.arg("-C").arg(from).arg(if inside.is_empty() { "." } else { inside });
        }
        succeed(&mut tar);
        Disk::Snapshot(archive)
    }

    /// Newer versions of all that is pinned, in somebody else's archive, and one package that may move.
    fn foreign(&self) -> PathBuf {
        let folder = self.world.folder.path().join("foreign-files");
        let pinned: Vec<String> = self.pinned().iter().map(|name| name.to_string()).collect();
        put(folder.join("settings"), format!("PINNED='{}'\n", pinned.join("|")));
        for name in pinned.iter().map(String::as_str).chain(["hale-canary"]) {
            pack(&folder.join("foreign"), name, "99");
        }
        let canary = pack(&folder, "hale-canary", "1");
        fs::rename(canary, folder.join("canary.deb")).expect("a name");
        let index = succeed(
            tool("apt-ftparchive", "apt-utils").args(["packages", "."]).current_dir(folder.join("foreign")),
        );
        put(folder.join("foreign/Packages"), index);
        folder
    }

    /// The packages of the role that are on hold in its image.
    fn pinned(&self) -> BTreeSet<PackageName> {
        let own =
            self.packages.iter().filter_map(|offer| PackageName::new(offer.control.get("Package")?).ok());
        own.chain(PackageName::new("conmon").ok()).collect()
    }

    /// A signed repository of the role's packages and of what they need, served over HTTP; the suite's name.
    fn repository(&self, extra: &Path) -> Result<(Server, SuiteName)> {
        let world = &self.world;
        let mut offers = self.packages.clone();
        for package in world.lock.packages.values().filter(|p| p.wanted_by.contains("master")) {
            offers.push(offer(world, package.sha256, package.size)?);
        }
        let suite = Suite {
            name: SuiteName::new(format!("hale-{}", world.recipe.line.name))?,
            description: "Tests".to_owned(),
            epoch: world.epoch(),
            arches: BTreeSet::from([world.lock.arch]),
            uri: "http://10.0.2.2".to_owned(),
        };
        let key = SigningKey::generate([7; 32], "Tests <tests@example.org>", suite.epoch)?;
        put(extra.join("hale.asc"), key.certificate_armor()?);
        let to = world.folder.path().join("repository");
        publish(&world.store, &suite, Gathered { offers, ..Gathered::default() }, &key, &to)?;
        let server = Server::answering(move |request| match fs::read(to.join(decoded(&request.path))) {
            Ok(bytes) => Answer::file(request, &bytes),
            Err(_) => Answer::new(404, "not here"),
        });
        Ok((server, suite.name))
    }

    /// Every path of our packages as it stands in the image.
    fn listing(&self) -> Result<String> {
        let (store, tree) = (&self.world.store, self.world.store.tree(&self.shipped)?);
        let mut paths: BTreeSet<String> = BTreeSet::new();
        for offer in &self.packages {
            let name = offer.control.need("Package")?;
            // What a disk of ours has besides.
            let Some(Node { kind: Kind::File { content, .. }, .. }) =
                tree.get(&format!("var/lib/dpkg/info/{name}.list")).filter(|_| name != "hale-machine")
            else {
                continue;
            };
            let list = String::from_utf8(store.read(content)?).expect("dpkg's list is text");
            paths.extend(
                list.lines()
                    .filter_map(|line| line.strip_prefix('/'))
                    .filter(|p| *p != ".")
                    .map(str::to_owned),
            );
        }
        let line = |path: &String| {
            let node = tree.get(path)?;
            let (kind, mode, end) = match &node.kind {
                Kind::Dir => ("d", node.mode, "-".to_owned()),
                Kind::File { content, .. } => ("f", node.mode, content.hex()),
                Kind::Symlink { target } => ("l", 0o777, target.clone()),
            };
            Some(format!("/{path} {kind} {mode:o} {}:{} {end}\n", node.uid, node.gid))
        };
        Ok(paths.iter().filter_map(line).collect())
    }

    fn no_secret(&self) -> std::result::Result<(), Failed> {
        let tree = self.world.store.tree(&self.shipped).map_err(|fault| fault.to_string())?;
        let image = self.world.folder.path().join("secrets");
        self.disk(tree.clone(), &image);
        let (checkout, store) = (tests::system::checkout(), self.world.store.root().to_owned());
        let own = [checkout.as_os_str(), store.as_os_str(), self.world.folder.path().as_os_str()];
        let words: Vec<&[u8]> = own.iter().map(|path| path.as_encoded_bytes()).collect();
        let mut found = secrets::in_tree(&self.world.store, &tree);
        found.extend(secrets::in_bytes(&image, &words));
        fs::remove_file(&image).map_err(|error| error.to_string())?;
        if found.is_empty() { Ok(()) } else { Err(found.join("\n").into()) }
    }
}

const UNIT: &str = "[Unit]\nDescription=Runs a test's checks\nAfter=multi-user.target\n\n[Service]\nType=exec\n\
     ExecStart=/bin/sh -c 'mkdir -p /run/trial && tar -x -f /dev/vdb -C /run/trial && exec sh /run/trial/run'\n\
     StandardOutput=journal+console\nStandardError=journal+console\n\n[Install]\nWantedBy=multi-user.target\n";

fn finish(mut guest: Running) -> Outcomes {
    let outcomes = guest.outcomes();
    guest.kill();
    outcomes.into_iter().map(|outcome| (outcome.test.clone(), outcome)).collect()
}

fn offer(world: &World, content: Digest, size: u64) -> Result<Offer> {
    let control = Deb::read_control("a package", world.store.open(&content)?, Limits::for_size(size))?;
    Ok(Offer { control, content, size })
}

/// A request's path below the server's folder; apt escapes the signs of versions (RFC 3986, 2.1).
fn decoded(path: &str) -> String {
    let mut pieces = path.trim_start_matches('/').split('%');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (code, rest) = piece.split_at(piece.len().min(2));
        let byte = u8::from_str_radix(code, 16).expect("an escaped byte");
        text.push(char::from(byte));
        text.push_str(rest);
    }
    text
}

/// An empty package.
fn pack(folder: &Path, name: &str, version: &str) -> PathBuf {
    let (tree, deb) = (folder.join("tree"), folder.join(format!("{name}_{version}_all.deb")));
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: T <t@example.org>\nDescription: t\n"
    );
    put(tree.join("DEBIAN/control"), control);
    succeed(tool("dpkg-deb", "dpkg").args(["--root-owner-group", "-Znone", "--build"]).arg(&tree).arg(&deb));
    fs::remove_dir_all(&tree).expect("the folder can go");
    deb
}
