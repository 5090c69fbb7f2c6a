//! Virtual machines: an image in QEMU, as the machine itself would boot it.
//!
//! Nothing of the machine's network or disks is touched: images are opened with a snapshot over them,
//! guests speak to each other over unix sockets, and to the outside through QEMU's own user network.

mod accelerator;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use crate::base::text::one_of;
use crate::base::{Digest, Fault, Result};
use crate::rootfs::tools::Tools;

pub use accelerator::Accelerator;
use accelerator::QEMU;

/// The PCI slot of the first card, if that is a cable: a guest calls it `enp0s5` by that, be there one disk or three.
const SLOT: usize = 5;
const OVMF: &str = "usr/share/OVMF/OVMF_CODE_4M.fd";
const OVMF_VARIABLES: &str = "usr/share/OVMF/OVMF_VARS_4M.fd";

/// The firmware that the machine starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// UEFI (OVMF).
    Uefi,
    /// BIOS (SeaBIOS).
    Bios,
}

/// The bus of a machine's first disk; the others are virtio's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bus {
    /// A hypervisor's own.
    #[default]
    Virtio,
    /// NVM Express.
    Nvme,
    /// SATA, behind AHCI.
    Sata,
    /// USB 3, as a stick is.
    Usb,
}

impl Bus {
    /// All of them, by their names.
    pub const NAMES: [(&'static str, Self); 4] =
        [("virtio", Self::Virtio), ("nvme", Self::Nvme), ("sata", Self::Sata), ("usb", Self::Usb)];

    /// QEMU's arguments for a disk that it knows by `id`.
    fn attach(self, command: &mut Command, id: &str, bootindex: usize) {
        let device = match self {
            // By its serial number it is found, whatever its place: /dev/disk/by-id/virtio-disk1.
            Self::Virtio => format!("virtio-blk-pci,serial={id}"),
            Self::Nvme => format!("nvme,serial={id}"),
            Self::Sata => "ide-hd,bus=ide.0".to_owned(),
            Self::Usb => {
                command.args(["-device", "qemu-xhci"]);
                "usb-storage".to_owned()
            }
        };
        command.args(["-device", &format!("{device},drive={id},bootindex={bootindex}")]);
    }
}

impl FromStr for Bus {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        let found = Self::NAMES.iter().find(|(name, _)| *name == text).map(|(_, bus)| *bus);
        let names = Self::NAMES.map(|(name, _)| name);
        found.ok_or_else(|| {
            Fault::user("not a bus of disks").expected_found(one_of(&names), format!("{text:?}"))
        })
    }
}

/// A disk of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drive {
    /// Opened under a snapshot: what the guest writes is lost when it ends.
    Snapshot(PathBuf),
    /// The guest's own: what it writes stays.
    Kept(PathBuf),
    /// The same as qcow2, over an image that stays as it is and may be smaller.
    Overlay(PathBuf),
    /// The guest's own, and every write and flush recorded beside it (QEMU's `blklogwrites`).
    Recorded {
        /// The disk.
        disk: PathBuf,
        /// The record.
        log: PathBuf,
    },
}

/// A port of the host that leads to one of the guest's: `2222:22`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// On this machine, on 127.0.0.1 only.
    pub host: u16,
    /// On the guest.
    pub guest: u16,
}

impl FromStr for Forward {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        let ports = text
            .split_once(':')
            .and_then(|(host, guest)| Some(Self { host: host.parse().ok()?, guest: guest.parse().ok()? }));
        ports.filter(|ports| ports.host != 0 && ports.guest != 0).ok_or_else(|| {
            Fault::user("not a forwarded port")
                .expected_found("HOST:GUEST, such as 2222:22", format!("{text:?}"))
        })
    }
}

/// A network card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Card {
    /// QEMU's own network: the guest reaches out, and only forwarded ports reach in.
    User(Vec<Forward>),
    /// One end of a cable to another guest: a unix socket for datagrams at each end, so that either guest may
    /// start first, end, and start again.
    Cable {
        /// This end's socket.
        own: PathBuf,
        /// The other end's.
        other: PathBuf,
    },
}

/// Both ends of a cable: `OWN:OTHER`, the paths of two sockets.
impl FromStr for Card {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        // sun_path of unix(7), with its zero.
        let fits = |end: &str| {
            !end.is_empty() && std::path::absolute(end).is_ok_and(|path| path.as_os_str().len() < 108)
        };
        match text.split_once(':') {
            Some((own, other)) if fits(own) && fits(other) && own != other => {
                let full = |end| std::path::absolute(end).map_err(|e| Fault::io("find", end, e));
                Ok(Self::Cable { own: full(own)?, other: full(other)? })
            }
            _ => Err(Fault::user("not the ends of a cable")
                .expected_found("OWN:OTHER, two short paths such as dist/a:dist/b", format!("{text:?}"))),
        }
    }
}

