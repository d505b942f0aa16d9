//! The methods of administrators by HTTP: each path below `/api/admin/` is a method of the native
//! protocol, with the same fields, checks and rows in the audit log.

use crate::protocol::Role;
use crate::protocol::error::ErrorReply;
use crate::protocol::http::query_string::QueryString;
use crate::protocol::native::{NativeError, NumberedRequest, decode_request, encode};
use crate::protocol::request::Request;
use crate::protocol::response::Response;

/// The path of the methods, below `/api/`.
pub const PATH: &str = "admin/";
/// Methods that list something, by GET.
const LISTS: [(&str, &str); 6] = [
    ("bans", "BANS"),
    ("limits", "LIMITS"),
    ("members", "MEMBERS"),
    ("applicants", "APPLICANTS"),
    ("invites", "INVITES"),
    ("audit", "AUDIT"),
];
/// Methods that change something, by POST.
const CHANGES: [(&str, &str); 11] = [
    ("kick", "KICK"),
    ("ban", "BAN"),
    ("unban", "UNBAN"),
    ("limits", "LIMITS"),
    ("unpublish", "UNPUBLISH"),
    ("remove_user", "REMOVE_USER"),
    ("invite", "INVITE"),
    ("uninvite", "UNINVITE"),
    ("admit", "ADMIT"),
    ("set", "SET"),
    ("revoke", "REVOKE"),
];

/// The method of a path that changes something.
pub fn change(name: &str) -> Option<&'static str> {
    CHANGES.iter().find(|(known, _)| *known == name).map(|(_, method)| *method)
}

/// The request of a path that lists something; `None` for an unknown path.
///
/// # Errors
/// A wrong parameter.
pub fn list(name: &str, query: &QueryString) -> Option<Result<Request, ErrorReply>> {
    let (_, method) = LISTS.iter().find(|(known, _)| *known == name)?;
    // The method checks its cursor; that of the audit log is longer than others.
    let cursor = query.get("cursor");
    let fields = cursor.map(|cursor| serde_json::json!({ "cursor": cursor }).to_string());
    Some(posted(method, fields.as_deref().unwrap_or("{}").as_bytes()))
}

/// The request of a method with these fields, an object of JSON.
///
/// # Errors
/// A body that is no object, and a field that is wrong, or comes twice.
pub fn posted(method: &'static str, body: &[u8]) -> Result<Request, ErrorReply> {
    let wrong = || ErrorReply::bad_request("the body is no object of JSON");
    let inner = body.trim_ascii().strip_prefix(b"{").ok_or_else(wrong)?;
    let more: &[u8] = if inner.trim_ascii().starts_with(b"}") { b"" } else { b"," };
    let line = [b"{\"id\":1,\"method\":\"", method.as_bytes(), b"\"", more, inner].concat();
    // A line end would be blank space in JSON, and the end of a line of the native protocol.
    let line: Vec<u8> = line.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }).collect();
    match decode_request::request(&line, Role::Server) {
        Ok(NumberedRequest { request, .. }) => request,
        Err(NativeError(_)) => Err(wrong()),
    }
}

