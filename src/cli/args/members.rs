//! The command lines about members of a closed server.

use cardume::limits;
use cardume::protocol::types::account::UserName;
use cardume::protocol::types::member::{Group, InviteId, MemberRole};
use clap::Args;

use crate::cli::args::{AskArgs, KeyArgs};

#[derive(Args)]
pub struct JoinArgs {
    /// The invite, as `cardume invite` prints it; `-` reads stdin
    #[arg(
        value_name = "INVITE",
        env = "CARDUME_INVITE",
        hide_env_values = true,
        required_unless_present = "invite_file"
    )]
    pub invite: Option<String>,

    /// A file with the invite, so that the invite is not on a command line
    #[arg(
        long,
        value_name = "FILE",
        env = "CARDUME_INVITE_FILE",
        value_hint = clap::ValueHint::FilePath
    )]
    pub invite_file: Option<String>,

    /// Your name on the server [default: the name of your account on this machine]
    #[arg(long, value_name = "NAME", value_parser = user)]
    pub name: Option<String>,

    /// Accept that a server of the same address has a new key
    #[arg(long)]
    pub replace: bool,

    #[command(flatten)]
    pub key: KeyArgs,

    /// Print a JSON object per line
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct InviteArgs {
    /// The number of members that the invite admits
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
    pub uses: u32,

    /// The time until the invite expires: 90s, 15m, 24h or 30d
    #[arg(long = "for", value_name = "TIME", default_value = "24h", value_parser = seconds)]
    pub lasts: u64,

    /// The role of the new members: read, share or admin [default: share; with --as, role and
    /// groups of the revoked member]
    #[arg(long, value_name = "ROLE", value_parser = role)]
    pub role: Option<MemberRole>,

    /// A group of the new members; repeat for more
    #[arg(long, value_name = "GROUP", value_parser = group)]
    pub group: Vec<String>,

    /// Forget a new member that has not been seen for this time
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub ephemeral: Option<u64>,

    /// Give this name to the new member, also if a revoked member had the name
    #[arg(long = "as", value_name = "NAME", value_parser = user, conflicts_with = "uses")]
    pub as_name: Option<String>,

    /// An address of the server in the invite [default: as the server knows them]; repeat for more
    #[arg(long, value_name = "HOST[:PORT]")]
    pub at: Vec<String>,

    /// Print the URL for a browser as well, if the server has a certificate for browsers
    #[arg(long)]
    pub web: bool,

    /// Show a QR code as well
    #[arg(long)]
    pub qr: bool,

    /// List the invites that are still valid, instead of making one
    #[arg(long, conflicts_with_all = ["uses", "lasts", "role", "group", "ephemeral", "as_name", "at", "web", "qr"])]
    pub list: bool,

    #[command(flatten)]
    pub ask: AskArgs,
}

#[derive(Args)]
pub struct UninviteArgs {
    /// The number of the invite, as `cardume invite --list` shows it
    #[arg(value_name = "INVITE", value_parser = invite)]
    pub invite: InviteId,
    #[command(flatten)]
    pub ask: AskArgs,
}

#[derive(Args)]
pub struct MembersArgs {
    /// List the keys that wait for admission
    #[arg(long)]
    pub pending: bool,
    /// Show the server, and your own name and role there
    #[arg(long, conflicts_with = "pending")]
    pub me: bool,
    #[command(flatten)]
    pub ask: AskArgs,
}

#[derive(Args)]
pub struct AdmitArgs {
    /// The name or the key that waits
    #[arg(value_name = "NAME|KEY")]
    pub who: String,
    /// The role of the new member: read, share or admin
    #[arg(long, value_name = "ROLE", default_value = "share", value_parser = role)]
    pub role: MemberRole,
    /// A group of the new member; repeat for more
    #[arg(long, value_name = "GROUP", value_parser = group)]
    pub group: Vec<String>,
    #[command(flatten)]
    pub ask: AskArgs,
}

#[derive(Args)]
pub struct RoleArgs {
    /// The member
    #[arg(value_name = "NAME", value_parser = user)]
    pub name: String,
    /// The new role: read, share or admin
    #[arg(value_name = "ROLE", value_parser = role)]
    pub role: MemberRole,
    /// A group of the member, in place of the earlier groups; repeat for more
    #[arg(long, value_name = "GROUP", value_parser = group)]
    pub group: Vec<String>,
    #[command(flatten)]
    pub ask: AskArgs,
}

#[derive(Args)]
pub struct RevokeArgs {
    /// The member
    #[arg(value_name = "NAME", value_parser = user, required_unless_present = "invite")]
    pub name: Option<String>,
    /// All members of this invite, and the invite
    #[arg(long, value_name = "INVITE", value_parser = invite, conflicts_with = "name")]
    pub invite: Option<InviteId>,
    #[command(flatten)]
    pub ask: AskArgs,
}

#[derive(Args)]
pub struct AuditArgs {
    /// Show new rows as they come, until Ctrl-C
    #[arg(long)]
    pub follow: bool,
    #[command(flatten)]
    pub ask: AskArgs,
}

/// A checked name; the types of names are of one thread, and clap's values of any.
fn user(text: &str) -> Result<String, String> {
    match UserName::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(why) => Err(format!("a name must not {why}")),
    }
}

fn role(text: &str) -> Result<MemberRole, String> {
    MemberRole::parse(text).ok_or_else(|| "a role is read, share or admin".to_owned())
}

/// A group, as a member or a file has it.
pub fn group(text: &str) -> Result<String, String> {
    match Group::new(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("a group is a word of a-z, 0-9 and -".to_owned()),
    }
}

fn invite(text: &str) -> Result<InviteId, String> {
    InviteId::parse(text).ok_or_else(|| "an invite has a number of 8 hex digits".to_owned())
}

/// A span of time: a number with s, m, h or d.
pub fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || "a time is like 90s, 15m, 24h or 30d".to_owned();
    let end = text.len().saturating_sub(1);
    let (number, unit) = text.split_at_checked(end).ok_or_else(wrong)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    // Signs would be read as numbers.
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = number.checked_mul(unit).ok_or_else(wrong)?;
    if (1..=limits::LARGEST_INTEGER).contains(&seconds) { Ok(seconds) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_number_and_a_unit() {
        let times = ["90s", "15m", "24h", "30d"].map(seconds);
        assert_eq!(times, [Ok(90), Ok(900), Ok(86_400), Ok(2_592_000)]);
        for text in [
            "",
            "s",
            "0s",
            "-1s",
            "+1s",
            "1",
            "1w",
            "1.5h",
            "\u{e9}",
            "1\u{e9}",
            "99999999999999999999d",
            "1000000000000d",
        ] {
            assert!(seconds(text).is_err(), "{text:?}");
        }
    }
}
