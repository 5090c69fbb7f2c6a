//! The report of a first boot: heard on the machine's port, written as a page that needs nothing but a browser.

mod boot;
mod chart;
mod composition;
mod page;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use builder::base::{Fault, Result};
use builder::build::planner::BuildTarget;
use builder::build::planner::system;
use builder::host::atomic::write_whole;
use builder::plan::Output;
use builder::store::Store;

use boot::{FirstBoot, Heard};
use composition::Composition;
use page::Page;

/// The port that `hale` tells its progress to.
pub(crate) const PORT: &str = "org.hale.progress";

/// Takes down what a machine says on its port, and when.
pub(crate) struct Listener {
    power_on: Instant,
    port: PathBuf,
    taken: u64,
    begun: Vec<u8>,
    heard: Vec<Heard>,
}

impl Listener {
    /// Listens to what QEMU writes to `port`, of a machine whose power comes on now.
    pub(crate) fn new(port: PathBuf) -> Self {
        Self { power_on: Instant::now(), port, taken: 0, begun: Vec::new(), heard: Vec::new() }
    }

    /// Reads on; whether there was a whole line more.
    pub(crate) fn hear(&mut self) -> Result<bool> {
        let at = self.power_on.elapsed().as_secs_f64();
        let failed = |e| Fault::io("read", &self.port, e);
        let mut file = match File::open(&self.port) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            file => file.map_err(failed)?,
        };
        file.seek(SeekFrom::Start(self.taken)).map_err(failed)?;
        self.taken += file.read_to_end(&mut self.begun).map_err(failed)? as u64;
        let lines = self.heard.len();
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.begun.drain(..=end).take(end).collect();
            self.heard.push(Heard { at, text: String::from_utf8_lossy(&line).into_owned() });
        }
        Ok(self.heard.len() > lines)
    }

    /// Returns whether the machine has said all that it says.
    pub(crate) fn is_told(&self) -> bool {
        FirstBoot::of(&self.heard).report.is_some()
    }
}

/// What of a report is known before the machine starts.
pub(crate) struct Draft {
    /// Where the page goes.
    pub(crate) to: PathBuf,
    target: BuildTarget,
    image: PathBuf,
    machine: String,
    composition: std::result::Result<Composition, String>,
}

impl Draft {
    /// Looks into the image's root as the store has it. `machine` says what it runs on.
    pub(crate) fn new(
        to: &Path,
        target: BuildTarget,
        image: PathBuf,
        machine: String,
        store: &Store,
    ) -> Result<Self> {
        let to = std::path::absolute(to).map_err(|e| Fault::io("find", to, e))?;
        let composition = composition(&target, &image, store).map_err(|fault| fault.to_string());
        Ok(Self { to, target, image, machine, composition })
    }

    /// Writes the page, whole or not at all.
    pub(crate) fn write(&self, listener: &Listener) -> Result<()> {
        let length = std::fs::metadata(&self.image).map_err(|e| Fault::io("look at", &self.image, e))?.len();
        let page = Page {
            subject: format!("{} of line {}", self.target.role, self.target.line),
            image: (self.image.display().to_string(), length),
            machine: self.machine.clone(),
            boot: FirstBoot::of(&listener.heard),
            composition: self.composition.clone(),
        };
        write_whole(&self.to, 0o644, |file| file.write_all(page.html().as_bytes()))
    }
}

/// What the image at `path` holds, if it is the one that this checkout makes.
fn composition(target: &BuildTarget, path: &Path, store: &Store) -> Result<Composition> {
    let planned = system::plan(target, store)?;
    let same = match store.output(&planned.disk)? {
        Some(Output::Blob { content, .. }) => {
            is_name_of(path, &store.path_of(&content)) || store.is_copy(path, &content)?
        }
        _ => false,
    };
    match store.output(&planned.root)? {
        Some(Output::Tree { tree }) if same => Composition::of(&store.tree(&tree)?, store),
        _ => Err(Fault::user(format!("{} is not what this checkout makes", path.display()))
            .help(format!("cargo xtask image {} --line {}", target.role, target.line))),
    }
}

/// Whether two paths are names of one file.
fn is_name_of(path: &Path, of: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let file = |path: &Path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    file(path).is_some_and(|found| file(of) == Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_heard_when_they_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let port = folder.path().join("port");
        let mut listener = Listener::new(port.clone());
        let write = |text: &str| {
            let mut file = File::options().create(true).append(true).open(&port).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        assert!(!listener.hear().unwrap(), "QEMU has not made the file yet");
        for (text, more, heard) in [("a\nb", true, 1), ("", false, 1), ("c", false, 1), ("\n\nd\n", true, 4)]
        {
            write(text);
            assert_eq!((listener.hear().unwrap(), listener.heard.len()), (more, heard), "{text:?}");
        }
        let texts: Vec<&str> = listener.heard.iter().map(|heard| heard.text.as_str()).collect();
        assert_eq!(texts, ["a", "bc", "", "d"]);
        assert!(listener.heard.is_sorted_by(|a, b| a.at <= b.at));
    }
}