/// A response as JSON.
pub fn text(response: &Response) -> String {
    let mut line = Vec::new();
    encode::write_reply(None, response, &mut line);
    String::from_utf8(line).unwrap_or_default().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::administration::AdminRequest;
    use crate::protocol::error::ErrorCode;
    use crate::protocol::member::{MemberRequest, RevokeTarget};

    #[test]
    fn a_path_is_a_method_with_its_fields() {
        let request = posted("REVOKE", b" {\n \"name\" : \"eve\" } ");
        let Ok(Request::Member(request)) = request else { panic!("{request:?}") };
        assert!(
            matches!(*request, MemberRequest::Revoke(RevokeTarget::Name(name)) if &*name == "eve")
        );
        let query = QueryString::of("cursor=ana").expect("a query");
        let request = list("members", &query);
        let Some(Ok(Request::Member(request))) = request else { panic!("{request:?}") };
        assert!(matches!(*request, MemberRequest::Members { cursor: Some(_) }));
        // As long as the audit log writes them.
        let cursor = format!("cursor={}.{}", u64::MAX, "0".repeat(64));
        let query_of_log = QueryString::of(&cursor).expect("a query");
        assert!(matches!(list("audit", &query_of_log), Some(Ok(Request::Member(_)))));
        assert!(list("revoke", &query).is_none() && change("members").is_none());
        for (name, method) in LISTS.iter().chain(&CHANGES) {
            assert_eq!(&name.to_uppercase(), method);
        }
    }

    /// The request of an administrator beyond the members.
    fn admin(request: Result<Request, ErrorReply>) -> AdminRequest {
        let Ok(Request::Member(request)) = request else { panic!("{request:?}") };
        let MemberRequest::Admin(request) = *request else { panic!("{request:?}") };
        request
    }

    #[test]
    fn each_path_beyond_the_members_takes_the_fields_of_its_method() {
        let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        for (name, body, object) in [
            ("kick", "{\"name\":\"eve\"}", "eve"),
            ("kick", "{\"key\":\"KEY\"}", key),
            ("kick", "{\"address\":\"192.0.2.1\",\"port\":7}", "192.0.2.1:7"),
            (
                "ban",
                "{\"range\":\"192.0.2.0/24\",\"lasts\":60,\"reason\":\"scans\",\"force\":true}",
                "192.0.2.0/24 for 60 s, forced: scans",
            ),
            ("ban", "{\"name\":\"eve\",\"reason\":\"\"}", "eve"),
            ("unban", "{\"key\":\"KEY\"}", key),
            ("limits", "{\"set\":{\"searches\":5,\"enrols\":null}}", "enrols=default, searches=5"),
            ("unpublish", "{\"user\":\"ana\",\"name\":\"a/b.mp4\"}", "a/b.mp4 of ana"),
            ("remove_user", "{\"user\":\"ana\"}", "ana"),
        ] {
            let method = change(name).expect("a method");
            let request = admin(posted(method, body.replace("KEY", key).as_bytes()));
            assert_eq!((request.method(), &*request.object()), (method, object));
        }
        let query = QueryString::of("cursor=192.0.2.0%2F24").expect("a query");
        let request = admin(list("bans", &query).expect("a method"));
        assert!(matches!(request, AdminRequest::Bans { cursor: Some(_) }));
        let request = admin(list("limits", &QueryString::of("").expect("a query")).expect("one"));
        assert!(request.is_list());
        for (method, body) in [
            ("BAN", "{\"name\":\"eve\",\"range\":\"192.0.2.1\"}"),
            ("BAN", "{\"name\":\"eve\",\"name\":\"ana\"}"),
            ("BAN", "{\"name\":\"eve\",\"lasts\":0}"),
            ("BAN", "{\"name\":\"eve\",\"method\":\"UNBAN\"}"),
            ("KICK", "{\"name\":\"eve\",\"id\":2}"),
            ("KICK", "{\"address\":\"eve\"}"),
            ("UNBAN", "{}"),
            ("LIMITS", "{\"set\":{\"speed\":5}}"),
            ("LIMITS", "{\"set\":{\"enrols\":0}}"),
            ("UNPUBLISH", "{\"user\":\"ana\"}"),
            ("REMOVE_USER", "{\"name\":\"ana\"}"),
        ] {
            let refused = posted(method, body.as_bytes()).map_err(|refusal| refusal.code);
            assert_eq!(refused, Err(ErrorCode::BadRequest), "{method} {body}");
        }
    }

    #[test]
    fn a_body_chooses_no_other_method_and_no_field_twice() {
        for body in [
            &b"{\"method\":\"AUDIT\"}"[..],
            b"{\"id\":2,\"name\":\"eve\"}",
            b"{\"name\":\"eve\",\"name\":\"ana\"}",
            b"{\"name\":\"eve\"}{}",
            b"{\"name\":\"eve\"",
            b"[]",
            b"",
            b"{",
            b"{\"name\":1}",
            b"{,}",
            b"{\"name\":\"a\xff\"}",
            b"{}",
        ] {
            let refused = posted("REVOKE", body).map_err(|refusal| refusal.code);
            let is_refused = matches!(refused, Err(ErrorCode::BadRequest | ErrorCode::BadName));
            assert!(is_refused, "{:?}: {refused:?}", String::from_utf8_lossy(body));
        }
    }
}
