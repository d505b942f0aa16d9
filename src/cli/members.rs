//! The commands about members of a closed server.

use std::path::Path;
use std::rc::Rc;

use cardume::client::Client;
use cardume::client::command::Command;
use cardume::client::config::{ClientConfig, Task};
use cardume::client::members::MemberCommand;
use cardume::os::fs::{key_file, secret_file};
use cardume::os::net::tls::identity::TlsIdentity;
use cardume::os::system;
use cardume::protocol::member::{ApplicantId, InviteTerms, MemberRequest, RevokeTarget};
use cardume::protocol::types::account::{Key, UserName};
use cardume::protocol::types::member::{Groups, InviteUrl, MemberRole};
use cardume::ui::event::{Failure, exit};

use crate::cli::Exit;
use crate::cli::args::members::{
    AdmitArgs, AuditArgs, InviteArgs, JoinArgs, MembersArgs, RevokeArgs, RoleArgs, UninviteArgs,
};
use crate::cli::args::{AllocateArg, AskArgs, KeyArgs, PeerArgs};
use crate::cli::build_node::{identity, once, opener, read_secret, user};
use crate::cli::known_servers::{self, PinFile};

/// ENROL, with the invite of the command line, the environment, a file or stdin.
pub fn join(args: &JoinArgs) -> Result<(Client, TlsIdentity), Exit> {
    let text = match (&args.invite, &args.invite_file) {
        (Some(text), _) if text == "-" => secret_file::read_from(&mut std::io::stdin())
            .map_err(|error| Exit::Failure(Failure::Disk(format!("stdin: {error}"))))?,
        (Some(text), _) => text.clone(),
        (None, Some(file)) => read_secret(file)?,
        (None, None) => return Err(Exit::new(exit::USAGE, "join: an invite is missing")),
    };
    enrol(parse_invite(&text)?, args.name.as_deref(), args.replace, &args.key)
}

/// The first start of a peer with an invite: the server of the invite becomes the server of the
/// peer. The member to be joined first; `None` at later starts.
pub fn join_of_peer(args: &mut PeerArgs) -> Result<Option<(Client, TlsIdentity)>, Exit> {
    let text = match (std::env::var("CARDUME_INVITE"), &args.identity.invite_file) {
        (_, Some(file)) => read_secret(file)?,
        (Ok(text), None) => text,
        (Err(_), None) => return Ok(None),
    };
    let invite = parse_invite(&text)?;
    let has_joined = known_servers::knows(&invite)?;
    if args.server.is_none() {
        args.server = invite.addresses().first().cloned();
    }
    match has_joined {
        true => Ok(None),
        false => {
            let name = args.identity.user.clone().or_else(name_of_machine);
            enrol(invite, name.as_deref(), false, &args.identity.key).map(Some)
        }
    }
}

fn parse_invite(text: &str) -> Result<InviteUrl, Exit> {
    // The printed command may have been copied as a whole.
    let text = text.trim();
    let text = text.strip_prefix("cardume join ").unwrap_or(text).trim_matches(['\'', '"', ' ']);
    InviteUrl::parse(text).map_err(|why| Exit::new(exit::USAGE, why.to_string()))
}

fn enrol(
    invite: InviteUrl,
    name: Option<&str>,
    replace: bool,
    key: &KeyArgs,
) -> Result<(Client, TlsIdentity), Exit> {
    // A key for this run alone would be no member of the next run.
    let tls_identity = key_file::open_for_tls(key.key.as_deref().map(Path::new))
        .map_err(|why| Exit::Failure(Failure::Disk(why)))?;
    let name = match name {
        Some(name) => user(name)?,
        None => own_name()?,
    };
    let known = PinFile { replace };
    known.check(&invite)?;
    let server = known_servers::of_url(&invite)?;
    let task = Task::Once(Command::Member(Box::new(MemberCommand::Enrol { invite, name })));
    let defaults = ClientConfig::new(task, opener(AllocateArg::Full));
    let mut config = ClientConfig { server, known_servers: Rc::new(known), ..defaults };
    config.user.identity = identity(key);
    Ok((Client::new(config), tls_identity))
}

