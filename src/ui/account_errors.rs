//! Error codes of a server or peer, in the words of the chosen language.

use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::ui::text::Lang;

/// One line, with the code behind it. A code that can have many reasons is followed by the words of the other side, which are always English.
#[must_use]
pub fn words(refusal: &ErrorReply, lang: Lang) -> String {
    let [pt, es, en] = match refusal.code {
        ErrorCode::Taken => [
            "o nome já é de alguém",
            "el nombre ya es de alguien",
            "somebody has that name already",
        ],
        ErrorCode::NoUser => [
            "ninguém está registrado com esse nome",
            "nadie está registrado con ese nombre",
            "nobody is registered by that name",
        ],
        ErrorCode::NoRemoteUser => [
            "não há usuário com esse nome",
            "no hay usuario con ese nombre",
            "there is no user of that name",
        ],
        ErrorCode::Connected => [
            "esta conexão já tem um usuário",
            "esta conexión ya tiene un usuario",
            "this link has a user already",
        ],
        ErrorCode::NotConnected => [
            "o usuário não está conectado",
            "el usuario no está conectado",
            "the user is not connected",
        ],
        ErrorCode::Published => [
            "esse arquivo já está publicado",
            "ese archivo ya está publicado",
            "that file is published already",
        ],
        ErrorCode::NotPublished => [
            "esse arquivo não está publicado",
            "ese archivo no está publicado",
            "that file is not published",
        ],
        ErrorCode::BadProof => [
            "o nome não pertence a esta chave",
            "el nombre no pertenece a esta clave",
            "the name does not belong to this key",
        ],
        ErrorCode::AccountRequired => [
            "este servidor só aceita quem tem conta: use --user",
            "este servidor solo acepta a quien tiene cuenta: use --user",
            "this server takes only those who have an account: say --user",
        ],
        _ => return with_reason(refusal, lang),
    };
    let code = refusal.code.as_str();
    match lang {
        Lang::Pt => format!("recusado: {pt} ({code})"),
        Lang::Es => format!("rechazado: {es} ({code})"),
        Lang::En => format!("refused: {en} ({code})"),
    }
}

fn with_reason(refusal: &ErrorReply, lang: Lang) -> String {
    let (code, text) = (refusal.code.as_str(), &refusal.text);
    let [pt, es] = match refusal.code {
        ErrorCode::BadRequest => ["o pedido não faz sentido", "la petición no tiene sentido"],
        ErrorCode::BadName => {
            ["o nome não pode ser de um arquivo", "el nombre no puede ser de un archivo"]
        }
        ErrorCode::Unsupported => {
            ["o outro lado não tem esta operação", "el otro lado no tiene esta operación"]
        }
        ErrorCode::Version => [
            "o outro lado fala outra versão do protocolo",
            "el otro lado habla otra versión del protocolo",
        ],
        ErrorCode::TooLarge => ["passa de um limite", "supera un límite"],
        ErrorCode::NotJoined => ["JOIN vem antes", "JOIN va antes"],
        ErrorCode::Address => [
            "este endereço não pode ser anunciado aqui",
            "esta dirección no se puede anunciar aquí",
        ],
        ErrorCode::InUse => ["outro peer tem este endereço", "otro peer tiene esta dirección"],
        ErrorCode::NotFound => ["não encontrado", "no encontrado"],
        ErrorCode::Refused => ["o outro lado não permite", "el otro lado no lo permite"],
        ErrorCode::Busy => [
            "o outro lado está ocupado; tente mais tarde",
            "el otro lado está ocupado; inténtelo más tarde",
        ],
        ErrorCode::Changed => ["o arquivo mudou", "el archivo ha cambiado"],
        ErrorCode::Range => [
            "o trecho começa depois do fim do arquivo",
            "el tramo empieza después del final del archivo",
        ],
        ErrorCode::Cancelled => ["cancelado", "cancelado"],
        ErrorCode::Io => ["o disco do outro lado falhou", "el disco del otro lado ha fallado"],
        // The codes of accounts have words of their own.
        _ => ["o outro lado falhou", "el otro lado ha fallado"],
    };
    match lang {
        Lang::Pt if text.is_empty() => format!("recusado: {pt} ({code})"),
        Lang::Es if text.is_empty() => format!("rechazado: {es} ({code})"),
        Lang::Pt => format!("recusado: {pt} ({code}: {text})"),
        Lang::Es => format!("rechazado: {es} ({code}: {text})"),
        Lang::En => format!("refused: {text} ({code})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::error::CODES;

    #[test]
    fn a_refusal_is_said_in_three_languages_and_keeps_its_code() {
        let taken = ErrorReply::new(ErrorCode::Taken, "whatever");
        assert_eq!(words(&taken, Lang::Pt), "recusado: o nome já é de alguém (taken)");
        assert_eq!(words(&taken, Lang::Es), "rechazado: el nombre ya es de alguien (taken)");
        assert_eq!(words(&taken, Lang::En), "refused: somebody has that name already (taken)");
        let failed = ErrorReply::new(ErrorCode::Io, "the store failed");
        assert_eq!(
            words(&failed, Lang::Pt),
            "recusado: o disco do outro lado falhou (io: the store failed)"
        );
        assert_eq!(words(&failed, Lang::En), "refused: the store failed (io)");
        for (code, word) in CODES {
            let refusal = ErrorReply::new(code, "why");
            let said = [Lang::Pt, Lang::Es, Lang::En].map(|lang| words(&refusal, lang));
            assert!(
                said[0] != said[1] && said.iter().all(|line| line.contains(&format!("({word}"))),
                "{said:?}"
            );
        }
    }
}
