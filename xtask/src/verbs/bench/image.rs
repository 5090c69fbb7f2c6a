//! Root trees and disks, beside mmdebstrap and mke2fs with the same packages from the same local files.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use builder::base::digest::Hashing;
use builder::base::name::PackageName;
use builder::base::tree::{Contents, Kind};
use builder::base::{Digest, Fault, Result};
use builder::build::planner::BuildTarget;
use builder::build::planner::system;
use builder::host::checkout::Project;
use builder::pack::stream::zstd::{self, Effort};
use builder::plan::{Output, Plan, RootStep, Step, StepId};
use builder::rootfs;
use builder::store::Store;

use super::lab::{Lab, number};
use super::measurement::{Goal, Measurement, Unit};
use crate::context::Context;
use crate::run::realise;
use crate::target::Jobs;
use crate::verbs::check::hand_over_inputs;

/// An overlay file, a line of it, and the line as somebody would change it.
const LINE: (&str, &str, &str) = ("overlays/common/etc/containers/registries.conf", "#", "# Changed.\n#");

const ROLE: &str = "master";

/// Measures. Debian's packages must have been fetched into the user's own store.
pub(crate) fn run(context: &Context, record: &mut dyn FnMut(Measurement)) -> Result<()> {
    let lab = Lab::new(context)?;
    // `hale` is compiled before anything is measured.
    lab.run(&["build", ROLE])?;
    let (packages, theirs) =
        (lab.checkout().with_file_name("packages"), lab.checkout().with_file_name("theirs"));
    record(ratio("cores busy while unpacking", unpacking(context, &lab)?, Goal::AtLeast(0.8)));
    let ours = steps(context, &lab, &packages)?;
    record(seconds("root tree from packages that are here", ours.root, None));
    let debstrapped = mmdebstrap(&ours.names, &theirs, [repository(&packages)?])?;
    record(seconds("  mmdebstrap", debstrapped, None));
    record(ratio("  mmdebstrap's time by ours", debstrapped / ours.root, Goal::AtLeast(4.0)));
    let image = theirs.with_extension("ext4");
    let made = mke2fs(&theirs, &image, "1G")?;
    fs::remove_file(&image).map_err(|e| Fault::io("remove", &image, e))?;
    record(seconds("disk from a root tree, digested and durable", ours.disk, None));
    record(seconds("  mke2fs -d of mmdebstrap's", made, None));
    record(ratio("  ours by mke2fs's", ours.disk / made, Goal::AtMost(1.5)));

    let image = ["image", ROLE, "--without-components"];
    let (nothing, _) = lab.run(&image)?;
    record(seconds("image with nothing to do", nothing, None));
    lab.edit(LINE.0, LINE.1, LINE.2)?;
    let (changed, _) = lab.run(&image)?;
    record(seconds("one overlay line to a new image", changed, Some(Goal::AtMost(5.0))));
    lab.forget(&lab.store().join("steps"))?;
    let (whole, store) = hand_over(context, &lab)?;
    let (_, said) = lab.run(&[&image[..], &["--format", "zstd"]].concat())?;
    record(bytes("peak memory of an image and its zstd", number(&said, "/peak-memory")?, Some(512e6)));
    let size = number(&said, "/images/1/bytes")?;
    record(bytes("image, compressed with zstd", size, None));
    let files = files_compressed(&whole, &store)?;
    let most = Some(Goal::AtMost(1.15));
    record(quotient("  by the installed packages' files, compressed alike", size / files, most));
    record(quotient("  by the packages as Debian has them, with xz", size / ours.packed, None));
    Ok(())
}

/// Debian 12's layout, which mmdebstrap leaves to a hook (mmdebstrap(1), "HOOKS").
const MERGED: &str = "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr";

/// What the steps took, in seconds, and of what packages.
struct Ours {
    root: f64,
    disk: f64,
    names: Vec<String>,
    /// The packages' bytes.
    packed: f64,
}

