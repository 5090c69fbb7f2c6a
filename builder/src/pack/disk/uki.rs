//! A unified kernel image: systemd's UEFI stub with kernel, initramfs and command line as sections.
//!
//! ```text
//! DOS header … e_lfanew -> "PE\0\0"  COFF header (20)  optional header (PE32+)  section table (40 each)
//! SizeOfHeaders:           the stub's own sections, each FileAlignment-aligned
//! after them, by us:       .osrel .cmdline .uname .initrd .linux, at page-aligned addresses
//! ```
//! Layout: Microsoft's PE format specification; section names: systemd-stub(7).

use crate::base::{Fault, Result};

/// Addresses of our sections are page-aligned.
const PAGE: u32 = 4096;

/// Initialised data, readable (`IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ`).
const READABLE_DATA: u32 = 0x4000_0040;

/// What an image is made of.
#[derive(Clone, Copy, Debug)]
pub struct Uki<'a> {
    /// `linuxx64.efi.stub`.
    pub stub: &'a [u8],
    /// The text of `os-release`.
    pub os_release: &'a str,
    /// The kernel's command line.
    pub command_line: &'a str,
    /// The kernel's release: `6.1.0-40-amd64`.
    pub release: &'a str,
    /// The initramfs, compressed as the kernel can read it.
    pub initramfs: &'a [u8],
    /// The kernel, a bzImage.
    pub kernel: &'a [u8],
}

impl Uki<'_> {
    /// Links the image; the same input gives the same bytes.
    pub fn build(&self) -> Result<Vec<u8>> {
        let mut image = PeImage::read(self.stub)?;
        let sections: [(&[u8; 8], &[u8]); 5] = [
            (b".osrel\0\0", self.os_release.as_bytes()),
            (b".cmdline", self.command_line.as_bytes()),
            (b".uname\0\0", self.release.as_bytes()),
            (b".initrd\0", self.initramfs),
            (b".linux\0\0", self.kernel),
        ];
        for (name, content) in sections {
            image.append(name, content)?;
        }
        image.finish()
    }
}

/// A PE file being extended.
struct PeImage {
    bytes: Vec<u8>,
    /// Offset of the COFF header.
    coff: usize,
    /// Offset of the section table.
    table: usize,
    sections: u16,
    file_alignment: u32,
    /// The first address after the last section.
    next_address: u32,
}

impl PeImage {
    fn read(stub: &[u8]) -> Result<Self> {
        let coff = u32_at(stub, 0x3c)? as usize + 4;
        let magic_fits = stub.starts_with(b"MZ") && stub.get(coff - 4..coff) == Some(b"PE\0\0");
        let pe32_plus = u16_at(stub, coff + 20)? == 0x20b;
        if !magic_fits || !pe32_plus {
            return Err(malformed("a PE32+ file"));
        }
        let (sections, optional) = (u16_at(stub, coff + 2)?, coff + 20);
        let table = optional + usize::from(u16_at(stub, coff + 16)?);
        let file_alignment = u32_at(stub, optional + 36)?;
        if !file_alignment.is_power_of_two() || file_alignment > PAGE {
            return Err(malformed("a file alignment that is a power of two, at most 4096"));
        }
        let (mut end, mut next_address) = (0, 0);
        for index in 0..usize::from(sections) {
            let at = table + 40 * index;
            let memory_end = u64::from(u32_at(stub, at + 8)?) + u64::from(u32_at(stub, at + 12)?);
            let file_end = u64::from(u32_at(stub, at + 16)?) + u64::from(u32_at(stub, at + 20)?);
            next_address = next_address.max(memory_end);
            end = end.max(file_end);
        }
        // What lies behind the last section is a symbol table at best: nobody loads it.
        let body = usize::try_from(end).ok().and_then(|end| stub.get(..end));
        let bytes = body.ok_or_else(|| malformed("sections inside the file"))?.to_vec();
        let next_address = u32::try_from(next_address).map_err(|_| malformed("sections below 4 GiB"))?;
        let mut image = Self { bytes, coff, table, sections, file_alignment, next_address };
        image.set(coff + 8, 0)?;
        image.set(coff + 12, 0)?;
        Ok(image)
    }

