//! Host validation against DNS rebinding.
//!
//! Any page can point its own name at this machine and then read responses as if they came from its
//! site. The browser still sends that name as `Host`. So a request must name an IP address,
//! `localhost`, or a name that the operator allows: no foreign name server controls any of these.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use crate::protocol::http::RequestTarget;

/// The longest DNS name.
const HOST_NAME_BYTES: usize = 253;

/// The names, besides addresses and `localhost`, that a request may use for this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNames(Rc<[String]>);

impl HostNames {
    /// Allow these names, ignoring case.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = String>) -> HostNames {
        HostNames(names.into_iter().map(|name| without_dot(&name).to_ascii_lowercase()).collect())
    }

    /// True for an allowed host.
    #[must_use]
    pub fn allows(&self, host: &HostAuthority<'_>) -> bool {
        let name = without_dot(host.name);
        host.is_local() || self.0.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// `HOST[:PORT]` of a `Host` header or an absolute target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostAuthority<'a> {
    /// A name or address; IPv6 without brackets and zone.
    pub name: &'a str,
    /// `None` when absent.
    pub port: Option<u16>,
    /// The text as received.
    pub text: &'a str,
    is_v6: bool,
}

impl<'a> HostAuthority<'a> {
    /// Parse a host; `None` when invalid, for example with a user name before `@`.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<HostAuthority<'a>> {
        let (name, port, is_v6) = match text.strip_prefix('[') {
            Some(rest) => {
                let (inner, port) = rest.split_once(']')?;
                let (name, zone) = inner.split_once('%').unwrap_or((inner, "0"));
                let named = !zone.is_empty() && zone.chars().all(is_plain);
                name.parse::<Ipv6Addr>().ok().filter(|_| named)?;
                (name, if port.is_empty() { "" } else { port.strip_prefix(':')? }, true)
            }
            None => {
                let (name, port) = text.split_once(':').unwrap_or((text, ""));
                (Some(name).filter(|name| is_host_name(name))?, port, false)
            }
        };
        let port = match port {
            "" => None,
            digits if digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            _ => return None,
        };
        Some(HostAuthority { name, port, text, is_v6 })
    }

    /// True for this name, ignoring case.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        without_dot(self.name).eq_ignore_ascii_case(name)
    }

    /// True for `localhost` and literal addresses, which no name server controls.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.is_v6
            || self.name.parse::<Ipv4Addr>().is_ok()
            || without_dot(self.name).eq_ignore_ascii_case("localhost")
    }
}

/// The request has no host, two hosts, or an invalid host.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The host of a request. An absolute target takes precedence over the `Host` header (RFC 9112,
/// section 3.2.2), which must be present all the same; HTTP/1.0 may omit both.
pub(super) fn requested<'a>(
    parsed: &httparse::Request<'_, 'a>,
) -> Result<Option<HostAuthority<'a>>, Malformed> {
    let mut hosts = parsed.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host"));
    let said = match (hosts.next(), hosts.next()) {
        (Some(header), None) => {
            let value =
                std::str::from_utf8(header.value).map_err(|_| Malformed)?.trim_matches([' ', '\t']);
            Some(HostAuthority::parse(value).ok_or(Malformed)?)
        }
        (None, _) if parsed.version == Some(0) => None,
        _ => return Err(Malformed),
    };
    match RequestTarget::of(parsed.path.unwrap_or_default()).host {
        Some(host) => HostAuthority::parse(host).map(Some).ok_or(Malformed),
        None => Ok(said),
    }
}

/// True for a valid host name.
#[must_use]
pub fn is_host_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= HOST_NAME_BYTES && text.chars().all(is_plain)
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '~')
}

/// A fully qualified name may end in a dot.
fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// True for a header that proxies add. Proxies use many names for the same thing, so name patterns
/// count instead of a list.
pub(super) fn is_proxy_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let within = [
        "forwarded",
        "client-ip",
        "clientip",
        "real-ip",
        "remote-ip",
        "remote-addr",
        "connecting-ip",
        "originating-ip",
        "user-ip",
    ];
    let front = [
        "x-original-",
        "x-proxy",
        "x-envoy-",
        "cf-",
        "x-amzn-",
        "x-amz-cf-",
        "x-azure-",
        "x-appengine-",
        "x-varnish",
        "x-squid",
        "x-cache",
    ];
    matches!(&*name, "via" | "cdn-loop" | "x-host" | "x-scheme")
        || within.iter().any(|part| name.contains(part))
        || front.iter().any(|part| name.starts_with(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_configured_names_are_allowed() {
        let names = HostNames::new(["Videos.Example".to_owned(), "nas.local".to_owned()]);
        let allows =
            |text: &str| HostAuthority::parse(text).is_some_and(|host| names.allows(&host));
        for host in [
            "127.0.0.1",
            "192.168.1.7:4000",
            "[::1]",
            "[::1]:4000",
            "[fe80::1%25eth0]:4000",
            "[fe80::1%eth0]",
            "localhost",
            "LocalHost:4000",
            "localhost.:1",
            "localhost:",
            "videos.example",
            "VIDEOS.example.:443",
            "nas.local:4000",
        ] {
            assert!(allows(host), "{host}");
        }
        for host in [
            "",
            ":4000",
            "evil.example",
            "evil.example:4000",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evil.localhost",
            "127.0.0.1:x",
            "localhost:99999",
            "localhost:+1",
            "localhost:1:2",
            "2130706433",
            "0x7f.1",
            "127.1",
            "::1",
            "[::1",
            "[evil.example]",
            "[127.0.0.1]",
            "[::1%]",
            "[::1]x",
            "user@localhost",
            "localhost/..",
            "local host",
            "x.videos.example",
            "nas",
            "localhost..",
        ] {
            assert!(!allows(host), "{host}");
        }
    }

    #[test]
    fn proxy_headers_are_recognised_by_their_pattern() {
        for name in [
            "Forwarded",
            "Via",
            "X-Forwarded-For",
            "X-FORWARDED-PROTO",
            "x-forwarded",
            "X-Original-Forwarded-For",
            "X-Real-IP",
            "X-Client-IP",
            "True-Client-IP",
            "CF-Connecting-IP",
            "Fastly-Client-IP",
            "X-Cluster-Client-IP",
            "X-Original-URL",
            "CDN-Loop",
            "X-ProxyUser-Ip",
        ] {
            assert!(is_proxy_header(name), "{name}");
        }
        for name in [
            "Host",
            "Accept",
            "User-Agent",
            "Range",
            "Connection",
            "Upgrade-Insecure-Requests",
            "Sec-Fetch-Site",
            "Cache-Control",
            "X-Requested-With",
        ] {
            assert!(!is_proxy_header(name), "{name}");
        }
    }
}
