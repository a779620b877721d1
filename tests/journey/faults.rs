//! A registry that does not keep its word: a clear error, and the store as it was.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::registry::Registry;
use crate::world::{Who, World, registry};

/// A kind of answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Manifest,
    Blob,
}

/// What is done to an answer: its head, without the empty line, and its body.
type Fault = fn(head: &mut String, body: &mut Vec<u8>);

/// Stands in front of a registry and spoils its answers.
struct Between {
    addr: SocketAddr,
    spoilt: Arc<AtomicUsize>,
}

impl Between {
    /// Spoils the first `most` answers of that kind that have at least `min` bytes.
    fn new(registry: &Registry, part: Part, min: usize, most: usize, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (behind, spoilt) = (registry.addr(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&spoilt);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, count) = (stream.unwrap(), Arc::clone(&count));
                thread::spawn(move || {
                    if let Err(error) = between(stream, behind, part, min, most, fault, &count) {
                        eprintln!("between: {error}");
                    }
                });
            }
        });
        Self { addr, spoilt }
    }

    fn spoilt(&self) -> usize {
        self.spoilt.load(Ordering::SeqCst)
    }
}

/// How a conversation in TLS begins.
const TLS: u8 = 0x16;

/// One request and its answer.
fn between(
    mut near: TcpStream,
    behind: SocketAddr,
    part: Part,
    min: usize,
    most: usize,
    fault: Fault,
    count: &AtomicUsize,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        if near.read(&mut byte)? == 0 {
            return Ok(());
        }
        request.push(byte[0]);
        if request[0] == TLS {
            // As servers answer that speak plain HTTP.
            return near.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
        }
    }
    let request = String::from_utf8(request).unwrap();
    let mut lines: Vec<_> = request
        .trim_end()
        .split("\r\n")
        .filter(|l| !l.to_ascii_lowercase().starts_with("connection:"))
        .collect();
    lines.push("Connection: close");
    let mut far = TcpStream::connect(behind)?;
    far.write_all((lines.join("\r\n") + "\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    far.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let mut head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let mut body = answer.split_off(end + 4);
    let meant = match part {
        Part::Manifest => "/manifests/",
        Part::Blob => "/blobs/",
    };
    if lines[0].contains(meant) && body.len() >= min && count.load(Ordering::SeqCst) < most {
        count.fetch_add(1, Ordering::SeqCst);
        fault(&mut head, &mut body);
    }
    near.write_all(head.as_bytes())?;
    near.write_all(b"\r\n\r\n")?;
    near.write_all(&body)?;
    near.shutdown(std::net::Shutdown::Write)
}

#[expect(clippy::ptr_arg, reason = "it is one of several faults")]
fn flip(_: &mut String, body: &mut Vec<u8>) {
    let middle = body.len() / 2;
    body[middle] ^= 1;
}

fn cut(_: &mut String, body: &mut Vec<u8>) {
    body.truncate(10_000);
}

/// The length in the head is that of `body` after `change`.
fn set_length(head: &mut String, len: usize) {
    let lines = head.split("\r\n").map(|line| {
        if line.to_ascii_lowercase().starts_with("content-length:") {
            format!("Content-Length: {len}")
        } else {
            line.to_owned()
        }
    });
    *head = lines.collect::<Vec<_>>().join("\r\n");
}

fn shorter(head: &mut String, body: &mut Vec<u8>) {
    body.truncate(body.len() - 1);
    set_length(head, body.len());
}

fn longer(head: &mut String, body: &mut Vec<u8>) {
    body.extend(b"more than was promised");
    set_length(head, body.len());
}

fn other(head: &mut String, body: &mut Vec<u8>) {
    *body = b"<html>Please log in to the network</html>".to_vec();
    set_length(head, body.len());
}

fn empty(head: &mut String, body: &mut Vec<u8>) {
    body.clear();
    set_length(head, 0);
}

/// A manifest that is well formed, but names another layer in the place of one.
fn swapped(head: &mut String, body: &mut Vec<u8>) {
    let mut manifest: serde_json::Value = serde_json::from_slice(body).unwrap();
    let layers = manifest["layers"].as_array_mut().unwrap();
    layers.swap(1, 2);
    *body = serde_json::to_vec(&manifest).unwrap();
    set_length(head, body.len());
    let digest = mica::oci::Digest::of(body);
    let lines = head.split("\r\n").map(|line| {
        let name = line.to_ascii_lowercase();
        let named = name.starts_with("docker-content-digest:") || name.starts_with("etag:");
        if named { format!("Docker-Content-Digest: {digest}") } else { line.to_owned() }
    });
    *head = lines.collect::<Vec<_>>().join("\r\n");
}

/// Pulls through the spoilt way into a store that has an image, and asserts that it is refused with
/// words that contain `why`, and that the store is as it was.
fn refused(part: Part, min: usize, fault: Fault, why: &str) {
    let registry = registry();
    let world = World::with_image(Who::User);
    // What the store makes when it is first used is there before.
    world.do_mica(&["ps"]);
    let before = world.listing();
    let between = Between::new(&registry, part, min, usize::MAX, fault);
    let said = world.try_mica(&["pull", &format!("{}/debian-app:zstd", between.addr)]);
    assert_ne!(between.spoilt(), 0, "nothing was spoilt: {said:?}");
    assert_eq!((said.code, said.out.as_str()), (125, ""), "{said:?}");
    for part in ["error: ", "cause: ", why] {
        assert!(said.err.contains(part), "no {part:?} in {}", said.err);
    }
    let after = world.listing();
    let changed: Vec<_> = before.symmetric_difference(&after).collect();
    assert!(changed.is_empty(), "{changed:#?}");
    assert_eq!(world.sh(&[], "echo fine"), "fine\n");
}

const SOME: usize = 1 << 20;

#[test]
fn a_wrong_byte_in_a_layer_is_refused() {
    refused(Part::Blob, SOME, flip, "sha256:");
}

#[test]
fn a_wrong_byte_in_a_config_is_refused() {
    refused(Part::Blob, 1, flip, "sha256:");
}

#[test]
fn a_body_that_always_ends_too_early_is_refused() {
    refused(Part::Blob, SOME, cut, "connection broke");
}

#[test]
fn a_body_shorter_than_the_layer_is_refused() {
    refused(Part::Blob, SOME, shorter, "bytes");
}

#[test]
fn a_body_longer_than_the_layer_is_refused() {
    refused(Part::Blob, SOME, longer, "bytes");
}

#[test]
fn something_else_in_place_of_a_layer_is_refused() {
    refused(Part::Blob, SOME, other, "bytes");
}

#[test]
fn a_wrong_byte_in_a_manifest_is_refused() {
    refused(Part::Manifest, 1, flip, "sha256:");
}

#[test]
fn something_else_in_place_of_a_manifest_is_refused() {
    refused(Part::Manifest, 1, other, "");
    refused(Part::Manifest, 1, empty, "");
}

#[test]
fn a_manifest_whose_layers_are_not_what_the_config_says_is_refused() {
    refused(Part::Manifest, 1, swapped, "sha256:");
}

#[test]
fn a_body_that_ends_too_early_once_is_fetched_to_its_end() {
    let registry = registry();
    let world = World::new(Who::User);
    let between = Between::new(&registry, Part::Blob, SOME, 2, cut);
    let name = format!("{}/debian-app:zstd", between.addr);
    world.do_mica(&["pull", "-q", &name]);
    assert_eq!(between.spoilt(), 2);
    assert_eq!(world.do_mica(&["run", "--rm", &name, "cat", "/srv/app/data/new"]), "new\n");
}
