//! `--json`: every report as one object a line.

use cardume::message::figure::Figure;
use cardume::message::reply::{Away, Holder, Present};
use cardume::message::request::FileEntry;
use cardume::message::tongue::Tongue;
use cardume::node::lines::{self, Lang, Said};
use cardume::node::report::{Failure, Report, Stall, Verdict, Version};
use cardume::node::swarm::figures::{News, Row, Stretch};
use serde_json::{Value, json};

fn holder(h: &Holder) -> Value {
    json!({
        "peer": h.peer, "name": h.file.name.as_str(), "size": h.file.size, "root": root(h.file.root), "partial": h.file.partial,
        "user": h.user.as_deref(), "speaks": h.speaks.map(Tongue::word), "description": h.file.description.as_deref(),
    })
}

fn present(p: &Present) -> Value {
    json!({"peer": p.peer, "files": p.files, "user": p.user.as_deref(), "speaks": p.speaks.map(Tongue::word)})
}

fn swarm(news: &News) -> Value {
    let used = |stretch: &Stretch| json!({"seconds": stretch.seconds, "client_cpu": stretch.own, "server_cpu": stretch.server});
    match news {
        News::In { peers, files, stretch } => json!({"event": "in", "peers": peers, "files": files, "measured": used(stretch)}),
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

/// The objects of a report, one a line: a page of a list is one object an entry.
pub fn objects(report: &Report) -> Vec<Value> {
    match report {
        Report::Found { holders, .. } => holders.iter().map(holder).collect(),
        Report::Holders(holders) => holders.iter().map(holder).collect(),
        Report::Away(files) => {
            let object = |f: &Away| json!({"away": true, "user": &*f.user, "name": f.name.as_str(), "description": f.description.as_deref()});
            files.iter().map(object).collect()
        }
        Report::MoreFound => vec![json!({"event": "more"})],
        Report::Peers(peers) => peers.iter().map(present).collect(),
        Report::Appeared(of) => {
            let mut object = holder(of);
            object["event"] = json!("appeared");
            vec![object]
        }
        Report::Gone { peer, name } => vec![json!({"event": "gone", "peer": peer, "name": name.as_str()})],
        Report::Figures(figures) => {
            let object = |f: &Figure| json!({"name": f.name, "of": f.of, "unit": f.unit.word(), "total": f.total, "value": f.value});
            figures.iter().map(object).collect()
        }
        Report::Users(users) => users.iter().map(|u| json!({"user": &*u.user, "peer": u.peer, "speaks": u.speaks.map(Tongue::word)})).collect(),
        Report::Node { peer, .. } => vec![present(peer)],
        Report::Content { of, files } => {
            files.iter().map(|file| json!({"user": &**of, "name": &*file.file, "description": &*file.description})).collect()
        }
        Report::Done(method) => vec![json!({"event": "done", "method": method.word()})],
        Report::Files { peer, files } => {
            let object = |f: &FileEntry| json!({"peer": peer, "name": f.name.as_str(), "size": f.size, "root": root(f.root), "state": lines::state(f), "description": f.description.as_deref()});
            files.iter().map(object).collect()
        }
        Report::Begun { name, from, held, size } => {
            vec![json!({"event": "begun", "name": name.as_str(), "from": from, "held": held, "size": size})]
        }
        Report::Progress { name, held, size } => vec![json!({"event": "progress", "name": name.as_str(), "held": held, "size": size})],
        Report::Stalled { name, why } => {
            let (reason, place) = match why {
                Stall::Consent => ("consent", None),
                Stall::Slot(place) => ("slot", Some(*place)),
                Stall::Source => ("source", None),
                Stall::Silence => ("silence", None),
                Stall::Nobody => ("nobody", None),
                Stall::Disk => ("disk", None),
                Stall::Hashing => ("hashing", None),
            };
            vec![json!({"event": "stalled", "name": name.as_str(), "reason": reason, "place": place})]
        }
        Report::Saved { name, folder, size, from, root: of } => {
            vec![json!({"event": "saved", "name": name.as_str(), "folder": folder, "size": size, "from": from, "root": root(*of)})]
        }
        Report::Unverified { name, folder, size, from } => {
            vec![json!({"event": "unverified", "name": name.as_str(), "folder": folder, "size": size, "from": from})]
        }
        Report::ByQuic(from) => vec![json!({"event": "way", "from": from, "by": "quic"})],
        Report::TcpTakesOver { peer, udp, why } => vec![json!({"event": "way", "from": peer, "by": "tcp", "udp": udp, "why": why})],
        Report::Playing { name, url } => vec![json!({"event": "playing", "name": name.as_str(), "url": url})],
        Report::Blamed { name, who } => vec![json!({"event": "blamed", "name": name.as_str(), "peer": who})],
        Report::Choice { name, contents } => {
            let object =
                |v: &Version| json!({"event": "choice", "name": name.as_str(), "root": v.root.to_string(), "size": v.size, "holders": v.holders});
            contents.iter().map(object).collect()
        }
        Report::Verified { name, size, root, verdict, expected } => {
            let state = match verdict {
                Verdict::Right => "ok",
                Verdict::Failed => "failed",
                Verdict::Unknown => "unknown",
            };
            let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
            vec![json!({"name": name.as_str(), "size": size, "root": root.to_string(), "state": state, "expected": expected})]
        }
        Report::Swarm(news) => vec![swarm(news)],
        // Whoever reads objects can count them.
        Report::Mismatched { .. } => Vec::new(),
        Report::Same { name } => vec![json!({"event": "same", "name": name.as_str()})],
        Report::Restarted(name) => vec![json!({"event": "restarted", "name": name.as_str()})],
        Report::Failed(failure) => {
            let why = if let Failure::Named(_, why) = failure { &**why } else { failure };
            let code = match why {
                Failure::Refused(refusal) | Failure::Operation(_, refusal) => refusal.code.word(),
                Failure::NoServer(_) | Failure::NoHost(..) | Failure::NoSource(_) => "unreachable",
                Failure::NotFound(_) => "not_found",
                Failure::Protocol(_) => "protocol",
                Failure::Unended(..) => "unended",
                Failure::BadBytes(..) => "wrong_bytes",
                Failure::Ambiguous(_) => "ambiguous",
                Failure::OtherContent { .. } => "other_content",
                Failure::Disk(_) | Failure::NoFolder(_) | Failure::NoReader | Failure::Port(..) | Failure::Unseen(..) | Failure::Player(..) => {
                    "local"
                }
                _ => "usage",
            };
            vec![json!({"event": "failed", "code": code, "exit": failure.code(), "text": lines::failed(failure, Lang::En)})]
        }
        other => match lines::say(other, Lang::En) {
            Said::Line(text) | Said::Note(text) | Said::Answer { line: text, .. } => vec![json!({"event": "note", "text": text})],
            Said::Prompt(_) | Said::Silent => Vec::new(),
        },
    }
}

fn root(root: Option<cardume::message::version::Root>) -> Option<String> {
    root.map(|root| root.to_string())
}
