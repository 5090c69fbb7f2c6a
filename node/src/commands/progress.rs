//! Progress of a bootstrap: lines on the console, and JSON lines to a virtio port if there is one.

use crate::bootstrap::journal::{Entry, Event};
use crate::doctor::report::BootReport;
use crate::host::Host;
use crate::host::virtio_port::VirtioPort;
use crate::text::terminal::plain;

/// The virtio-serial port by the name that its host gave it; any other, such as a guest agent's, is not ours.
const PORT: &str = "/dev/virtio-ports/org.hale.progress";

/// Reports progress to the console, and to a virtio port if there is one.
#[derive(Debug)]
pub struct ProgressReporter {
    port: Option<VirtioPort>,
}

impl ProgressReporter {
    /// Opens the port, if there is one.
    pub fn open(host: &dyn Host) -> Self {
        Self { port: VirtioPort::open(host, PORT) }
    }

    /// Returns whether there is a port.
    pub fn has_port(&self) -> bool {
        self.port.is_some()
    }

    /// Reports a new entry of the journal.
    pub fn report(&mut self, entry: &Entry) {
        eprintln!("{}", line(entry));
        if let (Some(port), Ok(json)) = (&mut self.port, serde_json::to_string(entry)) {
            port.try_put(&(json + "\n"));
        }
    }

    /// Sends the report of the boot to the port.
    pub fn send_boot_report(&mut self, host: &dyn Host, report: &BootReport) {
        if let (Some(port), Ok(json)) = (&mut self.port, serde_json::to_string(report)) {
            port.put(host, &(json + "\n"));
        }
    }
}

/// Formats an entry for people: always one line.
pub fn line(entry: &Entry) -> String {
    plain(&match &entry.event {
        Event::Begun => format!("hale: {} ...", entry.phase),
        Event::Polling(why) => format!("hale: {} goes on: {why}", entry.phase),
        Event::Done => format!("hale: {} done", entry.phase),
        Event::Failed(why) => format!("hale: {} failed: {why}", entry.phase),
        Event::Waiting(why) => format!("hale: {} waits: {why}", entry.phase),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::fake::FakeHost;

    #[test]
    fn a_port_gets_json_lines() {
        let host = FakeHost::new();
        let agent = "/dev/virtio-ports/org.a.guest-agent";
        [PORT, agent].iter().for_each(|port| host.make(port, ""));
        let entry = Entry { at: 7, phase: "dns".into(), event: Event::Failed("no \"x\"\n".into()) };
        ProgressReporter::open(&host).report(&entry);
        let text = std::fs::read_to_string(host.path(PORT)).unwrap();
        assert_eq!(serde_json::from_str::<Entry>(text.strip_suffix('\n').unwrap()).unwrap(), entry);
        let report =
            BootReport { uptime: 9, userspace: 1, finished: 0, units: Vec::new(), findings: Vec::new() };
        host.make(PORT, "");
        ProgressReporter::open(&host).send_boot_report(&host, &report);
        let text = std::fs::read_to_string(host.path(PORT)).unwrap();
        assert_eq!(serde_json::from_str::<BootReport>(text.strip_suffix('\n').unwrap()).unwrap(), report);
        assert_eq!(std::fs::read_to_string(host.path(agent)).unwrap(), "");
        let forged = Entry { event: Event::Failed("x\u{1b}[1A\nhale: dns done".into()), ..entry.clone() };
        assert_eq!(line(&forged), "hale: dns failed: x\\u{1b}[1A\\nhale: dns done");
        let silent = &mut ProgressReporter::open(&FakeHost::new());
        assert!(!silent.has_port());
        silent.report(&entry);
    }
}
