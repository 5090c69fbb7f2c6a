//! What is told while it happens: the console by the unit, and JSON lines to a virtio port if there is one.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use crate::journal::{Entry, Event};
use crate::world::World;

/// Where virtio-serial ports are.
const PORTS: &str = "/dev/virtio-ports";

/// Tells the console and a port.
#[derive(Debug)]
pub struct Progress {
    port: Option<File>,
}

impl Progress {
    /// Takes the first port by name. A machine without one is the normal case.
    pub fn open(world: &dyn World) -> Self {
        let entries = std::fs::read_dir(world.path(PORTS)).into_iter().flatten().flatten();
        let first = entries.map(|entry| entry.path()).min();
        // A port that nobody reads must not stop the node.
        let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
        let open = |path| OpenOptions::new().write(true).custom_flags(flags).open(path).ok();
        Self { port: first.and_then(open) }
    }

    /// Tells of an entry.
    pub fn tell(&mut self, entry: &Entry) {
        eprintln!("{}", line(entry));
        if let (Some(port), Ok(json)) = (&mut self.port, serde_json::to_string(entry)) {
            // Nobody may be listening.
            let _ = port.write_all(format!("{json}\n").as_bytes());
        }
    }
}

/// An entry for people.
pub fn line(entry: &Entry) -> String {
    match &entry.event {
        Event::Begun => format!("hale: {} ...", entry.phase),
        Event::Done => format!("hale: {} done", entry.phase),
        Event::Failed(why) => format!("hale: {} failed: {why}", entry.phase),
        Event::Waiting(why) => format!("hale: {} waits: {why}", entry.phase),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    #[test]
    fn a_port_gets_json_lines() {
        let world = Fake::new();
        world.make("/dev/virtio-ports/org.hale.progress", "");
        let entry = Entry { at: 7, phase: "dns".into(), event: Event::Failed("no \"x\"\n".into()) };
        Progress::open(&world).tell(&entry);
        let text = std::fs::read_to_string(world.path("/dev/virtio-ports/org.hale.progress")).unwrap();
        assert_eq!(serde_json::from_str::<Entry>(text.strip_suffix('\n').unwrap()).unwrap(), entry);
        Progress::open(&Fake::new()).tell(&entry);
    }
}
