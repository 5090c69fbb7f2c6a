//! The BIOS's way in: GRUB's first sector in the MBR, GRUB's core in a partition of its own.
//!
//! ```text
//! boot.img   0x5c  u64  sector of the core           0x66  a jump that skips mending a wrong drive number
//! core.img   0x1f4 u64  sector of what follows the core's first   0x1fc u16 sectors   0x1fe u16 segment
//! ```
//! What `grub-bios-setup` writes into the two, without a device to ask. Offsets: GRUB's
//! `include/grub/i386/pc/boot.h`. The core carries its commands, so there is no file to find.

use super::gpt::{BOOT_CODE, SECTOR};
use super::initramfs::Kernel;
use crate::base::{Fault, Result};

/// Modules that `grub-mkimage` puts into the core, besides what they need themselves.
pub const MODULES: [&str; 4] = ["biosdisk", "part_gpt", "ext2", "linux"];

const CORE_SECTOR: usize = 0x5c;
const DRIVE_CHECK: usize = 0x66;
const FOLLOWING: usize = 0x1f4;
/// 0x8200 in real mode: behind the core's first sector, which lies at 0x8000.
const SEGMENT: u16 = 0x820;
/// The core must fit below the BIOS's own memory.
const MOST_SECTORS: u64 = 0x78000 / SECTOR;

/// GRUB's files: `boot.img` as Debian ships it, and the core that `grub-mkimage` made.
#[derive(Clone, Copy, Debug)]
pub struct Grub<'a> {
    /// 512 bytes.
    pub boot: &'a [u8],
    /// A core for `i386-pc` with [`MODULES`] and [`commands`].
    pub core: &'a [u8],
}

/// Returns the core's own commands. The root is the partition after the EFI system partition.
pub fn commands(kernel: &Kernel, command_line: &str) -> String {
    format!("linux /{} {command_line}\ninitrd /{}\nboot\n", kernel.image, kernel.initramfs())
}

/// Places the MBR's boot code and the core, both knowing that the core lies from sector `start` on.
pub fn place(grub: &Grub<'_>, start: u64) -> Result<(Vec<u8>, Vec<u8>)> {
    let refuse = |found: usize| {
        Fault::integrity("not GRUB's boot.img and core.img")
            .expected_found(format!("512 bytes and at most {MOST_SECTORS} sectors"), format!("{found} bytes"))
    };
    let sectors = (grub.core.len() as u64).div_ceil(SECTOR);
    if grub.boot.len() as u64 != SECTOR || !grub.boot.ends_with(&[0x55, 0xaa]) {
        return Err(refuse(grub.boot.len()));
    }
    if !(2..=MOST_SECTORS).contains(&sectors) {
        return Err(refuse(grub.core.len()));
    }
    let mut boot = grub.boot[..BOOT_CODE].to_vec();
    boot[CORE_SECTOR..CORE_SECTOR + 8].copy_from_slice(&start.to_le_bytes());
    // Two no-ops: some BIOSes say drive 0 when they boot from a disk; GRUB then takes 0x80.
    boot[DRIVE_CHECK..DRIVE_CHECK + 2].copy_from_slice(&[0x90, 0x90]);
    let mut core = grub.core.to_vec();
    core[FOLLOWING..FOLLOWING + 8].copy_from_slice(&(start + 1).to_le_bytes());
    core[FOLLOWING + 8..FOLLOWING + 10].copy_from_slice(&(sectors as u16 - 1).to_le_bytes());
    core[FOLLOWING + 10..FOLLOWING + 12].copy_from_slice(&SEGMENT.to_le_bytes());
    Ok((boot, core))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_find_each_other() {
        let mut boot = vec![1; 512];
        boot[510..].copy_from_slice(&[0x55, 0xaa]);
        let (mbr, core) = place(&Grub { boot: &boot, core: &[2; 1025] }, 2048).unwrap();
        assert_eq!((mbr.len(), &mbr[0x5c..0x64]), (440, &2048_u64.to_le_bytes()[..]));
        assert_eq!(core[0x1f4..0x200], [1, 8, 0, 0, 0, 0, 0, 0, 2, 0, 0x20, 0x08]);
        assert!(place(&Grub { boot: &boot[1..], core: &[2; 1025] }, 2048).is_err());
        assert!(place(&Grub { boot: &boot, core: &[2; 512] }, 2048).is_err(), "a core of one sector");
        assert!(place(&Grub { boot: &boot, core: &[2; 0x78001] }, 2048).is_err(), "too big");
    }
}
