//! Logins, redirects, and who may be spoken to without TLS.

use std::sync::Arc;

use mica::registry::{Client, Credentials, Error, Login};
use mica::testing::transport::{Fault, MemTransport};

use super::{chain, client, image, quick};

fn stage() -> MemTransport {
    let transport = MemTransport::new();
    transport.put_image("1", ("linux", "amd64"), &[b"layer"]);
    transport
}

fn redirect(to: &str) -> Fault {
    Fault::Status(307, vec![("location", to.to_owned())], String::new())
}

fn urls(transport: &MemTransport) -> Vec<String> {
    transport.take_seen().into_iter().map(|seen| seen.url).collect()
}

#[test]
fn docker_hub_is_asked_under_its_real_host() {
    let transport = stage();
    image(&client(&transport), "app:1").unwrap();
    let seen = urls(&transport);
    assert_eq!(seen[0], "https://registry-1.docker.io/v2/library/app/manifests/1");
}

#[test]
fn a_token_is_fetched_once_and_renewed_when_it_is_refused() {
    let transport = stage();
    transport.require_token("one");
    let client = client(&transport);
    image(&client, "host.example/app:1").unwrap();
    let seen = transport.take_seen();
    assert_eq!(seen.len(), 4, "refusal, token, manifest, config");
    assert_eq!(seen[1].url, "https://auth.example/token?service=mem&scope=repository:app:pull");
    assert_eq!(seen[3].authorization.as_deref(), Some("Bearer one"));
    transport.require_token("two");
    image(&client, "host.example/app:1").unwrap();
    assert_eq!(transport.take_seen().len(), 4);
}

#[test]
fn a_login_that_is_refused_is_an_error_with_what_the_registry_says() {
    let transport = stage();
    let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"who are you?"}]}"#;
    let refusal = |challenge: &str| {
        let headers = vec![("www-authenticate", challenge.to_owned())];
        Fault::Status(401, headers, body.to_owned())
    };
    transport.fail("manifests", refusal("Basic realm=\"x\""));
    let error = image(&client(&transport), "host.example/app:1").unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    assert!(error.to_string().ends_with("asks for a login: it says \"who are you?\""), "{error}");
    transport.fail("manifests", Fault::Status(403, Vec::new(), body.to_owned()));
    let error = image(&client(&transport), "host.example/app:1").unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error}");
}

#[derive(Debug)]
struct Known;

impl Credentials for Known {
    fn login(&self, registry: &str) -> Option<Login> {
        let login = Login { username: "user".into(), password: "pass".into() };
        (registry == "host.example").then_some(login)
    }
}

#[test]
fn a_login_goes_to_the_registry_or_its_token_server_and_to_nobody_else() {
    let mut options = quick();
    options.credentials = Arc::new(Known);
    let transport = stage();
    let client = Client::with_transport(Box::new(transport.clone()), options);
    transport.require_token("one");
    transport.fail("/blobs/", redirect("https://cdn.example/v2/app/blobs/x?secret"));
    transport.fail("cdn.example", Fault::Status(404, Vec::new(), String::new()));
    image(&client, "host.example/app:1").unwrap_err();
    let seen = transport.take_seen();
    let sent = |host: &str| -> Vec<Option<&str>> {
        let of_host = seen.iter().filter(|seen| seen.url.contains(host));
        of_host.map(|seen| seen.authorization.as_deref()).collect()
    };
    assert_eq!(sent("auth.example/"), [Some("Basic dXNlcjpwYXNz")]);
    assert_eq!(sent("host.example/"), [None, Some("Bearer one"), Some("Bearer one")]);
    assert_eq!(sent("cdn.example/"), [None]);
}

#[test]
fn a_login_over_plain_http_is_refused() {
    let transport = stage();
    let challenge = vec![("www-authenticate", "Bearer realm=\"http://auth.example/\"".to_owned())];
    transport.fail("manifests", Fault::Status(401, challenge, String::new()));
    let error = image(&client(&transport), "host.example/app:1").unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error}");
    assert_eq!(transport.take_seen().len(), 1);
}

