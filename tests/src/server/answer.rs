//! One answer, byte for byte.

use std::io::{self, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::Request;

/// What the server answers, true or not.
#[derive(Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    says_length: bool,
    cut: Option<usize>,
    drip: Option<Duration>,
    stall: Option<Duration>,
    endless: bool,
}

impl Answer {
    /// An answer with a body and its true length.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self {
            status,
            headers: Vec::new(),
            body,
            says_length: true,
            cut: None,
            drip: None,
            stall: None,
            endless: false,
        }
    }

    /// The file `bytes`, or the part that was asked for.
    pub fn file(request: &Request, bytes: &[u8]) -> Self {
        match request.range() {
            None => Self::new(200, bytes),
            Some(from) if from < bytes.len() => {
                let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
                Self::new(206, &bytes[from..]).header("Content-Range", range)
            }
            Some(_) => Self::new(416, "").header("Content-Range", format!("bytes */{}", bytes.len())),
        }
    }

    /// With another header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Without a Content-Length: the connection's end is the body's.
    pub fn without_length(mut self) -> Self {
        self.says_length = false;
        self
    }

    /// Drops the connection after so many bytes of the body.
    pub fn cut(mut self, after: usize) -> Self {
        self.cut = Some(after);
        self
    }

    /// Sends byte by byte with a pause after each.
    pub fn drip(mut self, pause: Duration) -> Self {
        self.drip = Some(pause);
        self
    }

    /// Sends the head, then nothing for this long, then ends.
    pub fn stall(mut self, time: Duration) -> Self {
        self.stall = Some(time);
        self
    }

    /// Repeats the body until the client has enough (at most 64 MiB, so that a broken test ends).
    pub fn endless(mut self) -> Self {
        (self.endless, self.says_length) = (true, false);
        self
    }

    pub(super) fn send(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {} x\r\nConnection: close\r\n", self.status);
        if self.says_length {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all((head + "\r\n").as_bytes())?;
        if let Some(time) = self.stall {
            std::thread::sleep(time);
            return Ok(());
        }
        let body = &self.body[..self.cut.unwrap_or(usize::MAX).min(self.body.len())];
        if let Some(pause) = self.drip {
            for byte in body {
                stream.write_all(&[*byte])?;
                std::thread::sleep(pause);
            }
            return Ok(());
        }
        stream.write_all(body)?;
        if self.endless {
            (0..(64 << 20) / body.len().max(1)).try_for_each(|_| stream.write_all(body))?;
        }
        stream.flush()
    }
}
