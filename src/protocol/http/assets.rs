//! The web page and its assets. Nothing is loaded from elsewhere, and no markup is built from
//! remote text.

use std::borrow::Cow;

use crate::limits;
use crate::protocol::Role;
use crate::protocol::types::ids::ContentHash;

/// One static resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Content type.
    pub kind: &'static str,
    /// The content, before [`Asset::content`].
    bytes: &'static [u8],
    /// The page of one file: its address is two levels below the other parts.
    is_below: bool,
}

/// The line that leads from the page of one file back to the other parts.
const BASE: &str = "<base href=\"../../\">\n";
/// Bytes of the names of a browser's address for one file: a name, percent-encoded.
const FILE_NAME_BYTES: usize = 3 * limits::NAME_BYTES;

impl Asset {
    const fn of(kind: &'static str, bytes: &'static [u8]) -> Asset {
        Asset { kind, bytes, is_below: false }
    }

    /// The content, with these lines before the title of a page.
    #[must_use]
    pub fn content(self, lines: &str) -> Cow<'static, [u8]> {
        let base = if self.is_below { BASE } else { "" };
        if self.kind != HTML || base.len() + lines.len() == 0 {
            return Cow::Borrowed(self.bytes);
        }
        // Before the first address of the page.
        let page = String::from_utf8_lossy(self.bytes);
        Cow::Owned(page.replacen("<title>", &format!("{base}{lines}<title>"), 1).into_bytes())
    }
}

/// The entity tag of a content: a hash, FNV-1a.
#[must_use]
pub fn etag(content: &[u8]) -> String {
    let hash = content.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("\"{hash:016x}\"")
}

/// True for `/f/ROOT/NAME`: the page of one file. NAME is the last part of a name, for people.
fn is_page_of_file(path: &str) -> bool {
    let Some((root, name)) = path.strip_prefix("/f/").and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    let is_root = ContentHash::parse(root).is_some();
    is_root && !name.is_empty() && !name.contains('/') && name.len() <= FILE_NAME_BYTES
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const MANIFEST: &str = "application/manifest+json";
const PNG: &str = "image/png";

const STYLE: Asset = Asset::of("text/css; charset=utf-8", include_bytes!("page/style.css"));
const ICON: Asset = Asset::of("image/svg+xml", include_bytes!("page/favicon.svg"));
/// The icon of an installed page: systems of phones read no SVG.
const LARGE_ICON: Asset = Asset::of(PNG, include_bytes!("page/icon.png"));
const APP: Asset = Asset::of(MANIFEST, include_bytes!("page/app.webmanifest"));
const WORDS: Asset = Asset::of(SCRIPT, include_bytes!("page/words.js"));
const SHARED: Asset = Asset::of(SCRIPT, include_bytes!("page/shared.js"));

/// The content security policy of the page: run its own scripts, reach the server and peers, and
/// play, show or save their files. Markup in names is inert, and no other page may frame this one.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' http: https:; media-src http: https: blob:; frame-src http: https:; \
    img-src 'self' data: http: https:; manifest-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'";

/// The asset at this path. The page itself, at `/`, only for clients that accept HTML.
#[must_use]
pub fn asset(role: Role, path: &str, reads_html: bool) -> Option<Asset> {
    let is_below = is_page_of_file(path);
    Some(match (role, path) {
        (role, path) if reads_html && (path == "/" || is_below) => {
            let page: &[u8] = match role {
                Role::Server => include_bytes!("page/index.html"),
                Role::Peer => include_bytes!("page/peer.html"),
            };
            Asset { is_below, ..Asset::of(HTML, page) }
        }
        (Role::Server, "/app.js") => Asset::of(SCRIPT, include_bytes!("page/app.js")),
        // Loaded by the page of an administrator.
        (Role::Server, "/admin.js") => Asset::of(SCRIPT, include_bytes!("page/admin.js")),
        (Role::Peer, "/peer.js") => Asset::of(SCRIPT, include_bytes!("page/peer.js")),
        (_, "/shared.js") => SHARED,
        (_, "/words.js") => WORDS,
        (_, "/style.css") => STYLE,
        (_, "/favicon.svg") => ICON,
        (_, "/icon.png") => LARGE_ICON,
        (_, "/app.webmanifest") => APP,
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
            .filter_map(|tag| {
                let address = if tag.starts_with("link") { "href=\"" } else { "src=\"" };
                tag.split(address).nth(1)?.split('"').next()
            })
            .map(|path| format!("/{path}"))
            .collect();
        paths.sort_unstable();
        paths
    }

    fn text(asset: Asset) -> String {
        String::from_utf8_lossy(&asset.content("")).into_owned()
    }

    #[test]
    fn asset_paths_are_relative() {
        for role in [Role::Server, Role::Peer] {
            for path in ["/", "/app.js", "/admin.js", "/peer.js", "/shared.js", "/words.js"] {
                let Some(asset) = asset(role, path, true) else { continue };
                for wrong in
                    ["href=\"/", "src=\"/", "'/api", "\"/api", "fetch('/", "ask('/", "live('/"]
                {
                    assert!(!text(asset).contains(wrong), "{path}: {wrong}");
                }
            }
        }
    }

    #[test]
    fn a_page_is_self_contained_and_below_ninety_kilobytes() {
        for role in [Role::Server, Role::Peer] {
            let page = asset(role, "/", true).unwrap();
            let page_text = text(page);
            let mut paths = named(&page_text);
            paths.extend(["/app.webmanifest", "/icon.png"].map(str::to_owned));
            paths.sort_unstable();
            paths.dedup();
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
                parts.iter().map(|part| part.bytes.len()).sum::<usize>() + page_text.len();
            // The headers of ten responses have the rest.
            assert!(all < 86_500, "{all} bytes");
            for part in parts.iter().chain([&page]) {
                let text = text(*part).replace("http://www.w3.org/2000/svg", "");
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
                page_text.matches("<script").count(),
                page_text.matches("<script src=").count()
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

    #[test]
    fn the_page_of_one_file_leads_to_the_other_parts() {
        let root = "ab".repeat(32);
        for role in [Role::Server, Role::Peer] {
            let page = asset(role, &format!("/f/{root}/a%2Fb.mp4"), true).unwrap();
            let (below, top) = (text(page), text(asset(role, "/", true).unwrap()));
            assert_eq!(below.replace(BASE, ""), top);
            let (base, first) = (below.find("<base ").unwrap(), below.find("href=\"favicon"));
            assert!(Some(base) < first && base < below.find("<script").unwrap());
            assert_ne!(etag(below.as_bytes()), etag(top.as_bytes()));
        }
        let long = "a".repeat(FILE_NAME_BYTES + 1);
        for wrong in ["/f/", "/f/ab/a", &format!("/f/{root}"), &format!("/f/{root}/")]
            .into_iter()
            .chain([&*format!("/f/{root}/a/b"), &format!("/f/{}/a", root.to_uppercase())])
            .chain([&*format!("/f/{root}/{long}")])
        {
            assert!(asset(Role::Peer, wrong, true).is_none(), "{wrong}");
        }
        assert!(asset(Role::Peer, &format!("/f/{root}/a"), false).is_none());
    }
}
