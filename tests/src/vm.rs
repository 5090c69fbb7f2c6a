//! Guests as tests: boot one, read the JSON lines that it writes, end it in time, keep its console.
//!
//! A guest says what it found on the virtio port `org.hale.trial`, a line a result:
//! `{"test": "the name", "ok": true, "detail": "…"}`, and `{"end": true}` when it is done.
//!
//! A guest that is asked reads names of checks on the port `org.hale.asked`, a line each, and answers each
//! with its result before it reads the next.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use builder::base::Epoch;
use builder::machine::vm::{Accelerator, Bus, Card, Console, Drive, Firmware, Machine};
use builder::rootfs::tools::Tools;
use serde_json::Value;
use tempfile::TempDir;

use crate::tools::bound;

/// The port that a guest writes its results to.
pub const PORT: &str = "org.hale.trial";

/// The port that a guest reads the names of checks from.
const ASKED: &str = "org.hale.asked";

/// The port that `hale` tells its progress to; only one program at a time may hold a port open.
const PROGRESS: &str = "org.hale.progress";

/// What guests run on: the programs, and how fast they are here.
#[derive(Clone, Debug)]
pub struct Host {
    tools: Tools,
    accelerator: Accelerator,
}

impl Host {
    /// These programs; KVM where it really works.
    pub fn with(tools: Tools) -> Self {
        let accelerator = Accelerator::probe(&tools).unwrap_or_else(|fault| panic!("{fault}"));
        Self { tools, accelerator }
    }

    /// Boots a guest called `name`. `limit` is how long it may take in all on a processor; emulation gets
    /// ten times as long.
    pub fn boot(&self, name: &str, guest: &Guest, limit: Duration) -> Running {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let (console, results) = (folder.path().join("console"), folder.path().join("results"));
        let machine = Machine {
            firmware: guest.firmware,
            memory: guest.memory,
            processors: 2,
            disks: guest.disks.clone(),
            bus: guest.bus,
            cards: guest.cards.clone(),
            console: Console::File(console.clone()),
            ports: vec![
                (PORT.to_owned(), results.clone()),
                (PROGRESS.to_owned(), folder.path().join("progress")),
            ],
        };
        let mut command = machine
            .command(&self.tools, self.accelerator, folder.path())
            .unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let socket = folder.path().join("asked");
        if guest.asked {
            let socket = socket.display();
            command.args(["-chardev", &format!("socket,id=asked,server=on,wait=off,path={socket}")]);
            command.args(["-device", &format!("virtserialport,chardev=asked,name={ASKED}")]);
        }
        if let Some(time) = guest.clock {
            command.args(["-rtc", &format!("base={}", time.rfc3339().trim_end_matches('Z'))]);
        }
        if guest.restarts {
            command.args(["-action", "reboot=reset"]);
        }
        let mut command = bound(&command);
        let complaints = fs::File::create(folder.path().join("qemu")).expect("a file for QEMU's words");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(complaints);
        let child = command.spawn().unwrap_or_else(|e| panic!("{name}: cannot run QEMU: {e}"));
        let patience = self.accelerator.patience(limit);
        let (name, end) = (name.to_owned(), Instant::now() + patience);
        let mut running = Running { name, child, folder, console, results, asked: None, patience, end };
        if guest.asked {
            running.asked = Some(running.connect(&socket));
        }
        running
    }
}

/// What a guest is.
#[derive(Clone, Debug)]
pub struct Guest {
    /// What it starts with.
    pub firmware: Firmware,
    /// Memory in MiB.
    pub memory: u32,
    /// Its disks.
    pub disks: Vec<Drive>,
    /// What the first is plugged into.
    pub bus: Bus,
    /// Its network cards.
    pub cards: Vec<Card>,
    /// Whether it waits to be asked; else it runs all of its checks in their order.
    pub asked: bool,
    /// The time when it is switched on, if not the true one.
    pub clock: Option<Epoch>,
    /// Whether it may start anew by itself, as after a repair of its root; else that ends it.
    pub restarts: bool,
}

