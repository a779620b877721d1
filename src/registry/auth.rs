//! Logins: challenges, tokens, and who is asked for a password.
//!
//! RFC 9110, section 11.6.1 (challenges); the distribution project's token authentication.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde::Deserialize;
use ureq::http::HeaderValue;

use super::Result;
use super::transport::HeaderMap;
use crate::oci::Repository;

/// What registries promise when they do not say how long a token is good for.
const DEFAULT_LIFE: u64 = 60;
const LIFE_MAX: u64 = 12 * 60 * 60;
/// A token is not used for so long before its end: the request must still arrive in time.
const MARGIN: u64 = 5;

/// Where logins come from.
pub trait Credentials: fmt::Debug + Send + Sync {
    /// The login for `registry` (`HOST[:PORT]`; `docker.io` for Docker Hub), if there is one. It
    /// is asked whenever a login is needed, so that a changed one counts at once.
    fn login(&self, registry: &str) -> Option<Login>;
}

/// No logins at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Anonymous;

impl Credentials for Anonymous {
    fn login(&self, _registry: &str) -> Option<Login> {
        None
    }
}

/// A user name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user name.
    pub username: String,
    /// The password. It is never shown.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("username", &self.username).finish_non_exhaustive()
    }
}

impl Login {
    /// The value of an `Authorization` header (RFC 7617).
    pub(super) fn basic(&self) -> Option<HeaderValue> {
        let pair = format!("{}:{}", self.username, self.password);
        secret(&format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
    }
}

/// What a registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token from the server at `realm`.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
    /// A user name and password.
    Basic,
}

impl Challenge {
    /// The challenge to answer: a token where that is possible.
    pub(super) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut challenges: Vec<Self> = headers
            .get_all("www-authenticate")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(parse_challenges)
            .collect();
        let bearer = challenges.iter().position(|c| matches!(c, Self::Bearer { .. }));
        let chosen = bearer.unwrap_or(0);
        (chosen < challenges.len()).then(|| challenges.swap_remove(chosen))
    }
}

/// Reads `SCHEME KEY=VALUE, KEY="VALUE", SCHEME ...`; schemes that are not known are left out.
fn parse_challenges(text: &str) -> Vec<Challenge> {
    let mut found: Vec<(String, HashMap<String, String>)> = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (word, after) = take_token(rest);
        if word.is_empty() {
            break;
        }
        if let Some(value) = after.trim_start().strip_prefix('=') {
            let (value, after) = take_value(value.trim_start());
            if let Some((_, parameters)) = found.last_mut() {
                parameters.insert(word.to_ascii_lowercase(), value);
            }
            rest = after;
        } else {
            found.push((word.to_ascii_lowercase(), HashMap::new()));
            rest = after;
        }
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    found.into_iter().filter_map(|(scheme, parameters)| known(&scheme, parameters)).collect()
}

fn known(scheme: &str, mut parameters: HashMap<String, String>) -> Option<Challenge> {
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer {
            realm: parameters.remove("realm")?,
            service: parameters.remove("service"),
            scope: parameters.remove("scope"),
        }),
        _ => None,
    }
}

fn take_token(text: &str) -> (&str, &str) {
    let end = text.find([' ', '\t', ',', '=', '"']).unwrap_or(text.len());
    text.split_at(end)
}

fn take_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = take_token(text);
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => value.extend(chars.next()),
            _ => value.push(c),
        }
    }
    (value, chars.as_str())
}

/// `realm` with the query that asks it for a token.
pub(super) fn token_url(realm: &str, service: Option<&str>, scope: &str) -> String {
    let mut url = realm.to_owned();
    let mut separator = if realm.contains('?') { '&' } else { '?' };
    for (key, value) in [("service", service), ("scope", Some(scope))] {
        if let Some(value) = value {
            url.push(separator);
            url.push_str(key);
            url.push('=');
            push_encoded(&mut url, value);
            separator = '&';
        }
    }
    url
}

fn push_encoded(url: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// What goes into an `Authorization` header, and until when.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) value: HeaderValue,
    pub(super) until: Instant,
}

impl Token {
    /// Reads the answer of a token server.
    pub(super) fn parse(answer: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
            expires_in: Option<u64>,
        }
        let answer: Answer = serde_json::from_slice(answer).ok()?;
        let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty())?;
        let life = answer.expires_in.unwrap_or(DEFAULT_LIFE).min(LIFE_MAX);
        Some(Self {
            value: secret(&format!("Bearer {token}"))?,
            until: Instant::now() + Duration::from_secs(life.saturating_sub(MARGIN)),
        })
    }

    fn is_good(&self) -> bool {
        self.until > Instant::now()
    }

    /// A login that is sent with every request.
    pub(super) fn from_login(login: &Login) -> Option<Self> {
        let until = Instant::now() + Duration::from_secs(LIFE_MAX);
        Some(Self { value: login.basic()?, until })
    }
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The tokens of a client, one for each repository. However many threads need one, one fetches
/// it and the others wait for it.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    slots: Mutex<HashMap<Repository, Arc<Slot>>>,
}

#[derive(Debug, Default)]
struct Slot {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Empty,
    Fetching,
    Ready(Token),
}

impl Tokens {
    /// The token for `repository`, if there is one that is still good.
    pub(super) fn known(&self, repository: &Repository) -> Option<HeaderValue> {
        match &*self.slot(repository).lock() {
            State::Ready(token) if token.is_good() => Some(token.value.clone()),
            _ => None,
        }
    }

