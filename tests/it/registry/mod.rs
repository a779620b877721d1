//! The client of registries: against one in memory that fails in every way, and against Debian's.

mod blobs;
mod manifests;
mod peer;
mod requests;
mod tls;
mod wire;

use std::error::Error as _;
use std::io;
use std::time::Duration;

use mica::oci::{Platform, Reference};
use mica::registry::{Client, Error, HttpOptions, Image, Options, RetryPolicy};
use mica::testing::transport::MemTransport;

/// Retries as in real life, but at once.
const QUICK: RetryPolicy = RetryPolicy {
    tries: 3,
    first_delay: Duration::from_millis(1),
    max_delay: Duration::from_millis(2),
    max_retry_after: Duration::from_secs(1),
};

fn quick() -> Options {
    Options { retry: QUICK, ..Options::default() }
}

/// Options that know of no directories of this machine and trust nothing but what is said here.
fn real(http: HttpOptions) -> Options {
    Options { http, ..quick() }
}

fn bare() -> HttpOptions {
    HttpOptions { certificate_dirs: Vec::new(), ..HttpOptions::default() }
}

fn client(transport: &MemTransport) -> Client {
    Client::with_transport(Box::new(transport.clone()), quick())
}

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn linux() -> Platform {
    "linux/amd64".parse().unwrap()
}

fn image(client: &Client, name: &str) -> Result<Image, Error> {
    client.image(&reference(name), &linux())
}

/// The registry's error within an error of reading.
fn inner(error: &io::Error) -> &Error {
    error.get_ref().and_then(|inner| inner.downcast_ref()).unwrap_or_else(|| panic!("{error:?}"))
}

/// All messages of an error.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}