impl Guest {
    /// One that boots an image under a snapshot, with no network.
    pub fn of(image: impl Into<PathBuf>, firmware: Firmware) -> Self {
        let disks = vec![Drive::Snapshot(image.into())];
        let (bus, cards) = (Bus::Virtio, Vec::new());
        Self { firmware, memory: 1024, disks, bus, cards, asked: false, clock: None, restarts: false }
    }

    /// The same with one more card.
    pub fn with_card(mut self, card: Card) -> Self {
        self.cards.push(card);
        self
    }
}

/// Cables of a segment for `guests` guests that never leaves QEMU: guest 0 has one end of each (it is the
/// segment's gateway and bridges them), each other guest has one.
pub fn segment(folder: &Path, guests: usize) -> Vec<Vec<Card>> {
    let end = |guest: usize, end: &str| folder.join(format!("cable{guest}-{end}"));
    let card = |guest, own, other| Card::Cable { own: end(guest, own), other: end(guest, other) };
    let gateway = (1..guests).map(|guest| card(guest, "gateway", "guest")).collect();
    std::iter::once(gateway).chain((1..guests).map(|guest| vec![card(guest, "guest", "gateway")])).collect()
}

/// One result of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What was tested.
    pub test: String,
    /// Whether it was so.
    pub ok: bool,
    /// What was found.
    pub detail: String,
}

/// A guest that runs. Ends with its value, and keeps its console if the test fails.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    folder: TempDir,
    console: PathBuf,
    results: PathBuf,
    asked: Option<UnixStream>,
    patience: Duration,
    end: Instant,
}

impl Running {
    /// Waits until the console shows `text`.
    pub fn wait_for(&mut self, text: &str) {
        loop {
            if self.console().contains(text) {
                return;
            }
            self.still_running(&format!("{text:?} on the console"));
            sleep(Duration::from_millis(100));
        }
    }

    /// Waits until the guest says that it is done, and gives its results.
    pub fn outcomes(&mut self) -> Vec<Outcome> {
        loop {
            let (outcomes, ended) = parse(&fs::read_to_string(&self.results).unwrap_or_default());
            if ended {
                return outcomes;
            }
            self.still_running("the end of its results");
            sleep(Duration::from_millis(100));
        }
    }

    /// Asks for one check; its limit of time begins anew.
    pub fn ask(&mut self, test: &str) {
        self.end = Instant::now() + self.patience;
        let asked = self.asked.as_mut().expect("a guest that is asked");
        writeln!(asked, "{test}").unwrap_or_else(|e| panic!("{}: cannot be asked: {e}", self.name));
    }

    /// Waits for one result, while the guest goes on.
    pub fn outcome(&mut self, test: &str) -> Outcome {
        loop {
            let (outcomes, ended) = parse(&fs::read_to_string(&self.results).unwrap_or_default());
            if let Some(found) = outcomes.into_iter().find(|outcome| outcome.test == test) {
                return found;
            }
            assert!(!ended, "{}: no result of {test}", self.name);
            self.still_running(test);
            sleep(Duration::from_millis(100));
        }
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) {
        while self.child.try_wait().expect("QEMU can be asked").is_none() {
            assert!(Instant::now() < self.end, "{}: does not end in time", self.name);
            sleep(Duration::from_millis(100));
        }
    }

    /// What `hale` has told of its bootstrap: a line of JSON an event.
    pub fn progress(&self) -> String {
        fs::read_to_string(self.folder.path().join("progress")).unwrap_or_default()
    }

    /// Takes its power away.
    pub fn kill(&mut self) {
        self.child.kill().expect("QEMU can be ended");
        self.child.wait().expect("QEMU has ended");
    }

