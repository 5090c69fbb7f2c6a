//! dpkg's database, written as data: every package unpacked, none configured (dpkg(1), FILES).
//!
//! ```text
//! var/lib/dpkg/status              a paragraph for each package
//! var/lib/dpkg/info/<stem>.list    the paths it owns, as it was packed
//! var/lib/dpkg/info/<stem>.*       its control files
//! var/lib/dpkg/triggers/File       path -> package that wants to know of changes there
//! var/lib/dpkg/triggers/<name>     packages that wait for a named trigger
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Read;

use md5::{Digest as _, Md5};

use super::merge::{Merged, merged};
use super::package::UnpackedPackage;
use crate::base::tree::{Contents, Kind, Memory, Node, Tree, TreePath};
use crate::base::{Fault, Result};
use crate::formats::debian::control::Paragraph;

const FOLDER: &str = "var/lib/dpkg";

/// Writes the database of `packages` into the tree; new files' bytes go to `new`.
pub(super) fn write(
    packages: &[UnpackedPackage],
    root: &mut Merged,
    contents: &dyn Contents,
    new: &mut Memory,
) -> Result<()> {
    for folder in ["alternatives", "info", "parts", "triggers", "updates"] {
        let path = TreePath::new(format!("{FOLDER}/{folder}"))?;
        if root.tree.get(path.as_str()).is_none() {
            root.tree.insert(path, Node::dir(0o755))?;
        }
    }
    let mut files: BTreeMap<String, Node> = BTreeMap::new();
    let (mut status, mut triggers) = (String::new(), Triggers::default());
    for (index, package) in packages.iter().enumerate() {
        let stem = package.stem()?;
        let lost = root.lost.get(&index).map(Vec::as_slice).unwrap_or_default();
        files.insert(format!("info/{stem}.list"), new.file(list(&package.data, lost), 0o644));
        for (member, node) in &package.members {
            let mode = if node.mode & 0o111 != 0 { 0o755 } else { 0o644 };
            files.insert(format!("info/{stem}.{member}"), Node { mode, ..node.clone() });
        }
        triggers.read(package, contents)?;
        let conffiles = conffiles(package, &root.tree, contents)?;
        let paragraph = paragraph(&package.control, conffiles).map_err(|f| f.context(&package.name))?;
        let _ = writeln!(status, "{paragraph}");
    }
    files.insert("status".to_owned(), new.file(status, 0o644));
    files.insert("info/format".to_owned(), new.file("1\n", 0o644));
    for empty in ["available", "diversions", "statoverride", "triggers/Unincorp"] {
        files.insert(empty.to_owned(), new.file("", 0o644));
    }
    for (name, text) in triggers.files() {
        files.insert(format!("triggers/{name}"), new.file(text, 0o644));
    }
    files
        .into_iter()
        .try_for_each(|(name, node)| root.tree.insert(TreePath::new(format!("{FOLDER}/{name}"))?, node))
}

/// The paths that a package owns, the root first.
fn list(data: &Tree, lost: &[TreePath]) -> String {
    let mut text = String::from("/.\n");
    for (path, _) in data.iter().filter(|(path, _)| !lost.contains(path)) {
        let _ = writeln!(text, "/{path}");
    }
    text
}

/// The control file's fields, with dpkg's own among them.
fn paragraph(control: &Paragraph, conffiles: String) -> Result<Paragraph> {
    let mut paragraph = Paragraph::new();
    for field in control.fields() {
        paragraph.set(&field.name, field.value.clone())?;
        if field.name.eq_ignore_ascii_case("Package") {
            paragraph.set("Status", "install ok unpacked")?;
        }
    }
    paragraph.set("Conffiles", conffiles)?;
    Ok(paragraph)
}

/// The field `Conffiles`: each with the MD5 sum of what the package ships.
fn conffiles(package: &UnpackedPackage, root: &Tree, contents: &dyn Contents) -> Result<String> {
    let mut field = String::new();
    for path in package.conffiles(contents)? {
        let Some(Kind::File { content, .. }) = root.get(merged(&path)?.as_str()).map(|node| &node.kind)
        else {
            return Err(Fault::integrity(format!("{} names no file as its conffile: {path}", package.name)));
        };
        let _ = write!(field, "\n/{path} {}", md5(&mut *contents.open(content)?)?);
    }
    Ok(field)
}

fn md5(reader: &mut dyn Read) -> Result<String> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map_err(|e| Fault::machine("cannot read a conffile").cause(e))?;
    Ok(Md5::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Packages by the trigger that they wait for (deb-triggers(5)).
#[derive(Default)]
struct Triggers(BTreeMap<String, BTreeSet<String>>);

impl Triggers {
    fn read(&mut self, package: &UnpackedPackage, contents: &dyn Contents) -> Result<()> {
        let text = package.member("triggers", contents)?.unwrap_or_default();
        let stem = package.stem()?;
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let waiter = match words.next() {
                Some("interest" | "interest-await") => stem.clone(),
                Some("interest-noawait") => format!("{stem}/noawait"),
                _ => continue,
            };
            if let Some(trigger) = words.next() {
                self.0.entry(trigger.to_owned()).or_default().insert(waiter);
            }
        }
        Ok(())
    }

    /// dpkg keeps the paths in one file and each name in a file of its own.
    fn files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::from([("File".to_owned(), String::new())]);
        for (trigger, waiters) in &self.0 {
            let (file, prefix) = match trigger.starts_with('/') {
                true => ("File", format!("{trigger} ")),
                false => (trigger.as_str(), String::new()),
            };
            let text = files.entry(file.to_owned()).or_default();
            for waiter in waiters {
                let _ = writeln!(text, "{prefix}{waiter}");
            }
        }
        files
    }
}
