//! `--json`: every event as objects, an object per line.

#[cfg(feature = "loadgen")]
use cardume::loadgen::report::{News, Row, Stretch};
use cardume::protocol::administration::{AdminResponse, BanEntry, LimitEntry};
use cardume::protocol::control::{ControlAnswer, TransferTotals};
use cardume::protocol::link::LinkEntry;
use cardume::protocol::member::{Applicant, AuditLine, InviteEntry, Member, ServerInfo};
use cardume::protocol::metric::Metric;
use cardume::protocol::request::FileEntry;
use cardume::protocol::response::{Away, PeerEntry, Provider};
use cardume::protocol::types::legacy_profile::LegacyProfile;
use cardume::protocol::types::link_ticket::LinkSubject;
use cardume::protocol::types::member::Groups;
use cardume::ui::event::{
    Failure, FolderEvent, FolderProgress, LinkEvent, MemberEvent, UiEvent, Verdict, Version,
    WaitReason, exit,
};
use cardume::ui::lang::Lang;
use cardume::ui::text::{self, Output};
use serde_json::{Value, json};

fn holder(h: &Provider) -> Value {
    json!({
        "peer": h.peer, "name": h.file.name.as_str(), "size": h.file.size, "root": root(h.file.root), "partial": h.file.partial,
        "user": h.user.as_deref(), "speaks": h.speaks.map(LegacyProfile::as_str), "description": h.file.description.as_deref(),
    })
}

fn present(p: &PeerEntry) -> Value {
    json!({"peer": p.peer, "files": p.files, "user": p.user.as_deref(), "speaks": p.speaks.map(LegacyProfile::as_str)})
}

#[cfg(feature = "loadgen")]
fn bench(news: &News) -> Value {
    let used = |stretch: &Stretch| json!({"seconds": stretch.seconds, "client_cpu": stretch.own, "server_cpu": stretch.server});
    match news {
        News::In { peers, files, stretch } => {
            json!({"event": "in", "peers": peers, "files": files, "measured": used(stretch)})
        }
        News::Over(figures) => {
            let row = |row: &Row| {
                let [p50, p90, p99, p999, longest] = row.ms;
                json!({
                    "request": row.word, "answers": row.count, "refused": row.refused, "rate": row.rate,
                    "p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "p999_ms": p999, "max_ms": longest,
                })
            };
            json!({
                "event": "over", "peers": figures.peers, "depth": figures.depth, "measured": used(&figures.stretch),
                "requests": figures.rows.iter().map(row).collect::<Vec<_>>(), "files": figures.files, "wrong": figures.wrong, "lost": figures.lost,
                "server_us_each": figures.server_micros(),
            })
        }
    }
}

fn member(member: &Member) -> Value {
    let Member { name, key, role, groups, via, since, seen, ephemeral } = member;
    json!({
        "name": &**name, "key": key.to_string(), "role": role.as_str(), "groups": groups_of(groups),
        "via": via.map(|id| id.to_string()), "since": since, "seen": seen, "ephemeral": ephemeral,
    })
}

fn groups_of(groups: &Groups) -> Vec<String> {
    groups.iter().map(|group| group.to_string()).collect()
}

fn server(event: &str, info: &ServerInfo) -> Value {
    json!({
        "event": event, "key": info.key.to_string(), "server": info.name, "closed": info.is_closed, "now": info.now,
        "role": info.role.map(|role| role.as_str()), "member": info.member.as_ref().map(member),
    })
}

