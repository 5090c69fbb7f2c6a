//! The host's end of a port that leads into a guest.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

/// The guest's end; its check listens there.
pub(crate) const GUEST: u16 = 7777;
/// What the host says, and the guest says back when it has heard it.
const WORD: &[u8] = b"hale\n";

/// A port that nobody has here.
pub(crate) fn free() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("its number").port()
}

/// Somebody who talks to the port until he is answered or told to end.
pub(crate) struct Talk {
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// Begins to talk. QEMU takes every connection; the guest behind it may not listen yet.
pub(crate) fn talk(port: u16) -> Talk {
    let over = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&over);
    let thread = std::thread::spawn(move || {
        while !seen.load(Ordering::Relaxed) && !is_answered(port) {
            sleep(Duration::from_millis(500));
        }
    });
    Talk { over, thread }
}

impl Talk {
    pub(crate) fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("he only talks");
    }
}

fn is_answered(port: u16) -> bool {
    let talked = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).and_then(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(WORD)?;
        let mut answer = vec![0; WORD.len()];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    });
    talked.is_ok_and(|answer| answer == WORD)
}
