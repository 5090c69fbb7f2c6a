//! One file from the first place that serves the right bytes.

use std::io;
use std::time::Instant;

use super::attempt::{Attempt, Download, Failure, PinnedBytes};
use super::http::{Client, HttpRequest, HttpResponse, Pace, cut};
use super::partial::Partial;
use crate::base::progress::Progress;
use crate::base::{Class, Fault, Result, Url};
use crate::plan::{Output, StepId};
use crate::store::Store;

/// Begins anew so often when parts of several answers do not fit together.
const MISFITS: u32 = 2;

/// Asks one place after another. The fault of several is the gravest one's.
pub(super) fn from_places(
    store: &Store,
    client: &Client,
    pinned: PinnedBytes,
    places: &[Url],
    token: Option<&str>,
    progress: &dyn Progress,
) -> Result<Download> {
    let partial = Partial::open(store, pinned.checksum)?;
    if let Some(Output::Blob { content, size }) = store.output(&StepId::of_input(*pinned.checksum)?)? {
        // Another process fetched it while we waited for the lock.
        let from = places.first().cloned().ok_or_else(|| Fault::bug("an input without a place"))?;
        return Ok(Download {
            outputs: vec![Output::Blob { content, size }],
            bytes: 0,
            from,
            refused: Vec::new(),
        });
    }
    let mut download =
        Transfer { store, client, pinned, token, progress, partial, version: None, page: false };
    let mut refused = Vec::new();
    for place in places {
        match download.try_place(place) {
            Ok(output) => {
                let bytes = download.partial.length();
                return Ok(Download { outputs: vec![output], bytes, from: place.clone(), refused });
            }
            Err(Failure::Abort(fault)) => return Err(fault),
            Err(Failure::Retry(fault) | Failure::NextMirror(fault)) => refused.push(fault),
        }
    }
    let gravest = refused.iter().max_by_key(|fault| fault.class()).cloned();
    let gravest = gravest.unwrap_or_else(|| Fault::remote("no place is known that has it"));
    let others = refused.iter().filter(|fault| fault.what() != gravest.what());
    Err(others.fold(gravest.clone(), |fault, other| fault.cause(other)))
}

struct Transfer<'a> {
    store: &'a Store,
    client: &'a Client,
    pinned: PinnedBytes<'a>,
    token: Option<&'a str>,
    progress: &'a dyn Progress,
    partial: Partial,
    /// The strong entity tag of the bytes so far, if this process got them.
    version: Option<String>,
    /// Whether the last response was a web page.
    page: bool,
}

