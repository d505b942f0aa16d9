//! Messages about links. They are rare, and have shapes of their own, as those about members.

use std::net::SocketAddr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::protocol::error::ErrorReply;
use crate::protocol::link::{LinkEntry, LinkRequest, LinkResponse, NewLink};
use crate::protocol::native::{NoFields, answer, ask, content_hash, missing, put};
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::link_ticket::{LinkId, LinkSubject, LinkTicket};
use crate::protocol::types::relative_path::RelativeName;

/// The methods and their fields.
const METHODS: [(&str, &[&str]); 3] =
    [("LINK", &["name", "root", "lasts"]), ("LINKS", &["cursor"]), ("UNLINK", &["link"])];

/// The fields of a method about links.
pub fn fields(method: &str) -> Option<&'static [&'static str]> {
    METHODS.iter().find(|(known, _)| *known == method).map(|(_, fields)| *fields)
}

/// All fields of all requests about links.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct LinkAsk {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lasts: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

/// Decode a request that has only fields of its method.
pub fn request(text: &str) -> Result<LinkRequest, ErrorReply> {
    let shape: LinkAsk = ask(text)?;
    Ok(match &*shape.method {
        "LINK" => {
            let name = shape.name.as_deref().map(RelativeName::new).transpose()?;
            let file = match (name, content_hash(shape.root.as_deref())?) {
                (Some(name), None) => LinkSubject::Name(name),
                (None, Some(root)) => LinkSubject::Root(root),
                _ => return Err(ErrorReply::bad_request("either name or root")),
            };
            LinkRequest::Make(file, lasts(shape.lasts)?)
        }
        "LINKS" => {
            let cursor = |text| LinkId::parse(text).ok_or_else(ErrorReply::bad_cursor);
            LinkRequest::List(shape.cursor.as_deref().map(cursor).transpose()?)
        }
        "UNLINK" => {
            let text = shape.link.as_deref().ok_or_else(|| missing("link"))?;
            let wrong = || ErrorReply::bad_request("link is not 8 hex digits");
            LinkRequest::Revoke(LinkId::parse(text).ok_or_else(wrong)?)
        }
        _ => return Err(ErrorReply::unsupported()),
    })
}

/// The life of a link.
fn lasts(seconds: Option<u64>) -> Result<u32, ErrorReply> {
    let Some(seconds) = seconds else { return Ok(limits::LINK_SECONDS) };
    u32::try_from(seconds)
        .ok()
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| ErrorReply::bad_request("lasts is 1 to 4294967295"))
}

/// The file as `name` and `root`.
fn named(file: &LinkSubject) -> (Option<String>, Option<String>) {
    match file {
        LinkSubject::Name(name) => (Some(name.to_string()), None),
        LinkSubject::Root(root) => (None, Some(root.to_string())),
    }
}

/// Write a request.
pub fn write_request(id: u64, request: &LinkRequest, out: &mut Vec<u8>) {
    let blank = LinkAsk { id: Some(id), method: request.method().to_owned(), ..LinkAsk::default() };
    let shape = match request {
        LinkRequest::Make(file, lasts) => {
            let (name, root) = named(file);
            LinkAsk { name, root, lasts: Some((*lasts).into()), ..blank }
        }
        LinkRequest::List(cursor) => LinkAsk { cursor: cursor.map(|id| id.to_string()), ..blank },
        LinkRequest::Revoke(link) => LinkAsk { link: Some(link.to_string()), ..blank },
        LinkRequest::Fetch(_) => {
            debug_assert!(false, "a request of HTTP only");
            return;
        }
    };
    put(out, &shape);
}

/// A new link on the wire.
#[derive(Deserialize, Serialize)]
struct MadeShape {
    link: String,
    ticket: String,
    name: String,
    left: u64,
    at: SocketAddr,
}

/// A live link on the wire.
#[derive(Deserialize, Serialize)]
struct LinkShape {
    link: String,
    name: Option<String>,
    root: Option<String>,
    left: u64,
    fetched: u64,
}

