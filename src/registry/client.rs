//! One request to a registry: plain HTTP or TLS, login, redirects, and what a status means.

use std::collections::HashMap;
use std::fmt;
use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use ureq::http::{HeaderName, HeaderValue, header};

use super::auth::{Anonymous, Challenge, Credentials, Token, Tokens, token_url};
use super::http::{HttpOptions, HttpTransport};
use super::retry::{Attempts, RetryPolicy};
use super::transport::{Body, HeaderMap, Request, Response, Transport, Uri};
use super::url::{self, Scheme};
use super::{Error, Result};
use crate::oci::Repository;

const REDIRECTS_MAX: usize = 5;
/// As much of the body of an error is read; more closes the connection.
const ERROR_BODY_MAX: u64 = 64 << 10;
const TOKEN_BODY_MAX: u64 = 1 << 20;
/// As many characters of a registry's message are shown.
const MESSAGE_MAX: usize = 300;

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// How connections are made.
    pub http: HttpOptions,
    /// How often a failed request is tried again.
    pub retry: RetryPolicy,
    /// Where logins come from.
    pub credentials: Arc<dyn Credentials>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            http: HttpOptions::default(),
            retry: RetryPolicy::default(),
            credentials: Arc::new(Anonymous),
        }
    }
}

/// A client of all registries. Clones share connections, tokens and what is known of hosts; all
/// of it can be used from many threads at once.
///
/// TLS is always tried first. A host that answers with plain HTTP is spoken to so only if it is
/// this machine (127.0.0.0/8, `::1`, `localhost`) or is listed in [`HttpOptions::insecure`]; for
/// any other it is an error. A certificate that cannot be trusted is never a reason to do without
/// TLS.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    transport: Box<dyn Transport>,
    options: Options,
    schemes: Mutex<HashMap<String, Scheme>>,
    tokens: Tokens,
}

/// What is asked of a repository.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) repository: &'a Repository,
    /// Below the repository: `blobs/DIGEST`.
    pub(super) path: &'a str,
    pub(super) headers: &'a [(HeaderName, HeaderValue)],
    /// For messages: the reference of what is asked for.
    pub(super) what: &'a str,
}

/// An answer, and where it came from.
pub(super) struct Answer {
    pub(super) uri: Uri,
    /// Whether another server gave it than the one that was asked.
    moved: bool,
    pub(super) response: Response<Body>,
}

