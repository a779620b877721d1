//! What URLs mean for trust: who is asked, where a redirect leads, what may be shown.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::transport::Uri;

/// Whether TLS is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// `https`.
    Tls,
    /// `http`.
    Plain,
}

impl Scheme {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "https",
            Self::Plain => "http",
        }
    }
}

/// The scheme of `uri`, if it is one that is spoken here.
pub(super) fn scheme(uri: &Uri) -> Option<Scheme> {
    match uri.scheme_str() {
        Some("https") => Some(Scheme::Tls),
        Some("http") => Some(Scheme::Plain),
        _ => None,
    }
}

/// `HOST` or `HOST:PORT`, without a login, as it is written in `uri`.
pub(super) fn host_port(uri: &Uri) -> &str {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    authority.rsplit_once('@').map_or(authority, |(_login, host)| host)
}

/// `uri` without login and query.
pub(super) fn shown(uri: &Uri) -> String {
    format!("{}://{}{}", uri.scheme_str().unwrap_or("?"), host_port(uri), uri.path())
}

/// Whether `host_port` names this machine alone: 127.0.0.0/8, `::1`, `localhost`.
pub(super) fn is_loopback(host_port: &str) -> bool {
    let host = host(host_port);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || host.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
}

/// The host alone, without the brackets of an IPv6 address.
pub(super) fn host(host_port: &str) -> &str {
    if let Some(rest) = host_port.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(host, _)| host);
    }
    host_port.split_once(':').map_or(host_port, |(host, _)| host)
}

/// Whether `host_port` has a port.
pub(super) fn has_port(host_port: &str) -> bool {
    host_port.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'))
}

/// Whether two URLs go to the same server, so that what one may know the other may.
pub(super) fn same_origin(a: &Uri, b: &Uri) -> bool {
    let port = |uri: &Uri| {
        uri.port_u16().or_else(|| scheme(uri).map(|s| if s == Scheme::Tls { 443 } else { 80 }))
    };
    scheme(a) == scheme(b)
        && host(host_port(a)).eq_ignore_ascii_case(host(host_port(b)))
        && port(a) == port(b)
}

/// Where `location` leads from `base` (RFC 3986, section 5.2, without dot segments). Nowhere, when
/// it is empty: that would be the same place again.
pub(super) fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    let scheme = base.scheme_str()?;
    if location.is_empty() {
        return None;
    }
    let absolute = if location.contains("://") {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{}{location}", host_port(base))
    } else {
        let (directory, _) = base.path().rsplit_once('/')?;
        format!("{scheme}://{}{directory}/{location}", host_port(base))
    };
    let uri: Uri = absolute.parse().ok()?;
    (self::scheme(&uri).is_some() && !host_port(&uri).is_empty()).then_some(uri)
}

#[cfg(test)]
mod tests {
    use super::{Uri, has_port, is_loopback, resolve, same_origin, shown};

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn a_shown_url_has_neither_login_nor_query() {
        let secret = uri("https://user:secret@host:1/path?X-Signature=secret");
        assert_eq!(shown(&secret), "https://host:1/path");
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["127.0.0.1", "127.9.9.9:5000", "[::1]:80", "localhost:1", "LOCALHOST"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["128.0.0.1", "localhost.example", "127.0.0.1.example:1", "[::2]", "10.0.0.1"] {
            assert!(!is_loopback(host), "{host}");
        }
        assert!(has_port("a:1") && has_port("[::1]:1") && !has_port("a") && !has_port("[::1]"));
    }

    #[test]
    fn a_redirect_leads_where_the_rfc_says() {
        let base = uri("https://host:1/v2/a/blobs/x");
        for (location, expected) in [
            ("https://cdn/y?z", Some("https://cdn/y?z")),
            ("//cdn/y", Some("https://cdn/y")),
            ("/y", Some("https://host:1/y")),
            ("y", Some("https://host:1/v2/a/blobs/y")),
            ("", None),
            ("ftp://cdn/y", None),
            ("https:///y", None),
            ("https://a b/", None),
        ] {
            assert_eq!(resolve(&base, location), expected.map(uri), "{location}");
        }
    }

    #[test]
    fn the_same_origin_has_the_same_scheme_host_and_port() {
        assert!(same_origin(&uri("https://a/x"), &uri("https://A:443/y")));
        for other in ["http://a/", "https://b/", "https://a:444/", "https://a.b/"] {
            assert!(!same_origin(&uri("https://a/"), &uri(other)), "{other}");
        }
    }
}
