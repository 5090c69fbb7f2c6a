//! Copies of the project, to be built, edited and spoilt.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use builder::base::{Epoch, Result};
use builder::host::cargo::{self, Toolchain};
use builder::plan::{Output, ProgramStep, Step};
use builder::store::Store;

use crate::tools::{succeed, tool};

/// The project's own checkout.
pub fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}

/// Copies to `to` what git would commit.
pub fn copy(to: &Path) {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let list = succeed(tool("git", "git").args(list).current_dir(top()));
    let list = String::from_utf8(list).expect("file names are UTF-8");
    for name in list.lines() {
        let (from, target) = (top().join(name), to.join(name));
        let Ok(found) = from.symlink_metadata() else { continue };
        fs::create_dir_all(target.parent().expect("a folder")).expect("a folder can be made");
        if found.is_symlink() {
            let link = fs::read_link(&from).expect("a link");
            std::os::unix::fs::symlink(link, target).expect("a link can be made");
        } else {
            fs::copy(&from, target).expect("a file can be copied");
        }
    }
}

/// `hale` of the project's own checkout as a package, compiled and packed once a test program for each epoch.
static PROGRAMS: Mutex<BTreeMap<Epoch, Vec<u8>>> = Mutex::new(BTreeMap::new());

/// Puts `hale`, compiled from the project's own checkout, into a store as what the copy at `checkout` would
/// make for `epoch`: compiling it again would give the same bytes (`tests/tests/formats/program.rs`) and take a minute.
pub fn carry_program(checkout: &Path, epoch: Epoch, store: &Path) {
    let carry = || -> Result<()> {
        let sources = cargo::identity(checkout, &toolchain())?;
        assert_eq!(
            sources,
            cargo::identity(top(), &toolchain())?,
            "the copy's node/ is not the checkout's: clean it"
        );
        let mut programs = PROGRAMS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let deb = match programs.entry(epoch) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(cargo::build(top(), &toolchain(), epoch)?.deb),
        };
        let store = Store::open(store)?;
        let (content, size) = store.put(&deb[..])?;
        store.record(&Step::from(ProgramStep { sources, epoch }).id()?, &Output::Blob { content, size })
    };
    carry().unwrap_or_else(|fault| panic!("{fault}"));
}

/// Where the compiler is.
pub fn toolchain() -> Toolchain {
    Toolchain::new(|name| std::env::var_os(name))
}
