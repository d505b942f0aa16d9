//! Outcomes of commands about members, in words.

use crate::protocol::member::{Applicant, AuditLine, InviteEntry, Member};
use crate::protocol::types::member::Groups;
use crate::ui::event::MemberEvent;
use crate::ui::lang::Lang;
use crate::ui::qr;
use crate::ui::text::catalog::MemberNotice;
use crate::ui::text::{Output, administration, catalog, rows};

/// An outcome in words: lists have a row per entry, with tabs between the columns.
pub(super) fn say(event: &MemberEvent, lang: Lang) -> Output {
    let notice = |notice: MemberNotice| Output::Note(catalog(lang).member(&notice));
    match event {
        MemberEvent::Enrolled(info) => match &info.member {
            Some(member) => {
                let key = info.key.to_string();
                let server = if info.name.is_empty() { &key } else { &info.name };
                notice(MemberNotice::Enrolled { server, name: &member.name, role: member.role })
            }
            None => Output::Silent,
        },
        MemberEvent::Pending { key, .. } => {
            let key = key.map(|key| key.to_string()).unwrap_or_default();
            notice(MemberNotice::Pending { key: &key })
        }
        MemberEvent::Invite { url, web, terms, qr } => Output::Answer {
            line: {
                let lines = web.as_ref().map_or_else(|| url.clone(), |web| format!("{url}\n{web}"));
                // A phone opens the URL of a browser.
                let code = qr.then(|| qr::render(web.as_ref().unwrap_or(url), None)).flatten();
                code.map_or_else(|| lines.clone(), |code| format!("{lines}\n{code}"))
            },
            note: catalog(lang)
                .member(&MemberNotice::Invite { uses: terms.uses, lasts: &span(terms.lasts) }),
        },
        MemberEvent::Server(info) => {
            let role = info.role.map_or("-", |role| role.as_str());
            let name = info.member.as_ref().map_or("-", |member| &*member.name);
            Output::Line(format!("{}\t{}\t{name}\t{role}", info.key, info.name))
        }
        MemberEvent::Members { members, now } => rows(members.iter().map(|one| member(one, *now))),
        MemberEvent::Applicants { applicants, now } => {
            rows(applicants.iter().map(|one| applicant(one, *now)))
        }
        MemberEvent::Invites(invites) => rows(invites.iter().map(invite)),
        MemberEvent::Uninvited => Output::Line("UNINVITE_OK".into()),
        MemberEvent::Changed(one) => Output::Line(member(one, one.seen)),
        MemberEvent::Revoked { count, .. } => notice(MemberNotice::Revoked(*count)),
        MemberEvent::Pruned(count) => notice(MemberNotice::Pruned(*count)),
        MemberEvent::Rows { rows: lines, now } => rows(lines.iter().map(|one| line(one, *now))),
        MemberEvent::Admin(response) => administration::say(response, lang),
    }
}

fn groups(groups: &Groups) -> String {
    if groups.is_empty() { "-".to_owned() } else { groups.to_string() }
}

fn member(member: &Member, now: u64) -> String {
    let seen = span(now.saturating_sub(member.seen));
    let Member { name, role, groups: of, key, .. } = member;
    format!("{name}\t{role}\t{}\t{key}\t{seen}", groups(of))
}

fn applicant(applicant: &Applicant, now: u64) -> String {
    let Applicant { name, key, from, since } = applicant;
    format!("{name}\t{key}\t{from}\t{}", span(now.saturating_sub(*since)))
}

fn invite(invite: &InviteEntry) -> String {
    let InviteEntry { id, terms, by } = invite;
    let (role, of, uses, left) = (terms.role, groups(&terms.groups), terms.uses, span(terms.lasts));
    format!("{id}\t{role}\t{of}\t{uses}\t{left}\t{by}")
}

fn line(line: &AuditLine, now: u64) -> String {
    let AuditLine { seq, at, who, from, what, object, ok } = line;
    let ago = span(now.saturating_sub(*at));
    let ok = if *ok { "ok" } else { "refused" };
    format!("{seq}\t{ago}\t{who}\t{from}\t{what}\t{object}\t{ok}")
}

/// A span of time in its largest unit: `90s`, `15m`, `24h`, `30d`.
#[must_use]
pub fn span(seconds: u64) -> String {
    let minutes = seconds / 60;
    match minutes {
        0..2 => format!("{seconds}s"),
        2..120 => format!("{minutes}m"),
        120..2_880 => format!("{}h", minutes / 60),
        _ => format!("{}d", minutes / 1_440),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_one_unit() {
        let shown = [0, 119, 120, 7_199, 7_200, 86_400, 172_799, 172_800].map(span);
        assert_eq!(shown, ["0s", "119s", "2m", "119m", "2h", "24h", "47h", "2d"]);
    }
}