    /// A token for `repository` other than `refused`: one that is there, one that another thread
    /// fetches, or one from `fetch`.
    pub(super) fn renew(
        &self,
        repository: &Repository,
        refused: Option<&HeaderValue>,
        fetch: impl FnOnce() -> Result<Token>,
    ) -> Result<HeaderValue> {
        let slot = self.slot(repository);
        let mut state = slot.lock();
        loop {
            match &*state {
                State::Ready(token) if token.is_good() && Some(&token.value) != refused => {
                    return Ok(token.value.clone());
                }
                State::Fetching => {
                    state = slot.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                State::Ready(_) | State::Empty => break,
            }
        }
        *state = State::Fetching;
        drop(state);
        let mut fetching = Fetching { slot: &slot, outcome: State::Empty };
        let token = fetch()?;
        let value = token.value.clone();
        fetching.outcome = State::Ready(token);
        Ok(value)
    }

    fn slot(&self, repository: &Repository) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(repository.clone()).or_default())
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to fill a slot. However it ends, those who wait are woken.
struct Fetching<'a> {
    slot: &'a Slot,
    outcome: State,
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        *self.slot.lock() = std::mem::take(&mut self.outcome);
        self.slot.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::{Challenge, Login, Token, Tokens, parse_challenges, token_url};
    use crate::registry::Error;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        }
    }

    #[test]
    fn challenges_are_read_in_all_their_spellings() {
        let full = r#"Bearer realm="https://a/t",service="r",scope="repository:a/b:pull,push""#;
        let scope = Some("repository:a/b:pull,push");
        assert_eq!(parse_challenges(full), [bearer("https://a/t", Some("r"), scope)]);
        let loose = r#"  BEARER  Realm = "https://a/\"t" ,  service=r  "#;
        assert_eq!(parse_challenges(loose), [bearer("https://a/\"t", Some("r"), None)]);
        let several = r#"Negotiate, Basic realm="x, y", Bearer realm="z""#;
        assert_eq!(parse_challenges(several), [Challenge::Basic, bearer("z", None, None)]);
        for nothing in ["", "Bearer", "Bearer service=x", "=\"", "\"", "Digest realm=\"x"] {
            assert_eq!(parse_challenges(nothing), [], "{nothing}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_read_without_harm(text in "([a-zA-Z]{0,8}|[ \\t,=\"\\\\]|\\PC){0,30}") {
            parse_challenges(&text);
        }
    }

    #[test]
    fn the_query_for_a_token_is_encoded() {
        assert_eq!(
            token_url("https://a/t?x=1", Some("a b&c"), "repository:a/b:pull"),
            "https://a/t?x=1&service=a%20b%26c&scope=repository:a/b:pull"
        );
    }

    #[test]
    fn a_token_is_read_under_both_its_names_and_only_if_it_fits_a_header() {
        for answer in [r#"{"token":"t"}"#, r#"{"access_token":"t","expires_in":300}"#] {
            assert_eq!(Token::parse(answer.as_bytes()).unwrap().value, "Bearer t");
        }
        for answer in ["", "{}", r#"{"token":""}"#, r#"{"token":"a\r\nb"}"#] {
            assert!(Token::parse(answer.as_bytes()).is_none(), "{answer}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let login = Login { username: "user".into(), password: "hidden".into() };
        let shown = format!("{login:?} {:?}", login.basic().unwrap());
        assert!(shown.contains("user") && !shown.contains("hidden"), "{shown}");
        assert_eq!(login.basic().unwrap().as_bytes(), b"Basic dXNlcjpoaWRkZW4=");
    }

    #[test]
    fn many_threads_that_need_a_token_fetch_it_once() {
        let tokens = Tokens::default();
        let repository = "host.example/app".parse().unwrap();
        let fetched = AtomicUsize::new(0);
        let fetch = || {
            fetched.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(20));
            Ok(Token::parse(br#"{"token":"t"}"#).unwrap())
        };
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| tokens.renew(&repository, None, fetch).unwrap());
            }
        });
        assert_eq!(fetched.load(Ordering::SeqCst), 1);
        let refused = tokens.known(&repository).unwrap();
        tokens.renew(&repository, Some(&refused), fetch).unwrap();
        assert_eq!(fetched.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_token_is_not_used_after_its_end() {
        let tokens = Tokens::default();
        let repository = "host.example/app".parse().unwrap();
        let fetch = |answer: &str| {
            let token = Token::parse(answer.as_bytes()).unwrap();
            tokens.renew(&repository, None, || Ok(token)).unwrap()
        };
        assert_eq!(fetch(r#"{"token":"short","expires_in":1}"#), "Bearer short");
        assert_eq!(tokens.known(&repository), None);
        assert_eq!(fetch(r#"{"token":"long","expires_in":100}"#), "Bearer long");
        assert_eq!(tokens.known(&repository).unwrap(), "Bearer long");
        assert_eq!(fetch(r#"{"token":"unused"}"#), "Bearer long");
    }

    #[test]
    fn a_token_that_cannot_be_fetched_blocks_nobody() {
        let tokens = Tokens::default();
        let repository = "host.example/app".parse().unwrap();
        let missing = || Err(Error::NotFound { what: String::new(), message: None });
        assert!(tokens.renew(&repository, None, missing).is_err());
        let found = || Ok(Token::parse(br#"{"token":"t"}"#).unwrap());
        assert_eq!(tokens.renew(&repository, None, found).unwrap(), "Bearer t");
    }
}
