//! Sessions of browsers, which hold no key: a cookie stands for the key of a member. HTTP alone has
//! these requests.

use std::fmt;

use crate::protocol::types::account::UserName;
use crate::protocol::types::base64url;
use crate::protocol::types::member::{Groups, InviteToken, MemberRole};

/// The secret in the cookie of a session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SessionSecret([u8; 32]);

impl SessionSecret {
    /// The secret of these random bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> SessionSecret {
        SessionSecret(bytes)
    }

    /// Parse 43 digits of base64url.
    #[must_use]
    pub fn parse(text: &str) -> Option<SessionSecret> {
        base64url::decode(text).map(SessionSecret)
    }

    /// The secret bytes, to hash.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 43 digits, for the cookie only.
    #[must_use]
    pub fn reveal(&self) -> String {
        base64url::encode(&self.0)
    }
}

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecret(..)")
    }
}

/// A request about the session of a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionRequest {
    /// Begin a session by an invite.
    Begin(InviteToken),
    /// Show the rights of this request.
    Show,
    /// End the session of this request.
    End,
}

/// A response to a [`SessionRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionResponse {
    /// A session has begun, with this secret.
    Begun(SessionSecret, WebViewer),
    /// The rights of the request.
    Shown(WebViewer),
    /// The session is over.
    Ended(WebViewer),
}

/// The rights of a request by HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebViewer {
    /// Only members may search and share.
    pub is_closed: bool,
    /// The member; `None`: a stranger, or the user that runs the server.
    pub name: Option<UserName>,
    /// The role; `None` for a stranger.
    pub role: Option<MemberRole>,
    /// Groups of the member.
    pub groups: Groups,
    /// Seconds until the session ends; `None` without a session.
    pub left: Option<u64>,
}
