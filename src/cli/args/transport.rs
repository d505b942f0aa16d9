//! The transport on the command line: TCP or QUIC.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use cardume::os::net::address;
use cardume::os::net::network::{HAS_QUIC, Network};
use cardume::os::net::tls::identity::TlsIdentity;
use cardume::storage::fs_trait::FsError;
use cardume::ui::event::{Failure, exit};
use clap::{Args, ValueEnum};

use crate::cli::{Exit, build_node};

/// The transport of downloads.
#[derive(Args)]
pub struct TransportArgs {
    /// The transport of the download: TCP, or QUIC over UDP from peers with --udp, with TCP as the
    /// fallback
    #[arg(long, value_enum, default_value = "tcp")]
    pub transport: TransportArg,

    /// The local UDP port of QUIC [default: a free port]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub udp_port: Option<u16>,
}

/// A transport.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TransportArg {
    /// TCP
    Tcp,
    /// QUIC over UDP
    Quic,
}

impl TransportArgs {
    /// True for QUIC. `alone`: no request to the index, so the key of the peer is unknown.
    pub fn is_quic(&self, alone: bool) -> Result<bool, Exit> {
        let quic = self.transport == TransportArg::Quic;
        if self.udp_port.is_some() && !quic {
            return Err(Exit::new(exit::USAGE, "--udp-port goes with --transport quic"));
        }
        if quic && alone {
            return Err(Exit::new(
                exit::USAGE,
                "--transport quic needs the index for the key of the peer: omit --from",
            ));
        }
        if quic && !HAS_QUIC {
            return Err(none());
        }
        Ok(quic)
    }

    /// The network for these arguments.
    pub fn network(&self) -> Result<Network, Exit> {
        let mut net = network()?;
        if let Some(port) = self.udp_port {
            let at = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
            let busy = |error: std::io::Error| {
                Exit::Failure(Failure::Port(at, error.to_string().to_lowercase()))
            };
            net.use_client_port(port).map_err(busy)?;
        }
        Ok(net)
    }
}

/// The default network.
pub fn network() -> Result<Network, Exit> {
    let mut net = Network::new().map_err(|error| match FsError::from(error) {
        limit @ FsError::Descriptors => Exit::Failure(Failure::Disk(limit.to_string())),
        error => Exit::new(exit::FAULT, format!("cannot create the system's poll: {error}")),
    })?;
    let file = std::env::var_os("CARDUME_KEY").map(PathBuf::from);
    net.use_identity_later(Box::new(move || build_node::tls_identity(file.as_deref())));
    Ok(net)
}

/// The network of a process with this key. `knows_own`: it tells connections of the same user.
pub fn network_of(identity: TlsIdentity, knows_own: bool) -> Result<Network, Exit> {
    let mut net = network()?;
    if knows_own {
        net.detect_same_user();
    }
    net.use_identity(identity).map_err(|why| Exit::new(exit::FAULT, why))?;
    Ok(net)
}

/// The UDP address of a peer, after a check that this build has QUIC.
pub fn udp(
    wanted: Option<(Option<IpAddr>, u16)>,
    listen: Option<SocketAddr>,
) -> Result<Option<SocketAddr>, Exit> {
    let Some((ip, port)) = wanted else { return Ok(None) };
    if !HAS_QUIC {
        return Err(none());
    }
    let ip = ip.or(listen.map(|listen| listen.ip())).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    Ok(Some(SocketAddr::new(ip, port)))
}

/// `PORT` or `IP:PORT`.
pub fn udp_port(text: &str) -> Result<(Option<IpAddr>, u16), String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok((None, port));
    }
    let at: SocketAddr = address::read(text)
        .ok_or_else(|| "a UDP port is like 4000 or 192.168.1.9:4000".to_owned())?;
    Ok((Some(at.ip()), at.port()))
}

fn none() -> Exit {
    Exit::new(exit::USAGE, "this program was built without QUIC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_udp_port_has_an_optional_address() {
        assert_eq!(udp_port("4000"), Ok((None, 4000)));
        assert_eq!(udp_port("[::1]:4000"), Ok((Some("::1".parse().unwrap()), 4000)));
        assert!(
            udp_port("x").is_err() && udp_port("127.0.0.1").is_err() && udp_port("65536").is_err()
        );
    }

    #[test]
    fn the_udp_port_uses_the_address_of_tcp_by_default() {
        let listen: SocketAddr = "192.0.2.7:4000".parse().unwrap();
        assert_eq!(udp(None, Some(listen)).ok(), Some(None));
        if HAS_QUIC {
            assert_eq!(
                udp(Some((None, 5)), Some(listen)).ok(),
                Some(Some("192.0.2.7:5".parse().unwrap()))
            );
        } else {
            assert!(udp(Some((None, 5)), Some(listen)).is_err());
        }
    }
}
