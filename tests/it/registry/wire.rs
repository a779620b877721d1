//! What only shows on real sockets: time, and connections that are used again.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mica::oci::{Descriptor, Digest, MediaType, Repository};
use mica::registry::{Client, Error, HttpOptions};

use super::{bare, chain, image, inner, real};

const CONTENT: &[u8] = &[7; 100_000];

/// A server that answers each request as `answer` says: given the number of the request and its
/// head, it writes what it likes and says whether the connection goes on.
struct Server {
    addr: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    fn start(answer: impl Fn(usize, &str, &mut TcpStream) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let shared = Arc::new((AtomicUsize::new(0), answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let shared = Arc::clone(&shared);
                counter.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    let (requests, answer) = &*shared;
                    while let Some(head) = read_head(&mut stream) {
                        if !answer(requests.fetch_add(1, Ordering::SeqCst), &head, &mut stream) {
                            break;
                        }
                    }
                });
            }
        });
        Self { addr, connections }
    }

    fn blob(&self, http: HttpOptions) -> Result<Vec<u8>, std::io::Error> {
        self.blob_of(&Client::new(real(http)))
    }

    fn blob_of(&self, client: &Client) -> Result<Vec<u8>, std::io::Error> {
        let repository: Repository = format!("{}/app", self.addr).parse().unwrap();
        let descriptor = Descriptor {
            media_type: MediaType::new("application/octet-stream"),
            digest: Digest::of(CONTENT),
            size: CONTENT.len() as u64,
            annotations: std::collections::BTreeMap::default(),
            platform: None,
        };
        let mut bytes = Vec::new();
        client.blob(&repository, &descriptor).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// The head of the next request; an attempt at TLS is answered as Go's servers do.
fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
        if head[0] == 0x16 {
            let refusal = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400 Bad Request";
            stream.write_all(refusal).unwrap();
            return None;
        }
    }
    Some(String::from_utf8(head).unwrap())
}

fn send(stream: &mut TcpStream, head: &str, body: &[u8]) {
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
}

fn from(start: usize) -> String {
    let len = CONTENT.len();
    let left = len - start;
    if start == 0 {
        return format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n");
    }
    let last = len - 1;
    format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Length: {left}\r\n\
         Content-Range: bytes {start}-{last}/{len}\r\n\r\n"
    )
}

fn impatient() -> HttpOptions {
    let timeout = Duration::from_millis(300);
    HttpOptions { idle_timeout: timeout, response_timeout: timeout, ..bare() }
}

#[test]
fn a_body_that_stalls_is_given_up_and_resumed() {
    let server = Server::start(|request, head, stream| {
        if request == 0 {
            send(stream, &from(0), &CONTENT[..50_000]);
            thread::sleep(Duration::from_secs(3));
            return false;
        }
        assert!(head.to_ascii_lowercase().contains("range: bytes=50000-\r\n"), "{head}");
        send(stream, &from(50_000), &CONTENT[50_000..]);
        true
    });
    let start = Instant::now();
    assert!(server.blob(impatient()).unwrap() == CONTENT);
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_slow_body_that_keeps_coming_is_not_given_up() {
    let server = Server::start(|_, _, stream| {
        send(stream, &from(0), b"");
        for part in CONTENT.chunks(10_000) {
            thread::sleep(Duration::from_millis(60));
            send(stream, "", part);
        }
        true
    });
    let start = Instant::now();
    assert!(server.blob(impatient()).unwrap() == CONTENT);
    assert!(start.elapsed() > Duration::from_millis(500));
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let server = Server::start(|_, _, _| {
        thread::sleep(Duration::from_secs(5));
        false
    });
    let error = server.blob(impatient()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    let text = chain(inner(&error));
    assert!(text.ends_with("nothing came for too long"), "{text}");
}

#[test]
fn headers_that_come_drop_by_drop_are_given_up() {
    let server = Server::start(|_, _, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nX-Drops: ").unwrap();
        // They end some time, so that a client that waits for ever fails and does not hang.
        for _drop in 0..100 {
            if stream.write_all(b".").is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        false
    });
    let error = server.blob(HttpOptions { idle_timeout: Duration::from_secs(60), ..impatient() });
    assert_eq!(error.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
}

#[test]
fn a_body_that_is_cut_off_is_resumed() {
    let server = Server::start(|request, _, stream| {
        let (start, end) = [(0, 70_000), (70_000, 100_000)][request];
        send(stream, &from(start), &CONTENT[start..end]);
        false
    });
    assert!(server.blob(bare()).unwrap() == CONTENT);
}

#[test]
fn one_connection_serves_request_after_request() {
    let server = Server::start(|_, _, stream| {
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n";
        send(stream, "", chunked);
        send(stream, "", CONTENT);
        send(stream, "\r\n0\r\n\r\n", b"");
        true
    });
    let client = Client::new(real(bare()));
    for _ in 0..5 {
        assert!(server.blob_of(&client).unwrap() == CONTENT);
    }
    // The first was the try to speak TLS.
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
}

#[test]
fn a_registry_elsewhere_that_speaks_plain_http_is_refused_with_its_name() {
    let server = Server::start(|_, _, stream| {
        send(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b"");
        true
    });
    // 0.0.0.0 leads to this machine but is none of its loopback addresses.
    let name = format!("0.0.0.0:{}/app:1", server.addr.port());
    let error = image(&Client::new(real(bare())), &name).unwrap_err();
    assert!(matches!(error, Error::PlainHttp { .. }), "{}", chain(&error));
    let insecure = vec![format!("0.0.0.0:{}", server.addr.port())];
    let error = image(&Client::new(real(HttpOptions { insecure, ..bare() })), &name).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{}", chain(&error));
}

#[test]
fn a_host_name_that_does_not_exist_is_named() {
    let mut options = real(bare());
    options.retry.tries = 1;
    let error = image(&Client::new(options), "nowhere.invalid/app:1").unwrap_err();
    let text = chain(&error);
    assert!(text.starts_with("cannot connect to nowhere.invalid: "), "{text}");
    assert!(matches!(error, Error::Connect { .. }), "{text}");
}
