//! A registry in memory, and everything that goes wrong on the way to a real one.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;

use crate::oci::{Descriptor, Digest, MediaType};
use crate::registry::{Body, Error, HeaderMap, Request, Response, Result, Transport};

/// A [`Transport`] to a registry in memory, the same one under every host name. Clones are one
/// registry.
#[derive(Debug, Clone, Default)]
pub struct MemTransport {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    documents: HashMap<String, (String, Vec<u8>)>,
    blobs: HashMap<String, Vec<u8>>,
    plain: HashSet<String>,
    token: Option<String>,
    faults: Vec<(String, Fault)>,
    seen: Vec<Seen>,
}

/// What goes wrong with one request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// No connection.
    Refused,
    /// A status, with these headers and this body, in place of the answer.
    Status(u16, Vec<(&'static str, String)>, String),
    /// A header of the answer has this value.
    Header(&'static str, String),
    /// The byte at this place of the body is another.
    FlippedByte(usize),
    /// The body ends after so many bytes, as if it were whole; no length was announced.
    ShortBody(usize),
    /// The connection breaks after so many bytes of the body.
    Reset(usize),
    /// Reading the body is interrupted once before its first byte.
    Interrupted,
    /// So many bytes too many; no length was announced.
    LongBody(usize),
    /// A range is answered with the whole.
    IgnoredRange,
    /// A range is answered with a range that starts so much later.
    ShiftedRange(u64),
}

/// A request that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The whole URL.
    pub url: String,
    /// The `Range` header.
    pub range: Option<String>,
    /// The `Authorization` header.
    pub authorization: Option<String>,
}

impl MemTransport {
    /// An empty registry that speaks TLS and asks for no login.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps a blob.
    pub fn put_blob(&self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let descriptor = describe(media_type, bytes);
        self.lock().blobs.insert(descriptor.digest.to_string(), bytes.to_vec());
        descriptor
    }

    /// Keeps a manifest or index under its digest and under `tag`.
    pub fn put_document(&self, tag: &str, media_type: &str, bytes: &[u8]) -> Descriptor {
        let descriptor = describe(media_type, bytes);
        let mut state = self.lock();
        for name in [tag.to_owned(), descriptor.digest.to_string()] {
            state.documents.insert(name, (media_type.to_owned(), bytes.to_vec()));
        }
        descriptor
    }

    /// Keeps an image of these layers under `tag`. Its diff ids are the digests of the layers.
    pub fn put_image(&self, tag: &str, platform: (&str, &str), layers: &[&[u8]]) -> Descriptor {
        let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
        let layers: Vec<_> = layers.iter().map(|layer| self.put_blob(gzip, layer)).collect();
        let diff_ids: Vec<_> = layers.iter().map(|layer| layer.digest).collect();
        let config = json!({
            "os": platform.0, "architecture": platform.1,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = self.put_blob(MediaType::OCI_CONFIG, config.to_string().as_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST,
            "config": config, "layers": layers,
        });
        self.put_document(tag, MediaType::OCI_MANIFEST, manifest.to_string().as_bytes())
    }

    /// Makes `host` speak plain HTTP only.
    pub fn speak_plain(&self, host: &str) {
        self.lock().plain.insert(host.to_owned());
    }

    /// Asks for this token from now on; `https://auth.example/token` gives it to everyone.
    pub fn require_token(&self, token: &str) {
        self.lock().token = Some(token.to_owned());
    }

    /// Lets the next request whose URL contains `part` go wrong.
    pub fn fail(&self, part: &str, fault: Fault) {
        self.lock().faults.push((part.to_owned(), fault));
    }

    /// The requests that were made since the last call.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.lock().seen)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for MemTransport {
    fn exchange(&self, request: Request<()>) -> Result<Response<Body>> {
        let url = request.uri().to_string();
        let host = request.uri().authority().map_or("", |authority| authority.as_str());
        let mut state = self.lock();
        let header = |name| text(request.headers(), name);
        let (range, authorization) = (header("range"), header("authorization"));
        let seen = Seen { url: url.clone(), range: range.clone(), authorization };
        let fault = state.faults.iter().position(|(part, _)| url.contains(part));
        let fault = fault.map(|at| state.faults.remove(at).1);
        let authorization = seen.authorization.clone();
        state.seen.push(seen);
        if let Some(Fault::Refused) = fault {
            let source = io::ErrorKind::ConnectionRefused.into();
            return Err(Error::Connect { host: host.to_owned(), source });
        }
        if state.plain.contains(host) && request.uri().scheme_str() == Some("https") {
            return Err(Error::PlainHttp { host: host.to_owned() });
        }
        let range = range.filter(|_| !matches!(fault, Some(Fault::IgnoredRange)));
        let path = request.uri().path();
        let mut answer = match (&state.token, &fault) {
            (_, Some(Fault::Status(status, headers, body))) => Answer {
                status: *status,
                headers: headers.clone(),
                body: body.clone().into_bytes(),
                announced: true,
                ..Answer::default()
            },
            (Some(token), _) if host == "auth.example" => {
                Answer::ok("application/json", json!({"token": token}).to_string().into_bytes())
            }
            (Some(token), _) if authorization != Some(format!("Bearer {token}")) => {
                Answer::unauthorized()
            }
            _ => state.answer(path, range.as_deref()),
        };
        if let Some(fault) = fault {
            answer.spoil(fault);
        }
        Ok(answer.into_response())
    }
}

impl State {
    fn answer(&self, path: &str, range: Option<&str>) -> Answer {
        let name = path.rsplit_once('/').map_or("", |(_, name)| name);
        if path.contains("/manifests/") {
            return match self.documents.get(name) {
                Some((media_type, bytes)) => Answer::ok(media_type, bytes.clone()),
                None => Answer::missing(),
            };
        }
        match self.blobs.get(name) {
            Some(bytes) => Answer::blob(bytes, range),
            None => Answer::missing(),
        }
    }
}

#[derive(Default)]
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    announced: bool,
    end: End,
    interrupted: bool,
}

/// How a body ends.
#[derive(Default, Clone, Copy)]
enum End {
    #[default]
    Clean,
    Broken,
}

impl Answer {
    fn ok(media_type: &str, body: Vec<u8>) -> Self {
        let headers = vec![("content-type", media_type.to_owned())];
        Self { status: 200, headers, body, announced: true, ..Self::default() }
    }

    fn missing() -> Self {
        let body = json!({"errors": [{"code": "UNKNOWN", "message": "not known"}]}).to_string();
        Self { status: 404, ..Self::ok("application/json", body.into_bytes()) }
    }

    fn unauthorized() -> Self {
        let challenge = "Bearer realm=\"https://auth.example/token\",service=\"mem\"".to_owned();
        let headers = vec![("www-authenticate", challenge)];
        Self { status: 401, headers, announced: true, ..Self::default() }
    }

    fn blob(bytes: &[u8], range: Option<&str>) -> Self {
        let from = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        let Some(from) = from.and_then(|from| from.parse::<usize>().ok()) else {
            return Self::ok("application/octet-stream", bytes.to_vec());
        };
        let Some(rest) = bytes.get(from..).filter(|rest| !rest.is_empty()) else {
            return Self { status: 416, announced: true, ..Self::default() };
        };
        let mut answer = Self::ok("application/octet-stream", rest.to_vec());
        answer.status = 206;
        answer.set("content-range", content_range(from as u64, bytes.len() as u64));
        answer
    }

    fn set(&mut self, name: &'static str, value: String) {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value));
    }

    fn spoil(&mut self, fault: Fault) {
        match fault {
            Fault::Header(name, value) => self.set(name, value),
            Fault::FlippedByte(at) => {
                if let Some(byte) = self.body.get_mut(at) {
                    *byte ^= 1;
                }
            }
            Fault::ShortBody(len) => {
                self.body.truncate(len);
                self.announced = false;
            }
            Fault::Reset(len) => {
                self.set("content-length", self.body.len().to_string());
                self.body.truncate(len);
                self.announced = false;
                self.end = End::Broken;
            }
            Fault::LongBody(more) => {
                self.body.extend(std::iter::repeat_n(0, more));
                self.announced = false;
            }
            Fault::ShiftedRange(by) => {
                let len = self.body.len() as u64;
                self.set("content-range", content_range(by, len.saturating_add(by)));
            }
            Fault::Interrupted => self.interrupted = true,
            Fault::Refused | Fault::Status(..) | Fault::IgnoredRange => {}
        }
    }

    fn into_response(mut self) -> Response<Body> {
        if self.announced && !self.headers.iter().any(|(name, _)| *name == "content-length") {
            self.set("content-length", self.body.len().to_string());
        }
        let (bytes, end) = (io::Cursor::new(self.body), self.end);
        let body = Box::new(FaultyBody { bytes, end, interrupted: self.interrupted });
        let mut response = Response::new(body as Body);
        *response.status_mut() = self.status.try_into().unwrap_or_default();
        for (name, value) in self.headers {
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

struct FaultyBody {
    bytes: io::Cursor<Vec<u8>>,
    end: End,
    interrupted: bool,
}

impl Read for FaultyBody {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if std::mem::take(&mut self.interrupted) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match (self.bytes.read(buf)?, self.end) {
            (0, End::Broken) if !buf.is_empty() => Err(io::ErrorKind::ConnectionReset.into()),
            (n, _) => Ok(n),
        }
    }
}

fn content_range(from: u64, len: u64) -> String {
    format!("bytes {from}-{}/{len}", len.saturating_sub(1))
}

fn describe(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: MediaType::new(media_type),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        annotations: std::collections::BTreeMap::default(),
        platform: None,
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}
