//! Debian's archive, as the makers of a lock see it: signed indices from the machine's mirrors.
//!
//! The chain of trust: pinned key -> InRelease -> digest of Packages -> digest of each package. Every
//! mirror is verified by itself, and nothing of a mirror that failed is used.
//!
//! ```text
//! CACHE/<digest>      an unpacked index, named by the digest that its Release file gives it
//! ```
//!
//! InRelease is fetched each time: it says which indices are still true.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::Client;
use crate::base::name::{Arch, PackageName, SuiteName};
use crate::base::{Class, Digest, Epoch, Fault, Result, Url};
use crate::formats::archive;
use crate::formats::debian::apt_sources::{self, AptSource};
use crate::formats::debian::control::ControlText;
use crate::formats::debian::index::packages::{self, IndexEntry};
use crate::formats::debian::index::release::{Listed, Release};
use crate::formats::debian::index::sources::{self, SourcePackage};
use crate::formats::openpgp::verify_clearsigned;
use crate::host::atomic::write_whole;
use crate::lock::resolve::ArchiveSnapshot;
use crate::lock::{Lock, LockedSuite};
use crate::recipe::Files;
use crate::recipe::archive::SuiteTrust;
use crate::recipe::line::Line;

/// Longest InRelease in bytes; Debian's has 160 kB.
const RELEASE: u64 = 16 << 20;
/// Longest unpacked index in bytes; Debian's has 50 MB.
const INDEX: u64 = 1 << 30;
/// How far a mirror's clock may be ahead of ours, in seconds.
const AHEAD: u64 = 600;

/// The archives that this machine knows, in the order in which they are asked.
#[derive(Clone, Debug, Default)]
pub struct Mirrors {
    archives: Vec<AptSource>,
}

impl Mirrors {
    /// Reads apt's sources: files as they are, folders for their `*.list` and `*.sources` in the order
    /// of their names. A path that is not there is no fault.
    pub fn read(paths: &[PathBuf]) -> Result<Self> {
        let mut archives = Vec::new();
        for path in paths {
            for file in files(path)? {
                let text = fs::read_to_string(&file).map_err(|e| Fault::io("read", &file, e))?;
                let name = file.display().to_string();
                let source = ControlText::user(&name, &text);
                let deb822 = file.extension().is_some_and(|ending| ending == "sources");
                archives.extend(if deb822 {
                    apt_sources::parse_deb822(source)
                } else {
                    apt_sources::parse_list(source)
                }?);
            }
        }
        Ok(Self { archives })
    }

    /// The roots of the archives that offer a suite, in the order in which to ask them; never none.
    pub fn of(&self, suite: &SuiteName) -> Result<Vec<&Url>> {
        let offers = |archive: &&AptSource| archive.suites.iter().any(|name| name == suite.as_str());
        let urls: Vec<&Url> = self.archives.iter().filter(offers).map(|archive| &archive.url).collect();
        if urls.is_empty() {
            let fault = Fault::user(format!("no mirror of the suite {suite} in apt's sources"));
            return Err(fault.help("name one with --sources FILE, or in apt's sources.list.d"));
        }
        Ok(urls)
    }
}

fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let fail = |e: io::Error| Fault::io("read", path, e);
    match fs::metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(fail(e)),
        Ok(found) if !found.is_dir() => return Ok(vec![path.to_owned()]),
        Ok(_) => {}
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(fail)? {
        let file = entry.map_err(fail)?.path();
        if file.extension().is_some_and(|ending| ending == "list" || ending == "sources") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// A suite that was read: how the lock names it, and what it offers.
#[derive(Debug)]
pub struct SuiteSnapshot {
    /// The suite as it is now.
    pub suite: LockedSuite,
    /// Its packages for one architecture.
    pub packages: Vec<IndexEntry>,
    /// Those of its source packages that were asked for.
    pub sources: Vec<SourcePackage>,
}

/// Reads suites.
pub struct SuiteReader<'a> {
    /// Who asks the mirrors.
    pub client: &'a Client,
    /// The folder of unpacked indices; it is made when it is needed.
    pub cache: &'a Path,
    /// The time now: Release files have dates.
    pub now: Epoch,
    /// Which packages.
    pub arch: Arch,
    /// Which source packages.
    pub sources: BTreeSet<PackageName>,
}

