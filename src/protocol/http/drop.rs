//! Files for the drop folder of a peer: `POST /api/drop` offers a file, `PUT /api/drop/TICKET`
//! brings the bytes. Only the own page may do so: see [`change`](crate::protocol::http::change).

use serde::{Deserialize, Serialize};

use crate::protocol::error::ErrorReply;
use crate::protocol::http::change::comes_from_own_page;
use crate::protocol::http::{Conditions, Http, HttpError};
use crate::protocol::request::Request;
use crate::protocol::types::drop_offer::{DropRequest, DropResponse, DropTicket};
use crate::protocol::types::file_name::FileName;
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
        let fields = self.body_fields(parsed);
        let no_length = ("411 Length Required", "a body needs its Content-Length\n");
        let fault = fields.fault.or(match () {
            () if fields.is_chunked => Some(no_length),
            () if !comes_from_own_page("http", parsed) => {
                Some(("403 Forbidden", "not from another page\n"))
            }
            () if fields.length.is_none() => Some(no_length),
            () => None,
        });
        if let Some((status, text)) = fault {
            return Err(self.broken(status, "", text, false, out));
        }
        let length = fields.length.unwrap_or(0) as u64;
        if fields.expects && !more && length > 0 {
            out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        self.asked = Some(Conditions { close: true, ..fields.asked });
        let request = Request::Drop(Box::new(DropRequest::Body { ticket, length }));
        Ok(Decoded::Whole { item: Some(request), used })
    }
}
