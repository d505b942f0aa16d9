//! Completions of a shell that come from the server: names of files, users, and peers.

use std::collections::BTreeSet;

use cardume::client::Client;
use cardume::client::command::Command;
use cardume::limits;
use cardume::protocol::types::account::AccountOp;
use cardume::protocol::types::file_name::printable;
use cardume::protocol::types::query::{Filters, Query, QueryTerm};
use cardume::ui::event::UiEvent;

use crate::cli::Exit;
use crate::cli::args::{CompleteArgs, CompletionKind};
use crate::cli::build_node;

/// The most names of a search: a shell shows a page or two.
const MOST_NAMES: usize = 500;
/// The least characters of a search by words, which finds parts of names.
const LEAST_CHARS: usize = 3;

/// The request for completions.
pub fn complete(args: &CompleteArgs) -> Result<Client, Exit> {
    let command = match args.kind {
        CompletionKind::Peers => Command::Peers,
        CompletionKind::Users => Command::Operate(
            None,
            AccountOp::ListUsers { cursor: None, most: limits::LIST_ENTRIES },
        ),
        CompletionKind::Names => {
            let filters = Filters { complete: Some(true), ..Filters::default() };
            let wanted = match args.word.chars().count() >= LEAST_CHARS {
                true => QueryTerm::Contains(args.word.clone()),
                false => QueryTerm::Anything,
            };
            let limit = MOST_NAMES.min(limits::QUERY_ENTRIES);
            let query = Query { filters, limit, ..Query::new(wanted) };
            Command::Find(Box::new(query), MOST_NAMES)
        }
    };
    build_node::once(command, &args.ask)
}

/// The completions that a shell has got so far.
#[derive(Default)]
pub struct Completions {
    /// The word so far.
    begin: String,
    known: BTreeSet<String>,
}

impl Completions {
    /// Completions of this word.
    pub fn of(begin: &str) -> Completions {
        Completions { begin: begin.to_owned(), known: BTreeSet::new() }
    }

    /// The new completions of an event.
    pub fn lines(&mut self, event: &UiEvent) -> Vec<String> {
        let words: Vec<String> = match event {
            UiEvent::Holders(providers) | UiEvent::Found { holders: providers, .. } => {
                providers.iter().map(|provider| provider.file.name.to_string()).collect()
            }
            UiEvent::Away(away) => away.iter().map(|away| away.name.to_string()).collect(),
            UiEvent::Peers(peers) => peers.iter().map(|peer| peer.peer.to_string()).collect(),
            UiEvent::Users(users) => users.iter().map(|user| user.user.to_string()).collect(),
            _ => Vec::new(),
        };
        // A name that a terminal would obey is not completed.
        let fits = |word: &String| word.starts_with(&self.begin) && printable(word) == *word;
        let words: Vec<String> = words.into_iter().filter(fits).collect();
        words.into_iter().filter(|word| self.known.insert(word.clone())).collect()
    }
}

/// The part of a completion script that asks the server.
pub fn script(shell: clap_complete::Shell) -> &'static str {
    match shell {
        clap_complete::Shell::Bash => BASH,
        clap_complete::Shell::Zsh => ZSH,
        clap_complete::Shell::Fish => FISH,
        _ => "",
    }
}

const BASH: &str = r#"
# Names, peers and users come from the server, within a second.
_cardume_of_server() {
    local cur kind whole found i
    cur=${COMP_WORDS[COMP_CWORD]}
    _cardume "$@"
    case ${COMP_WORDS[COMP_CWORD-1]} in
        --from|--peer) kind=peers ;;
        --owner) kind=users ;;
        -*) return ;;
        *)
            case ${COMP_WORDS[1]} in
                add|get|play|search) kind=names ;;
                ls) kind=peers ;;
                content) kind=users ;;
                *) return ;;
            esac ;;
    esac
    case $cur in -*) return ;; esac
    # The word as typed: bash splits it at each colon.
    whole=${COMP_LINE:0:COMP_POINT}
    whole=${whole##*[[:space:]]}
    [ "$cur" = : ] && cur=
    COMPREPLY=()
    while IFS= read -r found; do
        found=${found#"${whole%"$cur"}"}
        COMPREPLY+=("$(printf %q "$found")")
    done < <(cardume complete "$kind" -- "$whole" 2>/dev/null)
    [ ${#COMPREPLY[@]} -gt 0 ] && compopt +o nospace 2>/dev/null
    return 0
}
complete -F _cardume_of_server -o bashdefault -o default cardume
"#;

const ZSH: &str = r#"
# Names, peers and users come from the server, within a second.
_cardume_of_server() {
    local kind
    local -a found
    case ${words[CURRENT-1]} in
        --from|--peer) kind=peers ;;
        --owner) kind=users ;;
        -*) ;;
        *)
            case ${words[2]} in
                add|get|play|search) kind=names ;;
                ls) kind=peers ;;
                content) kind=users ;;
            esac ;;
    esac
    if [[ -n $kind && $CURRENT -gt 2 && ${words[CURRENT]} != -* ]]; then
        found=("${(@f)$(cardume complete $kind -- "${(Q)PREFIX}" 2>/dev/null)}")
        found=(${found:#})
        (( ${#found} )) && compadd -a found && return
    fi
    _cardume "$@"
}
compdef _cardume_of_server cardume
"#;

const FISH: &str = r#"
# Names, peers and users come from the server, within a second.
function __cardume_of_server
    cardume complete $argv[1] -- (commandline -ct) 2>/dev/null
end
complete -c cardume -n "__fish_seen_subcommand_from add get play search" -f -a "(__cardume_of_server names)"
complete -c cardume -n "__fish_seen_subcommand_from ls" -f -a "(__cardume_of_server peers)"
complete -c cardume -n "__fish_seen_subcommand_from content" -f -a "(__cardume_of_server users)"
complete -c cardume -n "__fish_seen_subcommand_from add get play" -l from -x -a "(__cardume_of_server peers)"
"#;
