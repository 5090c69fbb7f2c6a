//! What guests install: the role's own packages in a signed repository, and somebody else's newer ones.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use builder::base::name::{PackageName, SuiteName};
use builder::base::tree::{Contents, Kind, Node};
use builder::base::{Digest, Result};
use builder::dist::repository::{RepositoryContents, publish};
use builder::formats::debian::deb::{UnpackLimits, UnpackedDeb};
use builder::formats::openpgp::SigningKey;
use builder::pack::package::repository::{RepositoryPackage, Suite};
use tests::server::{Answer, Server};
use tests::system::TestSystem;
use tests::tools::{put, succeed, tool};

use super::Stage;

impl Stage {
    /// Newer versions of all that is pinned, in somebody else's archive, and one package that may move.
    pub(crate) fn foreign(&self) {
        let folder = self.payload("pods");
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
    }

    /// The packages of the role that are on hold in its image.
    fn pinned(&self) -> BTreeSet<PackageName> {
        let own =
            self.packages.iter().filter_map(|offer| PackageName::new(offer.control.get("Package")?).ok());
        own.chain(PackageName::new("conmon").ok()).collect()
    }

    /// A signed repository of the role's packages and of what they need, served over HTTP; the suite's name.
    pub(crate) fn repository(&self, extra: &Path) -> Result<(Server, SuiteName)> {
        let system = &self.system;
        let mut offers = self.packages.clone();
        for package in system.lock.packages.values().filter(|p| p.wanted_by.contains("master")) {
            offers.push(offer(system, package.sha256, package.size)?);
        }
        let suite = Suite {
            name: SuiteName::new(format!("hale-{}", system.recipe.line.name))?,
            description: "Tests".to_owned(),
            epoch: system.epoch(),
            arches: BTreeSet::from([system.lock.arch]),
            uri: "http://10.0.2.2".to_owned(),
        };
        let key = SigningKey::generate([7; 32], "Tests <tests@example.org>", suite.epoch)?;
        put(extra.join("hale.asc"), key.certificate_armor()?);
        let to = system.folder.path().join("repository");
        publish(
            &system.store,
            &suite,
            RepositoryContents { offers, ..RepositoryContents::default() },
            &key,
            &to,
        )?;
        let server = Server::answering(move |request| match fs::read(to.join(decoded(&request.path))) {
            Ok(bytes) => Answer::file(request, &bytes),
            Err(_) => Answer::new(404, "not here"),
        });
        Ok((server, suite.name))
    }

    /// Every path of our packages as it stands in the image.
    pub(crate) fn listing(&self) -> Result<String> {
        let (store, tree) = (&self.system.store, self.system.store.tree(&self.shipped)?);
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
}

pub(crate) fn offer(system: &TestSystem, content: Digest, size: u64) -> Result<RepositoryPackage> {
    let control =
        UnpackedDeb::read_control("a package", system.store.open(&content)?, UnpackLimits::for_size(size))?;
    Ok(RepositoryPackage { control, content, size })
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