#[test]
fn redirects_are_followed_a_few_times_and_never_to_plain_http() {
    let transport = stage();
    transport.fail("/manifests/", redirect("/v2/moved/manifests/1"));
    transport.fail("/moved/", redirect("//other.example/v2/app/manifests/1"));
    image(&client(&transport), "host.example/app:1").unwrap();
    assert_eq!(urls(&transport)[2], "https://other.example/v2/app/manifests/1");

    for to in ["http://host.example/x", "http://127.0.0.1/x", "ftp://host.example/", ""] {
        transport.fail("/manifests/", redirect(to));
        let error = image(&client(&transport), "host.example/app:1").unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{to}: {error}");
        assert_eq!(transport.take_seen().len(), 1, "{to}");
    }

    for _ in 0..6 {
        transport.fail("/manifests/", redirect("/v2/app/manifests/1"));
    }
    let error = image(&client(&transport), "host.example/app:1").unwrap_err();
    assert!(error.to_string().contains("more than 5 times"), "{error}");
}

#[test]
fn a_link_that_has_expired_is_asked_for_again() {
    let transport = stage();
    transport.fail("/blobs/", redirect("https://cdn.example/v2/app/blobs/x"));
    transport.fail("cdn.example", Fault::Status(403, Vec::new(), String::new()));
    image(&client(&transport), "host.example/app:1").unwrap();
    assert_eq!(transport.take_seen().len(), 4);
}

#[test]
fn a_server_that_a_registry_redirects_to_cannot_ask_for_a_login() {
    let transport = stage();
    let challenge = vec![("www-authenticate", "Bearer realm=\"https://evil.example/\"".to_owned())];
    for _ in 0..3 {
        transport.fail("host.example/v2/app/blobs/", redirect("https://cdn.example/x"));
        transport.fail("cdn.example", Fault::Status(401, challenge.clone(), String::new()));
    }
    let error = image(&client(&transport), "host.example/app:1").unwrap_err();
    assert!(chain(&error).contains("answered 401"), "{}", chain(&error));
    let seen = urls(&transport);
    assert!(!seen.iter().any(|url| url.contains("evil.example")), "{seen:?}");
}

#[test]
fn only_this_machine_and_hosts_called_insecure_are_spoken_to_without_tls() {
    let transport = stage();
    for host in ["127.0.0.1:5000", "localhost:5000", "[::1]:5000", "host.example"] {
        transport.speak_plain(host);
    }
    for host in ["127.0.0.1:5000", "localhost:5000", "[::1]:5000"] {
        image(&client(&transport), &format!("{host}/app:1")).unwrap();
        let seen = urls(&transport);
        assert!(seen[0].starts_with("https://") && seen[1].starts_with("http://"), "{seen:?}");
        assert_eq!(seen.len(), 3, "TLS is tried once");
    }
    let error = image(&client(&transport), "host.example/app:1").unwrap_err();
    assert!(matches!(&error, Error::PlainHttp { host } if host == "host.example"), "{error}");
    assert_eq!(transport.take_seen().len(), 1);

    let mut options = quick();
    options.http.insecure = vec!["host.example".to_owned()];
    let client = Client::with_transport(Box::new(transport.clone()), options);
    image(&client, "host.example/app:1").unwrap();
}

#[test]
fn a_host_that_refuses_connections_is_named_and_not_asked_again() {
    let transport = stage();
    transport.fail("manifests", Fault::Refused);
    let error = image(&client(&transport), "host.example:1/app:1").unwrap_err();
    let text = chain(&error);
    assert!(text.starts_with("cannot connect to host.example:1: connection refused"), "{text}");
    assert_eq!(transport.take_seen().len(), 1);
}
