//! A blob is exactly as long as its descriptor says, or an error; what breaks on the way is
//! resumed where it broke.

use std::io::{self, Read as _};

use mica::oci::{Descriptor, Digest, Repository};
use mica::registry::Error;
use mica::testing::transport::{Fault, MemTransport};

use super::{client, inner};

struct Stage {
    transport: MemTransport,
    content: Vec<u8>,
    descriptor: Descriptor,
}

fn stage() -> Stage {
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let transport = MemTransport::new();
    let descriptor = transport.put_blob("application/octet-stream", &content);
    Stage { transport, content, descriptor }
}

impl Stage {
    fn fail(self, faults: &[Fault]) -> Self {
        for fault in faults {
            self.transport.fail("/blobs/", fault.clone());
        }
        self
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let repository: Repository = "host.example/app".parse().unwrap();
        let mut bytes = Vec::new();
        client(&self.transport).blob(&repository, &self.descriptor).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[track_caller]
    fn is_whole_after(&self, ranges: &[Option<&str>]) {
        assert!(self.read().unwrap() == self.content);
        let seen = self.transport.take_seen();
        let seen: Vec<Option<&str>> = seen.iter().map(|seen| seen.range.as_deref()).collect();
        assert_eq!(seen, ranges);
    }

    #[track_caller]
    fn fails_with(&self, expected: fn(&Error) -> bool) {
        let error = self.read().unwrap_err();
        assert!(expected(inner(&error)), "{error:?}");
    }
}

fn busy(status: u16, after: &str) -> Fault {
    Fault::Status(status, vec![("retry-after", after.to_owned())], String::new())
}

#[test]
fn a_blob_that_comes_in_one_piece_is_asked_for_once() {
    stage().is_whole_after(&[None]);
}

#[test]
fn an_empty_blob_is_not_asked_for() {
    let transport = MemTransport::new();
    let descriptor = transport.put_blob("application/octet-stream", b"");
    let stage = Stage { transport, content: Vec::new(), descriptor };
    stage.is_whole_after(&[]);
}

#[test]
fn a_broken_or_short_body_is_resumed_where_it_ended() {
    stage().fail(&[Fault::Reset(1000)]).is_whole_after(&[None, Some("bytes=1000-")]);
    stage().fail(&[Fault::ShortBody(7)]).is_whole_after(&[None, Some("bytes=7-")]);
}

#[test]
fn an_interrupted_read_is_no_end() {
    stage().fail(&[Fault::Interrupted]).is_whole_after(&[None]);
}

#[test]
fn a_whole_answer_to_a_range_is_skipped_into() {
    stage()
        .fail(&[Fault::Reset(100_000), Fault::IgnoredRange])
        .is_whole_after(&[None, Some("bytes=100000-")]);
}

#[test]
fn tries_are_counted_anew_after_progress() {
    let resets = vec![Fault::Reset(100_000); 8];
    let ranges: Vec<String> = (1..=8).map(|n| format!("bytes={}-", n * 100_000)).collect();
    let mut expected = vec![None];
    expected.extend(ranges.iter().map(|range| Some(range.as_str())));
    stage().fail(&resets).is_whole_after(&expected);
}

#[test]
fn a_server_that_trickles_bytes_between_failures_is_given_up() {
    for trickle in [1000, 40_000] {
        let stage = stage().fail(&vec![Fault::Reset(trickle); 8]);
        stage.fails_with(|error| matches!(error, Error::Broken { .. }));
        assert_eq!(stage.transport.take_seen().len(), 3);
    }
}

#[test]
fn a_busy_registry_is_asked_again_when_it_says_so() {
    stage().fail(&[busy(429, "0"), busy(503, "0")]).is_whole_after(&[None, None, None]);
    let limited = |error: &Error| matches!(error, Error::RateLimited { .. });
    let patient = stage().fail(&[busy(429, "3600")]);
    patient.fails_with(limited);
    assert_eq!(patient.transport.take_seen().len(), 1);
    stage().fail(&vec![busy(429, "0"); 3]).fails_with(limited);
}

#[test]
fn a_range_that_was_not_asked_for_is_refused() {
    let protocol = |error: &Error| matches!(error, Error::Protocol { .. });
    stage().fail(&[Fault::Reset(1000), Fault::ShiftedRange(1001)]).fails_with(protocol);
    let partial = Fault::Status(206, Vec::new(), "x".to_owned());
    stage().fail(&[partial]).fails_with(protocol);
}

#[test]
fn a_length_other_than_the_descriptors_is_refused_before_a_byte_is_read() {
    let wrong = |error: &Error| matches!(error, Error::Size { expected: 1_200_000, .. });
    stage().fail(&[Fault::Header("content-length", "1200001".into())]).fails_with(wrong);
    stage().fail(&[Fault::Header("content-length", "12".into())]).fails_with(wrong);
    let late = Fault::Header("content-length", "1200000".into());
    stage().fail(&[Fault::Reset(1000), late]).fails_with(wrong);
}

#[test]
fn a_body_longer_than_the_blob_is_refused() {
    stage().fail(&[Fault::LongBody(1)]).fails_with(|error| matches!(error, Error::Size { .. }));
}

#[test]
fn a_blob_shorter_than_its_descriptor_is_refused() {
    let mut stage = stage();
    stage.transport.fail("/blobs/", Fault::ShortBody(1_200_000));
    stage.descriptor.size += 1;
    stage.fails_with(|error| matches!(error, Error::Size { .. }));
}

#[test]
fn a_flipped_byte_reaches_the_caller_whose_hash_finds_it() {
    let stage = stage().fail(&[Fault::FlippedByte(5)]);
    let bytes = stage.read().unwrap();
    assert_ne!(Digest::of(&bytes), stage.descriptor.digest);
}

#[test]
fn a_blob_that_is_not_there_is_named_and_not_asked_for_again() {
    let mut stage = stage();
    stage.descriptor.digest = Digest::of(b"other");
    let error = stage.read().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    let name = format!("host.example/app@{}", stage.descriptor.digest);
    assert!(matches!(inner(&error), Error::NotFound { what, .. } if *what == name), "{error}");
    assert_eq!(stage.transport.take_seen().len(), 1);
}

#[test]
fn after_an_error_there_is_nothing_more_to_read() {
    let stage = stage().fail(&[Fault::LongBody(1)]);
    let repository: Repository = "host.example/app".parse().unwrap();
    let mut reader = client(&stage.transport).blob(&repository, &stage.descriptor);
    let mut buf = vec![0; 2_000_000];
    assert!(reader.read_to_end(&mut buf).is_err());
    assert_eq!(reader.read(&mut buf).unwrap(), 0);
}
