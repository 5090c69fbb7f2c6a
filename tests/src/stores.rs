//! Stores that the tests of one program use beside each other's processes.

use std::path::Path;
use std::time::Duration;

use builder::store::{Maintenance, Store};

/// Opens a store for gc and verify that nobody uses. A process that another test is just starting has this one's
/// descriptors, locked ones too, until it has become another program.
pub fn alone(root: &Path) -> Maintenance {
    let mut tries = 0..150;
    loop {
        match Store::open_exclusive(root) {
            Err(_) if tries.next().is_some() => std::thread::sleep(Duration::from_millis(10)),
            opened => return opened.expect("a store that nobody uses"),
        }
    }
}
