//! One request to one server, and its response. HTTP by ureq, behind this file only.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::attempt::{Attempt, Failure};
use crate::base::url::Scheme;
use crate::base::{Fault, Result, Url};

/// Redirects that are followed, one after another.
const REDIRECTS: usize = 5;

/// How patient we are with a place that serves.
#[derive(Clone, Debug)]
pub struct FetchLimits {
    /// Longest wait for a connection, and for the next byte.
    pub stall: Duration,
    /// Bytes per second below which a place is too slow.
    pub rate: u64,
    /// Time over which the rate is taken.
    pub window: Duration,
    /// Longest time for one input from one place.
    pub deadline: Duration,
    /// Tries that bring nothing new, or that too slowly, before the next place is asked.
    pub tries: u32,
    /// Pause before the second try; it doubles with each further one.
    pub pause: Duration,
    /// Longest input in bytes when the lock does not know its length.
    pub bytes: u64,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            stall: Duration::from_secs(30),
            rate: 4 << 10,
            window: Duration::from_secs(30),
            deadline: Duration::from_secs(2 * 3600),
            tries: 4,
            pause: Duration::from_secs(1),
            bytes: 2 << 30,
        }
    }
}

/// Asks servers. One for a whole fetch; threads share it.
pub struct Client {
    agent: ureq::Agent,
    pub(super) limits: FetchLimits,
}

/// What to ask for besides the address.
#[derive(Clone, Copy, Default)]
pub(super) struct HttpRequest<'a> {
    /// Leave out so many bytes.
    pub(super) from: u64,
    /// Only if it still is this version (a strong entity tag).
    pub(super) version: Option<&'a str>,
    /// Media types that are understood.
    pub(super) accept: Option<&'a str>,
    /// The `Authorization` header; goes to the address's own server only, never on by a redirect.
    pub(super) token: Option<&'a str>,
}

/// A server's response; `body` is what is left to read.
pub(super) struct HttpResponse {
    pub(super) status: u16,
    headers: HeaderMap,
    pub(super) body: Box<dyn Read>,
}

impl Client {
    /// A client that trusts the certificate authorities in the PEM file `authorities`, or without one
    /// those that Mozilla trusts.
    pub fn new(limits: FetchLimits, authorities: Option<&Path>) -> Result<Self> {
        let roots = match authorities {
            Some(path) => RootCerts::Specific(Arc::new(certificates(path)?)),
            None => RootCerts::WebPki,
        };
        let config = ureq::Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent("hale")
            .accept_encoding("identity")
            .timeout_resolve(Some(limits.stall))
            .timeout_connect(Some(limits.stall))
            .timeout_recv_response(Some(limits.stall))
            .timeout_per_read(Some(limits.stall))
            .timeout_per_write(Some(limits.stall))
            .timeout_per_call(Some(limits.deadline))
            .build();
        Ok(Self { agent: config.into(), limits })
    }

    /// All bytes of a small document, at most `limit`: an index, a signed Release file. Tries again as a
    /// download does. The caller must verify what it gets.
    pub fn get(&self, url: &Url, limit: u64) -> Result<Vec<u8>> {
        self.patiently(|| self.read_whole(url, self.ask(url, HttpRequest::default())?, limit))
            .map_err(Failure::fault)
    }