    /// All that the console has shown.
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.console).unwrap_or_default()).into_owned()
    }

    /// Shows the console's end and keeps all of it.
    pub fn keep_console(&self) {
        let kept = std::env::temp_dir().join(format!("hale-{}-{}.console", self.name, self.child.id()));
        let text = self.console();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(30)..].join("\n");
        eprintln!("the end of {}'s console (all of it: {}):\n{tail}", self.name, kept.display());
        let _ = fs::write(kept, text);
    }

    /// QEMU makes the socket before the guest starts.
    fn connect(&mut self, socket: &Path) -> UnixStream {
        loop {
            if let Ok(stream) = UnixStream::connect(socket) {
                return stream;
            }
            self.still_running("socket");
            sleep(Duration::from_millis(100));
        }
    }

    fn still_running(&mut self, wanted: &str) {
        if let Some(status) = self.child.try_wait().expect("QEMU can be asked") {
            let said = fs::read_to_string(self.folder.path().join("qemu")).unwrap_or_default();
            panic!("{}: QEMU ended ({status}) before {wanted}\n{said}", self.name);
        }
        assert!(Instant::now() < self.end, "{}: no {wanted} in time", self.name);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.keep_console();
        }
    }
}

/// Results, and whether the guest is done. A line that is not whole yet is left for the next reading.
fn parse(text: &str) -> (Vec<Outcome>, bool) {
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let (mut outcomes, mut ended) = (Vec::new(), false);
    for line in whole.lines().filter(|line| !line.trim().is_empty()) {
        let value: Value =
            serde_json::from_str(line).unwrap_or_else(|e| panic!("the guest wrote {line:?}: {e}"));
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        match value["ok"].as_bool() {
            Some(ok) => outcomes.push(Outcome { test: text("test"), ok, detail: text("detail") }),
            None => ended |= value["end"].as_bool() == Some(true),
        }
    }
    (outcomes, ended)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::tool;

    #[test]
    fn lines_become_results_when_they_are_whole() {
        let text = "{\"test\":\"a\",\"ok\":true}\n{\"test\":\"b\",\"ok\":false,\"detail\":\"why\"}\n{\"en";
        let (outcomes, ended) = parse(text);
        let expected = Outcome { test: "b".into(), ok: false, detail: "why".into() };
        assert_eq!((outcomes.len(), &outcomes[1], ended), (2, &expected, false));
        assert!(parse("{\"end\":true}\n").1);
        assert!(!parse("{\"end\":true}").1);
    }

    #[test]
    fn a_guest_that_hangs_is_ended_in_time_and_its_console_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (console, results) = (folder.path().join("console"), folder.path().join("results"));
        fs::write(&console, "it boots\n").unwrap();
        let child = tool("sh", "dash").args(["-c", "exec sleep 600"]).spawn().unwrap();
        let pid = child.id();
        let patience = Duration::from_millis(300);
        let (name, end) = ("hanging".to_owned(), Instant::now() + patience);
        let mut running = Running { name, child, folder, console, results, asked: None, patience, end };
        let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || running.outcomes()));
        let said = waited.expect_err("it never ends");
        let said = said.downcast_ref::<String>().expect("words");
        assert!(said.contains("hanging: no the end of its results in time"), "{said}");
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "it runs on");
        let kept = std::env::temp_dir().join(format!("hale-hanging-{pid}.console"));
        assert_eq!(fs::read_to_string(&kept).unwrap(), "it boots\n");
        fs::remove_file(kept).unwrap();
    }

    #[test]
    fn both_ends_of_a_cable_know_each_other() {
        let cards = segment(Path::new("x"), 3);
        let lengths: Vec<usize> = cards.iter().map(Vec::len).collect();
        assert_eq!(lengths, [2, 1, 1]);
        let turned = |card: &Card| match card {
            Card::Cable { own, other } => Card::Cable { own: other.clone(), other: own.clone() },
            Card::User(_) => panic!("a cable"),
        };
        assert_eq!(cards[0].iter().map(turned).collect::<Vec<_>>(), cards[1..].concat());
    }
}
