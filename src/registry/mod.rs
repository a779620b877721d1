//! The registry: the distribution protocol (distribution-spec), read side.
//!
//! A [`Client`] speaks through a [`Transport`], which does one HTTP exchange and decides nothing.
//! Everything else is here: plain HTTP or TLS, redirects, logins and tokens, retries, and the
//! check of every manifest and config against its digest before it is parsed. Blobs are handed on
//! as they come: whoever stores one hashes it and compares.
//!
//! Nothing here writes to disk, prints or reads the environment.

mod auth;
mod blobs;
mod client;
mod error;
mod http;
mod manifests;
mod retry;
mod tls;
mod transport;
mod url;

pub use auth::{Anonymous, Credentials, Login};
pub use blobs::BlobReader;
pub use client::{Client, Options};
pub use error::{Error, Result, TlsFault};
pub use http::{HttpOptions, HttpTransport};
pub use manifests::{Fetched, Image};
pub use retry::RetryPolicy;
pub use tls::CERTIFICATE_DIRS;
pub use transport::{Body, HeaderMap, Method, Request, Response, StatusCode, Transport, Uri};
