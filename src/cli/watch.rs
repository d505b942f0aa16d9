//! `cardume watch`: its command line, and the node that waits.

use cardume::message::limits;
use cardume::message::query::{Query, Sought};
use cardume::message::relative::{ROOT_PREFIX, RelativeName};
use cardume::message::request::{Request, Wanted};
use cardume::message::watched::Watched;
use cardume::node::report::exit;
use cardume::node::watch::Watch;
use clap::Args;

use crate::cli::Stop;
use crate::cli::args::AskArgs;
use crate::cli::setup;

#[derive(Args)]
pub struct WatchArgs {
    /// Words that the names hold, whatever their case and accents, and -words that they don't; or b3:ROOT
    #[arg(value_name = "PATTERN")]
    pub pattern: String,
    /// The file of exactly this name, rather than words
    #[arg(long)]
    pub exact: bool,
    #[command(flatten)]
    pub ask: AskArgs,
}

/// Who is to be asked, and for what.
pub fn watch(args: &WatchArgs) -> Result<Watch, Stop> {
    let servers = setup::addresses(&args.ask.server)?;
    let text = args.pattern.trim();
    let search = |wanted| Request::Search { wanted, cursor: None, speaks: None };
    let (what, first) = if text.starts_with(ROOT_PREFIX) {
        let root = setup::root(text)?;
        (Watched::Root(root), search(Wanted::Root(root)))
    } else if args.exact {
        let name: RelativeName = setup::name(text)?;
        (Watched::Name(name.clone()), search(Wanted::Name(name)))
    } else {
        let good = text.split_whitespace().any(|word| !word.starts_with('-') || word.len() == 1) && text.len() <= limits::NAME_BYTES;
        if !good {
            return Err(Stop::new(exit::USAGE, "a pattern has at least one word that is wanted, and at most 255 bytes"));
        }
        (Watched::Words(text.to_owned()), Request::Find(Box::new(Query::new(Sought::Contains(text.to_owned())))))
    };
    Ok(Watch::new(servers, what, first))
}
