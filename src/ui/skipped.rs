//! What the owner of a shared folder is told of it, in words.

use crate::storage::fs_trait::{Barred, Blind};
use crate::storage::skipped::{LeftOut, Note};
use crate::ui::text::Lang;

/// One line.
#[must_use]
pub fn note(folder: &str, note: &Note, lang: Lang) -> String {
    match (note, lang) {
        (Note::LeftOut(left_out), _) => line(folder, left_out, lang),
        (Note::Missing, Lang::Pt) => {
            format!("{folder}: a pasta não está lá; nada dela é compartilhado até que volte")
        }
        (Note::Missing, Lang::Es) => {
            format!("{folder}: la carpeta no está; nada de ella se comparte hasta que vuelva")
        }
        (Note::Missing, Lang::En) => {
            format!("{folder}: the folder is not there; nothing in it is shared until it is back")
        }
        (Note::Back, Lang::Pt) => format!("{folder}: a pasta está de volta"),
        (Note::Back, Lang::Es) => format!("{folder}: la carpeta ha vuelto"),
        (Note::Back, Lang::En) => format!("{folder}: the folder is back"),
        (Note::Blind(Blind::Limit), Lang::Pt) => {
            format!(
                "{folder}: há pastas demais para o inotify (fs.inotify.max_user_watches); mudanças são procuradas de tempos em tempos"
            )
        }
        (Note::Blind(Blind::Limit), Lang::Es) => {
            format!(
                "{folder}: hay demasiadas carpetas para inotify (fs.inotify.max_user_watches); los cambios se buscan de vez en cuando"
            )
        }
        (Note::Blind(Blind::Limit), Lang::En) => {
            format!(
                "{folder}: too many folders for inotify (fs.inotify.max_user_watches); changes are looked for now and then"
            )
        }
        (Note::Blind(Blind::Network), Lang::Pt) => {
            format!("{folder}: está na rede; mudanças são procuradas de tempos em tempos")
        }
        (Note::Blind(Blind::Network), Lang::Es) => {
            format!("{folder}: está en la red; los cambios se buscan de vez en cuando")
        }
        (Note::Blind(Blind::Network), Lang::En) => {
            format!("{folder}: is on the network; changes are looked for now and then")
        }
        (Note::Blind(Blind::Unsupported), Lang::Pt) => format!(
            "{folder}: o sistema não avisa de mudanças; elas são procuradas de tempos em tempos"
        ),
        (Note::Blind(Blind::Unsupported), Lang::Es) => {
            format!("{folder}: el sistema no avisa de cambios; se buscan de vez en cuando")
        }
        (Note::Blind(Blind::Unsupported), Lang::En) => format!(
            "{folder}: the system does not tell of changes; they are looked for now and then"
        ),
    }
}

fn line(folder: &str, left_out: &LeftOut, lang: Lang) -> String {
    let total: u64 = left_out.values().sum();
    let parts: Vec<String> =
        left_out.iter().map(|(why, count)| format!("{count} {}", reason(*why, lang))).collect();
    let parts = parts.join(", ");
    match lang {
        Lang::Pt => format!(
            "{folder}: {total} não compartilhados: {parts} (cardume ls --skipped diz quais)"
        ),
        Lang::Es => {
            format!("{folder}: {total} no se comparten: {parts} (cardume ls --skipped dice cuáles)")
        }
        Lang::En => {
            format!("{folder}: {total} not shared: {parts} (cardume ls --skipped says which)")
        }
    }
}

/// Why something is not shared.
#[must_use]
pub fn reason(why: Barred, lang: Lang) -> &'static str {
    let [pt, es, en] = match why {
        Barred::Name => ["nome não permitido", "nombre no permitido", "name not allowed"],
        Barred::Encoding => ["nome fora de UTF-8", "nombre que no es UTF-8", "name not UTF-8"],
        Barred::Deep => ["fundo demais", "demasiado profundo", "too deep"],
        Barred::Hidden => ["oculto", "oculto", "hidden"],
        Barred::Partial => ["download em andamento", "descarga en curso", "download under way"],
        Barred::Kind => ["não é arquivo comum", "no es un archivo normal", "no regular file"],
        Barred::Unreadable => ["sem leitura", "ilegible", "unreadable"],
        Barred::Secret => ["chave secreta", "clave secreta", "secret key"],
        Barred::Ours => {
            ["dados do próprio cardume", "datos del propio cardume", "data of cardume itself"]
        }
        Barred::Excluded => ["excluído", "excluido", "excluded"],
    };
    match lang {
        Lang::Pt => pt,
        Lang::Es => es,
        Lang::En => en,
    }
}

/// The same for programs.
#[must_use]
pub fn word(why: Barred) -> &'static str {
    match why {
        Barred::Name => "name",
        Barred::Encoding => "encoding",
        Barred::Deep => "deep",
        Barred::Hidden => "hidden",
        Barred::Partial => "partial",
        Barred::Kind => "kind",
        Barred::Unreadable => "unreadable",
        Barred::Secret => "secret",
        Barred::Ours => "state",
        Barred::Excluded => "excluded",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_how_much_and_why() {
        let left_out = LeftOut::from([(Barred::Hidden, 2), (Barred::Secret, 1)]);
        let said = note("pasta", &Note::LeftOut(left_out), Lang::En);
        assert_eq!(
            said,
            "pasta: 3 not shared: 2 hidden, 1 secret key (cardume ls --skipped says which)"
        );
        assert_ne!(note("x", &Note::Missing, Lang::Pt), note("x", &Note::Back, Lang::Pt));
    }
}
