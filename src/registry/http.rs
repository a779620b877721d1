//! [`Transport`] over sockets: ureq for HTTP, rustls for TLS.

use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConnection, InvalidMessage, StreamOwned};
use ureq::config::Config;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, TcpConnector,
    Transport as Wire, TransportAdapter,
};
use ureq::{Agent, Timeout};

use super::tls::{CERTIFICATE_DIRS, TlsConfigs, is_about_time};
use super::transport::{Body, Request, Response, Transport, Uri};
use super::{Error, Result, TlsFault, url};

/// The most connections to one host that are kept open when idle: one for each layer that is
/// fetched at a time, and some for the ranges of reads.
const IDLE_PER_HOST: usize = 16;
const IDLE_ALL: usize = 64;
const USER_AGENT: &str = concat!("mica/", env!("CARGO_PKG_VERSION"));

/// How connections are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpOptions {
    /// Directories with certificates for single hosts, `HOST[:PORT]/*.crt` and so on.
    pub certificate_dirs: Vec<PathBuf>,
    /// Hosts (`HOST[:PORT]`, as in references) that may speak plain HTTP and whose certificates
    /// are not checked.
    pub insecure: Vec<String>,
    /// The longest time for name, connection and TLS handshake.
    pub connect_timeout: Duration,
    /// The longest time from the request to the end of the answer's headers.
    pub response_timeout: Duration,
    /// The longest time in which nothing comes or nothing can be sent. The transfer as a whole
    /// may take any time.
    pub idle_timeout: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            certificate_dirs: CERTIFICATE_DIRS.iter().map(PathBuf::from).collect(),
            insecure: Vec::new(),
            connect_timeout: Duration::from_secs(15),
            response_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
        }
    }
}

/// Exchanges over TCP and TLS. Connections are kept and used again by all threads.
#[derive(Debug)]
pub struct HttpTransport {
    agent: Agent,
}

impl HttpTransport {
    /// A transport without any connection yet. Proxies are not used.
    #[must_use]
    pub fn new(options: HttpOptions) -> Self {
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(USER_AGENT)
            // A blob must come as it is stored.
            .accept_encoding("identity")
            .timeout_connect(Some(options.connect_timeout))
            .timeout_recv_response(Some(options.response_timeout))
            .timeout_per_read(Some(options.idle_timeout))
            .timeout_per_write(Some(options.idle_timeout))
            .max_idle_connections(IDLE_ALL)
            .max_idle_connections_per_host(IDLE_PER_HOST)
            .build();
        let dialer = Dialer {
            tcp: TcpConnector::default(),
            tls: TlsConfigs::new(options.certificate_dirs, options.insecure),
        };
        Self { agent: Agent::with_parts(config, dialer, Names(DefaultResolver::default())) }
    }
}

impl Transport for HttpTransport {
    fn exchange(&self, request: Request<()>) -> Result<Response<Body>> {
        let uri = request.uri().clone();
        let response = self.agent.run(request).map_err(|error| translate(&uri, error))?;
        Ok(response.map(|body| Box::new(HttpBody(body.into_reader())) as Body))
    }
}

struct HttpBody(ureq::BodyReader<'static>);

impl Read for HttpBody {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf).map_err(|error| match error.downcast::<ureq::Error>() {
            Ok(ureq::Error::Timeout(_)) => stalled(),
            Ok(other) => other.into_io(),
            Err(error) => error,
        })
    }
}

fn stalled() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "nothing came for too long")
}

/// Makes connections. Whatever fails here leaves as a registry's [`Error`] within ureq's.
#[derive(Debug)]
struct Dialer {
    tcp: TcpConnector,
    tls: TlsConfigs,
}

impl Connector<()> for Dialer {
    type Out = Either<Box<dyn Wire>, TlsWire>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _chained: Option<()>,
    ) -> std::result::Result<Option<Self::Out>, ureq::Error> {
        let host = url::host_port(details.uri);
        let failed = |error| wrapped(dial_error(host, error));
        let tcp = Connector::<()>::connect(&self.tcp, details, None).map_err(failed)?;
        let Some(Either::B(tcp)) = tcp else {
            return Ok(None);
        };
        if !details.needs_tls() {
            return Ok(Some(Either::A(Box::new(tcp))));
        }
        let config = self.tls.get(host).map_err(wrapped)?;
        let name = ServerName::try_from(url::host(host).to_owned())
            .map_err(|_| wrapped(tls_error(host, TlsFault::WrongName)))?;
        let tls = ClientConnection::new(config, name)
            .map_err(|error| wrapped(rustls_error(host, &error)))?;
        let mut stream = StreamOwned::new(
            tls,
            TransportAdapter::new(Box::new(tcp) as Box<dyn Wire>, details.current_time.clone()),
        );
        stream.sock.set_timeout(details.timeout);
        let StreamOwned { conn, sock } = &mut stream;
        conn.complete_io(sock).map_err(|error| failed(ureq::Error::from(error)))?;
        let buffers = LazyBuffers::new(
            details.config.input_buffer_size(),
            details.config.output_buffer_size(),
        );
        Ok(Some(Either::B(TlsWire { stream, buffers })))
    }
}

