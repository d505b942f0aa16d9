//! Ports and consoles of older systems on the command line; ports bind to loopback unless an
//! address is given.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use cardume::client::console::ConsoleProfile;
use cardume::os::net::address;
use cardume::protocol::types::legacy_profile::LegacyProfile;

/// `[IP:]PORT`.
pub fn port(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    address::read(text).ok_or_else(|| "a port is like 5000 or 192.168.1.9:5000".to_owned())
}

/// `[IP:]PORT` of a peer of music-udp: the listed port is a thousand below.
pub fn music_udp(text: &str) -> Result<SocketAddr, String> {
    let at = port(text)?;
    if at.port() != 0 && at.port() < 2_024 {
        return Err("the UDP ports of music-udp are from 2024 to 65535".into());
    }
    Ok(at)
}

/// `[IP:]PORT[:PROFILE]`. UC3M uses unprivileged ports alone; 0 selects a free port.
pub fn uc3m(text: &str) -> Result<(SocketAddr, LegacyProfile), String> {
    let (place, tongue) = match text.rsplit_once(':') {
        Some((place, word))
            if word.parse::<u16>().is_err()
                || (place.parse::<u16>().is_ok() && profile(word).is_ok()) =>
        {
            (place, profile(word)?)
        }
        _ if port(text).is_ok() => (text, LegacyProfile::Uc3mFixed),
        // `IP:PORT:2024` ends in a number that could be a port as well.
        Some((place, word)) => (place, profile(word)?),
        None => (text, LegacyProfile::Uc3mFixed),
    };
    let at = port(place)?;
    if (1..1024).contains(&at.port()) {
        Err("the ports of this protocol are from 1024 to 65535, or 0 for a free one".into())
    } else {
        Ok((at, tongue))
    }
}

/// The profile of an edition.
pub fn profile(word: &str) -> Result<LegacyProfile, String> {
    LegacyProfile::parse(&format!("uc3m-{word}")).ok_or_else(|| {
        format!("{word} is not an edition: use 2020, 2020-int, 2024, 2024-plain, 2025 or fixed")
    })
}

/// `napster`, `rede`, `music` or `uc3m[:PROFILE]`.
pub fn family(text: &str) -> Result<ConsoleProfile, String> {
    match text.split_once(':') {
        None if text == "napster" => Ok(ConsoleProfile::Napster),
        None if text == "rede" => Ok(ConsoleProfile::Rede),
        None if text == "music" => Ok(ConsoleProfile::Music),
        None if text == "uc3m" => Ok(ConsoleProfile::Uc3m(LegacyProfile::Uc3mFixed)),
        Some(("uc3m", edition)) => profile(edition).map(ConsoleProfile::Uc3m),
        _ => Err(
            "a console is napster, rede, music, or uc3m with an optional edition, as in uc3m:2024"
                .into(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_legacy_port_binds_to_loopback_by_default() {
        let read = |text: &str| uc3m(text).map(|(at, tongue)| (at.to_string(), tongue));
        assert_eq!(read("5000"), Ok(("127.0.0.1:5000".into(), LegacyProfile::Uc3mFixed)));
        assert_eq!(read("5000:2024"), Ok(("127.0.0.1:5000".into(), LegacyProfile::Uc3m2024)));
        assert_eq!(read("0.0.0.0:5000"), Ok(("0.0.0.0:5000".into(), LegacyProfile::Uc3mFixed)));
        assert_eq!(read("0.0.0.0:5000:2025"), Ok(("0.0.0.0:5000".into(), LegacyProfile::Uc3m2025)));
        assert_eq!(
            read("127.0.0.2:5000:2024-plain"),
            Ok(("127.0.0.2:5000".into(), LegacyProfile::Uc3m2024Plain))
        );
        assert_eq!(read("0:2020-int"), Ok(("127.0.0.1:0".into(), LegacyProfile::Uc3m2020Int)));
        assert_eq!(read("127.0.0.2:0"), Ok(("127.0.0.2:0".into(), LegacyProfile::Uc3mFixed)));
        assert_eq!(read("[::1]:5000:seed003"), Ok(("[::1]:5000".into(), LegacyProfile::Uc3mFixed)));
        assert_eq!(read("[::1]:5000"), Ok(("[::1]:5000".into(), LegacyProfile::Uc3mFixed)));
        for text in
            ["", "80", "1023:2024", "5000:1999", "x:2024", "127.0.0.1", "70000", "127.0.0.1:5000:"]
        {
            assert!(uc3m(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_console_is_named_by_its_profile_and_edition() {
        assert_eq!(family("napster"), Ok(ConsoleProfile::Napster));
        assert_eq!(family("rede"), Ok(ConsoleProfile::Rede));
        assert_eq!(family("music"), Ok(ConsoleProfile::Music));
        assert_eq!(family("uc3m"), Ok(ConsoleProfile::Uc3m(LegacyProfile::Uc3mFixed)));
        assert_eq!(
            family("uc3m:2024-plain"),
            Ok(ConsoleProfile::Uc3m(LegacyProfile::Uc3m2024Plain))
        );
        for text in ["", "UC3M ", "uc3m:", "uc3m:1999", "music:1", "rede:2024", "napster:"] {
            assert!(family(text).is_err(), "{text}");
        }
    }
}