impl Transfer<'_> {
    /// Asks one place until it has served all, or has too often brought nothing new.
    fn try_place(&mut self, place: &Url) -> Attempt<Output> {
        let (begun, limits) = (Instant::now(), &self.client.limits);
        // What comes again after a misfit is nothing new, so a place cannot keep us for ever.
        let (mut best, mut in_vain, mut misfits) = (self.partial.length(), 0, 0);
        self.version = None;
        loop {
            let asked = Instant::now();
            let fault = match self.attempt(place) {
                Ok(()) => match self.finish(place)? {
                    Ok(output) => return Ok(output),
                    Err(fault) => {
                        misfits += 1;
                        let again = std::mem::take(&mut self.partial.pieced) && misfits <= MISFITS;
                        self.clear()?;
                        if !again {
                            return Err(Failure::NextMirror(fault));
                        }
                        fault
                    }
                },
                Err(Failure::Retry(fault)) => fault,
                Err(other) => return Err(self.drop_wrong(other)),
            };
            let brought = self.partial.length().saturating_sub(best);
            best += brought;
            in_vain = if limits.too_slow(brought, asked.elapsed()) { in_vain + 1 } else { 0 };
            if in_vain >= limits.tries || begun.elapsed() > limits.deadline {
                return Err(Failure::NextMirror(fault));
            }
            self.client.rest(in_vain);
        }
    }

    /// Bytes that are proven wrong are not worth resuming.
    fn drop_wrong(&mut self, failure: Failure) -> Failure {
        match &failure {
            Failure::NextMirror(fault) if fault.class() == Class::Integrity => {
                self.clear().err().map_or(failure, |fatal| fatal)
            }
            _ => failure,
        }
    }

    fn clear(&mut self) -> Attempt<()> {
        self.progress.retreat(self.partial.length());
        self.partial.clear().map_err(Failure::Abort)
    }

    /// One request, and as much of the response as comes.
    fn attempt(&mut self, place: &Url) -> Attempt<()> {
        let size = self.pinned.size;
        if size.is_some_and(|size| self.partial.length() > size) {
            self.clear()?;
        }
        if size.is_some_and(|size| self.partial.length() == size && size > 0) {
            return Ok(());
        }
        let from = self.partial.length();
        let version = self.version.as_deref();
        let response =
            self.client.ask(place, HttpRequest { from, version, accept: None, token: self.token })?;
        self.page = response.is_page();
        let total = self.begin(place, &response)?;
        if let (Some(size), Some(total)) = (size, total)
            && size != total
        {
            let fault = Fault::integrity(format!("{place} has the wrong length"));
            return Err(Failure::NextMirror(self.hint(fault).expected_found(size, total)));
        }
        self.version = response.header("etag").filter(|tag| tag.starts_with('"')).map(str::to_owned);
        self.partial.resume().map_err(Failure::Abort)?;
        self.receive(place, response, size.or(total))
    }

    /// Makes the partial file fit the response; gives the whole's length, if the server says it.
    fn begin(&mut self, place: &Url, response: &HttpResponse) -> Attempt<Option<u64>> {
        let from = self.partial.length();
        match (response.status, response.part()) {
            (206, Some((start, total))) if start == from => Ok(total),
            (206 | 416, _) => {
                self.clear()?;
                Err(Failure::Retry(Fault::remote(format!("{place} does not resume at byte {from}"))))
            }
            _ => {
                response.must_serve(place)?;
                if from > 0 {
                    self.clear()?;
                }
                Ok(response.length())
            }
        }
    }

    fn receive(&mut self, place: &Url, mut response: HttpResponse, total: Option<u64>) -> Attempt<()> {
        let limit = total.unwrap_or(self.client.limits.bytes);
        let mut pace = Pace::new(&self.client.limits);
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = response.body.read(&mut buffer).map_err(|e| cut(place, e))?;
            if count == 0 {
                break;
            }
            if self.partial.length() + count as u64 > limit {
                let fault =
                    Fault::integrity(format!("{place} is too long")).expected_found(limit, "more bytes");
                return Err(Failure::NextMirror(fault));
            }
            self.partial.append(&buffer[..count]).map_err(Failure::Abort)?;
            self.progress.advance(count as u64);
            pace.check(place, count)?;
        }
        if total.is_some_and(|total| self.partial.length() < total) {
            return Err(cut(place, io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }

    /// Compares all bytes with what is pinned; the right ones move into the store.
    fn finish(&mut self, place: &Url) -> Attempt<Result<Output>> {
        let pinned = self.pinned.checksum;
        let (found, content) = self.partial.hash(pinned).map_err(Failure::Abort)?;
        if found != *pinned {
            let fault =
                Fault::integrity(format!("{place} has the wrong bytes")).expected_found(pinned, found);
            return Ok(Err(self.hint(fault)));
        }
        let (path, size) = (self.partial.path(), self.partial.length());
        let keep = || {
            self.store.adopt(path, self.partial.file(), &content, size)?;
            let output = Output::Blob { content, size };
            self.store.record(&StepId::of_input(*pinned)?, &output)?;
            Ok(output)
        };
        keep().map(Ok).map_err(Failure::Abort)
    }

    /// Adds the most likely reason when a web page came instead of a file.
    fn hint(&self, fault: Fault) -> Fault {
        if self.page { fault.cause("it is a web page: a captive portal, or a login") } else { fault }
    }
}
