//! The web page and its assets. Nothing is loaded from elsewhere, and no markup is built from
//! remote text.

use crate::protocol::Role;

/// One static resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Content type.
    pub kind: &'static str,
    /// The whole content.
    pub text: &'static str,
}

impl Asset {
    /// A hash of the content: FNV-1a.
    #[must_use]
    pub fn etag(self) -> String {
        let hash = self.text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("\"{hash:016x}\"")
    }
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const STYLE: Asset =
    Asset { kind: "text/css; charset=utf-8", text: include_str!("page/style.css") };
const ICON: Asset = Asset { kind: "image/svg+xml", text: include_str!("page/favicon.svg") };
const WORDS: Asset = Asset { kind: SCRIPT, text: include_str!("page/words.js") };
const SHARED: Asset = Asset { kind: SCRIPT, text: include_str!("page/shared.js") };

/// The content security policy of the page: run its own scripts, reach the server and peers, and
/// play or save their files. Markup in names is inert, and no other page may frame this one.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' http: https:; media-src http: https:; frame-src http: https:; img-src 'self' data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The asset at this path. The page itself, at `/`, only for clients that accept HTML.
#[must_use]
pub fn asset(role: Role, path: &str, reads_html: bool) -> Option<Asset> {
    Some(match (role, path) {
        (Role::Server, "/") if reads_html => {
            Asset { kind: HTML, text: include_str!("page/index.html") }
        }
        (Role::Peer, "/") if reads_html => {
            Asset { kind: HTML, text: include_str!("page/peer.html") }
        }
        (Role::Server, "/app.js") => Asset { kind: SCRIPT, text: include_str!("page/app.js") },
        // Loaded by the page of an administrator.
        (Role::Server, "/admin.js") => Asset { kind: SCRIPT, text: include_str!("page/admin.js") },
        (Role::Peer, "/peer.js") => Asset { kind: SCRIPT, text: include_str!("page/peer.js") },
        (_, "/shared.js") => SHARED,
        (_, "/words.js") => WORDS,
        (_, "/style.css") => STYLE,
        (_, "/favicon.svg") => ICON,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paths of the page's assets. All are relative, so that the page works behind a proxy with
    /// a path prefix.
    fn named(text: &str) -> Vec<String> {
        let parts =
            text.split("<").filter(|tag| tag.starts_with("script ") || tag.starts_with("link "));
        let mut paths: Vec<String> = parts
            .filter_map(|tag| tag.split(['"']).nth(if tag.starts_with("link") { 3 } else { 1 }))
            .map(|path| format!("/{path}"))
            .collect();
        paths.sort_unstable();
        paths
    }

    #[test]
    fn asset_paths_are_relative() {
        for role in [Role::Server, Role::Peer] {
            for path in ["/", "/app.js", "/admin.js", "/peer.js", "/shared.js", "/words.js"] {
                let Some(asset) = asset(role, path, true) else { continue };
                for wrong in
                    ["href=\"/", "src=\"/", "'/api", "\"/api", "fetch('/", "ask('/", "live('/"]
                {
                    assert!(!asset.text.contains(wrong), "{path}: {wrong}");
                }
            }
        }
    }

    #[test]
    fn a_page_is_self_contained_and_below_ninety_kilobytes() {
        for role in [Role::Server, Role::Peer] {
            let page = asset(role, "/", true).unwrap();
            let mut paths = named(page.text);
            assert!(paths.len() >= 3, "{paths:?}");
            if role == Role::Server {
                paths.push("/admin.js".to_owned());
            }
            let parts: Vec<Asset> = paths
                .iter()
                .map(|path| {
                    asset(role, path, false).unwrap_or_else(|| panic!("{path} is not here"))
                })
                .collect();
            let all: usize =
                parts.iter().map(|part| part.text.len()).sum::<usize>() + page.text.len();
            assert!(all < 85_000, "{all} bytes");
            for part in parts.iter().chain([&page]) {
                let text = part.text.replace("http://www.w3.org/2000/svg", "");
                assert!(
                    !text.contains("//cdn")
                        && !text.contains("https://")
                        && !text.contains("innerHTML")
                        && !text.contains(" onclick="),
                    "{}",
                    part.kind
                );
                assert!(
                    !text.contains("<style")
                        && !text.contains(" style=")
                        && !text.contains("eval("),
                    "{}",
                    part.kind
                );
            }
            assert_eq!(
                page.text.matches("<script").count(),
                page.text.matches("<script src=").count()
            );
        }
    }

    #[test]
    fn clients_without_html_get_no_page() {
        assert!(
            asset(Role::Server, "/", false).is_none() && asset(Role::Peer, "/", false).is_none()
        );
        assert!(
            asset(Role::Peer, "/app.js", true).is_none()
                && asset(Role::Server, "/peer.js", true).is_none()
        );
        assert!(asset(Role::Server, "/files/a", true).is_none());
    }
}