/// The objects of an event about members.
fn about_members(event: &MemberEvent) -> Vec<Value> {
    match event {
        MemberEvent::Enrolled(info) => vec![server("enrolled", info)],
        MemberEvent::Server(info) => vec![server("server", info)],
        MemberEvent::Pending { server, key } => {
            vec![
                json!({"event": "pending", "server": server.to_string(), "key": key.map(|key| key.to_string())}),
            ]
        }
        MemberEvent::Invite { url, web, terms, .. } => {
            let mut one =
                json!({"event": "invite", "url": url, "uses": terms.uses, "seconds": terms.lasts});
            if let Some(web) = web {
                one["web"] = json!(web);
            }
            vec![one]
        }
        MemberEvent::Members { members, .. } => members.iter().map(member).collect(),
        MemberEvent::Changed(one) => vec![member(one)],
        MemberEvent::Applicants { applicants, .. } => {
            let object = |a: &Applicant| json!({"name": &*a.name, "key": a.key.to_string(), "from": a.from, "since": a.since});
            applicants.iter().map(object).collect()
        }
        MemberEvent::Invites(invites) => {
            let object = |i: &InviteEntry| {
                json!({
                    "invite": i.id.to_string(), "role": i.terms.role.as_str(), "groups": groups_of(&i.terms.groups), "uses": i.terms.uses,
                    "seconds": i.terms.lasts, "by": i.by,
                })
            };
            invites.iter().map(object).collect()
        }
        MemberEvent::Uninvited => vec![json!({"event": "done", "method": "UNINVITE"})],
        MemberEvent::Revoked { keys, count } => {
            let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
            vec![json!({"event": "revoked", "count": count, "keys": keys})]
        }
        MemberEvent::Pruned(rows) => vec![json!({"event": "pruned", "rows": rows})],
        MemberEvent::Rows { rows, .. } => {
            let object = |r: &AuditLine| json!({"seq": r.seq, "at": r.at, "who": r.who, "from": r.from, "what": r.what, "object": r.object, "ok": r.ok});
            rows.iter().map(object).collect()
        }
        MemberEvent::Admin(response) => of_administrator(response),
    }
}

fn ban(ban: &BanEntry) -> Value {
    let (key, range) = ban.subject.key_and_range();
    json!({
        "key": key, "range": range, "name": ban.name.as_deref(), "since": ban.since, "seconds": ban.left, "by": &*ban.by,
        "reason": &*ban.reason,
    })
}

/// The objects of a response to an administrator.
fn of_administrator(response: &AdminResponse) -> Vec<Value> {
    let done = |method: &str| vec![json!({"event": "done", "method": method})];
    match response {
        AdminResponse::Kicked(closed) => vec![json!({"event": "kicked", "closed": closed})],
        AdminResponse::Banned { ban: entry, closed } => {
            let mut object = ban(entry);
            (object["event"], object["closed"]) = (json!("banned"), json!(closed));
            vec![object]
        }
        AdminResponse::Unbanned(subject) => {
            let (key, range) = subject.key_and_range();
            vec![json!({"event": "unbanned", "key": key, "range": range})]
        }
        AdminResponse::Bans { bans, .. } => bans.iter().map(ban).collect(),
        AdminResponse::Limits(limits) => {
            let object = |limit: &LimitEntry| {
                let (least, most) = limit.key.range();
                json!({
                    "limit": limit.key.as_str(), "value": limit.value, "default": limit.default, "least": least, "most": most,
                    "unit": limit.key.unit().as_str(), "set": limit.is_set,
                })
            };
            limits.iter().map(object).collect()
        }
        AdminResponse::Unpublished => done("UNPUBLISH"),
        AdminResponse::UserRemoved => done("REMOVE_USER"),
    }
}

/// The objects of an event about links.
fn about_links(event: &LinkEvent) -> Vec<Value> {
    match event {
        LinkEvent::Made { url, id, left, pin, .. } => {
            vec![
                json!({"event": "link", "link": id.to_string(), "url": url.reveal(), "seconds": left, "pin": pin}),
            ]
        }
        LinkEvent::Links(links) => {
            let object = |l: &LinkEntry| {
                let (name, of) = match &l.file {
                    LinkSubject::Name(name) => (Some(name.as_str()), None),
                    LinkSubject::Root(of) => (None, Some(*of)),
                };
                json!({"link": l.id.to_string(), "name": name, "root": root(of), "seconds": l.left, "fetched": l.fetched})
            };
            links.iter().map(object).collect()
        }
        LinkEvent::Revoked => vec![json!({"event": "done", "method": "UNLINK"})],
    }
}

/// The objects of the answer of a running peer.
fn about_transfers(answer: &ControlAnswer) -> Vec<Value> {
    match answer {
        ControlAnswer::Transfers { lines, totals } => {
            let TransferTotals { sent, received, up, down } = totals;
            let totals = json!({"event": "totals", "sent": sent, "received": received, "up": up, "down": down});
            lines.iter().map(|line| json!(line)).chain([totals]).collect()
        }
        ControlAnswer::Changed(lines) => lines.iter().map(|line| json!(line)).collect(),
        ControlAnswer::Limits { up, down } => {
            vec![json!({"event": "limits", "up": up, "down": down})]
        }
        ControlAnswer::Blocked(subjects) => {
            subjects.iter().map(|subject| json!({"blocked": subject})).collect()
        }
        ControlAnswer::History(past) => past.iter().map(|past| json!(past)).collect(),
        ControlAnswer::Failed { code, text } => {
            vec![json!({"event": "failed", "code": code, "exit": exit::REFUSED, "text": text})]
        }
    }
}

