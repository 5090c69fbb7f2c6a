//! What stands above a log-in on a console while the bootstrap waits or failed (agetty(8), ISSUE FILES).

use crate::bootstrap::journal::{Entry, Event, Journal};
use crate::fault::Result;
use crate::host::{Command, Host, files};

use super::progress;

/// Path of the text; `/etc/issue.d/hale.issue` of a disk of ours leads to it. A reboot forgets it.
const PATH: &str = "/run/hale/issue";

/// Shows an entry that people must know of, and takes it back when its phase is done.
pub fn show(host: &dyn Host, entry: &Entry) -> Result<()> {
    match entry.event {
        Event::Waiting(_) | Event::Failed(_) => {
            // What follows a backslash would be an order to agetty.
            let text = format!("{}\n\n", progress::line(entry).replace('\\', "/"));
            files::write(host, PATH, text.as_bytes(), 0o600)?;
        }
        Event::Done if files::read(host, PATH)?.is_some() => files::remove(host, PATH)?,
        _ => return Ok(()),
    }
    // Who is logging in already is left alone.
    host.run(&Command::new("/sbin/agetty", &["--reload"])).map(drop)
}

/// Shows what an earlier boot ended with, as far as that stood in the way: it is journaled once, however often it is met.
pub fn recall(host: &dyn Host) {
    let last = Journal::read(host).ok().and_then(|mut entries| entries.pop());
    let Some(entry) = last.filter(|entry| matches!(entry.event, Event::Waiting(_) | Event::Failed(_))) else {
        return;
    };
    eprintln!("{}", progress::line(&entry));
    // A console that cannot be told must not stop the node.
    let _ = show(host, &entry);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::fake::FakeHost;

    #[test]
    fn what_stands_in_the_way_is_shown_until_it_does_not() {
        let host = FakeHost::new();
        let tell = |event| show(&host, &Entry { at: 1, phase: "preflight".into(), event }).unwrap();
        let shown = || files::read(&host, PATH).unwrap();
        tell(Event::Begun);
        tell(Event::Done);
        assert_eq!((shown(), host.commands.borrow().len()), (None, 0));
        tell(Event::Waiting("no \\d bridge\u{1b}[2K\nlogin:".into()));
        assert_eq!(shown().unwrap(), "hale: preflight waits: no /d bridge/u{1b}[2K/nlogin:\n\n");
        tell(Event::Begun);
        tell(Event::Polling("later".into()));
        assert!(shown().is_some());
        tell(Event::Failed("no space".into()));
        assert_eq!(shown().unwrap(), "hale: preflight failed: no space\n\n");
        tell(Event::Done);
        assert_eq!((shown(), host.commands.borrow().len()), (None, 3));
    }

    /// A boot that meets what the one before did shows it, too.
    #[test]
    fn a_reboot_forgets_nothing_that_stands_in_the_way() {
        let host = FakeHost::new();
        recall(&host);
        let tell = |event| {
            let entry = Entry { at: 1, phase: "runtime".into(), event };
            Journal::open(&host).unwrap().add(entry).unwrap();
            host.reboot();
            recall(&host);
            files::read(&host, PATH).unwrap()
        };
        assert!(tell(Event::Waiting("a bridge".into())).unwrap().contains("runtime waits: a bridge"));
        assert!(tell(Event::Failed("no space".into())).unwrap().contains("runtime failed: no space"));
        assert_eq!(tell(Event::Done), None);
        assert_eq!(tell(Event::Begun), None);
    }
}