/// The destination of the serial console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Console {
    /// The terminal; Ctrl-A X ends the machine.
    Terminal,
    /// A file.
    File(PathBuf),
}

/// A machine to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The firmware that it starts with.
    pub firmware: Firmware,
    /// Memory in MiB.
    pub memory: u32,
    /// Processors.
    pub processors: u32,
    /// Disks; it boots from the first.
    pub disks: Vec<Drive>,
    /// The bus of the first disk.
    pub bus: Bus,
    /// Network cards, in PCI order.
    pub cards: Vec<Card>,
    /// Its console.
    pub console: Console,
    /// Files that receive what the guest writes to `/dev/virtio-ports/NAME`.
    pub ports: Vec<(String, PathBuf)>,
}

impl Machine {
    /// Returns the command that runs it. `scratch` is a folder of this run: UEFI keeps its variables there.
    pub fn command(&self, tools: &Tools, accelerator: Accelerator, scratch: &Path) -> Result<Command> {
        let mut command = tools.command(QEMU)?;
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35"]);
        command.args(accelerator.arguments());
        command.args(["-m", &self.memory.to_string(), "-smp", &self.processors.to_string()]);
        command.args(["-device", "virtio-rng-pci"]);
        if self.firmware == Firmware::Uefi {
            uefi(&mut command, tools, scratch)?;
        }
        for (index, disk) in self.disks.iter().enumerate() {
            let id = attach_disk(&mut command, index, disk);
            let bus = if index == 0 { self.bus } else { Bus::Virtio };
            bus.attach(&mut command, &id, index);
        }
        for (index, card) in self.cards.iter().enumerate() {
            attach_card(&mut command, index, card);
        }
        match &self.console {
            Console::Terminal => command.args(["-serial", "mon:stdio"]),
            Console::File(path) => command.arg("-serial").arg(joined(&["file:"], path)),
        };
        if !self.ports.is_empty() {
            command.args(["-device", "virtio-serial-pci"]);
        }
        for (index, (name, path)) in self.ports.iter().enumerate() {
            command.arg("-chardev").arg(joined(&["file,id=port", &index.to_string(), ",path="], path));
            command.args(["-device", &format!("virtserialport,chardev=port{index},name={name}")]);
        }
        Ok(command)
    }
}

fn uefi(command: &mut Command, tools: &Tools, scratch: &Path) -> Result<()> {
    let (code, variables) = (tools.path(OVMF)?, scratch.join("uefi-variables"));
    let shipped = tools.path(OVMF_VARIABLES)?;
    let bytes = std::fs::read(&shipped).map_err(|e| Fault::io("read", &shipped, e))?;
    std::fs::write(&variables, bytes).map_err(|e| Fault::io("write", &variables, e))?;
    command.arg("-drive").arg(joined(&["if=pflash,format=raw,readonly=on,file="], &code));
    command.arg("-drive").arg(joined(&["if=pflash,format=raw,file="], &variables));
    Ok(())
}

/// Opens a disk, and gives the name that QEMU knows it by.
fn attach_disk(command: &mut Command, index: usize, disk: &Drive) -> String {
    let id = format!("disk{index}");
    match disk {
        Drive::Snapshot(path) | Drive::Kept(path) => {
            let snapshot = if matches!(disk, Drive::Snapshot(_)) { "on" } else { "off" };
            let head = format!("if=none,format=raw,id={id},snapshot={snapshot},file=");
            command.arg("-drive").arg(joined(&[&head], path));
        }
        Drive::Overlay(path) => {
            command.arg("-drive").arg(joined(&[&format!("if=none,format=qcow2,id={id},file=")], path));
        }
        Drive::Recorded { disk, log } => {
            let file = |name: &str, path| joined(&["driver=file,node-name=", name, ",filename="], path);
            command.arg("-blockdev").arg(file(&format!("{id}-file"), disk));
            command.arg("-blockdev").arg(file(&format!("{id}-log"), log));
            let record = format!("driver=blklogwrites,node-name={id},file={id}-file,log={id}-log");
            // The record's head is written with every entry, not only when the guest flushes.
            command.args(["-blockdev", &(record + ",log-super-update-interval=1")]);
        }
    }
    id
}

