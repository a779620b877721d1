//! Blobs, as streams that survive what happens on the way.

use std::io::{self, Read};

use ureq::http::{HeaderName, HeaderValue, StatusCode, header};

use super::client::{Answer, Ask};
use super::retry::Attempts;
use super::transport::Body;
use super::{Client, Error, Result};
use crate::oci::{Descriptor, Repository};

/// So many bytes count as progress: a server that gives less between failures is soon given up.
const PROGRESS: u64 = 64 << 10;
const SKIP_BUFFER: usize = 64 << 10;

/// The bytes of a blob, in order: exactly as many as its descriptor says, or an error.
///
/// The digest is not checked here: whoever stores the bytes hashes them as they pass, and must
/// compare in the end.
///
/// When the connection breaks, the rest is asked for from where it broke, some times; a server
/// that ignores the range is read again from the start up to there. Errors are [`Error`] within
/// [`io::Error`]; after one, there is nothing more to read.
pub struct BlobReader {
    client: Client,
    repository: Repository,
    what: String,
    path: String,
    size: u64,
    at: u64,
    state: State,
    attempts: Attempts,
    since_failure: u64,
}

enum State {
    /// Nothing is asked for.
    Idle,
    /// The next bytes are those from `at` on.
    Open(Body),
    /// All bytes have passed, or an error was returned.
    Done,
}

impl Client {
    /// The bytes of a blob. Nothing is asked of the registry before the first read.
    #[must_use]
    pub fn blob(&self, repository: &Repository, descriptor: &Descriptor) -> BlobReader {
        BlobReader {
            client: self.clone(),
            repository: repository.clone(),
            what: format!("{repository}@{}", descriptor.digest),
            path: format!("blobs/{}", descriptor.digest),
            size: descriptor.size,
            at: 0,
            state: if descriptor.size == 0 { State::Done } else { State::Idle },
            attempts: self.attempts(),
            since_failure: 0,
        }
    }
}

impl BlobReader {
    /// How many bytes the blob has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// All bytes at once; the caller has checked that the size is small.
    pub(super) fn read_all(mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut buf = vec![0; SKIP_BUFFER];
        loop {
            let n = self.next(&mut buf)?;
            let Some(part) = buf.get(..n).filter(|part| !part.is_empty()) else {
                return Ok(bytes);
            };
            bytes.extend_from_slice(part);
        }
    }

    fn next(&mut self, buf: &mut [u8]) -> Result<usize> {
        loop {
            let outcome = match std::mem::replace(&mut self.state, State::Done) {
                State::Done => return Ok(0),
                State::Idle => self.open().map(|body| {
                    self.state = State::Open(body);
                    None
                }),
                State::Open(body) => self.read_from(body, buf),
            };
            match outcome {
                Ok(Some(n)) => return Ok(n),
                Ok(None) => {}
                Err(error) => {
                    self.attempts.after(error)?;
                    self.since_failure = 0;
                    self.state = State::Idle;
                }
            }
        }
    }

    /// Takes the next bytes from `body`, and checks that it ends where the blob does. `None` when
    /// it must be asked again.
    fn read_from(&mut self, mut body: Body, buf: &mut [u8]) -> Result<Option<usize>> {
        let left = self.size.saturating_sub(self.at);
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        let broken = |source| Error::Broken { url: self.what.clone(), source };
        let n = match body.read(buf.get_mut(..want).unwrap_or_default()) {
            Ok(0) if want > 0 => {
                let why = format!("it ended after {} of {} bytes", self.at, self.size);
                return Err(broken(io::Error::new(io::ErrorKind::UnexpectedEof, why)));
            }
            Ok(n) => n,
            Err(source) if source.kind() == io::ErrorKind::Interrupted => {
                self.state = State::Open(body);
                return Ok(None);
            }
            Err(source) => return Err(broken(source)),
        };
        self.at = self.at.saturating_add(n as u64);
        self.since_failure = self.since_failure.saturating_add(n as u64);
        if self.since_failure >= PROGRESS {
            self.attempts.progress();
        }
        if self.at < self.size {
            self.state = State::Open(body);
            return Ok(Some(n));
        }
        // The end is read too: that gives the connection back, and shows what is too much.
        match body.read(&mut [0]) {
            Ok(0) => Ok(Some(n)),
            Ok(_) => Err(self.wrong_size("more".to_owned())),
            Err(error) => {
                log::debug!("{}: after its last byte: {error}", self.what);
                Ok(Some(n))
            }
        }
    }

    /// Asks for the bytes from `at` on.
    fn open(&self) -> Result<Body> {
        let range: Option<(HeaderName, HeaderValue)> = match self.at {
            0 => None,
            at => HeaderValue::from_str(&format!("bytes={at}-")).ok().map(|v| (header::RANGE, v)),
        };
        let ask = Ask {
            repository: &self.repository,
            path: &self.path,
            headers: range.as_slice(),
            what: &self.what,
        };
        let answer = self.client.ask(ask).map_err(|error| match error {
            Error::Status { status: 416, .. } => self.wrong_size(format!("at most {}", self.at)),
            error => error,
        })?;
        match answer.response.status() {
            StatusCode::OK => self.skip_into(answer),
            StatusCode::PARTIAL_CONTENT => self.take_range(answer),
            status => Err(Error::Protocol { url: answer.shown(), why: format!("status {status}") }),
        }
    }

    /// A body that has the whole blob: what is known of it is skipped.
    fn skip_into(&self, answer: Answer) -> Result<Body> {
        self.check_length(&answer, self.size)?;
        let url = answer.shown();
        let mut body = answer.response.into_body();
        let mut left = self.at;
        let mut buf = vec![0; if left > 0 { SKIP_BUFFER } else { 0 }];
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(SKIP_BUFFER).min(SKIP_BUFFER);
            let source = match body.read(buf.get_mut(..want).unwrap_or_default()) {
                Ok(0) => io::Error::new(io::ErrorKind::UnexpectedEof, "it ended too early"),
                Ok(n) => {
                    left = left.saturating_sub(n as u64);
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            return Err(Error::Broken { url, source });
        }
        Ok(body)
    }

    /// A body that has a range: it must be all from `at` on.
    fn take_range(&self, answer: Answer) -> Result<Body> {
        let range = answer.response.headers().get(header::CONTENT_RANGE);
        let range = range.and_then(|value| value.to_str().ok());
        let last = self.size.saturating_sub(1);
        let wanted = [
            format!("bytes {}-{last}/{}", self.at, self.size),
            format!("bytes {}-{last}/*", self.at),
        ];
        if !range.is_some_and(|range| wanted.iter().any(|wanted| wanted == range.trim())) {
            let why = format!("it sends the range {range:?} for {:?}", wanted.first());
            return Err(Error::Protocol { url: answer.shown(), why });
        }
        self.check_length(&answer, self.size.saturating_sub(self.at))?;
        Ok(answer.response.into_body())
    }

    fn check_length(&self, answer: &Answer, expected: u64) -> Result<()> {
        let length = answer.response.headers().get(header::CONTENT_LENGTH);
        let length: Option<u64> = length.and_then(|value| value.to_str().ok()?.parse().ok());
        match length {
            Some(length) if length != expected => {
                let skipped = self.size.saturating_sub(expected);
                Err(self.wrong_size(length.saturating_add(skipped).to_string()))
            }
            _ => Ok(()),
        }
    }

    fn wrong_size(&self, found: String) -> Error {
        Error::Size { what: self.what.clone(), expected: self.size, found }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        Ok(self.next(buf)?)
    }
}

impl std::fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobReader")
            .field("what", &self.what)
            .field("size", &self.size)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}