/// A TLS connection as ureq wants it.
struct TlsWire {
    stream: StreamOwned<ClientConnection, TransportAdapter>,
    buffers: LazyBuffers,
}

impl Wire for TlsWire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(
        &mut self,
        amount: usize,
        timeout: NextTimeout,
    ) -> std::result::Result<(), ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        io::Write::write_all(&mut self.stream, output)?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> std::result::Result<bool, ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for TlsWire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsWire").finish_non_exhaustive()
    }
}

/// Host names, with errors that say which one.
#[derive(Debug)]
struct Names(DefaultResolver);

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> std::result::Result<ResolvedSocketAddrs, ureq::Error> {
        let failed = |error| wrapped(dial_error(url::host_port(uri), lookup_error(error)));
        self.0.resolve(uri, config, timeout).map_err(failed)
    }
}

/// The standard library tells a name that does not exist from a name server that does not answer
/// by its message only.
fn lookup_error(error: ureq::Error) -> ureq::Error {
    match error {
        ureq::Error::Io(error) if !error.to_string().contains("Temporary failure") => {
            ureq::Error::Io(io::Error::new(io::ErrorKind::NotFound, error))
        }
        other => other,
    }
}

fn wrapped(error: Error) -> ureq::Error {
    ureq::Error::Other(Box::new(error))
}

fn tls_error(host: &str, fault: TlsFault) -> Error {
    Error::Tls { host: host.to_owned(), fault }
}

/// What an error means before there is a connection.
fn dial_error(host: &str, error: ureq::Error) -> Error {
    let source = match error {
        ureq::Error::Io(error) => match as_rustls(&error) {
            Some(fault) => return rustls_error(host, fault),
            None => error,
        },
        ureq::Error::HostNotFound => io::Error::new(io::ErrorKind::NotFound, "no such host"),
        ureq::Error::Timeout(_) => io::Error::new(io::ErrorKind::TimedOut, "it takes too long"),
        other => other.into_io(),
    };
    Error::Connect { host: host.to_owned(), source }
}

/// What an error means once a request may have been sent.
fn translate(uri: &Uri, error: ureq::Error) -> Error {
    let url = url::shown(uri);
    let source = match error {
        ureq::Error::Other(inner) => match inner.downcast::<Error>() {
            Ok(own) => return *own,
            Err(other) => return Error::Protocol { url, why: other.to_string() },
        },
        ureq::Error::Io(error) => match as_rustls(&error) {
            Some(fault) => return rustls_error(url::host_port(uri), fault),
            None => error,
        },
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            let source = io::Error::new(io::ErrorKind::TimedOut, "it takes too long");
            return Error::Connect { host: url::host_port(uri).to_owned(), source };
        }
        ureq::Error::Timeout(_) => stalled(),
        other => return Error::Protocol { url, why: other.to_string() },
    };
    Error::Broken { url, source }
}

fn as_rustls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn rustls_error(host: &str, error: &rustls::Error) -> Error {
    let fault = match error {
        // The first bytes of an HTTP answer are no TLS record.
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            return Error::PlainHttp { host: host.to_owned() };
        }
        rustls::Error::InvalidCertificate(fault) => certificate_fault(fault),
        rustls::Error::AlertReceived(alert) => TlsFault::Refused(format!("{alert:?}")),
        other => TlsFault::Other(other.to_string()),
    };
    tls_error(host, fault)
}

fn certificate_fault(fault: &CertificateError) -> TlsFault {
    match fault {
        CertificateError::UnknownIssuer => TlsFault::UnknownIssuer,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsFault::WrongName
        }
        fault if is_about_time(fault) => TlsFault::Expired,
        // The verifier's own error type is behind this and has no name here.
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            TlsFault::CaUsedAsEndEntity
        }
        other => TlsFault::Other(other.to_string()),
    }
}