/// The plan of the copy's disk, with its inputs in the copy's store.
fn hand_over(context: &Context, lab: &Lab) -> Result<(Plan, Store)> {
    let project = Project::at(lab.checkout());
    let target = BuildTarget {
        line: project.default_line()?,
        role: ROLE.parse()?,
        project,
        toolchain: context.toolchain(),
    };
    let (from, to) = (Store::open(&context.store)?, Store::open(&lab.store())?);
    hand_over_inputs(&system::plan(&target, &from)?.plan, &from, &to)?;
    Ok((system::plan(&target, &to)?.plan, to))
}

/// Makes the root of Debian's packages, then the rest, then the disk, each by itself. Lays the packages out as
/// files for the others.
fn steps(context: &Context, lab: &Lab, packages: &Path) -> Result<Ours> {
    let (whole, store) = hand_over(context, lab)?;
    let timed = |label: &str| -> Result<f64> {
        let mut plan = Plan::new();
        plan.absorb(whole.clone())?;
        plan.want(whole.find(label)?.0);
        let start = Instant::now();
        realise(context, &store, &plan, Jobs::default())?;
        Ok(start.elapsed().as_secs_f64())
    };
    let root = timed("root")?;
    timed("install")?;
    timed("tools boot")?;
    let disk = timed("disk")?;
    let debs = debs(&whole)?;
    let mut packed = 0;
    fs::create_dir_all(packages).map_err(|e| Fault::io("make", packages, e))?;
    for (name, deb) in debs {
        if let Some(Output::Blob { content, size }) = store.output(deb)? {
            store.export(&content, &packages.join(format!("{name}.deb")), 0o644)?;
            packed += size;
        }
    }
    let names = debs.keys().map(|name| name.to_string()).collect();
    Ok(Ours { root, disk, names, packed: packed as f64 })
}

/// Unpacks the root's packages into a store of their own; which part of all cores' time that takes, by this program
/// and by the kernel that writes for it. Nothing else may be running.
fn unpacking(context: &Context, lab: &Lab) -> Result<f64> {
    let (plan, whole) = hand_over(context, lab)?;
    let folder = lab.store().with_file_name("unpacked");
    let store = Store::open(&folder)?;
    hand_over_inputs(&plan, &whole, &store)?;
    let mut packed = Vec::new();
    for deb in debs(&plan)?.values() {
        packed.extend(store.output(deb)?.map(|output| output.digest()));
    }
    let before = cores()?;
    rootfs::unpack_all(&store, &packed)?;
    let after = cores()?;
    let share = (after.0 - before.0) as f64 / (after.1 - before.1).max(1) as f64;
    drop(store);
    lab.forget(&folder)?;
    Ok(share)
}

/// The bytes of all files of the installed packages, in one stream and compressed as an image is.
fn files_compressed(plan: &Plan, store: &Store) -> Result<f64> {
    let installed = store.output(&plan.find("install")?.0)?;
    let installed = installed.ok_or_else(|| Fault::bug("an image without its root"))?;
    let tree = store.tree(&installed.digest())?;
    let mut files = Vec::new();
    for (_, node) in tree.iter() {
        if let Kind::File { content, .. } = &node.kind {
            files.push(*content);
        }
    }
    let mut all = Files { store, left: files.into_iter(), open: None };
    let mut count = Hashing::new(io::sink());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    zstd::compress(&mut all, tree.file_bytes(), Effort::Thorough, cores, &mut count)?;
    Ok(count.length() as f64)
}

/// Files of a store, one after the other.
struct Files<'a> {
    store: &'a Store,
    left: std::vec::IntoIter<Digest>,
    open: Option<Box<dyn Read + 'a>>,
}

impl Read for Files<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(file) = &mut self.open {
                match file.read(buffer)? {
                    0 => self.open = None,
                    count => return Ok(count),
                }
            }
            let Some(next) = self.left.next() else { return Ok(0) };
            self.open = Some(self.store.open(&next).map_err(io::Error::other)?);
        }
    }
}

