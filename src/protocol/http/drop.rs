//! Files for the drop folder of a peer: `POST /api/drop` offers a file, `PUT /api/drop/TICKET`
//! brings the bytes. Only the own page may do so: see [`change`](crate::protocol::http::change).

use serde::{Deserialize, Serialize};

use crate::protocol::error::ErrorReply;
use crate::protocol::http::change::comes_from_own_page;
use crate::protocol::http::{Conditions, Http, HttpError, PASS_FIELD, closes, content_length};
use crate::protocol::request::Request;
use crate::protocol::types::drop_offer::{DropRequest, DropResponse, DropTicket};
use crate::protocol::types::file_name::FileName;
use crate::protocol::types::pass::PassText;
use crate::protocol::{Decoded, Role};

/// The path of the bytes of a file, before the ticket.
const BYTES: &str = "/api/drop/";

/// The ticket of a request that brings the bytes of a file.
pub(super) fn ticket(role: Role, method: Option<&str>, path: &str) -> Option<DropTicket> {
    let ticket = path.strip_prefix(BYTES).filter(|_| role == Role::Peer)?;
    DropTicket::parse(ticket).filter(|_| method == Some("PUT"))
}

/// The offer in a body.
pub(super) fn offer(body: &[u8]) -> Result<Request, ErrorReply> {
    #[derive(Deserialize)]
    struct Offer {
        name: String,
        size: u64,
    }
    let Offer { name, size } = serde_json::from_slice(body)
        .map_err(|_| ErrorReply::bad_request("an offer has a name and a size"))?;
    let name = FileName::new(&name)?;
    Ok(Request::Drop(Box::new(DropRequest::Offer { name, size })))
}

/// The JSON of a response.
pub(super) fn text(response: &DropResponse) -> Option<String> {
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Out<'a> {
        Largest(Option<u64>),
        Ticket(&'a str),
        Name(&'a str),
    }
    let out = match response {
        DropResponse::Shown(largest) => Out::Largest(*largest),
        DropResponse::Accepted(ticket) => Out::Ticket(ticket.as_str()),
        DropResponse::Stored(name) => Out::Name(name),
    };
    serde_json::to_string(&out).ok()
}

impl Http {
    /// Decode the header of a request that brings the bytes of a file. The body stays for the
    /// peer, and the connection ends with the response.
    pub(super) fn drop_head(
        &mut self,
        ticket: DropTicket,
        parsed: &httparse::Request<'_, '_>,
        used: usize,
        more: bool,
        out: &mut Vec<u8>,
    ) -> Result<Decoded<Option<Request>>, HttpError> {
        let mut asked = Conditions { json: true, close: true, ..Conditions::default() };
        let (mut length, mut expects) = (None, false);
        let mut fault = self.check_host(parsed).err();
        for header in parsed.headers.iter() {
            let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
            match header.name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    let number = content_length(value);
                    if number.is_none() || length.is_some() {
                        fault.get_or_insert(("400 Bad Request", "one length, in digits\n"));
                    }
                    length = number;
                }
                "transfer-encoding" => {
                    let text = "a body needs its Content-Length\n";
                    fault.get_or_insert(("411 Length Required", text));
                }
                "connection" => asked.close |= closes(value),
                "expect" => expects = parsed.version == Some(1),
                PASS_FIELD => asked.pass = PassText::parse(value).ok(),
                _ => {}
            }
        }
        if !comes_from_own_page("http", parsed) {
            fault.get_or_insert(("403 Forbidden", "not from another page\n"));
        }
        let length = match (fault, length) {
            (Some((status, text)), _) => return Err(self.broken(status, "", text, false, out)),
            (None, Some(length)) => length as u64,
            (None, None) => {
                let text = "a body needs its Content-Length\n";
                return Err(self.broken("411 Length Required", "", text, false, out));
            }
        };
        if expects && !more && length > 0 {
            out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        self.asked = Some(asked);
        let request = Request::Drop(Box::new(DropRequest::Body { ticket, length }));
        Ok(Decoded::Whole { item: Some(request), used })
    }
}