    fn append(&mut self, name: &[u8; 8], content: &[u8]) -> Result<()> {
        let header = self.table + 40 * usize::from(self.sections);
        let room = u32_at(&self.bytes, self.coff + 20 + 60)? as usize;
        if header + 40 > room {
            return Err(malformed("room for five more sections in the header"));
        }
        let too_big = || Fault::user("a kernel image of 4 GiB or more");
        let length = u32::try_from(content.len()).map_err(|_| too_big())?;
        let offset = u32::try_from(self.bytes.len()).ok();
        let offset = offset.and_then(|at| at.checked_next_multiple_of(self.file_alignment));
        let offset = offset.ok_or_else(too_big)?;
        let padded = length.checked_next_multiple_of(self.file_alignment).ok_or_else(too_big)?;
        let address = self.next_address.checked_next_multiple_of(PAGE).ok_or_else(too_big)?;
        self.bytes.resize(offset as usize, 0);
        self.bytes.extend_from_slice(content);
        self.bytes.resize(offset as usize + padded as usize, 0);
        self.bytes[header..header + 8].copy_from_slice(name);
        // VirtualSize, VirtualAddress, SizeOfRawData, PointerToRawData, no relocations, no line numbers.
        for (index, field) in
            [length, address, padded, offset, 0, 0, 0, READABLE_DATA].into_iter().enumerate()
        {
            self.set(header + 8 + 4 * index, field)?;
        }
        self.sections += 1;
        self.next_address = address.checked_add(length).ok_or_else(too_big)?;
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<u8>> {
        self.bytes[self.coff + 2..self.coff + 4].copy_from_slice(&self.sections.to_le_bytes());
        let memory = self.next_address.checked_next_multiple_of(PAGE);
        let memory = memory.ok_or_else(|| Fault::user("a kernel image of 4 GiB or more"))?;
        self.set(self.coff + 20 + 56, memory)?;
        // The checksum is for Windows drivers; firmware does not look at it.
        self.set(self.coff + 20 + 64, 0)?;
        Ok(self.bytes)
    }

    fn set(&mut self, at: usize, value: u32) -> Result<()> {
        let field = self.bytes.get_mut(at..at + 4).ok_or_else(|| malformed("a whole header"))?;
        field.copy_from_slice(&value.to_le_bytes());
        Ok(())
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    Ok(u32::from_le_bytes(*field.ok_or_else(|| malformed("a whole header"))?))
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk::<2>());
    Ok(u16::from_le_bytes(*field.ok_or_else(|| malformed("a whole header"))?))
}

fn malformed(expected: &str) -> Fault {
    Fault::integrity("not a UEFI stub that we can extend").expected_found(expected, "another file")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest stub: headers of 0x400 bytes and one section.
    fn stub() -> Vec<u8> {
        let mut bytes = vec![0; 0x600];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, b"MZ");
        put(0x3c, &0x80_u32.to_le_bytes());
        put(0x80, b"PE\0\0");
        put(0x84 + 2, &1_u16.to_le_bytes());
        put(0x84 + 16, &240_u16.to_le_bytes());
        put(0x98, &0x20b_u16.to_le_bytes());
        put(0x98 + 36, &0x200_u32.to_le_bytes());
        put(0x98 + 60, &0x400_u32.to_le_bytes());
        put(0x188, b".text\0\0\0");
        for (index, field) in [0x180_u32, 0x1000, 0x200, 0x400].into_iter().enumerate() {
            put(0x190 + 4 * index, &field.to_le_bytes());
        }
        bytes
    }

    fn uki(stub: &[u8]) -> Result<Vec<u8>> {
        let (os_release, command_line, release) = ("ID=debian\n", "quiet", "6.1.0");
        Uki { stub, os_release, command_line, release, initramfs: b"initrd", kernel: &[1; 700] }.build()
    }

    #[test]
    fn sections_follow_one_another() {
        let image = uki(&stub()).unwrap();
        assert_eq!(u16_at(&image, 0x86).unwrap(), 6);
        let mut end = (0x1180, 0x600);
        for index in 1..6 {
            let at = 0x188 + 40 * index;
            let field = |offset: usize| u32_at(&image, at + offset).unwrap();
            assert!(field(12) >= end.0 && field(12) % PAGE == 0, "address of section {index}");
            assert!(field(20) >= end.1 && field(20) % 0x200 == 0, "offset of section {index}");
            end = (field(12) + field(8), field(20) + field(16));
        }
        assert_eq!(end.1 as usize, image.len());
        assert!(u32_at(&image, 0x98 + 56).unwrap() >= end.0);
        let kernel = u32_at(&image, 0x188 + 40 * 5 + 20).unwrap() as usize;
        assert_eq!(image[kernel..kernel + 700], [1; 700]);
    }

    #[test]
    fn what_is_no_stub_is_refused() {
        assert!(uki(b"").is_err());
        assert!(uki(&stub()[..0x100]).is_err(), "cut in the header");
        let mut crowded = stub();
        crowded[0x98 + 60..0x98 + 64].copy_from_slice(&0x200_u32.to_le_bytes());
        assert!(uki(&crowded).is_err(), "no room for headers");
        let mut wild = stub();
        wild[0x190 + 8..0x190 + 12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(uki(&wild).is_err(), "a section past the end");
    }
}
