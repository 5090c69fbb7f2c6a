//! `hale`, the program on the node, compiled and packaged: the checkout in, `hale_<version>_amd64.deb` out.
//!
//! The one place that runs the compiler. It runs in an environment of our own making, offline and with the
//! checkout's path mapped away, so the same sources and the same toolchain give the same bytes wherever they
//! lie. cargo-deb packages the result from `node/Cargo.toml`, with the lock's epoch as every file's time.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_deb::compress::{CompressConfig, Format};
use cargo_deb::config::BuildOptions;
use cargo_deb::listener::NoOpListener;
use cargo_deb::{BuildEnvironment, BuildProfile, CargoLockingFlags, PackageConfig, assets};

use serde::Deserialize;

use crate::base::name::PackageName;
use crate::base::{Digest, Epoch, Fault, Result, json};
use crate::formats::debian::version::Version;

/// Statically linked with the C library of the machine that compiles: one file that runs on any kernel.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The profile of the workspace's Cargo.toml for what runs on a node.
const PROFILE: &str = "node";
/// What cargo's own `release` says (The Cargo Book, "Profiles") where ours says nothing.
const RELEASE: [(&str, &str); 6] = [
    ("debug", "0"),
    ("debug-assertions", "false"),
    ("overflow-checks", "false"),
    ("incremental", "false"),
    ("rpath", "false"),
    ("split-debuginfo", "\"off\""),
];
/// Tables of a profile that are for parts of a program.
const KEYS_OF_PARTS: [&str; 2] = ["build-override", "package"];
/// A workspace of its own below `node/`: it tests `hale` and is no part of it.
const APART: &str = "node/fuzz";
/// Raised when the same sources and toolchain give other bytes than before.
const FORMAT: u32 = 1;

/// A package of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltDeb {
    /// Its name.
    pub name: String,
    /// Its whole Debian version.
    pub version: String,
    /// The `.deb`.
    pub deb: Vec<u8>,
}

/// Where the compiler is: what the user's environment says of it.
#[derive(Clone, Debug)]
pub struct Toolchain(BTreeMap<&'static str, OsString>);

impl Toolchain {
    /// Takes what it needs of an environment.
    pub fn new(value: impl Fn(&str) -> Option<OsString>) -> Self {
        let names = ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME"];
        Self(names.into_iter().filter_map(|name| Some((name, value(name)?))).collect())
    }

    /// The folder that cargo keeps its own in.
    fn cargo_home(&self) -> Result<PathBuf> {
        let given = self.0.get("CARGO_HOME").map(PathBuf::from);
        let usual = || self.0.get("HOME").map(|home| PathBuf::from(home).join(".cargo"));
        given.or_else(usual).ok_or_else(|| Fault::machine("neither CARGO_HOME nor HOME is set"))
    }
}

/// Digests everything that decides the package's bytes but the epoch: sources, lock, toolchain, C library, linker.
pub fn identity(checkout: &Path, toolchain: &Toolchain) -> Result<Digest> {
    let mut files = Vec::new();
    for name in ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml"] {
        files.push((name.to_owned(), digest(&checkout.join(name))?));
    }
    list(checkout, Path::new("node"), &mut files)?;
    files.sort();
    let compiler = run(clean("rustc", checkout, toolchain).arg("-vV"))?;
    let library = run(clean("cc", checkout, toolchain).arg("-print-file-name=libc.a"))?;
    let library = digest(Path::new(library.trim())).map_err(|f| f.help("apt-get install libc6-dev"))?;
    let linker = run(clean("ld", checkout, toolchain).arg("--version"))?;
    let text = json::canonical(&(FORMAT, TARGET, files, compiler, library, linker.lines().next()))?;
    Ok(Digest::of(text))
}

