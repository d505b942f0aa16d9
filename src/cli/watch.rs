//! `cardume watch`: the node that subscribes to a search.

use cardume::client::subscribe::SubscribeClient;
use cardume::limits;
use cardume::protocol::request::{Request, Selector};
use cardume::protocol::subscription::SubscriptionFilter;
use cardume::protocol::types::query::{Query, QueryTerm};
use cardume::protocol::types::relative_path::{ROOT_PREFIX, RelativeName};
use cardume::ui::event::exit;

use crate::cli::Exit;
use crate::cli::args::watch::WatchArgs;
use crate::cli::{build_node, known_servers};

/// Subscribes to the files that the pattern means.
pub fn watch(args: &WatchArgs) -> Result<SubscribeClient, Exit> {
    let server = known_servers::target(args.ask.server.as_deref())?;
    let text = args.pattern.trim();
    let search = |wanted| Request::Search { wanted, cursor: None, speaks: None };
    let (what, first) = if text.starts_with(ROOT_PREFIX) {
        let root = build_node::root(text)?;
        (SubscriptionFilter::Root(root), search(Selector::Root(root)))
    } else if args.exact {
        let name: RelativeName = build_node::name(text)?;
        (SubscriptionFilter::Name(name.clone()), search(Selector::Name(name)))
    } else {
        let good = text.split_whitespace().any(|word| !word.starts_with('-') || word.len() == 1)
            && text.len() <= limits::NAME_BYTES;
        if !good {
            return Err(Exit::new(
                exit::USAGE,
                "a pattern needs a word without -, and at most 255 bytes",
            ));
        }
        (
            SubscriptionFilter::Words(text.to_owned()),
            Request::Find(Box::new(Query::new(QueryTerm::Contains(text.to_owned())))),
        )
    };
    let mut client = SubscribeClient::new(server, what, first);
    client.remember_by(known_servers::remembered());
    Ok(client)
}