/// How long all cores together have been at work since the machine started, and how long it has run: in the units of
/// proc_stat(5), without what other machines took (`steal`).
fn cores() -> Result<(u64, u64)> {
    let path = Path::new("/proc/stat");
    let stat = fs::read_to_string(path).map_err(|e| Fault::io("read", path, e))?;
    let line = stat.lines().next().unwrap_or_default();
    let times: Vec<u64> = line.split_whitespace().skip(1).filter_map(|time| time.parse().ok()).collect();
    match times[..] {
        [user, nice, system, idle, waiting, irq, softirq, ..] => {
            let busy = user + nice + system + irq + softirq;
            Ok((busy, busy + idle + waiting))
        }
        _ => Err(Fault::machine(format!("/proc/stat begins with {line:?}"))),
    }
}

/// Debian's packages of a planned disk.
pub(super) fn debs(plan: &Plan) -> Result<&BTreeMap<PackageName, StepId>> {
    match &plan.find("root")?.1.step {
        Step::Root(RootStep { packages, .. }) => Ok(packages),
        _ => Err(Fault::bug("the root is made in another way")),
    }
}

/// Makes an index of the packages, as a repository has it; gives the repository as apt's sources do.
fn repository(packages: &Path) -> Result<String> {
    let make = |file: &str, words: &[&str]| {
        let made = timed(Command::new("apt-ftparchive").args(words).arg(".").current_dir(packages))?.1;
        fs::write(packages.join(file), made).map_err(|e| Fault::io("write", packages, e))
    };
    make("Packages", &["packages"])?;
    // By the suite, mmdebstrap knows what is essential.
    let suite = |field: &str| format!("APT::FTPArchive::Release::{field}=bookworm");
    make("Release", &["release", "-o", &suite("Suite"), "-o", &suite("Codename")])?;
    Ok(format!("deb [trusted=yes] copy:{} ./", packages.display()))
}

/// Has mmdebstrap install packages of some sources; gives its seconds.
pub(super) fn mmdebstrap(
    names: &[String],
    to: &Path,
    sources: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Result<f64> {
    let mut command = Command::new("mmdebstrap");
    command.args(["--variant=essential", "--format=directory", MERGED, "--include"]).arg(names.join(","));
    Ok(timed(command.arg("bookworm").arg(to).args(sources))?.0)
}

/// Has mke2fs make a file system of a tree; gives its seconds.
pub(super) fn mke2fs(tree: &Path, image: &Path, size: &str) -> Result<f64> {
    let mut command = Command::new("mke2fs");
    Ok(timed(command.args(["-q", "-t", "ext4", "-d"]).arg(tree).arg(image).arg(size))?.0)
}

/// Runs a tool to a good end: seconds, and what it printed.
fn timed(command: &mut Command) -> Result<(f64, Vec<u8>)> {
    let name = command.get_program().to_string_lossy().into_owned();
    let start = Instant::now();
    let output =
        command.output().map_err(|e| Fault::io("run", &name, e).help(format!("apt-get install {name}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = said.trim().lines().collect();
        let end = lines[lines.len().saturating_sub(30)..].join("\n");
        return Err(Fault::machine(format!("{name} failed")).cause(end));
    }
    Ok((start.elapsed().as_secs_f64(), output.stdout))
}

pub(super) fn seconds(what: &str, value: f64, goal: Option<Goal>) -> Measurement {
    Measurement { what: what.to_owned(), value, unit: Unit::Seconds, goal }
}

fn bytes(what: &str, value: f64, most: Option<f64>) -> Measurement {
    Measurement { what: what.to_owned(), value, unit: Unit::Bytes, goal: most.map(Goal::AtMost) }
}

pub(super) fn ratio(what: &str, value: f64, goal: Goal) -> Measurement {
    quotient(what, value, Some(goal))
}

fn quotient(what: &str, value: f64, goal: Option<Goal>) -> Measurement {
    Measurement { what: what.to_owned(), value, unit: Unit::Ratio, goal }
}
