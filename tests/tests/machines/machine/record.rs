//! The machinery of these tests itself, tried on a guest of a few instructions.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use builder::machine::vm::{Drive, Firmware};
use tests::powercut::Record;
use tests::vm::{Guest, Host};

/// Writes its own sector to sector 8 of the disk by the BIOS, says OK on the serial port, and halts.
const GUEST: [u8; 30] = [
    0x31, 0xc0, 0x8e, 0xc0, // xor ax, ax; mov es, ax
    0xb8, 0x01, 0x03, 0xbb, 0x00, 0x7c, // mov ax, 0x0301; mov bx, 0x7c00: write one sector from here
    0xb9, 0x09, 0x00, 0xba, 0x80, 0x00, // mov cx, 9; mov dx, 0x80: the ninth of the first disk
    0xcd, 0x13, // int 0x13
    0xba, 0xf8, 0x03, 0xb0, b'O', 0xee, 0xb0, b'K', 0xee, // mov dx, 0x3f8; mov al, …; out dx, al
    0xf4, 0xeb, 0xfd, // hlt; jmp to it
];

fn disk(folder: &Path) -> PathBuf {
    let mut bytes = vec![0; 1 << 20];
    bytes[..GUEST.len()].copy_from_slice(&GUEST);
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    let path = folder.join("disk");
    fs::write(&path, bytes).unwrap();
    path
}

/// What a guest writes is forgotten behind a snapshot, and stands in a record.
pub(crate) fn is_kept(host: &Host) {
    let folder = tempfile::tempdir().unwrap();
    let (path, log) = (disk(folder.path()), folder.path().join("log"));
    let before = fs::read(&path).unwrap();
    let mut guest = host.boot("snapshot", &Guest::of(&path, Firmware::Bios), Duration::from_secs(10));
    guest.wait_for("OK");
    guest.kill();
    assert!(fs::read(&path).unwrap() == before, "a snapshot leaves the image clean");

    fs::write(&log, "").unwrap();
    let original = folder.path().join("original");
    fs::copy(&path, &original).unwrap();
    let disks = vec![Drive::Recorded { disk: path.clone(), log: log.clone() }];
    let recorded = Guest { disks, ..Guest::of(&path, Firmware::Bios) };
    let mut guest = host.boot("recorded", &recorded, Duration::from_secs(10));
    guest.wait_for("OK");
    guest.kill();
    let after = folder.path().join("after");
    Record::read(&log).cut(&original, &after, 0, |_| true);
    let (written, replayed) = (fs::read(&path).unwrap(), fs::read(&after).unwrap());
    assert!(written != before && written == replayed, "the record holds what the guest wrote");
    assert_eq!(replayed[8 * 512..9 * 512], before[..512]);
}
