//! The languages of prompts, messages and help.

/// A language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lang {
    /// Portuguese.
    #[default]
    Pt,
    /// Spanish.
    Es,
    /// English.
    En,
}

impl Lang {
    /// The language of a locale such as `es_ES.UTF-8`; Portuguese for every other locale.
    #[must_use]
    pub fn of_locale(locale: &str) -> Lang {
        match locale.split(['_', '.', '@', '-']).next() {
            Some("es") => Lang::Es,
            Some("en") => Lang::En,
            _ => Lang::Pt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_chooses_the_language() {
        for (locale, lang) in [
            ("en_US.UTF-8", Lang::En),
            ("es", Lang::Es),
            ("es_MX@euro", Lang::Es),
            ("pt_BR.UTF-8", Lang::Pt),
            ("C.UTF-8", Lang::Pt),
            ("", Lang::Pt),
            ("eng", Lang::Pt),
        ] {
            assert_eq!(Lang::of_locale(locale), lang, "{locale}");
        }
    }
}