/// Returns the packages that [`build`] makes, by name, with their versions: read from the manifests alone.
pub fn packages(checkout: &Path) -> Result<BTreeMap<PackageName, Version>> {
    #[derive(Deserialize)]
    struct Manifest {
        workspace: Option<Workspace>,
        package: Option<Metadata>,
    }
    #[derive(Deserialize)]
    struct Workspace {
        package: Common,
    }
    #[derive(Deserialize)]
    struct Common {
        version: String,
    }
    #[derive(Deserialize)]
    struct Metadata {
        metadata: Packages,
    }
    #[derive(Deserialize)]
    struct Packages {
        deb: Deb,
    }
    #[derive(Deserialize)]
    struct Deb {
        name: String,
    }
    let read = |name: &str| -> Result<Manifest> {
        let path = checkout.join(name);
        let text = std::fs::read_to_string(&path).map_err(|e| Fault::io("read", &path, e))?;
        toml::from_str(&text).map_err(|e| Fault::user(format!("{name} is no manifest of ours")).cause(e))
    };
    let shared = read("Cargo.toml")?.workspace.map(|workspace| workspace.package.version);
    let deb = read("node/Cargo.toml")?.package.map(|package| package.metadata.deb.name);
    let (Some(version), Some(name)) = (shared, deb) else {
        return Err(Fault::user("no version in Cargo.toml, or no package in node/Cargo.toml"));
    };
    // cargo-deb's revision, unless the manifest sets one.
    Ok(BTreeMap::from([(PackageName::new(name)?, format!("{version}-1").parse()?)]))
}

/// Compiles and packages. Identical for one [`identity`] and epoch.
pub fn build(checkout: &Path, toolchain: &Toolchain, epoch: Epoch) -> Result<BuiltDeb> {
    let checkout = checkout.canonicalize().map_err(|e| Fault::io("find", checkout, e))?;
    let manifest = checkout.join("node/Cargo.toml");
    let options = BuildOptions {
        manifest_path: Some(&manifest),
        rust_target_triples: vec![TARGET],
        build_profile: BuildProfile { profile_name: Some(PROFILE.to_owned()), ..BuildProfile::default() },
        cargo_locking_flags: CargoLockingFlags { offline: true, locked: true, frozen: false },
        ..BuildOptions::default()
    };
    let (environment, packages) = BuildEnvironment::from_manifest(options, &NoOpListener).map_err(refused)?;
    let [package] = <[PackageConfig; 1]>::try_from(packages)
        .map_err(|_| Fault::bug("node/Cargo.toml describes more than one package"))?;
    compile(&checkout, toolchain, &environment.target_dir_base)?;
    pack(&environment, package, epoch)
}

/// Compiles into `target/<TARGET>/node/`, apart from what developing leaves in `target`.
fn compile(checkout: &Path, toolchain: &Toolchain, target: &Path) -> Result<()> {
    let mut cargo = clean("cargo", checkout, toolchain);
    cargo.args(["build", "--quiet", "--locked", "--offline", "--package", "node", "--bins"]);
    cargo.args(["--profile", PROFILE, "--target", TARGET, "--target-dir"]).arg(target);
    check_settings(checkout, &toolchain.cargo_home()?)?;
    for setting in profile(checkout)? {
        cargo.arg("--config").arg(setting);
    }
    let sysroot = run(clean("rustc", checkout, toolchain).args(["--print", "sysroot"]))?;
    let map = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    let flags = [
        "-Ctarget-feature=+crt-static".to_owned(),
        "-Crelocation-model=static".to_owned(),
        // No identifier of the link, which would cover the object files' temporary names.
        "-Clink-arg=-Wl,--build-id=none".to_owned(),
        map(checkout, "/hale"),
        map(&toolchain.cargo_home()?, "/cargo"),
        map(Path::new(sysroot.trim()), "/rust"),
    ];
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    run(&mut cargo).map(drop)
}

/// Refuses what no argument can take back: settings for single packages in a configuration of cargo's, which it reads
/// in its home and above the checkout (The Cargo Book, "Configuration").
fn check_settings(checkout: &Path, cargo_home: &Path) -> Result<()> {
    let folders = checkout.ancestors().map(|folder| folder.join(".cargo")).chain([cargo_home.to_owned()]);
    for path in folders.flat_map(|folder| ["config", "config.toml"].map(|name| folder.join(name))) {
        // One that cannot be read or understood is cargo's to refuse.
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let settings: toml::Table = text.parse().unwrap_or_default();
        for (name, key) in [PROFILE, "release"].iter().flat_map(|name| KEYS_OF_PARTS.map(|key| (name, key))) {
            if settings.get("profile").and_then(|profiles| profiles.get(name)?.get(key)).is_some() {
                let what = format!("{} changes what hale is made of: profile.{name}.{key}", path.display());
                return Err(Fault::user(what).help("take that out, or build as a user without it"));
            }
        }
    }
    Ok(())
}