/// The object of an event about a folder. The name of a folder ends in `/`.
fn about_folder(event: &FolderEvent) -> Value {
    match event {
        FolderEvent::Begun { name, from, summary } => json!({
            "event": "begun", "name": format!("{name}/"), "from": from, "held": 0, "size": summary.size, "count": summary.count,
            "root": root(summary.root),
        }),
        FolderEvent::Progress(progress) => {
            let FolderProgress { name, files, count, held, size } = progress;
            json!({"event": "progress", "name": format!("{name}/"), "held": held, "size": size, "files": files, "count": count})
        }
        FolderEvent::File { name, folder, size, from, root } => {
            json!({"event": "saved", "name": name.as_str(), "folder": folder, "size": size, "from": from, "root": root.to_string()})
        }
        FolderEvent::Same { name } => json!({"event": "same", "name": name.as_str()}),
        FolderEvent::Saved { name, folder, summary } => json!({
            "event": "folder_saved", "name": format!("{name}/"), "folder": folder, "size": summary.size, "count": summary.count,
            "root": root(summary.root),
        }),
    }
}

/// The objects of an event. A page of a list has an object per entry.
pub fn objects(report: &UiEvent) -> Vec<Value> {
    match report {
        UiEvent::Found { holders, .. } => holders.iter().map(holder).collect(),
        UiEvent::Holders(holders) => holders.iter().map(holder).collect(),
        UiEvent::Away(files) => {
            let object = |f: &Away| json!({"away": true, "user": &*f.user, "name": f.name.as_str(), "description": f.description.as_deref()});
            files.iter().map(object).collect()
        }
        UiEvent::MoreFound => vec![json!({"event": "more"})],
        UiEvent::Incomplete => vec![json!({"event": "incomplete"})],
        UiEvent::Peers(peers) => peers.iter().map(present).collect(),
        UiEvent::Appeared(of) => {
            let mut object = holder(of);
            object["event"] = json!("appeared");
            vec![object]
        }
        UiEvent::Gone { peer, name } => vec![json!({"event": "gone", "peer": peer, "name": name.as_str()})],
        UiEvent::Figures(figures) => {
            let object = |f: &Metric| json!({"name": f.name, "of": f.of, "unit": f.unit.as_str(), "total": f.total, "value": f.value});
            figures.iter().map(object).collect()
        }
        UiEvent::Users(users) => {
            users.iter().map(|u| json!({"user": &*u.user, "peer": u.peer, "speaks": u.speaks.map(LegacyProfile::as_str)})).collect()
        }
        UiEvent::Node { peer, .. } => vec![present(peer)],
        UiEvent::Content { of, files } => {
            files.iter().map(|file| json!({"user": &**of, "name": &*file.file, "description": &*file.description})).collect()
        }
        UiEvent::Member(event) => about_members(event),
        UiEvent::Link(event) => about_links(event),
        UiEvent::Control(answer) => about_transfers(answer),
        UiEvent::Folder(event) => vec![about_folder(event)],
        // Peers print no JSON.
        UiEvent::Drop(_) => Vec::new(),
        UiEvent::Preview(preview) => {
            let files = preview.files.iter().map(|(name, size)| json!({"name": name.as_str(), "size": size}));
            vec![json!({
                "event": "preview", "count": preview.files.len(), "size": preview.size(), "free": preview.free,
                "more": preview.has_more, "files": files.collect::<Vec<_>>(),
            })]
        }
        UiEvent::Done(method) => vec![json!({"event": "done", "method": method.as_str()})],
        UiEvent::Files { peer, files } => {
            let object = |f: &FileEntry| json!({"peer": peer, "name": f.name.as_str(), "size": f.size, "root": root(f.root), "state": text::state(f), "description": f.description.as_deref()});
            files.iter().map(object).collect()
        }
        UiEvent::Begun { name, from, held, size } => {
            vec![json!({"event": "begun", "name": name.as_str(), "from": from, "held": held, "size": size})]
        }
        UiEvent::Progress { name, held, size } => vec![json!({"event": "progress", "name": name.as_str(), "held": held, "size": size})],
        UiEvent::Stalled { name, why } => {
            let (reason, place) = match why {
                WaitReason::Consent => ("consent", None),
                WaitReason::Slot(place) => ("slot", Some(*place)),
                WaitReason::Source => ("source", None),
                WaitReason::Silence => ("silence", None),
                WaitReason::Nobody => ("nobody", None),
                WaitReason::Disk => ("disk", None),
                WaitReason::Hashing => ("hashing", None),
            };
            vec![json!({"event": "stalled", "name": name.as_str(), "reason": reason, "place": place})]
        }
        UiEvent::Saved { name, folder, size, from, root: of } => {
            vec![json!({"event": "saved", "name": name.as_str(), "folder": folder, "size": size, "from": from, "root": root(*of)})]
        }
        UiEvent::Unverified { name, folder, size, from, is_sized } => {
            vec![json!({"event": "unverified", "name": name.as_str(), "folder": folder, "size": size, "from": from, "sized": is_sized})]
        }
        UiEvent::ByQuic(from) => vec![json!({"event": "way", "from": from, "by": "quic"})],
        UiEvent::TcpTakesOver { peer, udp, why } => vec![json!({"event": "way", "from": peer, "by": "tcp", "udp": udp, "why": why})],
        UiEvent::Web { url } => vec![json!({"event": "web", "url": url})],
        UiEvent::Playing { name, url } => vec![json!({"event": "playing", "name": name.as_str(), "url": url})],
        UiEvent::Blamed { name, who } => vec![json!({"event": "blamed", "name": name.as_str(), "peer": who})],
        UiEvent::Choice { name, contents } => {
            let object =
                |v: &Version| json!({"event": "choice", "name": name.as_str(), "root": v.root.to_string(), "size": v.size, "holders": v.holders});
            contents.iter().map(object).collect()
        }
        UiEvent::Verified { name, size, root, verdict, expected } => {
            let state = match verdict {
                Verdict::Right => "ok",
                Verdict::Failed => "failed",
                Verdict::Unknown => "unknown",
                Verdict::Missing => "missing",
            };
            let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
            vec![json!({"name": name.as_str(), "size": size, "root": self::root(*root), "state": state, "expected": expected})]
        }
        #[cfg(feature = "loadgen")]
        UiEvent::Bench(news) => vec![bench(news)],
        // Programs can count the objects.
        UiEvent::Mismatched { .. } => Vec::new(),
        UiEvent::Same { name } => vec![json!({"event": "same", "name": name.as_str()})],
        UiEvent::Restarted(name) => vec![json!({"event": "restarted", "name": name.as_str()})],
        UiEvent::Failed(failure) => {
            let why = if let Failure::Named(_, why) = failure { &**why } else { failure };
            let code = match why {
                Failure::Refused(refusal) | Failure::Operation(_, refusal) => refusal.code.as_str(),
                Failure::NoServer(_) | Failure::NoHost(..) | Failure::NoSource(_) => "unreachable",
                Failure::NotFound(_) | Failure::NoOwnPeer => "not_found",
                Failure::Protocol(_) | Failure::Foreign(..) => "protocol",
                Failure::Unended(..) => "unended",
                Failure::Lost(_) => "lost",
                Failure::BadBytes(..) => "wrong_bytes",
                Failure::WrongKey(_) | Failure::ServerKey { .. } => "wrong_key",
                Failure::AuditRow(_) => "audit",
                Failure::NoSite => "unsupported",
                Failure::Ambiguous(_) => "ambiguous",
                Failure::FolderFiles { .. } => "incomplete",
                Failure::OtherContent { .. } => "other_content",
                Failure::Disk(_) | Failure::NoFolder(_) | Failure::NoReader | Failure::Port(..) | Failure::Unseen(..) | Failure::Player(..) => {
                    "local"
                }
                _ => "usage",
            };
            vec![json!({"event": "failed", "code": code, "exit": failure.code(), "text": text::failed(failure, Lang::En)})]
        }
        other => match text::say(other, Lang::En) {
            Output::Line(text) | Output::Note(text) | Output::Answer { line: text, .. } => vec![json!({"event": "note", "text": text})],
            Output::Prompt(_) | Output::Silent => Vec::new(),
        },
    }
}

