//! The commands of administrators beyond the members.

use cardume::client::Client;
use cardume::client::command::Command;
use cardume::client::members::MemberCommand;
use cardume::protocol::administration::{AdminRequest, BanSubject, BanTarget, KickTarget, NewBan};
use cardume::protocol::member::MemberRequest;
use cardume::protocol::types::account::Line;
use cardume::ui::event::exit;

use crate::cli::Exit;
use crate::cli::args::administration::{BanArgs, KickArgs, LimitsArgs, Named, UnbanArgs};
use crate::cli::args::{AskArgs, DeleteArgs, NameArgs};
use crate::cli::build_node::{once, published, user};

/// KICK.
pub fn kick(args: &KickArgs) -> Result<Client, Exit> {
    let target = match &args.who {
        Named::Name(name) => KickTarget::Name(user(name)?),
        Named::Subject(BanSubject::Key(key)) => KickTarget::Key(*key),
        Named::Subject(BanSubject::Range(range)) => KickTarget::Address(range.first(), None),
        Named::Address(ip, port) => KickTarget::Address(*ip, *port),
    };
    ask(AdminRequest::Kick(target), &args.ask)
}

/// BAN.
pub fn ban(args: &BanArgs) -> Result<Client, Exit> {
    let reason = Line::new(&args.reason)
        .ok_or_else(|| Exit::new(exit::USAGE, "a reason is one line of at most 255 bytes"))?;
    let (target, lasts, force) = (target(&args.who)?, args.lasts, args.force);
    ask(AdminRequest::Ban(NewBan { target, lasts, reason, force }), &args.ask)
}

/// UNBAN.
pub fn unban(args: &UnbanArgs) -> Result<Client, Exit> {
    ask(AdminRequest::Unban(target(&args.who)?), &args.ask)
}

/// BANS.
pub fn bans(args: &AskArgs) -> Result<Client, Exit> {
    ask(AdminRequest::Bans { cursor: None }, args)
}

/// LIMITS.
pub fn limits(args: &LimitsArgs) -> Result<Client, Exit> {
    ask(AdminRequest::Limits(args.set.clone()), &args.ask)
}

/// UNPUBLISH: `delete --admin`.
pub fn unpublish(args: &DeleteArgs) -> Result<Client, Exit> {
    let (user, file) = (user(&args.user)?, published(&args.name)?);
    ask(AdminRequest::Unpublish { user, file }, &args.ask)
}

/// REMOVE_USER: `unregister --admin`.
pub fn remove_user(args: &NameArgs) -> Result<Client, Exit> {
    ask(AdminRequest::RemoveUser(user(&args.user)?), &args.ask)
}

fn target(who: &Named) -> Result<BanTarget, Exit> {
    Ok(match who {
        Named::Name(name) => BanTarget::Name(user(name)?),
        Named::Subject(subject) => BanTarget::Subject(*subject),
        Named::Address(ip, _) => BanTarget::Subject(BanSubject::Range((*ip).into())),
    })
}

fn ask(request: AdminRequest, args: &AskArgs) -> Result<Client, Exit> {
    let command = MemberCommand::Ask(MemberRequest::Admin(request));
    once(Command::Member(Box::new(command)), args)
}