impl LinkShape {
    fn of(entry: &LinkEntry) -> LinkShape {
        let LinkEntry { id, file, left, fetched } = entry;
        let (name, root) = named(file);
        LinkShape { link: id.to_string(), name, root, left: *left, fetched: *fetched }
    }

    /// `None` when a field is invalid.
    fn entry(self) -> Option<LinkEntry> {
        let file = match (self.name, self.root) {
            (Some(name), None) => LinkSubject::Name(RelativeName::new(&name).ok()?),
            (None, Some(root)) => LinkSubject::Root(ContentHash::parse(&root)?),
            _ => return None,
        };
        let (left, fetched) = (self.left, self.fetched);
        Some(LinkEntry { id: LinkId::parse(&self.link)?, file, left, fetched })
    }
}

#[derive(Deserialize, Serialize)]
struct LinksShape {
    links: Vec<LinkShape>,
    cursor: Option<String>,
}

/// Write a response.
pub fn write_response(id: Option<u64>, response: &LinkResponse, out: &mut Vec<u8>) {
    match response {
        LinkResponse::Made(NewLink { ticket, name, left, at }) => {
            let fields = MadeShape {
                link: ticket.id().to_string(),
                ticket: ticket.reveal(),
                name: name.to_string(),
                left: *left,
                at: *at,
            };
            answer(id, "LINK_OK", fields, out);
        }
        LinkResponse::List { links, cursor } => {
            let links = links.iter().map(LinkShape::of).collect();
            let fields = LinksShape { links, cursor: cursor.map(|id| id.to_string()) };
            answer(id, "LINKS_OK", fields, out);
        }
        LinkResponse::Revoked => {
            answer(id, "UNLINK_OK", NoFields {}, out);
        }
    }
}

