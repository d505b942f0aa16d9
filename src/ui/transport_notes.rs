//! Notes on a transport that could not be used.

use std::net::SocketAddr;

use crate::ui::text::Lang;

/// One line: UDP does not get through to there, for this reason of the system's.
#[must_use]
pub fn tcp_takes_over(udp: SocketAddr, why: &str, lang: Lang) -> String {
    match lang {
        Lang::Pt => format!("UDP não chega a {udp}: o TCP assume ({why})"),
        Lang::Es => format!("UDP no llega a {udp}: TCP lo sustituye ({why})"),
        Lang::En => format!("UDP to {udp} does not get through: TCP takes over ({why})"),
    }
}
