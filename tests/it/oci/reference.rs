//! References are read with Docker's rules and written so that they read back the same.

use mica::oci::{Digest, Reference, ReferenceError};
use proptest::prelude::{Strategy, prop, proptest};
use proptest::{option, prop_assert_eq};

fn read(text: &str) -> Reference {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn short_names_mean_what_they_mean_to_docker() {
    for (text, canonical, familiar) in [
        ("debian", "docker.io/library/debian:latest", "debian:latest"),
        ("debian:12", "docker.io/library/debian:12", "debian:12"),
        ("user/app", "docker.io/user/app:latest", "user/app:latest"),
        ("docker.io/debian", "docker.io/library/debian:latest", "debian:latest"),
        ("index.docker.io/a/b:1", "docker.io/a/b:1", "a/b:1"),
        ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("localhost:5000/a/b", "localhost:5000/a/b:latest", "localhost:5000/a/b:latest"),
        ("host:5000/app:1", "host:5000/app:1", "host:5000/app:1"),
        ("ghcr.io/a/b-c__d.e", "ghcr.io/a/b-c__d.e:latest", "ghcr.io/a/b-c__d.e:latest"),
        ("Host/app", "Host/app:latest", "Host/app:latest"),
        ("[::1]:5000/app:1", "[::1]:5000/app:1", "[::1]:5000/app:1"),
        ("docker://quay.io/a/b:V1.0_x", "quay.io/a/b:V1.0_x", "quay.io/a/b:V1.0_x"),
    ] {
        assert_eq!(read(text).to_string(), canonical);
        assert_eq!(read(text).familiar(), familiar);
    }
}

#[test]
fn a_digest_takes_the_place_of_the_default_tag() {
    let digest = Digest::of(b"");
    let reference = read(&format!("debian@{digest}"));
    assert_eq!((reference.tag(), reference.digest()), (None, Some(&digest)));
    let both = read(&format!("debian:12@{digest}"));
    assert_eq!((both.tag(), both.digest()), (Some("12"), Some(&digest)));
    assert_eq!(read("debian:12").with_digest(digest), reference);
}

#[test]
fn what_is_no_reference_is_refused_with_the_reason() {
    type Reason = fn(&ReferenceError) -> bool;
    let id = "a".repeat(64);
    let long = format!("a/{}", "b".repeat(255));
    let tag = format!("a:{}", "x".repeat(129));
    let cases: &[(&str, Reason)] = &[
        ("", |e| matches!(e, ReferenceError::NoName(_))),
        (":tag", |e| matches!(e, ReferenceError::NoName(_))),
        ("docker.io/", |e| matches!(e, ReferenceError::NoName(_))),
        ("oci://dir", |e| matches!(e, ReferenceError::Transport(_))),
        ("host:port/a", |e| matches!(e, ReferenceError::Registry(_))),
        ("host:70000/a", |e| matches!(e, ReferenceError::Registry(_))),
        ("host:+80/a", |e| matches!(e, ReferenceError::Registry(_))),
        ("-a.b/c", |e| matches!(e, ReferenceError::Registry(_))),
        ("[::1/a", |e| matches!(e, ReferenceError::Registry(_))),
        ("user:secret@host.example/a", |e| matches!(e, ReferenceError::Digest(_))),
        ("Debian", |e| matches!(e, ReferenceError::UpperCase(_))),
        ("a..b", |e| matches!(e, ReferenceError::Component(_))),
        ("a/-b", |e| matches!(e, ReferenceError::Component(_))),
        ("a//b", |e| matches!(e, ReferenceError::Component(_))),
        ("a/../b", |e| matches!(e, ReferenceError::Component(_))),
        ("a b", |e| matches!(e, ReferenceError::Component(_))),
        ("a?b", |e| matches!(e, ReferenceError::Component(_))),
        (&id, |e| matches!(e, ReferenceError::LooksLikeId(_))),
        (&long, |e| matches!(e, ReferenceError::TooLong(257))),
        ("a:", |e| matches!(e, ReferenceError::Tag(_))),
        ("a:.x", |e| matches!(e, ReferenceError::Tag(_))),
        ("a:x y", |e| matches!(e, ReferenceError::Tag(_))),
        (&tag, |e| matches!(e, ReferenceError::Tag(_))),
        ("a@sha512:00", |e| matches!(e, ReferenceError::Digest(_))),
    ];
    for (text, reason) in cases {
        let error = text.parse::<Reference>().unwrap_err();
        assert!(reason(&error), "{text}: {error:?}");
    }
}

fn component() -> impl Strategy<Value = String> {
    "[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}"
}

fn written() -> impl Strategy<Value = String> {
    let registry = "([a-zA-Z0-9]{1,4}(-[a-z0-9]{1,3})?\\.){1,2}[a-z]{1,3}(:[1-9][0-9]{0,3})?/";
    let path = prop::collection::vec(component(), 1..4).prop_map(|parts| parts.join("/"));
    let tag = "[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,20}";
    let digest = prop::array::uniform32(0_u8..).prop_map(Digest::from_bytes);
    (option::of(registry), path, option::of(tag), option::of(digest)).prop_map(
        |(registry, path, tag, digest)| {
            let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
            let digest = digest.map(|digest| format!("@{digest}")).unwrap_or_default();
            // A first component with a dot would be taken for a host.
            let registry = registry.unwrap_or(if path.contains('.') {
                "localhost/".into()
            } else {
                String::new()
            });
            format!("{registry}{path}{tag}{digest}")
        },
    )
}

proptest! {
    #[test]
    fn a_reference_reads_back_from_both_its_forms(text in written()) {
        let reference = read(&text);
        prop_assert_eq!(&read(&reference.to_string()), &reference);
        prop_assert_eq!(&read(&reference.familiar()), &reference);
    }

    #[test]
    fn any_text_is_a_reference_that_reads_back_or_an_error(text in "\\PC{0,40}") {
        if let Ok(reference) = text.parse::<Reference>() {
            prop_assert_eq!(&read(&reference.to_string()), &reference);
        }
    }
}