/// Decode a response; `None` for a status that is not about links.
pub fn response(status: &str, line: &[u8]) -> Result<Option<LinkResponse>, String> {
    Ok(Some(match status {
        "LINK_OK" => {
            let MadeShape { ticket, name, left, at, .. } = parse(line)?;
            LinkResponse::Made(NewLink {
                ticket: LinkTicket::parse(&ticket).ok_or("LINK_OK without a good ticket")?,
                name: RelativeName::new(&name).map_err(|_| "LINK_OK without a good name")?,
                left,
                at,
            })
        }
        "LINKS_OK" => {
            let LinksShape { links, cursor } = parse(line)?;
            let good = |text: String| LinkId::parse(&text).ok_or("LINKS_OK with a bad cursor");
            let links = links.into_iter().map(LinkShape::entry).collect::<Option<Vec<_>>>();
            LinkResponse::List {
                links: links.ok_or("LINKS_OK with a bad link")?,
                cursor: cursor.map(good).transpose()?,
            }
        }
        "UNLINK_OK" => LinkResponse::Revoked,
        _ => return Ok(None),
    }))
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, String> {
    // The text of the error may quote a ticket.
    serde_json::from_slice(line).map_err(|_| "an answer about links with a wrong field".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Role;
    use crate::protocol::error::ErrorCode;
    use crate::protocol::native::Message;
    use crate::protocol::native::decode_request;
    use crate::protocol::native::decode_response::decode;
    use crate::protocol::native::encode::{write_reply, write_request};
    use crate::protocol::request::Request;
    use crate::protocol::response::Response;
    use crate::protocol::types::link_ticket::LinkKey;

    fn name() -> RelativeName {
        RelativeName::new("Cursos/aula \"1\".mp4").unwrap()
    }

    fn asked(line: &str, role: Role) -> Result<Request, ErrorReply> {
        decode_request::request(line.as_bytes(), role).expect("a JSON object").request
    }

    #[test]
    fn every_request_and_response_is_read_as_written() {
        let root = ContentHash([0x61; 32]);
        for request in [
            LinkRequest::Make(LinkSubject::Name(name()), 1),
            LinkRequest::Make(LinkSubject::Root(root), u32::MAX),
            LinkRequest::List(None),
            LinkRequest::List(Some(LinkId(7))),
            LinkRequest::Revoke(LinkId(u32::MAX)),
        ] {
            let request = Request::Link(Box::new(request));
            let mut line = Vec::new();
            write_request(5, &request, &mut line);
            let line = String::from_utf8(line).unwrap();
            assert_eq!(asked(line.trim_end(), Role::Peer), Ok(request), "{line}");
            // A server has no links.
            let refused = asked(line.trim_end(), Role::Server).unwrap_err();
            assert_eq!(refused.code, ErrorCode::Unsupported, "{line}");
        }
        let ticket =
            LinkTicket::new(&LinkKey::new([7; 32]), 9, LinkId(3), &LinkSubject::Root(root));
        let at = "[2001:db8::1]:4000".parse().unwrap();
        let by_root =
            LinkEntry { id: LinkId(3), file: LinkSubject::Root(root), left: 1, fetched: 2 };
        for response in [
            LinkResponse::Made(NewLink { ticket, name: name(), left: 9, at }),
            LinkResponse::List { links: Vec::new(), cursor: None },
            LinkResponse::List {
                links: vec![
                    LinkEntry { file: LinkSubject::Name(name()), ..by_root.clone() },
                    by_root,
                ],
                cursor: Some(LinkId(4)),
            },
            LinkResponse::Revoked,
        ] {
            let response = Response::Link(Box::new(response));
            let mut line = Vec::new();
            write_reply(Some(5), &response, &mut line);
            assert_eq!(decode(line.trim_ascii_end()), Ok(Message::Reply(5, response)));
        }
    }

    #[test]
    fn a_bad_request_about_links_is_refused_by_its_cause() {
        for (line, code) in [
            (r#"{"id":1,"method":"LINK"}"#, ErrorCode::BadRequest),
            (r#"{"id":1,"method":"LINK","name":"a","root":"00"}"#, ErrorCode::BadRequest),
            (r#"{"id":1,"method":"LINK","name":"../a"}"#, ErrorCode::BadName),
            (r#"{"id":1,"method":"LINK","name":7}"#, ErrorCode::BadRequest),
            (r#"{"id":1,"method":"LINK","name":"a","lasts":0}"#, ErrorCode::BadRequest),
            (r#"{"id":1,"method":"LINK","name":"a","lasts":4294967296}"#, ErrorCode::BadRequest),
            (r#"{"id":1,"method":"LINK","name":"a","lasts":-1}"#, ErrorCode::BadRequest),
            (r#"{"id":1,"method":"LINKS","cursor":"7"}"#, ErrorCode::BadRequest),
            (r#"{"id":1,"method":"UNLINK"}"#, ErrorCode::BadRequest),
            (r#"{"id":1,"method":"UNLINK","link":"0000000G"}"#, ErrorCode::BadRequest),
        ] {
            assert_eq!(asked(line, Role::Peer).unwrap_err().code, code, "{line}");
        }
        let known = r#"{"id":1,"method":"LINK","name":"a","later":[{}],"lasts":null}"#;
        let made = LinkRequest::Make(
            LinkSubject::Name(RelativeName::new("a").unwrap()),
            limits::LINK_SECONDS,
        );
        assert_eq!(asked(known, Role::Peer), Ok(Request::Link(Box::new(made))));
    }

    #[test]
    fn a_bad_response_about_links_does_not_quote_a_ticket() {
        for line in [
            r#"{"id":1,"status":"LINK_OK","link":"00000001","ticket":"AQ","name":"a","left":1,"at":"127.0.0.1:1"}"#,
            r#"{"id":1,"status":"LINK_OK","link":"00000001","ticket":7,"name":"a","left":1,"at":"127.0.0.1:1"}"#,
            r#"{"id":1,"status":"LINKS_OK","links":[{"link":"00000001","left":1,"fetched":0}]}"#,
            r#"{"id":1,"status":"LINKS_OK","links":[],"cursor":"AQ"}"#,
        ] {
            let error = decode(line.as_bytes()).unwrap_err();
            assert!(!error.contains("AQ"), "{error}");
        }
    }
}