impl SuiteReader<'_> {
    /// Reads all suites of a line. `last` is its last lock, if there was one.
    pub fn snapshot(
        &self,
        mirrors: &Mirrors,
        files: &Files,
        line: &Line,
        last: Option<&Lock>,
    ) -> Result<ArchiveSnapshot> {
        let read = |suite: &SuiteName| {
            let seen = last.and_then(|lock| lock.suites.get(suite)).map(|suite| suite.date);
            self.read(mirrors, suite, &SuiteTrust::parse(files, suite)?, seen)
        };
        let read: Vec<SuiteSnapshot> = line.suites.par_iter().map(read).collect::<Result<_>>()?;
        let (mut suites, mut packages, mut sources) = (BTreeMap::new(), Vec::new(), Vec::new());
        for offered in read {
            suites.insert(offered.suite.name.clone(), offered.suite);
            packages.extend(offered.packages);
            sources.extend(offered.sources);
        }
        Ok(ArchiveSnapshot { suites, packages, sources })
    }

    /// Reads a suite from the first mirror that serves it. `seen` is the date of the Release file that
    /// the last lock was made from: an older one is refused, since somebody may be withholding fixes.
    pub fn read(
        &self,
        mirrors: &Mirrors,
        suite: &SuiteName,
        trust: &SuiteTrust,
        seen: Option<Epoch>,
    ) -> Result<SuiteSnapshot> {
        let mut first = None;
        for url in mirrors.of(suite)? {
            match self.read_from(url, suite, trust, seen) {
                Err(fault) if fault.class() == Class::Remote => drop(first.get_or_insert(fault)),
                result => return result,
            }
        }
        Err(first.unwrap_or_else(|| Fault::bug("a suite without mirrors was asked for")))
    }

    fn read_from(
        &self,
        archive: &Url,
        suite: &SuiteName,
        trust: &SuiteTrust,
        seen: Option<Epoch>,
    ) -> Result<SuiteSnapshot> {
        let dist = archive.join(&format!("dists/{suite}"))?;
        let address = dist.join("InRelease")?;
        let bytes = self.client.get(&address, RELEASE)?;
        let message = clearsigned(&bytes).map_err(|fault| fault.context(&address))?;
        let verified =
            verify_clearsigned(message, &trust.keyring, self.now).map_err(|fault| fault.context(&address))?;
        let release = Release::parse(ControlText::integrity(address.as_str(), &verified.text))?;
        self.check(&release, suite, seen).map_err(|fault| fault.context(&address))?;
        let (mut packages, mut sources) = (Vec::new(), Vec::new());
        for component in &trust.components {
            let path = format!("{component}/binary-{}/Packages", self.arch);
            let text = self.index(&dist, &release, &path)?;
            let name = format!("{dist}/{path}");
            packages.extend(packages::parse(ControlText::integrity(&name, &text), suite, self.arch)?);
            if !self.sources.is_empty() {
                let path = format!("{component}/source/Sources");
                let text = self.index(&dist, &release, &path)?;
                let name = format!("{dist}/{path}");
                sources.extend(sources::parse(ControlText::integrity(&name, &text), suite, &self.sources)?);
            }
        }
        let suite = LockedSuite {
            name: suite.clone(),
            release: Digest::of(&bytes),
            date: release.date,
            signed_by: verified.signers.iter().map(ToString::to_string).collect(),
        };
        Ok(SuiteSnapshot { suite, packages, sources })
    }

    /// Whether it is this suite's Release file, and the one of now.
    fn check(&self, release: &Release, suite: &SuiteName, seen: Option<Epoch>) -> Result<()> {
        if release.codename != *suite {
            return Err(Fault::integrity("the Release file of another suite")
                .expected_found(suite, &release.codename));
        }
        if release.date.seconds() > self.now.seconds() + AHEAD {
            return Err(
                Fault::integrity("a Release file of the future").expected_found(self.now, release.date)
            );
        }
        if let Some(end) = release.valid_until.filter(|end| *end < self.now) {
            let fault = Fault::integrity("the Release file has expired");
            return Err(fault.expected_found(format!("valid at {}", self.now), format!("valid until {end}")));
        }
        if let Some(seen) = seen.filter(|seen| release.date < *seen) {
            let fault =
                Fault::integrity("the mirror serves an older Release file than the lock was made from");
            return Err(fault
                .expected_found(format!("{seen} or later"), release.date)
                .help("name another mirror with --sources FILE"));
        }
        Ok(())
    }

    /// An index's text: from the cache, or fetched, checked and kept there.
    fn index(&self, dist: &Url, release: &Release, path: &str) -> Result<String> {
        let listed = release.file(path)?;
        if listed.size > INDEX {
            return Err(
                Fault::integrity(format!("{dist}/{path} is too long")).expected_found(INDEX, listed.size)
            );
        }
        let kept = self.cache.join(listed.digest.hex());
        let bytes = match fs::read(&kept) {
            Ok(bytes) if check(&bytes, listed, "").is_ok() => bytes,
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Fault::io("read", &kept, error));
            }
            _ => {
                let bytes = self.fetch(dist, release, path, listed)?;
                fs::create_dir_all(self.cache).map_err(|e| Fault::io("make", self.cache, e))?;
                write_whole(&kept, 0o644, |file| io::Write::write_all(file, &bytes))?;
                bytes
            }
        };
        String::from_utf8(bytes).map_err(|_| Fault::integrity(format!("{dist}/{path} is not UTF-8")))
    }

    fn fetch(&self, dist: &Url, release: &Release, path: &str, listed: Listed) -> Result<Vec<u8>> {
        let packed = release.file(&format!("{path}.xz"))?;
        let plain = dist.join(&format!("{path}.xz"))?;
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let by_hash = dist.join(&format!("{folder}/by-hash/SHA256/{}", packed.digest.hex()))?;
        // By its digest it can be had while the mirror changes under us; not every mirror has it.
        let bytes = match release.acquire_by_hash.then(|| self.client.get(&by_hash, packed.size)) {
            Some(Err(fault)) if fault.class() != Class::Remote => return Err(fault),
            Some(Ok(bytes)) => bytes,
            Some(Err(_)) | None => self.client.get(&plain, packed.size)?,
        };
        check(&bytes, packed, plain.as_str())?;
        let mut text = Vec::new();
        let mut unpacked = archive::xz(bytes.as_slice(), archive::WINDOW)?.take(listed.size + 1);
        unpacked
            .read_to_end(&mut text)
            .map_err(|e| Fault::integrity(format!("{plain} is no xz stream")).cause(e))?;
        check(&text, listed, plain.as_str())?;
        Ok(text)
    }
}

/// An InRelease file's text. What is no such thing at all, such as a web page that asks for a login, is
/// the mirror's failure; what pretends to be one must be right.
fn clearsigned(bytes: &[u8]) -> Result<&str> {
    let begins = "-----BEGIN PGP SIGNED MESSAGE-----";
    if !bytes.starts_with(begins.as_bytes()) {
        let head = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        return Err(Fault::remote("no InRelease file").expected_found(begins, format!("{head:?}")));
    }
    std::str::from_utf8(bytes).map_err(|_| Fault::integrity("an InRelease file that is not UTF-8"))
}

fn check(bytes: &[u8], listed: Listed, name: &str) -> Result<()> {
    let wrong = || Fault::integrity(format!("{name} is not what its Release file says"));
    if bytes.len() as u64 != listed.size {
        return Err(
            wrong().expected_found(format!("{} bytes", listed.size), format!("{} bytes", bytes.len()))
        );
    }
    let found = Digest::of(bytes);
    if found != listed.digest {
        return Err(wrong().expected_found(listed.digest, found));
    }
    Ok(())
}