/// The host name: machines that start peers by one invite often share the name of the account.
fn name_of_machine() -> Option<String> {
    system::own_names().into_iter().find(|name| UserName::new(name).is_ok())
}

/// The name of the account on this machine.
fn own_name() -> Result<UserName, Exit> {
    let name = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    name.or_else(system::account_name)
        .and_then(|name| UserName::new(&name).ok())
        .ok_or_else(|| Exit::new(exit::USAGE, "join: say --name, as your account has no name"))
}

/// INVITE or INVITES.
pub fn invite(args: &InviteArgs) -> Result<Client, Exit> {
    if args.list {
        return ask(MemberRequest::Invites { from: 0 }, &args.ask);
    }
    let terms = InviteTerms {
        role: args.role.unwrap_or(MemberRole::Share),
        groups: groups(&args.group)?,
        uses: args.uses,
        lasts: args.lasts,
        ephemeral: args.ephemeral,
        as_name: args.as_name.as_deref().map(user).transpose()?,
    };
    // The key does not matter to the check of the addresses.
    let probe = Key::parse("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    if let (Some(key), false) = (probe, args.at.is_empty()) {
        InviteUrl::new(args.at.iter().map(String::as_str), key, None)
            .map_err(|why| Exit::new(exit::USAGE, why.to_string()))?;
    }
    let inherits = terms.as_name.is_some() && args.role.is_none() && args.group.is_empty();
    let command =
        MemberCommand::Invite { terms, inherits, at: args.at.clone(), web: args.web, qr: args.qr };
    once(Command::Member(Box::new(command)), &args.ask)
}

/// UNINVITE.
pub fn uninvite(args: &UninviteArgs) -> Result<Client, Exit> {
    ask(MemberRequest::Uninvite(args.invite), &args.ask)
}

/// MEMBERS, APPLICANTS or WHOAMI.
pub fn members(args: &MembersArgs) -> Result<Client, Exit> {
    let request = match (args.pending, args.me) {
        (true, _) => MemberRequest::Applicants { from: 0 },
        (_, true) => MemberRequest::WhoAmI,
        _ => MemberRequest::Members { cursor: None },
    };
    ask(request, &args.ask)
}

/// ADMIT.
pub fn admit(args: &AdmitArgs) -> Result<Client, Exit> {
    let id = match Key::parse(&args.who) {
        Some(key) => ApplicantId::Key(key),
        None => ApplicantId::Name(user(&args.who)?),
    };
    let groups = groups(&args.group)?;
    ask(MemberRequest::Admit { id, role: args.role, groups }, &args.ask)
}

/// SET.
pub fn role(args: &RoleArgs) -> Result<Client, Exit> {
    let groups = groups(&args.group)?;
    ask(MemberRequest::Set { name: user(&args.name)?, role: args.role, groups }, &args.ask)
}

/// REVOKE.
pub fn revoke(args: &RevokeArgs) -> Result<Client, Exit> {
    let target = match (&args.name, args.invite) {
        (Some(name), _) => RevokeTarget::Name(user(name)?),
        (None, Some(invite)) => RevokeTarget::Invite(invite),
        (None, None) => return Err(Exit::new(exit::USAGE, "revoke: a name is missing")),
    };
    ask(MemberRequest::Revoke(target), &args.ask)
}

/// AUDIT.
pub fn audit(args: &AuditArgs) -> Result<Client, Exit> {
    let command = match args.follow {
        true => MemberCommand::FollowAudit,
        false => MemberCommand::Ask(MemberRequest::Audit { cursor: None }),
    };
    once(Command::Member(Box::new(command)), &args.ask)
}

fn ask(request: MemberRequest, args: &AskArgs) -> Result<Client, Exit> {
    once(Command::Member(Box::new(MemberCommand::Ask(request))), args)
}

fn groups(groups: &[String]) -> Result<Groups, Exit> {
    Groups::parse(groups.iter().map(String::as_str))
        .ok_or_else(|| Exit::new(exit::USAGE, "a member is in at most 16 groups"))
}
