//! Programs compiled from a source package, in a root that has what its build needs.

use std::collections::BTreeMap;
use std::fs::File;

use super::Builder;
use crate::base::tree::{Memory, Node, Tree, TreePath};
use crate::base::{Class, Digest, Fault, Result};
use crate::host::sandbox::{Bind, Now, Run};
use crate::recipe::source_build::Compilation;
use crate::rootfs::run::configure;

/// The folder in which the sandbox shows the source package's files.
const FILES: &str = "/run/source";
/// The folder in which the source is unpacked and compiled: the same one for everybody, because programs remember it.
const PLACE: &str = "build";

const MEND: &str = "see `command`, `needs` and `outputs` of its recipe in recipes/sources";

impl Builder<'_> {
    /// Compiles a source package: its outputs by their names, programs of mode 0755. `files` are the source
    /// package's, by name, among them one `.dsc`.
    pub fn compile(
        &self,
        root: &Digest,
        files: &BTreeMap<String, Digest>,
        compilation: &Compilation,
    ) -> Result<Digest> {
        let bind = |(name, file): (&String, &Digest)| Bind {
            from: self.store.path_of(file),
            to: format!("{FILES}/{name}").into(),
        };
        let runs = vec![self.unpacking(files)?, self.compiling(compilation)];
        let binds = files.iter().map(bind).collect();
        let tree = self.store.tree(root)?;
        let work = self.lay_out(&tree, &Memory::default())?;
        let changes = self.inside(&work, &tree, None, runs, binds).map_err(|fault| match fault.class() {
            Class::User => fault.help(MEND),
            _ => fault,
        })?;
        let batch = self.store.batch()?;
        let mut tree = Tree::new();
        for output in &compilation.outputs {
            let path = format!("{PLACE}/{output}");
            let made =
                changes.iter().any(|change| change.path == path && matches!(change.now, Now::File { .. }));
            if !made {
                return Err(Fault::user(format!("the build made no {output}")).help(MEND));
            }
            let path = work.path().join("upper").join(path);
            let file = File::open(&path).map_err(|e| Fault::io("open", &path, e))?;
            let (content, size) = batch.put(file)?;
            tree.insert(TreePath::new(output.file_name())?, Node::file(content, size, 0o755))?;
        }
        drop(work);
        batch.commit()?;
        self.store.put_tree(&tree)
    }

    /// dpkg-source(1) need not check anything: every file is what the signed index says.
    fn unpacking(&self, files: &BTreeMap<String, Digest>) -> Result<Run> {
        let description = files.keys().find(|name| name.ends_with(".dsc"));
        let description = description.ok_or_else(|| Fault::bug("a source package without a .dsc"))?;
        let description = format!("{FILES}/{description}");
        let place = format!("/{PLACE}");
        let command = ["/usr/bin/dpkg-source", "--no-check", "--extract", &description, &place];
        Ok(Run {
            what: "unpacking the source".to_owned(),
            command: command.map(str::to_owned).to_vec(),
            environment: configure::environment(self.epoch),
            limit: self.limits.dpkg,
        })
    }

    fn compiling(&self, compilation: &Compilation) -> Run {
        let shell = ["/bin/sh", "-ec", "cd \"$0\" && exec \"$@\"", &format!("/{PLACE}")].map(str::to_owned);
        let mut environment = configure::environment(self.epoch);
        // Not in memory: a linker's temporary files are large.
        environment.push(("TMPDIR".to_owned(), "/var/tmp".to_owned()));
        environment.extend(compilation.environment.clone());
        Run {
            what: "compiling".to_owned(),
            command: shell.into_iter().chain(compilation.command.iter().cloned()).collect(),
            environment,
            limit: self.limits.compile,
        }
    }
}
