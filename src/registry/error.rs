//! Why a registry did not give what was asked for.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::oci::{Digest, DocumentError, Platform};

/// The result of asking a registry.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a registry did not give what was asked for. URLs are without query and login: those may
/// hold secrets.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection.
    #[error("cannot connect to {host}")]
    Connect {
        /// Host and port.
        host: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No TLS connection that can be trusted.
    #[error("cannot trust the TLS connection to {host}: {fault}")]
    Tls {
        /// Host and port.
        host: String,
        /// What is wrong.
        fault: TlsFault,
    },
    /// The server speaks plain HTTP where TLS was tried.
    #[error("{host} speaks plain HTTP, not TLS")]
    PlainHttp {
        /// Host and port.
        host: String,
    },
    /// A certificate directory cannot be used.
    #[error("cannot use {path}")]
    Certificates {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The connection was lost or nothing came for too long.
    #[error("the connection broke while talking to {url}")]
    Broken {
        /// What was asked.
        url: String,
        /// How.
        #[source]
        source: io::Error,
    },
    /// The answer breaks the protocol.
    #[error("{url} answered against the protocol: {why}")]
    Protocol {
        /// What was asked.
        url: String,
        /// In what way.
        why: String,
    },
    /// A login is needed, or the login was not accepted.
    #[error("{url} asks for a login{}", said(.message.as_ref()))]
    Unauthorized {
        /// What was asked.
        url: String,
        /// What the registry says.
        message: Option<String>,
    },
    /// The login does not allow it.
    #[error("{url} denies access{}", said(.message.as_ref()))]
    Denied {
        /// What was asked.
        url: String,
        /// What the registry says.
        message: Option<String>,
    },
    /// There is no such manifest or blob.
    #[error("{what} does not exist{}", said(.message.as_ref()))]
    NotFound {
        /// What was asked for, as a reference.
        what: String,
        /// What the registry says.
        message: Option<String>,
    },
    /// Too many requests.
    #[error("{url} limits the rate of requests{}", said(.message.as_ref()))]
    RateLimited {
        /// What was asked.
        url: String,
        /// How long the registry asks to wait.
        retry_after: Option<Duration>,
        /// What the registry says.
        message: Option<String>,
    },
    /// Another status than those that are expected.
    #[error("{url} answered with status {status}{}", said(.message.as_ref()))]
    Status {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
        /// How long the registry asks to wait.
        retry_after: Option<Duration>,
        /// What the registry says.
        message: Option<String>,
    },
    /// The bytes are not those that were asked for.
    #[error("{what} has the digest {found}, not {expected}")]
    Mismatch {
        /// What was asked for, as a reference.
        what: String,
        /// The digest it should have.
        expected: Digest,
        /// The digest of the bytes that came.
        found: Digest,
    },
    /// The size is not the one that was announced.
    #[error("{what} has {found} bytes, not {expected}")]
    Size {
        /// What was asked for, as a reference.
        what: String,
        /// The size it should have.
        expected: u64,
        /// How many bytes there are, "more" when no one counted.
        found: String,
    },
    /// The bytes are those that were asked for, but cannot be used.
    #[error("cannot use {what}")]
    Document {
        /// What was asked for, as a reference.
        what: String,
        /// Why.
        #[source]
        source: DocumentError,
    },
    /// It can be had, but is no container image.
    #[error("{what} is no container image but {kind}")]
    NotAnImage {
        /// What was asked for, as a reference.
        what: String,
        /// Its media type.
        kind: String,
    },
    /// There are images, but none for the platform.
    #[error("{what} has no image for {wanted}; it has {}", list(.available))]
    NoPlatform {
        /// What was asked for, as a reference.
        what: String,
        /// The platform.
        wanted: Box<Platform>,
        /// The platforms there are images for.
        available: Vec<Platform>,
    },
}

/// What is wrong with a TLS connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    /// No known authority signed the certificate.
    #[error("its certificate is signed by an unknown authority")]
    UnknownIssuer,
    /// The certificate is an authority's own, and not one that was put into `certs.d` for the
    /// host.
    #[error("its certificate is that of a certificate authority (CA:TRUE), not of a server")]
    CaUsedAsEndEntity,
    /// The certificate is for other names.
    #[error("its certificate is for another name")]
    WrongName,
    /// The certificate has expired, or is not valid yet: a clock may be wrong.
    #[error("its certificate has expired or is not valid yet")]
    Expired,
    /// The server ended the handshake: it may want a client certificate.
    #[error("it refused the connection: {0}")]
    Refused(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { source, .. } => {
                !matches!(source.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
            }
            Self::Broken { .. } | Self::RateLimited { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// How long the registry asks to wait before the next try.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Status { retry_after, .. } => {
                *retry_after
            }
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    /// The error stays whole: [`io::Error::get_ref`] gives it back.
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Connect { source, .. } | Error::Broken { source, .. } => source.kind(),
            Error::NotFound { .. } => io::ErrorKind::NotFound,
            Error::Unauthorized { .. } | Error::Denied { .. } => io::ErrorKind::PermissionDenied,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

fn said(message: Option<&String>) -> String {
    message.map(|message| format!(": it says \"{message}\"")).unwrap_or_default()
}

fn list(platforms: &[Platform]) -> String {
    if platforms.is_empty() {
        return "none that says its platform".to_owned();
    }
    let names: Vec<String> = platforms.iter().map(ToString::to_string).collect();
    names.join(", ")
}