fn attach_card(command: &mut Command, index: usize, card: &Card) {
    let id = format!("card{index}");
    let end = match card {
        Card::User(forwards) => {
            let forward = |f: &Forward| format!(",hostfwd=tcp:127.0.0.1:{}-:{}", f.host, f.guest);
            OsString::from(format!("user,id={id}{}", forwards.iter().map(forward).collect::<String>()))
        }
        Card::Cable { own, other } => {
            let mut ends = joined(&["dgram,id=", &id, ",local.type=unix,local.path="], own);
            ends.push(joined(&[",remote.type=unix,remote.path="], other));
            ends
        }
    };
    command.arg("-netdev").arg(end);
    // Locally administered, the same in every run, and another one at each end of each cable.
    let digest = Digest::of(match card {
        Card::User(_) => format!("user {index}"),
        Card::Cable { own, .. } => format!("{:?}", own.file_name()),
    });
    let [a, b, c, d, ..] = digest.bytes();
    let mac = format!("52:54:{a:02x}:{b:02x}:{c:02x}:{d:02x}");
    let slot =
        if matches!(card, Card::Cable { .. }) { format!(",addr={:#x}", SLOT + index) } else { String::new() };
    command.args(["-device", &format!("virtio-net-pci,netdev={id},mac={mac},romfile={slot}")]);
}

/// Text and a path as one argument; QEMU wants commas doubled.
fn joined(head: &[&str], path: &Path) -> OsString {
    OsString::from(head.concat() + &path.to_string_lossy().replace(',', ",,"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Epoch;
    use crate::base::tree::{Node, Tree, TreePath};
    use crate::store::Store;

    fn machine(bus: Bus) -> Machine {
        Machine {
            bus,
            firmware: Firmware::Bios,
            memory: 1024,
            processors: 2,
            disks: vec![
                Drive::Snapshot("a,b.raw".into()),
                Drive::Overlay("o.qcow2".into()),
                Drive::Recorded { disk: "d".into(), log: "l".into() },
            ],
            cards: vec![
                Card::User(vec!["2222:22".parse().unwrap()]),
                Card::Cable { own: "a".into(), other: "b".into() },
            ],
            console: Console::File("console".into()),
            ports: vec![("org.hale.progress".into(), "results".into())],
        }
    }

    #[test]
    fn the_command_says_all_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let program = Node::file(store.put_bytes(b"").unwrap(), 0, 0o755);
        let mut tree = Tree::new();
        for path in [format!("usr/bin/{QEMU}"), "usr/lib/any/ld-linux-any.so.2".to_owned()] {
            tree.insert(TreePath::new(path).unwrap(), program.clone()).unwrap();
        }
        let epoch = Epoch::new(0).unwrap();
        let tools = Tools::open(&store, &store.put_tree(&tree).unwrap(), epoch).unwrap();
        let line = |bus| {
            let command = machine(bus).command(&tools, Accelerator::Tcg, Path::new("scratch")).unwrap();
            let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
            words.join(" ")
        };
        for (name, device) in [
            ("nvme", "-device nvme,serial=disk0,drive=disk0,bootindex=0"),
            ("sata", "-device ide-hd,bus=ide.0,drive=disk0,bootindex=0"),
            ("usb", "-device qemu-xhci -device usb-storage,drive=disk0,bootindex=0"),
        ] {
            let line = line(name.parse().unwrap());
            assert!(line.contains(device) && line.contains("virtio-blk-pci,serial=disk1,"), "{line}");
        }
        assert!("scsi".parse::<Bus>().unwrap_err().to_string().contains("`sata`"));
        let line = line(Bus::Virtio);
        for part in [
            "virtio-blk-pci,serial=disk0,drive=disk0,bootindex=0",
            "-accel tcg,thread=multi",
            "snapshot=on,file=a,,b.raw",
            "if=none,format=qcow2,id=disk1,file=o.qcow2",
            "driver=blklogwrites,node-name=disk2,file=disk2-file,log=disk2-log",
            "user,id=card0,hostfwd=tcp:127.0.0.1:2222-:22",
            "dgram,id=card1,local.type=unix,local.path=a,remote.type=unix,remote.path=b",
            "virtserialport,chardev=port0,name=org.hale.progress",
            "-serial file:console",
        ] {
            assert!(line.contains(part), "{part} in\n{line}");
        }
    }

    #[test]
    fn a_cable_has_two_ends() {
        let ends = |text: &str| match text.parse().unwrap() {
            Card::Cable { own, other } => [own, other],
            card => panic!("{card:?}"),
        };
        let [own, other] = ends("a:/x/b");
        assert!(own.is_absolute() && own.ends_with("a") && other == Path::new("/x/b"), "{own:?}");
        assert_eq!(ends("/x/b:a"), [other, own], "the same cable from its other end");
        for bad in ["", "a", ":", "a:", ":a", "a:a", &format!("a:{}", "long".repeat(40))] {
            assert!(bad.parse::<Card>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ports_are_numbers() {
        assert_eq!("8080:80".parse::<Forward>().unwrap(), Forward { host: 8080, guest: 80 });
        for bad in ["", "80", "0:22", "22:0", "a:b", "1:70000"] {
            assert!(bad.parse::<Forward>().is_err(), "{bad}");
        }
    }
}
