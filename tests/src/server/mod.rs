//! A small HTTP server on 127.0.0.1 that serves what a test puts there, and misbehaves as told.

mod answer;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

pub use answer::Answer;

/// How the server answers for one path.
#[derive(Clone, Debug)]
pub enum Reply {
    /// The whole body; ranges (`bytes=N-`) are honoured.
    Body(Vec<u8>),
    /// The whole body, even when a range was asked for.
    NoRanges(Vec<u8>),
    /// A status with a text.
    Status(u16, &'static str),
    /// A status this many times, then the body.
    Failing(u16, usize, Vec<u8>),
    /// A page of HTML with status 200, as a captive portal sends it.
    Html,
    /// The head promises the whole body; this many bytes are sent, then the connection is cut.
    /// Ranges are honoured, so that a second request goes on where the first was cut.
    Cut(Vec<u8>, usize),
    /// No length in the head, and bytes without end (at most 64 MiB, so that a broken test ends).
    Endless,
    /// The connection is closed before an answer.
    Drop,
    /// The head is sent, then nothing for this long.
    Stall(Duration),
    /// Elsewhere.
    Redirect(String),
}

/// What the server was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`.
    pub method: String,
    /// The path with its leading slash.
    pub path: String,
    /// Headers by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// How often the same path was asked for before.
    pub before: usize,
}

impl Request {
    /// The first byte that a `Range: bytes=N-` asks for.
    pub fn range(&self) -> Option<usize> {
        self.headers.get("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

type Answering = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

#[derive(Default)]
struct State {
    replies: BTreeMap<String, Reply>,
    requests: Vec<Request>,
    /// Answers for the paths that have no reply.
    answering: Option<Answering>,
}

/// A running server; it ends when dropped.
pub struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server on a free port.
    pub fn start() -> Self {
        Self::with(State::default())
    }

    /// Starts a server whose answers a function gives.
    pub fn answering(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::with(State { answering: Some(Arc::new(answer)), ..State::default() })
    }

    fn with(state: State) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on 127.0.0.1");
        let address = listener.local_addr().expect("the port's number");
        let (state, ended) = (Arc::new(Mutex::new(state)), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (state, ended) = (Arc::clone(&state), Arc::clone(&ended));
            move || {
                for stream in listener.incoming().flatten() {
                    if ended.load(Ordering::SeqCst) {
                        return;
                    }
                    let state = Arc::clone(&state);
                    // A client that goes away is no fault of the server's.
                    std::thread::spawn(move || drop(serve(stream, &state)));
                }
            }
        });
        Self { address, state, ended, thread: Some(thread) }
    }

    /// Sets the answer for a path such as `/dists/x/InRelease`. Paths without one answer 404.
    pub fn put(&self, path: &str, reply: Reply) {
        lock(&self.state).replies.insert(path.to_owned(), reply);
    }

    /// `http://127.0.0.1:PORT` and the path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far, in the order in which they came.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.state).requests.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the listener, so that it sees the flag.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("no thread panics with the state in its hands")
}

/// Answers the one request of a connection.
fn serve(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let Some(mut request) = read_request(&stream)? else { return Ok(()) };
    let (reply, answering) = {
        let mut state = lock(state);
        request.before = state.requests.iter().filter(|other| other.path == request.path).count();
        state.requests.push(request.clone());
        let reply = state.replies.get(&request.path).cloned();
        if let Some(Reply::Failing(_, left, _)) = state.replies.get_mut(&request.path) {
            *left = left.saturating_sub(1);
        }
        (reply, state.answering.clone())
    };
    let answer = match (reply, answering) {
        (Some(reply), _) => answer_of(reply, &request),
        (None, Some(answering)) => Some(answering(&request)),
        (None, None) => Some(Answer::new(404, "not here")),
    };
    answer.map_or(Ok(()), |answer| answer.send(stream))
}

/// What a reply means for a request; `None` drops the connection.
fn answer_of(reply: Reply, request: &Request) -> Option<Answer> {
    Some(match reply {
        Reply::Body(body) => Answer::file(request, &body),
        Reply::NoRanges(body) | Reply::Failing(_, 0, body) => Answer::new(200, body),
        Reply::Cut(body, at) => Answer::file(request, &body).cut(at),
        Reply::Failing(status, _, _) => Answer::new(status, "not now"),
        Reply::Status(status, text) => Answer::new(status, text),
        Reply::Html => Answer::new(200, "<!DOCTYPE html><html><body>Please log in</body></html>")
            .header("Content-Type", "text/html"),
        Reply::Endless => Answer::new(200, [b'x'; 1024]).endless(),
        Reply::Drop => return None,
        Reply::Stall(time) => Answer::new(200, "stall").stall(time),
        Reply::Redirect(target) => Answer::new(302, "").header("Location", target),
    })
}

fn read_request(stream: &TcpStream) -> std::io::Result<Option<Request>> {
    let mut lines = BufReader::new(stream).lines();
    let Some(first) = lines.next().transpose()? else { return Ok(None) };
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    Ok(Some(Request { method, path, headers, before: 0 }))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn get(server: &Server, path: &str, head: &str) -> String {
        let mut stream = TcpStream::connect(server.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n{head}\r\n").unwrap();
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[test]
    fn it_answers_as_told() {
        let server = Server::start();
        server.put("/a", Reply::Body(b"0123456789".to_vec()));
        server.put("/cut", Reply::Cut(b"0123456789".to_vec(), 4));
        server.put("/late", Reply::Failing(503, 1, b"here".to_vec()));
        assert!(get(&server, "/a", "").ends_with("\r\n\r\n0123456789"));
        assert!(
            get(&server, "/a", "Range: bytes=7-\r\n")
                .ends_with("Content-Length: 3\r\nContent-Range: bytes 7-9/10\r\n\r\n789")
        );
        assert!(get(&server, "/cut", "").ends_with("Content-Length: 10\r\n\r\n0123"));
        assert!(get(&server, "/late", "").starts_with("HTTP/1.1 503"));
        assert!(get(&server, "/late", "").ends_with("here"));
        assert!(get(&server, "/none", "").starts_with("HTTP/1.1 404"));
        assert_eq!(server.requests().len(), 6);
        assert_eq!(server.requests()[1].headers["range"], "bytes=7-");
    }
}