    /// The rest of a response that must be whole.
    pub(super) fn read_whole(&self, url: &Url, mut response: HttpResponse, limit: u64) -> Attempt<Vec<u8>> {
        response.must_serve(url)?;
        let length = response.length();
        let too_long = || {
            Fault::integrity(format!("{url} is too long"))
                .expected_found(format!("at most {limit} bytes"), "more")
        };
        if length.is_some_and(|length| length > limit) {
            return Err(Failure::NextMirror(too_long()));
        }
        let (mut bytes, mut pace) = (Vec::new(), Pace::new(&self.limits));
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = response.body.read(&mut buffer).map_err(|e| cut(url, e))?;
            bytes.extend_from_slice(&buffer[..count]);
            if bytes.len() as u64 > limit {
                return Err(Failure::NextMirror(too_long()));
            }
            if count == 0 {
                break;
            }
            pace.check(url, count)?;
        }
        if length.is_some_and(|length| length != bytes.len() as u64) {
            return Err(cut(url, io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(bytes)
    }

    /// Repeats what may succeed the next time, with growing pauses.
    pub(super) fn patiently<T>(&self, mut attempt: impl FnMut() -> Attempt<T>) -> Attempt<T> {
        let mut tries = 1;
        loop {
            match attempt() {
                Err(Failure::Retry(_)) if tries < self.limits.tries => self.rest(tries),
                result => return result,
            }
            tries += 1;
        }
    }

    /// The pause after so many tries in vain.
    pub(super) fn rest(&self, tries: u32) {
        std::thread::sleep(self.limits.pause * (1 << (tries.clamp(1, 6) - 1)));
    }

    /// Asks, and follows redirects within http and https, never from https to http.
    pub(super) fn ask(&self, url: &Url, request: HttpRequest) -> Attempt<HttpResponse> {
        let mut at = url.clone();
        for _ in 0..=REDIRECTS {
            let home = (at.scheme(), at.authority()) == (url.scheme(), url.authority());
            let token = request.token.filter(|_| home);
            let response = match at.file_path() {
                Some(path) => open_file(&path)?,
                None => self.ask_once(&at, HttpRequest { token, ..request })?,
            };
            let Some(location) = response.redirect() else { return Ok(response) };
            let refused = |why: &str| Failure::NextMirror(Fault::remote(format!("{at} redirects to {why}")));
            let next = at
                .redirected(location)
                .map_err(|_| refused(&format!("{location:?}, which is no address")))?;
            match (at.scheme(), next.scheme()) {
                (_, Scheme::File) => return Err(refused("a file of this machine")),
                (Scheme::Https, Scheme::Http) => return Err(refused("an unprotected address")),
                _ => at = next,
            }
        }
        Err(Failure::NextMirror(Fault::remote(format!("{url} redirects more than {REDIRECTS} times"))))
    }

    fn ask_once(&self, url: &Url, request: HttpRequest) -> Attempt<HttpResponse> {
        let mut call = self.agent.get(url.as_str());
        if request.from > 0 {
            call = call.header(header::RANGE, format!("bytes={}-", request.from));
            if let Some(version) = request.version {
                call = call.header(header::IF_RANGE, version);
            }
        }
        if let Some(accept) = request.accept {
            call = call.header(header::ACCEPT, accept);
        }
        if let Some(token) = request.token {
            call = call.header(header::AUTHORIZATION, token);
        }
        let (head, body) = call.call().map_err(|e| classify(url, e))?.into_parts();
        Ok(HttpResponse {
            status: head.status.as_u16(),
            headers: head.headers,
            body: Box::new(body.into_reader()),
        })
    }
}

impl HttpResponse {
    /// A header as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body's length in bytes, if the server says it.
    pub(super) fn length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }

    /// Of a part (206): its first byte, and the whole's length if known (RFC 9110 section 14.4).
    pub(super) fn part(&self) -> Option<(u64, Option<u64>)> {
        let (range, total) = self.header("content-range")?.strip_prefix("bytes ")?.split_once('/')?;
        Some((range.split_once('-')?.0.parse().ok()?, total.parse().ok()))
    }

    /// Whether it is a web page, which no input of ours is.
    pub(super) fn is_page(&self) -> bool {
        self.header("content-type").is_some_and(|kind| kind.starts_with("text/html"))
    }

    fn redirect(&self) -> Option<&str> {
        matches!(self.status, 301 | 302 | 303 | 307 | 308).then(|| self.header("location"))?
    }

    /// Sorts the answers without content into those worth another try and the others.
    pub(super) fn must_serve(&self, url: &Url) -> Attempt<()> {
        let says =
            |what: &str| Fault::remote(format!("{url} {what}")).expected_found("status 200", self.status);
        match self.status {
            200 | 206 => Ok(()),
            408 | 425 | 429 | 500..=599 => Err(Failure::Retry(says("does not serve now"))),
            404 | 410 => Err(Failure::NextMirror(says("is gone"))),
            _ => Err(Failure::NextMirror(says("is refused"))),
        }
    }
}

/// Tells when a place serves too slowly, or for too long.
pub(super) struct Pace<'l> {
    limits: &'l FetchLimits,
    begun: Instant,
    window: Instant,
    bytes: u64,
}

impl<'l> Pace<'l> {
    pub(super) fn new(limits: &'l FetchLimits) -> Self {
        let now = Instant::now();
        Self { limits, begun: now, window: now, bytes: 0 }
    }

    /// Counts what was read just now.
    pub(super) fn check(&mut self, url: &Url, count: usize) -> Attempt<()> {
        self.bytes += count as u64;
        let now = Instant::now();
        if now.duration_since(self.begun) > self.limits.deadline {
            let limit = format!("at most {} s", self.limits.deadline.as_secs());
            return Err(Failure::NextMirror(
                Fault::remote(format!("{url} takes too long")).expected_found(limit, "more"),
            ));
        }
        let passed = now.duration_since(self.window);
        if passed < self.limits.window {
            return Ok(());
        }
        if self.limits.too_slow(self.bytes, passed) {
            let rate = (self.bytes as f64 / passed.as_secs_f64()) as u64;
            let least = format!("{} bytes/s at least", self.limits.rate);
            let fault =
                Fault::remote(format!("{url} is too slow")).expected_found(least, format!("{rate} bytes/s"));
            return Err(Failure::Retry(fault));
        }
        (self.window, self.bytes) = (now, 0);
        Ok(())
    }
}

impl FetchLimits {
    /// Whether so many bytes in so much time are too few.
    pub(super) fn too_slow(&self, bytes: u64, passed: Duration) -> bool {
        bytes == 0 || passed >= self.window && (bytes as f64) < self.rate as f64 * passed.as_secs_f64()
    }
}

/// A connection that ended before its time.
pub(super) fn cut(url: &Url, error: io::Error) -> Failure {
    Failure::Retry(Fault::remote(format!("the connection to {url} was cut")).cause(error))
}

fn classify(url: &Url, error: ureq::Error) -> Failure {
    let fault = Fault::remote(format!("cannot reach {url}")).cause(&error);
    match error {
        // A certificate does not get better by asking again.
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
            Failure::NextMirror(fault)
        }
        _ => Failure::Retry(fault),
    }
}

/// A file of this machine as a response: a mirror on a disk.
fn open_file(path: &Path) -> Attempt<HttpResponse> {
    let gone = |what: &str| Failure::NextMirror(Fault::remote(format!("{} {what}", path.display())));
    match fs::metadata(path) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(gone("is no regular file")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(gone("is gone")),
        Err(e) => return Err(Failure::Abort(Fault::io("look at", path, e))),
    }
    let file = File::open(path).map_err(|e| Failure::Abort(Fault::io("open", path, e)))?;
    Ok(HttpResponse { status: 200, headers: HeaderMap::new(), body: Box::new(file) })
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let bytes = fs::read(path).map_err(|e| Fault::io("read", path, e))?;
    let items = parse_pem(&bytes).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
        Ok(_) => None,
        Err(e) => Some(Err(Fault::user(format!("{} is no file of certificates", path.display())).cause(e))),
    });
    items.collect()
}
