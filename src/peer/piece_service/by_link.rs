//! Make and end links, and serve files by them.

use crate::node::ConnId;
use crate::node::io::ConnHandle;
use crate::peer::links::NoLink;
use crate::peer::piece_service::hash_lists::open_selected;
use crate::peer::piece_service::{PieceService, ServiceCtx, shared_name};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::link::{LinkFetch, LinkRequest, LinkResponse, NewLink};
use crate::protocol::request::Fetch;
use crate::protocol::response::Response;
use crate::protocol::types::link_ticket::{LinkId, LinkSubject};

impl PieceService {
    /// LINK, LINKS and UNLINK, for the owner of this peer alone.
    pub(super) fn manage_links(
        &mut self,
        id: ConnId,
        request: LinkRequest,
        ctx: &mut ServiceCtx<'_, '_>,
    ) -> Result<Response, ErrorReply> {
        if !ctx.io.connection(id).is_some_and(|conn| self.is_owner(conn)) {
            let text = "links are for the owner of this peer: connect from this machine";
            return Err(ErrorReply::new(ErrorCode::Forbidden, text));
        }
        let now = ctx.io.now;
        let response = match request {
            LinkRequest::Make(file, lasts) => self.make_link(file, lasts, ctx)?,
            LinkRequest::List(after) => {
                let (links, cursor) = self.links.page(after, now);
                LinkResponse::List { links, cursor }
            }
            LinkRequest::Revoke(link) => {
                if !self.links.revoke(link, now) {
                    return Err(ErrorReply::new(ErrorCode::NotFound, "no such link here"));
                }
                self.cut_uploads(link, ctx);
                LinkResponse::Revoked
            }
            LinkRequest::Fetch(_) => return Err(ErrorReply::unsupported()),
        };
        Ok(Response::Link(Box::new(response)))
    }

    /// True for a program of the user that runs this peer: by the kernel, or by the key of this
    /// peer, which no other user has.
    fn is_owner(&self, conn: &ConnHandle) -> bool {
        let security = &conn.security;
        security.same_user || self.key.is_some() && security.key == self.key
    }

    fn make_link(
        &mut self,
        file: LinkSubject,
        lasts: u32,
        ctx: &mut ServiceCtx<'_, '_>,
    ) -> Result<LinkResponse, ErrorReply> {
        let fetch = whole(file.clone());
        let name = shared_name(&fetch.wanted, ctx).ok_or_else(ErrorReply::no_such_file)?;
        open_selected(&name, &fetch, ctx)?;
        let (ticket, left) =
            self.links.make(file, lasts, ctx.io.random, ctx.io.now).ok_or_else(|| {
                let text = "too many links here: wait until some expire, or end some";
                ErrorReply::new(ErrorCode::Busy, text)
            })?;
        log::debug!("link {} for {left} s", ticket.id());
        Ok(LinkResponse::Made(NewLink { ticket, name, left, at: ctx.own_address }))
    }

    /// Closes connections that a revoked link still feeds or holds a place for.
    fn cut_uploads(&mut self, link: LinkId, ctx: &mut ServiceCtx<'_, '_>) {
        for conn in self.uploads.by_link(link).collect::<Vec<_>>() {
            if let Some(conn) = ctx.io.connection(conn) {
                conn.drop_now();
            }
        }
    }

    /// GET of a link. Why a ticket is refused stays unsaid, except for a genuine one that has
    /// ended.
    pub(super) fn fetch_by_link(
        &mut self,
        id: ConnId,
        fetch: &LinkFetch,
        ctx: &mut ServiceCtx<'_, '_>,
    ) {
        let now = ctx.io.now;
        let is_private = ctx.io.connection(id).is_some_and(|conn| {
            // An onlooker of a plain connection would learn the ticket, and use it.
            conn.security.is_encrypted || conn.from.ip().to_canonical().is_loopback()
        });
        let root = ctx.storage.entry(&fetch.name).and_then(|entry| entry.root);
        let checked = match is_private {
            true => self.links.check(fetch, root, now),
            false => Err(NoLink::Unknown),
        };
        let error = match checked {
            Ok(file) => {
                return self.fetch(id, None, whole(file), false, Some(fetch.ticket.id()), ctx);
            }
            Err(NoLink::Unknown) => ErrorReply::no_such_file(),
            Err(NoLink::Ended) => {
                ErrorReply::new(ErrorCode::Expired, "this link has ended: ask for another")
            }
        };
        self.refuse(id, None, &error, ctx.io);
    }
}

/// All bytes of a file, in any version.
fn whole(file: LinkSubject) -> Fetch {
    Fetch { wanted: file.into(), from: 0, length: None, tag: None }
}
