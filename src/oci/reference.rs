//! Image references: `[docker://]HOST[:PORT]/PATH[:TAG][@DIGEST]`, read with Docker's rules.
//!
//! The grammar and the normalisation are those of the `reference` package of the distribution
//! project: a first component without `.`, `:` or an upper-case letter that is not `localhost` is
//! no host; the host is then `docker.io`; a path of one component on `docker.io` is below
//! `library/`; without tag and digest the tag is `latest`.

use std::fmt;
use std::str::FromStr;

use super::{Digest, DigestError};

const DEFAULT_REGISTRY: &str = "docker.io";
const LEGACY_REGISTRY: &str = "index.docker.io";
const LIBRARY: &str = "library/";
const DEFAULT_TAG: &str = "latest";
const PATH_MAX: usize = 255;
const TAG_MAX: usize = 128;

/// A repository: where it is, and its path there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    registry: String,
    path: String,
}

/// The name of an image in a repository; it has a tag, a digest or both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    repository: Repository,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no reference. Each message quotes the part that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing at all, or nothing before the tag.
    #[error("the image reference \"{0}\" has no name")]
    NoName(String),
    /// Another transport than `docker://`.
    #[error("\"{0}\" is not a registry: only docker:// is read here")]
    Transport(String),
    /// The host or its port breaks the grammar.
    #[error("\"{0}\" is not HOST or HOST:PORT")]
    Registry(String),
    /// Docker refuses upper-case letters in paths.
    #[error("the image name \"{0}\" has upper-case letters")]
    UpperCase(String),
    /// A component of the path breaks the grammar.
    #[error(
        "\"{0}\" is not a valid part of an image name: \
         lower-case letters and digits, with single \".\", \"_\", \"__\" or dashes between them"
    )]
    Component(String),
    /// The path has more than 255 bytes.
    #[error("the image name has {0} bytes, more than 255")]
    TooLong(usize),
    /// 64 hexadecimal digits alone are an image ID and never a name.
    #[error("\"{0}\" looks like an image ID, which cannot be the name of an image")]
    LooksLikeId(String),
    /// The tag breaks the grammar.
    #[error(
        "\"{0}\" is not a valid tag: at most 128 letters, digits, \"_\", \".\" or \"-\", \
         the first neither \".\" nor \"-\""
    )]
    Tag(String),
    /// What stands after `@` is no digest.
    #[error("the reference has a bad digest")]
    Digest(#[from] DigestError),
}

type Result<T> = std::result::Result<T, ReferenceError>;

impl Repository {
    /// `HOST` or `HOST:PORT`; `docker.io` for Docker Hub.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path within the registry: `library/debian`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// As short as Docker shows it: without `docker.io/` and `library/`.
    #[must_use]
    pub fn familiar(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return self.to_string();
        }
        match self.path.strip_prefix(LIBRARY) {
            Some(name) if !name.contains('/') => name.to_owned(),
            _ => self.path.clone(),
        }
    }
}

impl Reference {
    /// The repository of the image.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The tag, if one was written or none was needed.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest or index, if one was written. It decides; the tag is then for
    /// people.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same repository with a digest in place of tag and digest.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { repository: self.repository.clone(), tag: None, digest: Some(digest) }
    }

    /// As short as Docker shows it: `debian:latest`.
    #[must_use]
    pub fn familiar(&self) -> String {
        self.suffixed(self.repository.familiar())
    }

    fn suffixed(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        text
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self> {
        let rest = text.strip_prefix("docker://").unwrap_or(text);
        if let Some((transport, _)) = rest.split_once("://") {
            return Err(ReferenceError::Transport(transport.to_owned()));
        }
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (rest, None),
        };
        let (name, tag) = split_tag(rest);
        if name.is_empty() {
            return Err(ReferenceError::NoName(text.to_owned()));
        }
        let tag = match (tag, digest) {
            (Some(tag), _) => Some(check_tag(tag)?.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some(DEFAULT_TAG.to_owned()),
        };
        Ok(Self { repository: name.parse()?, tag, digest })
    }
}

impl FromStr for Repository {
    type Err = ReferenceError;

    fn from_str(name: &str) -> Result<Self> {
        let (registry, path) = match name.split_once('/') {
            Some((first, rest)) if is_registry(first) => (check_registry(first)?, rest),
            _ => (DEFAULT_REGISTRY, name),
        };
        if path.is_empty() {
            return Err(ReferenceError::NoName(name.to_owned()));
        }
        if registry == DEFAULT_REGISTRY && looks_like_id(path) {
            return Err(ReferenceError::LooksLikeId(path.to_owned()));
        }
        let path = if registry == DEFAULT_REGISTRY && !path.contains('/') {
            format!("{LIBRARY}{path}")
        } else {
            path.to_owned()
        };
        check_path(&path)?;
        Ok(Self { registry: registry.to_owned(), path })
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

impl fmt::Display for Reference {
    /// The canonical form, with host and path in full; it reads back as the same reference.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.suffixed(self.repository.to_string()))
    }
}

/// Splits a tag off: what stands after the last `:` that has no `/` after it.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (text, None),
    }
}

fn is_registry(first: &str) -> bool {
    first == "localhost"
        || first.contains(['.', ':'])
        || first.bytes().any(|b| b.is_ascii_uppercase())
}

fn check_registry(text: &str) -> Result<&str> {
    let wrong = || ReferenceError::Registry(text.to_owned());
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (address, rest) = bracketed.split_once(']').ok_or_else(wrong)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
            (
                None,
                if rest.is_empty() {
                    None
                } else {
                    Some(rest.strip_prefix(':').ok_or_else(wrong)?)
                },
            )
        }
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        },
    };
    if host.is_some_and(|host| !is_host_name(host)) {
        return Err(wrong());
    }
    let decimal =
        |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    if port.is_some_and(|port| !decimal(port)) {
        return Err(wrong());
    }
    Ok(if text == LEGACY_REGISTRY { DEFAULT_REGISTRY } else { text })
}

fn is_host_name(host: &str) -> bool {
    host.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    })
}

fn check_path(path: &str) -> Result<()> {
    if path.len() > PATH_MAX {
        return Err(ReferenceError::TooLong(path.len()));
    }
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(ReferenceError::UpperCase(path.to_owned()));
    }
    match path.split('/').find(|component| !is_component(component)) {
        Some(component) => Err(ReferenceError::Component(component.to_owned())),
        None => Ok(()),
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_component(component: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = [component.bytes().next(), component.bytes().next_back()];
    if ends.iter().any(|end| !end.is_some_and(word)) {
        return false;
    }
    component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).all(|between| {
        matches!(between, "" | "." | "_" | "__") || between.bytes().all(|b| b == b'-')
    })
}

fn check_tag(tag: &str) -> Result<&str> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = tag.bytes();
    let valid = tag.len() <= TAG_MAX
        && bytes.next().is_some_and(word)
        && bytes.all(|b| word(b) || b == b'.' || b == b'-');
    if valid { Ok(tag) } else { Err(ReferenceError::Tag(tag.to_owned())) }
}

fn looks_like_id(path: &str) -> bool {
    path.len() == 64 && path.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}
