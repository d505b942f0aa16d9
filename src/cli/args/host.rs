//! The host names that a process accepts in HTTP requests, on the command line.

use cardume::os::system;
use cardume::protocol::http::host::{HostNames, is_host_name};
use clap::Args;

/// The accepted host names.
#[derive(Args)]
pub struct HostArgs {
    /// A host name to accept in HTTP requests, such as the name of a proxy; repeat for more.
    /// Addresses, localhost and the names of this machine are always accepted. All other names are
    /// refused
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    pub host_name: Vec<String>,
}

impl HostArgs {
    /// These names, and the names of this machine.
    pub fn names(&self) -> HostNames {
        HostNames::new(self.host_name.iter().cloned().chain(system::own_names()))
    }
}

/// A host name without a port.
fn host_name(text: &str) -> Result<String, String> {
    if is_host_name(text) {
        Ok(text.to_owned())
    } else {
        Err("a name is like videos.example, without a port; non-ASCII names begin with xn--"
            .to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_name_and_nothing_else() {
        assert!(
            host_name("videos.example").is_ok()
                && host_name("nas").is_ok()
                && host_name("xn--caf-dma.example").is_ok()
        );
        for text in
            ["", "*", "a:80", "http://a", "a/b", "a b", "café.example", "[::1]", &"a".repeat(300)]
        {
            assert!(host_name(text).is_err(), "{text}");
        }
    }
}
