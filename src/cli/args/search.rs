//! The command line of `cardume search`, as a query.

use cardume::client::command::{self, Command};
use cardume::limits;
use cardume::protocol::types::account::UserName;
use cardume::protocol::types::file_name::printable;
use cardume::protocol::types::query::{Filters, Query, QueryTerm, Sort};
use cardume::ui::event::{Failure, exit};
use clap::Args;

use crate::cli::Exit;
use crate::cli::args::AskArgs;

#[derive(Args)]
pub struct SearchArgs {
    /// The exact name with the extension; or b3:ROOT for this content under any name
    pub name: Option<String>,

    /// Words of the name or the description, in any order; "a phrase" in quotes; `-word` excludes a
    /// word
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub contains: Option<String>,

    /// Words of the name or the description, with typing errors; the best matches come first
    #[arg(long, value_name = "TEXT")]
    pub like: Option<String>,

    /// Only names with these extensions, without the dot
    #[arg(long, value_name = "EXT,EXT", value_delimiter = ',')]
    pub ext: Vec<String>,

    /// Only files of this size in bytes: 700M..4G, 700M.., ..4G
    #[arg(long, value_name = "FROM..TO", value_parser = sizes)]
    pub size: Option<(Option<u64>, Option<u64>)>,

    /// Only files with these words in the description, in any order
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub description: Option<String>,

    /// Only files of this user
    #[arg(long, value_name = "USER")]
    pub owner: Option<String>,

    /// Only files with a known content hash
    #[arg(long)]
    pub hashed: bool,

    /// Only complete files
    #[arg(long)]
    pub complete: bool,

    /// The order: name, -name, size or -size (the largest first)
    #[arg(long, value_name = "ORDER", allow_hyphen_values = true)]
    pub sort: Option<String>,

    /// The most results [default: 1000; an exact name alone: 4096]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,

    #[command(flatten)]
    pub ask: AskArgs,
}

/// GET of each file that a search finds.
#[derive(Args)]
pub struct GetFoundArgs {
    /// Download each file with these words in the name or the description, after a preview
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, conflicts_with_all = ["names", "input", "hash", "from", "output"])]
    pub contains: Option<String>,

    /// Download each file with one of these extensions, without the dot, after a preview
    #[arg(long, value_name = "EXT,EXT", value_delimiter = ',', conflicts_with_all = ["names", "input", "hash", "from", "output"])]
    pub ext: Vec<String>,

    /// With --contains or --ext, download without a question
    #[arg(short, long)]
    pub yes: bool,
}

impl GetFoundArgs {
    /// True when a search selects the files.
    pub fn is_used(&self) -> bool {
        self.contains.is_some() || !self.ext.is_empty()
    }

    /// The search.
    pub fn query(&self) -> Result<Query, Exit> {
        let wanted = match &self.contains {
            Some(text) => QueryTerm::Contains(text.clone()),
            None => QueryTerm::Anything,
        };
        let ext = self.ext.iter().map(|ext| ext.trim_start_matches('.').to_owned()).collect();
        let filters = Filters { ext, ..Filters::default() };
        let query = Query { filters, sort: Sort::parse("name"), ..Query::new(wanted) };
        query.check().map_err(|refusal| Exit::new(exit::USAGE, refusal.text))?;
        Ok(query)
    }
}

/// Default of `--limit`.
const SHOWN: u32 = 1_000;

impl SearchArgs {
    /// The command of these arguments.
    pub fn command(&self) -> Result<Command, Exit> {
        let name = |text: &str| command::name(text).map_err(Exit::Failure);
        let owner = |text: &String| {
            UserName::new(text).map_err(|why| Exit::Failure(Failure::Name(text.clone(), why)))
        };
        let sort = |word: &String| {
            Sort::parse(word).ok_or_else(|| {
                Exit::new(
                    exit::USAGE,
                    format!("--sort {}: name, -name, size or -size", printable(word)),
                )
            })
        };
        let (min_size, max_size) = self.size.unwrap_or_default();
        let filters = Filters {
            ext: self.ext.iter().map(|ext| ext.trim_start_matches('.').to_owned()).collect(),
            min_size,
            max_size,
            description: self.description.clone(),
            owner: self.owner.as_ref().map(owner).transpose()?,
            hashed: self.hashed.then_some(true),
            complete: self.complete.then_some(true),
        };
        let wanted = match (&self.name, &self.contains, &self.like) {
            (Some(text), None, None) => {
                let name = name(text)?;
                if filters == Filters::default() && self.sort.is_none() && self.limit.is_none() {
                    return Ok(Command::Search(name));
                }
                name.as_root().map_or(QueryTerm::Name(name), QueryTerm::Root)
            }
            (None, Some(text), None) => QueryTerm::Contains(text.clone()),
            (None, None, Some(text)) => QueryTerm::Like(text.clone()),
            (None, None, None) if filters == Filters::default() => {
                return Err(Exit::new(
                    exit::USAGE,
                    "search for a NAME, --contains TEXT, --like TEXT, or by --ext, --size, --description, --owner",
                ));
            }
            (None, None, None) => QueryTerm::Anything,
            _ => return Err(Exit::new(exit::USAGE, "only one of NAME, --contains and --like")),
        };
        let most = usize::try_from(self.limit.unwrap_or(SHOWN)).unwrap_or(usize::MAX);
        let sort = self.sort.as_ref().map(sort).transpose()?;
        let query =
            Query { filters, sort, limit: most.min(limits::QUERY_ENTRIES), ..Query::new(wanted) };
        query.check().map_err(|refusal| Exit::new(exit::USAGE, refusal.text))?;
        Ok(Command::Find(Box::new(query), most))
    }
}

/// `700M..4G`, `700M..`, `..4G`; a single size means exactly that size.
fn sizes(text: &str) -> Result<(Option<u64>, Option<u64>), String> {
    let wrong = || "sizes are like 700M..4G, 700M.. or ..4G".to_owned();
    let size = |text: &str| match text.trim() {
        "" => Ok(None),
        text => {
            text.parse::<bytesize::ByteSize>().map(|size| Some(size.as_u64())).map_err(|_| wrong())
        }
    };
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    match (size(from)?, size(to)?) {
        (None, None) => Err(wrong()),
        (Some(from), Some(to)) if from > to => Err("the first size is above the second".to_owned()),
        sizes => Ok(sizes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_open_ends() {
        assert_eq!(sizes("700M..4G"), Ok((Some(700_000_000), Some(4_000_000_000))));
        assert_eq!(
            (sizes("1KiB.."), sizes("..2k"), sizes("5")),
            (Ok((Some(1_024), None)), Ok((None, Some(2_000))), Ok((Some(5), Some(5))))
        );
        for wrong in ["", "..", "2..1", "x..", "1..y", "-1..", "1...2"] {
            assert!(sizes(wrong).is_err(), "{wrong:?}");
        }
    }
}
