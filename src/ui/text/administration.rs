//! Outcomes of commands of administrators, in words: lists have a row per entry, with tabs between
//! the columns.

use crate::protocol::administration::{AdminResponse, BanEntry, LimitEntry, LimitUnit};
use crate::ui::lang::Lang;
use crate::ui::text::catalog::MemberNotice;
use crate::ui::text::members::span;
use crate::ui::text::{Output, catalog, rows};

/// An outcome in words.
pub(super) fn say(response: &AdminResponse, lang: Lang) -> Output {
    let closed = |count| catalog(lang).member(&MemberNotice::Closed(count));
    match response {
        AdminResponse::Kicked(count) => Output::Note(closed(*count)),
        AdminResponse::Banned { ban: entry, closed: count } => {
            Output::Answer { line: ban(entry, entry.since), note: closed(*count) }
        }
        AdminResponse::Unbanned(_) => Output::Line("UNBAN_OK".into()),
        AdminResponse::Bans { bans, now, .. } => rows(bans.iter().map(|one| ban(one, *now))),
        AdminResponse::Limits(limits) => rows(limits.iter().map(limit)),
        AdminResponse::Unpublished => Output::Line("UNPUBLISH_OK".into()),
        AdminResponse::UserRemoved => Output::Line("REMOVE_USER_OK".into()),
    }
}

/// Subject, name, time left, time since, administrator, reason.
fn ban(ban: &BanEntry, now: u64) -> String {
    let name = ban.name.as_deref().unwrap_or("-");
    let left = ban.left.map_or_else(|| "-".to_owned(), span);
    let since = span(now.saturating_sub(ban.since));
    format!("{}\t{name}\t{left}\t{since}\t{}\t{}", ban.subject, ban.by, ban.reason)
}

/// Limit, value, default, least and largest value, unit.
fn limit(limit: &LimitEntry) -> String {
    let LimitEntry { key, value, default, .. } = *limit;
    let (least, most) = key.range();
    let shown =
        |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    let unit = match key.unit() {
        LimitUnit::Count => "-",
        LimitUnit::PerSecond => "/s",
        LimitUnit::Seconds => "s",
    };
    let (value, default) = (shown(value), shown(default));
    format!("{}\t{value}\t{default}\t{least}..{most}\t{unit}", key.as_str())
}