impl Client {
    /// A client that has no connection yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let transport = HttpTransport::new(options.http.clone());
        Self::with_transport(Box::new(transport), options)
    }

    /// A client that speaks through `transport`.
    #[must_use]
    pub fn with_transport(transport: Box<dyn Transport>, options: Options) -> Self {
        let (schemes, tokens) = (Mutex::default(), Tokens::default());
        Self { inner: Arc::new(Inner { transport, options, schemes, tokens }) }
    }

    /// Does `once` until it succeeds, or fails for good or too often.
    pub(super) fn retrying<T>(&self, mut once: impl FnMut() -> Result<T>) -> Result<T> {
        let mut attempts = self.attempts();
        loop {
            match once() {
                Ok(value) => return Ok(value),
                Err(error) => attempts.after(error)?,
            }
        }
    }

    pub(super) fn attempts(&self) -> Attempts {
        Attempts::new(self.inner.options.retry)
    }

    /// Asks once. The answer has a status of 200 to 299; every other one is an error.
    pub(super) fn ask(&self, ask: Ask<'_>) -> Result<Answer> {
        let host = api_host(ask.repository.registry());
        let known = self.schemes().get(host).copied();
        if let Some(scheme) = known {
            return self.ask_by(scheme, host, ask);
        }
        let (scheme, answer) = match self.ask_by(Scheme::Tls, host, ask) {
            Err(error) if self.may_be_plain(host, &error) => {
                (Scheme::Plain, self.ask_by(Scheme::Plain, host, ask))
            }
            answer => (Scheme::Tls, answer),
        };
        if !matches!(answer, Err(Error::Connect { .. } | Error::Tls { .. } | Error::Broken { .. }))
        {
            self.schemes().insert(host.to_owned(), scheme);
        }
        answer
    }

    fn schemes(&self) -> std::sync::MutexGuard<'_, HashMap<String, Scheme>> {
        self.inner.schemes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the failure of TLS with `error` means that plain HTTP should be tried.
    fn may_be_plain(&self, host: &str, error: &Error) -> bool {
        let says_so = match error {
            Error::PlainHttp { host: other } => other == host,
            // Without a port, TLS and plain HTTP have different ones.
            Error::Connect { host: other, .. } => other == host && !url::has_port(host),
            _ => false,
        };
        says_so && self.plain_allowed(host)
    }

    fn plain_allowed(&self, host: &str) -> bool {
        url::is_loopback(host) || self.inner.options.http.insecure.iter().any(|h| h == host)
    }

    fn ask_by(&self, scheme: Scheme, host: &str, ask: Ask<'_>) -> Result<Answer> {
        let text =
            format!("{}://{host}/v2/{}/{}", scheme.as_str(), ask.repository.path(), ask.path);
        let uri: Uri = text
            .parse()
            .map_err(|_| Error::Protocol { url: text, why: "it is no URL".to_owned() })?;
        let known = self.inner.tokens.known(ask.repository);
        let mut answer = self.follow(&uri, ask.headers, known.as_ref())?;
        if answer.response.status() == 401 && !answer.moved {
            let token = self
                .inner
                .tokens
                .renew(ask.repository, known.as_ref(), || self.authorize(&mut answer, ask))?;
            answer = self.follow(&uri, ask.headers, Some(&token))?;
        }
        if answer.response.status().is_success() {
            return Ok(answer);
        }
        Err(answer.into_error(ask.what))
    }

    /// Asks `start` and goes where it is sent. The login goes to no other server.
    fn follow(
        &self,
        start: &Uri,
        headers: &[(HeaderName, HeaderValue)],
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer> {
        let mut uri = start.clone();
        for _hop in 0..=REDIRECTS_MAX {
            let moved = !url::same_origin(start, &uri);
            let mut request = Request::new(());
            *request.uri_mut() = uri.clone();
            request.headers_mut().extend(headers.iter().cloned());
            if let (Some(value), false) = (authorization, moved) {
                request.headers_mut().insert(header::AUTHORIZATION, value.clone());
            }
            let response = self.inner.transport.exchange(request)?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(Answer { uri, moved, response });
            }
            let mut answer = Answer { uri, moved, response };
            uri = self.redirected(&answer)?;
            answer.drain();
        }
        let why = format!("it redirects more than {REDIRECTS_MAX} times");
        Err(Error::Protocol { url: url::shown(start), why })
    }

    fn redirected(&self, answer: &Answer) -> Result<Uri> {
        let wrong = |why: String| Error::Protocol { url: url::shown(&answer.uri), why };
        let location = answer.response.headers().get(header::LOCATION);
        let next = location
            .and_then(|value| url::resolve(&answer.uri, value.to_str().ok()?))
            .ok_or_else(|| wrong("it redirects to nowhere".to_owned()))?;
        let from_tls = url::scheme(&answer.uri) == Some(Scheme::Tls);
        let to_plain = url::scheme(&next) != Some(Scheme::Tls);
        if to_plain && (from_tls || !self.plain_allowed(url::host_port(&next))) {
            return Err(wrong(format!("it redirects to plain HTTP: {}", url::shown(&next))));
        }
        Ok(next)
    }

    /// Gets what the registry wants to see, after `refusal`.
    fn authorize(&self, refusal: &mut Answer, ask: Ask<'_>) -> Result<Token> {
        let registry = ask.repository.registry();
        let login = self.inner.options.credentials.login(registry);
        let token = match Challenge::from_headers(refusal.response.headers()) {
            Some(Challenge::Bearer { realm, service, scope }) => {
                let scope =
                    scope.unwrap_or_else(|| format!("repository:{}:pull", ask.repository.path()));
                let url = token_url(&realm, service.as_deref(), &scope);
                let basic = login.and_then(|login| login.basic());
                refusal.drain();
                return self.fetch_token(refusal, &url, basic.as_ref());
            }
            Some(Challenge::Basic) => login.and_then(|login| Token::from_login(&login)),
            None => None,
        };
        token.ok_or_else(|| refusal.take_error(ask.what))
    }

    fn fetch_token(
        &self,
        refusal: &Answer,
        text: &str,
        authorization: Option<&HeaderValue>,
    ) -> Result<Token> {
        let wrong = |why: &str| Error::Protocol { url: url::shown(&refusal.uri), why: why.into() };
        let uri: Uri = text.parse().map_err(|_| wrong("the realm of its login is no URL"))?;
        let plain = match url::scheme(&uri) {
            Some(scheme) => scheme == Scheme::Plain,
            None => return Err(wrong("the realm of its login is no URL")),
        };
        let from_tls = url::scheme(&refusal.uri) == Some(Scheme::Tls);
        if plain && (from_tls || !self.plain_allowed(url::host_port(&uri))) {
            return Err(wrong("it wants a login over plain HTTP"));
        }
        let mut answer = self.follow(&uri, &[], authorization)?;
        let what = url::shown(&uri);
        if !answer.response.status().is_success() {
            return Err(answer.into_error(&what));
        }
        let body = answer.read(TOKEN_BODY_MAX)?;
        Token::parse(&body).ok_or_else(|| Error::Protocol {
            url: what,
            why: "it does not answer with a token".to_owned(),
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("transport", &self.inner.transport).finish_non_exhaustive()
    }
}

impl Answer {
    /// The URL as it may be shown.
    pub(super) fn shown(&self) -> String {
        url::shown(&self.uri)
    }

    /// The body, when it has at most `max` bytes.
    pub(super) fn read(&mut self, max: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let body = self.response.body_mut();
        let read = body.take(max.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|source| Error::Broken { url: self.shown(), source })?;
        if bytes.len() as u64 > max {
            let why = format!("it sends more than {max} bytes");
            return Err(Error::Protocol { url: self.shown(), why });
        }
        Ok(bytes)
    }

    /// Reads a body that nobody wants, so that the connection can be used again.
    fn drain(&mut self) {
        if let Err(error) = self.read(ERROR_BODY_MAX) {
            log::debug!("{error}");
        }
    }

    fn into_error(mut self, what: &str) -> Error {
        self.take_error(what)
    }

    fn take_error(&mut self, what: &str) -> Error {
        let status = self.response.status().as_u16();
        let retry_after = retry_after(self.response.headers());
        let message = self.read(ERROR_BODY_MAX).ok().and_then(|body| message(&body));
        let url = self.shown();
        match status {
            // The link that a registry redirects to is good for some time only: a new one may
            // work.
            400 | 401 | 403 if self.moved => {
                let why = format!("the server that the registry sent us to answered {status}");
                Error::Broken { url, source: std::io::Error::other(why) }
            }
            401 => Error::Unauthorized { url, message },
            403 => Error::Denied { url, message },
            404 => Error::NotFound { what: what.to_owned(), message },
            429 => Error::RateLimited { url, retry_after, message },
            _ => Error::Status { url, status, retry_after, message },
        }
    }
}

/// Docker Hub's registry has another host than its name.
fn api_host(registry: &str) -> &str {
    if registry == "docker.io" { "registry-1.docker.io" } else { registry }
}

/// Whole seconds; a date is not understood and means nothing.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The message in the body of an error (distribution-spec, "Error Codes"), fit for a terminal.
fn message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let errors: Errors = serde_json::from_slice(body).ok()?;
    let first = errors.errors.into_iter().next()?;
    let text = if first.message.is_empty() { first.code } else { first.message };
    let shown: String = text.chars().filter(|c| !c.is_control()).take(MESSAGE_MAX).collect();
    (!shown.is_empty()).then_some(shown)
}

#[cfg(test)]
mod tests {
    use super::message;

    #[test]
    fn the_message_of_a_registry_cannot_write_to_the_terminal() {
        let body = br#"{"errors":[{"code":"DENIED","message":"no \u001b[31mway\n"}]}"#;
        assert_eq!(message(body).unwrap(), "no [31mway");
        assert_eq!(message(br#"{"errors":[{"code":"DENIED"}]}"#).unwrap(), "DENIED");
        for body in [&b""[..], b"<html>", br#"{"errors":[]}"#, br#"{"errors":[{}]}"#] {
            assert_eq!(message(body), None);
        }
    }
}
