//! Errors of account operations in the asker's words.

use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::ui::text::Lang;

/// One line, with the code behind it. What is not about accounts stays in the words of the server.
#[must_use]
pub fn words(refusal: &ErrorReply, lang: Lang) -> String {
    let [pt, es, en] = match refusal.code {
        ErrorCode::Taken => ["o nome já é de alguém", "el nombre ya es de alguien", "somebody has that name already"],
        ErrorCode::NoUser => ["ninguém está registrado com esse nome", "nadie está registrado con ese nombre", "nobody is registered by that name"],
        ErrorCode::NoRemoteUser => ["não há usuário com esse nome", "no hay usuario con ese nombre", "there is no user of that name"],
        ErrorCode::Connected => ["esta conexão já tem um usuário", "esta conexión ya tiene un usuario", "this link has a user already"],
        ErrorCode::NotConnected => ["o usuário não está conectado", "el usuario no está conectado", "the user is not connected"],
        ErrorCode::Published => ["esse arquivo já está publicado", "ese archivo ya está publicado", "that file is published already"],
        ErrorCode::NotPublished => ["esse arquivo não está publicado", "ese archivo no está publicado", "that file is not published"],
        ErrorCode::BadProof => ["o nome não pertence a esta chave", "el nombre no pertenece a esta clave", "the name does not belong to this key"],
        ErrorCode::AccountRequired => [
            "este servidor só aceita quem tem conta: use --user",
            "este servidor solo acepta a quien tiene cuenta: use --user",
            "this server takes only those who have an account: say --user",
        ],
        _ => [refusal.text.as_ref(); 3],
    };
    let code = refusal.code.word();
    match lang {
        Lang::Pt => format!("recusado: {pt} ({code})"),
        Lang::Es => format!("rechazado: {es} ({code})"),
        Lang::En => format!("refused: {en} ({code})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_an_operation_is_said_in_three_languages_and_others_as_they_came() {
        let taken = ErrorReply::new(ErrorCode::Taken, "whatever");
        assert_eq!(words(&taken, Lang::Pt), "recusado: o nome já é de alguém (taken)");
        assert_eq!(words(&taken, Lang::Es), "rechazado: el nombre ya es de alguien (taken)");
        assert_eq!(words(&taken, Lang::En), "refused: somebody has that name already (taken)");
        assert_eq!(words(&ErrorReply::new(ErrorCode::Io, "the store failed"), Lang::Pt), "recusado: the store failed (io)");
    }
}
