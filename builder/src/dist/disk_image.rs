//! A disk of the store as a file for people.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::base::tree::Contents;
use crate::base::{Digest, Fault, Result};
use crate::host::atomic::{AtomicFile, folder_of, sync_dir};
use crate::plan::{Output, Plan};
use crate::store::Store;

/// Puts a disk of the store at `to`: another name of the same file where that can be had, else a copy. It
/// cannot be written to, for the store's sake; `flash` and `vm` read it only.
pub fn publish(store: &Store, disk: &Digest, to: &Path) -> Result<()> {
    let mut file = AtomicFile::new(to)?;
    let linked = PathBuf::from([file.temporary().as_os_str(), OsStr::new(".link")].join(OsStr::new("")));
    // Of a process that was killed; nobody else is here, for `file` is locked.
    let _ = std::fs::remove_file(&linked);
    if std::fs::hard_link(store.path_of(disk), &linked).is_ok() {
        let moved = std::fs::rename(&linked, to).map_err(|e| Fault::io("write", to, e));
        // Two names of one file: the rename did nothing (rename(2)), and the new name is not needed.
        let _ = std::fs::remove_file(&linked);
        return moved.and_then(|()| sync_dir(folder_of(to)));
    }
    let length = file.copy(&mut store.open(disk)?, &store.path_of(disk), 0)?;
    file.commit(length)
}

/// Keeps a disk from being collected as long as `to` exists, with the plan that made it.
pub fn keep(store: &Store, to: &Path, disk: Output, plan: &Plan) -> Result<()> {
    let plan = plan.to_json()?;
    let plan = Output::Blob { content: store.put_bytes(&plan)?, size: plan.len() as u64 };
    store.add_root(to, &[disk, plan])
}

/// Returns the plan that made the disk at `to`, if the store still has it.
pub fn last_plan(store: &Store, to: &Path) -> Result<Option<Plan>> {
    match store.root_of(to)?[..] {
        [_, Output::Blob { content, .. }] if store.contains(&content) => {
            Plan::from_json(&store.read(&content)?).map(Some)
        }
        _ => Ok(None),
    }
}

/// Moves an unreferenced disk out of the store, to a path where it may be written to. For disks of tests, which
/// nobody will want again.
pub fn take_out(store: &Store, disk: &Digest, to: &Path) -> Result<()> {
    publish(store, disk, to)?;
    let kept = store.path_of(disk);
    std::fs::remove_file(&kept).map_err(|e| Fault::io("remove", kept, e))?;
    std::fs::set_permissions(to, Permissions::from_mode(0o644)).map_err(|e| Fault::io("open up", to, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::FilesStep;

    #[test]
    fn the_plan_of_a_disk_is_kept_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let to = folder.path().join("hale-master.raw");
        assert_eq!(last_plan(&store, &to).unwrap(), None);
        let disk = Output::Blob { content: store.put_bytes(b"disk").unwrap(), size: 4 };
        // As earlier versions kept it.
        store.add_root(&to, &[disk]).unwrap();
        assert_eq!(last_plan(&store, &to).unwrap(), None);
        let mut plan = Plan::new();
        plan.add("files", FilesStep { tree: Digest::of("") }).unwrap();
        keep(&store, &to, disk, &plan).unwrap();
        assert_eq!(last_plan(&store, &to).unwrap(), Some(plan));
    }
}
