//! The `INFO` of a node, and the checks at the start.

use std::fmt;

use crate::protocol::types::certificate_fault::CertificateFault;

/// The oldest version with all commands in use.
const OLDEST: (u32, u32) = (7, 0);

/// The identity of a master's data: new after each failover and each restart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplicationId(pub [u8; 40]);

impl ReplicationId {
    /// Read 40 hex digits.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<ReplicationId> {
        let digits: [u8; 40] = text.try_into().ok()?;
        digits.iter().all(u8::is_ascii_hexdigit).then_some(ReplicationId(digits))
    }
}

impl fmt::Debug for ReplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0[..8]))
    }
}

/// An engine that can't carry an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineRefusal {
    /// The version is too old, or unknown.
    Version,
    /// The engine may drop entries to make room, which would be a wrong empty answer.
    Evicts,
    /// The engine asks for a password.
    NeedsPassword,
    /// The engine refuses this user or password.
    WrongPassword,
    /// The engine is a replica outside a cluster, which takes no writes.
    Replica,
    /// The other side speaks another protocol.
    NoEngine,
    /// The certificate of a node is not trusted.
    Untrusted(CertificateFault),
}

impl fmt::Display for EngineRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EngineRefusal::Version => "the engine is older than Redis 7.0; upgrade the engine",
            EngineRefusal::Evicts => {
                "the engine evicts keys when its memory is full; set maxmemory-policy noeviction"
            }
            EngineRefusal::NeedsPassword => {
                "the engine asks for a password; put it into CARDUME_INDEX"
            }
            EngineRefusal::WrongPassword => "the engine refuses this user or password",
            EngineRefusal::Replica => {
                "the engine is a replica and takes no writes; give the address of its master"
            }
            EngineRefusal::NoEngine => "the other side does not speak the protocol of Redis",
            EngineRefusal::Untrusted(_) => "the certificate of the engine is not trusted",
        })
    }
}

impl std::error::Error for EngineRefusal {}

/// The needed fields of `INFO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// A node of a cluster.
    pub is_cluster: bool,
    /// A master.
    pub is_master: bool,
    /// The identity of the data.
    pub replication: ReplicationId,
    /// A replica follows this node.
    pub has_replica: bool,
    /// The data survive a restart of this node, with each write.
    pub is_kept: bool,
}

impl NodeInfo {
    /// Read all sections of `INFO`, and check them. A text without a field is refused.
    ///
    /// # Errors
    /// The reason for which this engine can't carry an index.
    pub fn check(text: &[u8]) -> Result<NodeInfo, EngineRefusal> {
        let version = field(text, b"redis_version").ok_or(EngineRefusal::Version)?;
        if !is_new(version) {
            return Err(EngineRefusal::Version);
        }
        if field(text, b"maxmemory_policy") != Some(b"noeviction") {
            return Err(EngineRefusal::Evicts);
        }
        let is_cluster = field(text, b"cluster_enabled") == Some(b"1");
        let (is_master, replication) = replication(text).ok_or(EngineRefusal::NoEngine)?;
        if !is_cluster && !is_master {
            return Err(EngineRefusal::Replica);
        }
        let has_replica = field(text, b"connected_slaves").is_some_and(|count| count != b"0");
        let is_kept = field(text, b"aof_enabled") == Some(b"1");
        Ok(NodeInfo { is_cluster, is_master, replication, has_replica, is_kept })
    }
}

/// Whether the node is a master, and the identity of the data, from `INFO replication`.
#[must_use]
pub fn replication(text: &[u8]) -> Option<(bool, ReplicationId)> {
    let is_master = match field(text, b"role")? {
        b"master" => true,
        b"slave" => false,
        _ => return None,
    };
    Some((is_master, ReplicationId::parse(field(text, b"master_replid")?)?))
}

fn is_new(version: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(version) else { return false };
    let mut parts = text.split('.').map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else { return false };
    (major, minor) >= OLDEST
}

/// The value in a line `name:value`.
fn field<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    text.split(|byte| *byte == b'\n').find_map(|line| {
        let value = line.strip_prefix(name)?.strip_prefix(b":")?;
        Some(value.strip_suffix(b"\r").unwrap_or(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(changes: &[(&str, &str)]) -> Result<NodeInfo, EngineRefusal> {
        let id = "0123456789abcdef0123456789abcdef01234567";
        let mut fields = [
            ("redis_version", "7.0.15"),
            ("maxmemory_policy", "noeviction"),
            ("role", "master"),
            ("master_replid", id),
            ("cluster_enabled", "0"),
        ];
        for (name, value) in changes {
            let place = fields.iter().position(|(known, _)| known == name).unwrap();
            fields[place].1 = value;
        }
        let lines = fields.iter().filter(|(_, value)| !value.is_empty());
        let text: String = lines.map(|(name, value)| format!("{name}:{value}\r\n")).collect();
        NodeInfo::check(format!("# Server\r\n{text}# Keyspace\r\n").as_bytes())
    }

    #[test]
    fn a_usable_engine_passes_and_each_other_has_its_reason() {
        assert!(info(&[]).unwrap().is_master);
        assert!(info(&[("redis_version", "10.2.1")]).is_ok());
        assert!(info(&[("cluster_enabled", "1")]).unwrap().is_cluster);
        let replica = [("cluster_enabled", "1"), ("role", "slave")];
        assert!(!info(&replica).unwrap().is_master);
        for (name, value, reason) in [
            ("redis_version", "6.2.14", EngineRefusal::Version),
            ("redis_version", "7", EngineRefusal::Version),
            ("redis_version", "new", EngineRefusal::Version),
            ("redis_version", "", EngineRefusal::Version),
            ("maxmemory_policy", "allkeys-lru", EngineRefusal::Evicts),
            ("maxmemory_policy", "", EngineRefusal::Evicts),
            ("role", "slave", EngineRefusal::Replica),
            ("role", "sentinel", EngineRefusal::NoEngine),
            ("master_replid", "short", EngineRefusal::NoEngine),
        ] {
            assert_eq!(info(&[(name, value)]), Err(reason), "{name} {value}");
            assert!(!reason.to_string().is_empty());
        }
    }
}
