//! Registration in the index: JOIN in parts, and UPDATE.

use std::net::{IpAddr, SocketAddr};

use crate::client::Client;
use crate::client::server_connection::Joining;
use crate::client::server_requests::PendingRequest;
use crate::limits;
use crate::node::PortId;
use crate::node::io::Io;
use crate::peer::config::NetworkConfig;
use crate::peer::listen_ports::ListenPorts;
use crate::peer::update_queue::UpdateQueue;
use crate::protocol::detect::ListenerProtocol;
use crate::protocol::request::{Join, Request};
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::storage::Storage;

/// The entry of this peer in the index.
pub(super) struct Registration {
    pub(super) config: NetworkConfig,
    pub(super) ports: ListenPorts,
    /// Changes for the next UPDATE.
    pub(super) updates: UpdateQueue,
    /// The shared folder is not listed to its end: JOIN waits.
    pub(super) is_scanning: bool,
}

impl Registration {
    pub(super) fn new(config: NetworkConfig) -> Registration {
        Registration {
            config,
            ports: ListenPorts::default(),
            updates: UpdateQueue::default(),
            is_scanning: false,
        }
    }

    /// The protocols of a port.
    pub(super) fn protocol_of(&self, port: PortId) -> ListenerProtocol {
        self.legacy_port(port)
            .map_or(self.config.protocol, |(_, legacy)| ListenerProtocol::Legacy(legacy))
    }

    /// The configured address and protocol of a legacy port.
    pub(super) fn legacy_port(&self, port: PortId) -> Option<(SocketAddr, LegacyProfile)> {
        self.config.legacy_ports.get(port.0.checked_sub(1)?).copied()
    }

    /// The legacy protocols that JOIN announces; `None` before all ports are open.
    fn announced_ports(&self, native: SocketAddr) -> Option<Vec<(LegacyProfile, u16)>> {
        let ports = &self.ports;
        if ports.opens_ipv6
            || ports.legacy.len() < self.config.legacy_ports.len()
            || (self.config.udp.is_some() && ports.quic.is_none())
        {
            return None;
        }
        let beside = self.config.protocol.extra_profiles().map(|legacy| (legacy, native.port()));
        Some(ports.legacy.iter().copied().chain(beside).collect())
    }

    /// The port and the address that JOIN announces; no address: that which the server sees.
    /// `reach`: the address of this machine in place of a loopback address, which only this machine
    /// reaches.
    fn advertised(&self, native: SocketAddr, reach: Option<IpAddr>) -> (u16, Option<SocketAddr>) {
        match self.config.advertise {
            Some((ip, port)) => {
                let port = port.unwrap_or(native.port());
                (port, Some(SocketAddr::new(ip, port)))
            }
            None if native.ip().is_unspecified() => {
                let reach = reach.filter(|ip| ip.is_ipv4() || native.is_ipv6());
                (native.port(), reach.map(|ip| SocketAddr::new(ip, native.port())))
            }
            None => (native.port(), Some(native)),
        }
    }

    /// Sends the next part of JOIN, once the server, the login, the ports and the list of files are there.
    pub(super) fn send_join(&mut self, client: &mut Client, storage: &Storage, io: &mut Io<'_>) {
        let (part, after) = match &client.server.joining {
            Joining::Wanted
                if !self.is_scanning && client.server.is_open() && client.is_login_settled() =>
            {
                (0, None)
            }
            Joining::Sending { part, after } => (*part, after.clone()),
            Joining::Unwanted | Joining::Wanted | Joining::Joined(_) => return,
        };
        let Some(native) = client.listening() else { return };
        let Some(ports) = self.announced_ports(native) else { return };
        let (mut files, mut bytes, mut more) = (Vec::new(), 0, false);
        for file in storage.files_after(after.as_ref()) {
            bytes += file.name.len() * 2 + file.groups.json_bytes() + 40;
            if files.len() == limits::JOIN_PART_FILES || bytes > limits::JOIN_PART_BYTES {
                more = true;
                break;
            }
            files.push(file);
        }
        let last = files.last().map(|file| file.name.clone()).or(after);
        let (port, advertise) = self.advertised(native, client.server.reach());
        let join = Join {
            port: Some(port),
            advertise,
            session: client.server.session,
            part,
            more,
            files,
            ports,
            quic: self.ports.quic,
            key: self.config.key,
        };
        if client.ask(&Request::Join(Box::new(join)), PendingRequest::Join, io) {
            client.server.joining = Joining::Sending { part: part + 1, after: last };
            // This JOIN names all files of earlier updates.
            if part == 0 {
                self.updates.clear();
            }
        }
    }

    /// Sends the next UPDATE, unless an UPDATE is pending.
    pub(super) fn send_updates(&mut self, client: &mut Client, io: &mut Io<'_>) {
        if !client.has_joined()
            || !client.server.is_open()
            || client.has_pending(&PendingRequest::Update)
        {
            return;
        }
        let Some((files, remove)) = self.updates.next_part() else { return };
        client.ask(&Request::Update { files, remove }, PendingRequest::Update, io);
    }

    /// UPDATE was answered: sends the next UPDATE.
    pub(super) fn update_answered(&mut self, client: &mut Client, io: &mut Io<'_>) {
        self.updates.part_answered();
        self.send_updates(client, io);
        if self.updates.is_empty() {
            client.announce_completed(io);
        }
    }
}

/// True once JOIN has started: a later change of the share needs an UPDATE.
pub(super) fn needs_update(client: &Client) -> bool {
    matches!(client.server.joining, Joining::Sending { .. } | Joining::Joined(_))
}