/// The event of a failure before a command runs, or outside of it.
pub fn failed_line(exit_code: i32, text: &str) -> String {
    let code = match exit_code {
        exit::NOT_FOUND => "not_found",
        exit::REFUSED => "refused",
        exit::UNREACHABLE => "unreachable",
        exit::VERIFY => "wrong_bytes",
        exit::LOCAL => "local",
        exit::PROTOCOL => "protocol",
        exit::FAULT => "fault",
        _ => "usage",
    };
    let event = json!({"event": "failed", "code": code, "exit": exit_code, "text": text});
    format!("{event}\n")
}

fn root(root: Option<cardume::protocol::types::ids::ContentHash>) -> Option<String> {
    root.map(|root| root.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use cardume::protocol::control::{PastTransfer, TransferEnd, TransferLine, TransferState};
    use serde_json::json;

    const CODE: [&str; 4] = [
        include_str!("json_output.rs"),
        include_str!("hash.rs"),
        include_str!("skipped.rs"),
        include_str!("reload.rs"),
    ];

    /// The fields of each section of the document.
    fn documented() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
        let (mut found, mut section) = (BTreeMap::new(), "");
        for line in include_str!("../../docs/JSON.md").lines() {
            if let Some(title) = line.strip_prefix("## ") {
                section = title;
            } else if let Some((field, _)) =
                line.strip_prefix("| `").and_then(|rest| rest.split_once("` |"))
            {
                let fields: &mut BTreeSet<&str> = found.entry(section).or_default();
                assert!(fields.insert(field), "{section}: {field} stands twice");
            }
        }
        found
    }

    /// The event and the fields of each object in the code: the keys outside of inner brackets.
    fn emitted() -> Vec<(Option<String>, BTreeSet<String>)> {
        let mut found = Vec::new();
        for code in CODE.iter().map(|code| code.split("\nmod tests {").next().unwrap_or_default()) {
            for (at, begin) in code.match_indices("json!({") {
                let (mut depth, mut fields, mut event) = (1, BTreeSet::new(), None);
                let mut rest = &code[at + begin.len()..];
                while depth > 0 {
                    let c = rest.chars().next().expect("a closed object");
                    rest = &rest[c.len_utf8()..];
                    match c {
                        '{' | '(' | '[' => depth += 1,
                        '}' | ')' | ']' => depth -= 1,
                        '"' => {
                            let (text, behind) = rest.split_once('"').expect("a closed text");
                            rest = behind;
                            if depth == 1 && behind.starts_with(':') {
                                fields.insert(text.to_owned());
                                let value = behind[1..].trim_start().strip_prefix('"');
                                if text == "event" {
                                    event = value.and_then(|value| value.split('"').next());
                                }
                            }
                        }
                        _ => {}
                    }
                }
                found.push((event.map(str::to_owned), fields));
            }
        }
        found
    }

    /// The fields of the objects that are whole values of the library.
    fn serialized() -> [(Option<String>, BTreeSet<String>); 2] {
        let (name, size, peer, user, root, why) = (String::new(), None, None, None, None, None);
        let past = PastTransfer {
            at: 0,
            end: TransferEnd::Saved,
            name: name.clone(),
            size,
            peer,
            user: None,
            root: None,
            why: None,
        };
        let (id, upload, state, held, rate) = (None, false, TransferState::Active, 0, 0);
        let added = None;
        let line = TransferLine {
            id,
            name,
            upload,
            state,
            held,
            size,
            rate,
            peer,
            user,
            root,
            added,
            why,
        };
        [json!(past), json!(line)].map(|object| {
            let fields = object.as_object().expect("an object");
            (None, fields.keys().cloned().collect())
        })
    }

    #[test]
    fn each_field_of_each_object_is_documented_and_no_other() {
        let documented = documented();
        let mut said: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        // A field that `invite --web` alone has is set later.
        said.entry("invite").or_default().insert("web".to_owned());
        let mut emitted = emitted();
        emitted.extend(serialized());
        assert!(emitted.len() > 50 && documented.len() > 40, "{}", emitted.len());
        for (event, fields) in emitted {
            let is_it = |section: &str, known: &BTreeSet<&str>| match &event {
                Some(event) => section == event,
                None => known.iter().copied().eq(fields.iter().map(String::as_str)),
            };
            let section = documented.iter().find(|(section, known)| is_it(section, known));
            let (section, known) =
                section.unwrap_or_else(|| panic!("no section has {event:?} {fields:?}"));
            for field in &fields {
                assert!(known.contains(field.as_str()), "{section} lacks {field}");
            }
            said.entry(section).or_default().extend(fields);
        }
        for (section, known) in documented {
            let said = said.get(section).unwrap_or_else(|| panic!("nothing emits {section}"));
            for field in known {
                assert!(said.contains(field), "nothing emits {field} of {section}");
            }
        }
    }
}
