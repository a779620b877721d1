//! One HTTP exchange.

use std::fmt;
use std::io::Read;

pub use ureq::http::{HeaderMap, Method, Request, Response, StatusCode, Uri};

use super::Result;

/// The bytes of an answer, as they come. It ends after as many bytes as the answer announced; an
/// error means that fewer came.
pub type Body = Box<dyn Read + Send>;

/// One HTTP exchange at a time, from several threads at once.
pub trait Transport: fmt::Debug + Send + Sync {
    /// Sends `request`, whose URI is absolute, and returns the answer to it, whatever its status:
    /// no redirect is followed, nothing is tried again.
    ///
    /// # Errors
    /// When there is no answer: [`Connect`](super::Error::Connect), [`Tls`](super::Error::Tls),
    /// [`PlainHttp`](super::Error::PlainHttp), [`Broken`](super::Error::Broken),
    /// [`Protocol`](super::Error::Protocol), [`Certificates`](super::Error::Certificates).
    fn exchange(&self, request: Request<()>) -> Result<Response<Body>>;
}