/// Every key of the profile, as arguments: they go before what the user's configuration of cargo may say.
fn profile(checkout: &Path) -> Result<Vec<String>> {
    let path = checkout.join("Cargo.toml");
    let text = std::fs::read_to_string(&path).map_err(|e| Fault::io("read", &path, e))?;
    let manifest: toml::Table =
        text.parse().map_err(|e| Fault::user("Cargo.toml is no manifest of ours").cause(e))?;
    let own = manifest.get("profile").and_then(|profiles| profiles.get(PROFILE)?.as_table());
    let own = own.ok_or_else(|| Fault::user(format!("Cargo.toml has no profile `{PROFILE}`")))?;
    let mut keys = BTreeMap::from(RELEASE.map(|(key, value)| (key, value.to_owned())));
    keys.extend(own.iter().map(|(key, value)| (key.as_str(), value.to_string())));
    Ok(keys.into_iter().map(|(key, value)| format!("profile.{PROFILE}.{key}={value}")).collect())
}

fn pack(environment: &BuildEnvironment, mut package: PackageConfig, epoch: Epoch) -> Result<BuiltDeb> {
    package.default_timestamp = epoch.seconds();
    package.resolve_assets(&NoOpListener).map_err(refused)?;
    let compressed = assets::compressed_assets(&package, &NoOpListener).map_err(refused)?;
    package.resolved_depends = Some(package.resolved_binary_dependencies(&NoOpListener).map_err(refused)?);
    assets::apply_compressed_assets(&mut package, compressed);
    package.sort_assets_by_type();
    let scratch = tempfile::tempdir().map_err(|e| Fault::machine("no scratch directory").cause(e))?;
    let output = scratch.path().join("package.deb");
    let gzip =
        CompressConfig { fast: false, compress_type: Format::Gzip, compress_system: false, rsyncable: false };
    let written =
        cargo_deb::write_deb(environment, output, &package, &gzip, &NoOpListener).map_err(refused)?;
    let deb = std::fs::read(&written).map_err(|e| Fault::io("read", &written, e))?;
    Ok(BuiltDeb { name: package.deb_name, version: package.deb_version, deb })
}

/// A command with nothing of the caller's environment but where the toolchain is.
fn clean(program: &str, checkout: &Path, toolchain: &Toolchain) -> Command {
    let mut command = Command::new(program);
    command.env_clear().current_dir(checkout).envs(&toolchain.0);
    // Settings of the user's own cargo configuration that would change the bytes.
    let linker: OsString = "cc".into();
    command.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER", linker);
    command.env("RUSTC_WRAPPER", "").env("RUSTC_WORKSPACE_WRAPPER", "").env("LC_ALL", "C").env("TZ", "UTC");
    command
}

/// Standard output of a command that must succeed.
fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| Fault::machine(format!("cannot run {name}")).cause(e))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Fault::machine(format!("{name} failed, {}", output.status)).cause(said));
    }
    String::from_utf8(output.stdout).map_err(|_| Fault::machine(format!("{name} did not answer in UTF-8")))
}

fn digest(path: &Path) -> Result<Digest> {
    Ok(Digest::of(std::fs::read(path).map_err(|e| Fault::io("read", path, e))?))
}

/// Digests files and folders of the checkout, by name and content.
pub fn digest_of(checkout: &Path, parts: &[&str]) -> Result<Digest> {
    let mut files = Vec::new();
    for part in parts {
        match checkout.join(part).is_dir() {
            true => list(checkout, Path::new(part), &mut files)?,
            false => files.push(((*part).to_owned(), digest(&checkout.join(part))?)),
        }
    }
    files.sort();
    Ok(Digest::of(json::canonical(&files)?))
}

/// The files under `part`, each with the digest of its content, or of its target if it is a link.
fn list(checkout: &Path, part: &Path, files: &mut Vec<(String, Digest)>) -> Result<()> {
    let full = checkout.join(part);
    let entries = std::fs::read_dir(&full).map_err(|e| Fault::io("list", &full, e))?;
    for entry in entries {
        let entry = entry.map_err(|e| Fault::io("list", &full, e))?;
        let path = part.join(entry.file_name());
        let kind = entry.file_type().map_err(|e| Fault::io("examine", entry.path(), e))?;
        let name = path.to_string_lossy().into_owned();
        if name == APART {
            continue;
        }
        if kind.is_dir() {
            list(checkout, &path, files)?;
        } else if kind.is_symlink() {
            let target = std::fs::read_link(entry.path()).map_err(|e| Fault::io("read", entry.path(), e))?;
            files.push((name, Digest::of(target.as_os_str().as_encoded_bytes())));
        } else {
            files.push((name, digest(&entry.path())?));
        }
    }
    Ok(())
}

fn refused(error: cargo_deb::CargoDebError) -> Fault {
    Fault::machine("cargo-deb cannot package hale").cause(error)
}
