//! Text folding: folded texts are equal if they differ only in case, accents, width, kind of kana,
//! or shape of quotes and dashes.
//!
//! A text goes through compatibility decomposition, full case folding, and a table of letters
//! without a decomposition, as in Lucene's ASCII folding (`ø` is `o`, `þ` is `th`). Accents are
//! dropped; vowel signs are not accents and stay. Remaining marks are composed again, so that `й`
//! never matches `и`, nor `が` `か`, nor `각` `가`.

use unicode_normalization::char::{canonical_combining_class, compose, decompose_compatible};

/// Cost of a byte of a text that is not ASCII.
const UNFOLDING: usize = 3;

/// Letters without a decomposition, and their foldings. Both cases are listed: their case folding
/// may differ.
const LETTERS: [(&str, &str); 48] = [
    ("a", "ȺⱥⱯɐⱭɑᴀᶏᶐƏə"),
    ("aa", "Ꜳꜳ"),
    ("ae", "Ææᴁᴂ"),
    ("ao", "Ꜵꜵ"),
    ("au", "Ꜷꜷ"),
    ("av", "ꜸꜹꜺꜻ"),
    ("ay", "Ꜽꜽ"),
    ("b", "ɃƀƁɓƂƃʙᴃᵬᶀ"),
    ("c", "ȻȼƇƈɕʗᴄↃↄꜾꜿ"),
    ("d", "ĐđÐðƉɖƊɗƋƌȡᴅᴆᵭᶁᶑꝹꝺ"),
    ("db", "ȸ"),
    ("dz", "ʣʥ"),
    ("e", "ƎǝɘƐɛɚɜɝɞʚᴇᴈᶒᶓᶔⱸɆɇ"),
    ("f", "ƑƒᵮᶂꜰꝻꝼ"),
    ("g", "ǤǥƓɠɡɢʛᵷᵹᶃꝽꝾꝿ"),
    ("h", "ĦħⱧⱨɥɦʜʮʯⱵⱶ"),
    ("hv", "Ƕƕ"),
    ("i", "ıƗɨƖɩɪᴉᵻᵼᶖ"),
    ("j", "ȷɈɉɟʄʝᴊ"),
    ("k", "ƘƙⱩⱪʞᴋᶄꝀꝁꝂꝃꝄꝅ"),
    ("l", "ŁłȽƚⱠⱡⱢɫɬɭʟȴᴌᶅꝆꝇꝈꝉꞀꞁ"),
    ("ll", "Ỻỻ"),
    ("m", "ƜɯɰⱮɱᴍᵯᶆ"),
    ("n", "ŊŋƝɲȠƞɳɴȵᵰᶇ"),
    ("o", "ØøƆɔƟɵɷᴏᴐᴖᴗᶗⱺꝊꝋꝌꝍ"),
    ("oe", "Œœɶᴔ"),
    ("oo", "Ꝏꝏ"),
    ("ou", "Ȣȣᴕ"),
    ("p", "ƤƥⱣᵽᴘᵱᶈꝐꝑꝒꝓꝔꝕ"),
    ("q", "ĸɊɋʠꝖꝗꝘꝙ"),
    ("qp", "ȹ"),
    ("r", "ɌɍⱤɽɼɾɿʀʁᴙᴚᵲᵳᶉꝚꝛꞂꞃ"),
    ("s", "ȿⱾʂᵴᶊꞄꞅẜẝ"),
    ("ss", "ßẞ"),
    ("t", "ŦŧƬƭƮʈȾⱦƫȶʇᴛᵵꞆꞇ"),
    ("th", "ÞþᵺꝦꝧ"),
    ("ts", "ʦ"),
    ("tz", "Ꜩꜩ"),
    ("u", "ɄʉᴜᵾᶙƱʊ"),
    ("v", "ƲʋɅʌᴠᶌⱱⱴỼỽꝞꝟ"),
    ("vy", "Ꝡꝡ"),
    ("w", "ǷƿʍᴡⱲⱳ"),
    ("x", "ᶍ"),
    ("y", "ƳƴɎɏʎʏỾỿ"),
    ("z", "ƵƶȤȥⱫⱬɀⱿʐʑᴢᵶᶎꝢꝣ"),
    ("/", "⁄∕⧸"),
    ("'", "‘’‚‛ʹʻʼʽˈ′‵´‹›❛❜ꞌꞋ"),
    ("\"", "“”„‟«»″‶〝〞〟❝❞˝"),
];

/// Hyphens and dashes; compatibility forms decompose into one of these first.
const DASHES: &str = "‐‑‒–—―⁃−⸺⸻➖˗";

/// The letters from U+00C0 to U+00FF without accents; a dot for letters in the table above.
const LATIN: &[u8; 64] = b"aaaaaa.ceeeeiiii.nooooo.ouuuuy..aaaaaa.ceeeeiiii.nooooo.ouuuuy.y";

/// First byte of the letters from U+00C0 to U+00FF.
pub const LATIN_LEAD: u8 = 0xc3;

/// The folded letter of [`LATIN_LEAD`] and this byte, if it is one letter.
pub fn latin_byte(second: u8) -> Option<u8> {
    let plain = *LATIN.get(usize::from(second.checked_sub(0x80)?))?;
    (plain != b'.').then_some(plain)
}

/// Fast path of the usual accented letters: decomposition takes ten times as long.
fn latin(letter: char) -> Option<char> {
    let at = u32::from(letter).checked_sub(0xc0)?;
    let plain = *LATIN.get(usize::try_from(at).ok()?)?;
    (plain != b'.').then_some(char::from(plain))
}

fn listed(letter: char) -> Option<&'static str> {
    if DASHES.contains(letter) {
        return Some("-");
    }
    LETTERS.iter().find(|(_, letters)| letters.contains(letter)).map(|(plain, _)| *plain)
}

/// True if a letter may be in the table; most letters are excluded by number alone.
fn may_be_listed(letter: char) -> bool {
    matches!(letter, '\u{ab}'..='\u{2dd}' | '\u{1d00}'..='\u{1eff}' | '\u{2010}'..='\u{2215}' | '\u{275b}'..='\u{29f8}' | '\u{2c60}'..='\u{2c7f}' | '\u{2e3a}'..='\u{2e3b}' | '\u{301d}'..='\u{301f}' | '\u{a726}'..='\u{a78c}')
}

/// True for invisible characters, and those that only stretch a word: joiners, soft hyphens,
/// variation selectors, enclosing marks, the Arabic tatweel.
fn is_invisible(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{34f}' | '\u{488}'..='\u{489}' | '\u{61c}' | '\u{640}' | '\u{7fa}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{1abe}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{20dd}'..='\u{20e0}' | '\u{20e2}'..='\u{20e4}' | '\u{3164}' | '\u{a670}'..='\u{a672}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0000}'..='\u{e0fff}')
}

/// True for a mark that readers regard as optional.
///
/// The points of Hebrew, Arabic and Syriac are accents: nearly all writing leaves them out. The
/// vowel and tone signs of Thai, Lao, Tibetan and Indic scripts are spelling: other signs make
/// other words. So are nukta (7), the voicing of kana (8) and virama (9).
fn is_accent(mark: char) -> bool {
    match canonical_combining_class(mark) {
        0 | 6..=9 => false,
        // Telugu lengths, Thai and Lao vowels and tones, Tibetan vowels.
        84 | 91 | 103 | 107 | 118 | 122 | 129 | 130 | 132 => false,
        // Some scripts have vowels in the classes of accents: Tibetan, Limbu, Buginese, Tai Viet.
        _ => {
            !matches!(mark, '\u{f39}' | '\u{f82}'..='\u{f83}' | '\u{1939}'..='\u{193b}' | '\u{1a17}'..='\u{1a18}' | '\u{aab0}'..='\u{aacf}')
        }
    }
}

/// True for letters, digits, and marks of both.
pub fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || canonical_combining_class(letter) != 0
}

/// Append `text`, folded; returns the cost in bytes of text.
pub fn fold(text: &str, folded: &mut String) -> usize {
    let start = folded.len();
    if text.is_ascii() {
        folded.push_str(text);
        folded[start..].make_ascii_lowercase();
        return text.len();
    }
    for letter in text.chars() {
        if letter.is_ascii() {
            folded.push(letter.to_ascii_lowercase());
        } else if let Some(plain) = latin(letter) {
            folded.push(plain);
        } else if !is_invisible(letter) {
            fold_letter(letter, folded, start);
        }
    }
    text.len().max(folded.len() - start) * UNFOLDING
}

fn fold_letter(letter: char, folded: &mut String, start: usize) {
    // Fast path of Cyrillic.
    if let '\u{410}'..='\u{44f}' = letter {
        folded.extend(letter.to_lowercase());
        return;
    }
    // Some quotes and dashes decompose into characters that are not plain.
    if matches!(letter, '\u{b4}' | '\u{2dd}' | '\u{2010}'..='\u{2215}')
        && let Some(plain) = listed(letter)
    {
        folded.push_str(plain);
        return;
    }
    // Hangul syllables and Han letters stay as they are.
    if matches!(letter, '\u{ac00}'..='\u{d7a3}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}')
    {
        folded.push(letter);
        return;
    }
    let (mut count, mut first) = (0, '\0');
    decompose_compatible(letter, |part| {
        (count, first) = (count + 1, if count == 0 { part } else { first });
    });
    // A lone accent decomposes into a blank and a mark: keep the accent.
    if count > 1 && first == ' ' {
        folded.push(letter);
        return;
    }
    decompose_compatible(letter, |part| fold_part(part, folded, start));
}

/// Fold a character of a decomposition; a mark composes with the text from `start` on.
fn fold_part(part: char, folded: &mut String, start: usize) {
    if part.is_ascii() {
        return folded.push(part.to_ascii_lowercase());
    }
    if is_invisible(part) {
        return;
    }
    let last = folded[start..].chars().next_back();
    // The one Cyrillic letter whose accent counts, as in the root collation of ICU.
    let is_short_i = part == '\u{306}' && last == Some('и');
    if is_accent(part) && !is_short_i {
        return;
    }
    let joins = is_short_i
        || canonical_combining_class(part) == 8
        || matches!(part, '\u{1161}'..='\u{1175}' | '\u{11a8}'..='\u{11c2}');
    if joins && let Some(whole) = last.and_then(|last| compose(last, part)) {
        folded.pop();
        return folded.push(whole);
    }
    if may_be_listed(part)
        && let Some(plain) = listed(part)
    {
        return folded.push_str(plain);
    }
    // Hiragana and katakana are two spellings of one syllable.
    if matches!(part, '\u{30a1}'..='\u{30f6}' | '\u{30fd}'..='\u{30fe}') {
        return folded.extend(char::from_u32(u32::from(part) - 0x60));
    }
    // Full case folding: by way of the capitals, because some lower-case letters share a capital,
    // as both sigmas do.
    for lower in part.to_uppercase().flat_map(char::to_lowercase).filter(|lower| !is_accent(*lower))
    {
        match Some(lower).filter(|lower| may_be_listed(*lower)).and_then(listed) {
            Some(plain) => folded.push_str(plain),
            None => folded.push(lower),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        let mut folded = String::new();
        fold(text, &mut folded);
        folded
    }

    /// Texts of each script that are equal to readers, and pairs that are not.
    #[test]
    fn texts_of_every_script_fold_as_their_readers_expect() {
        let equal: &[(&str, &[&str])] = &[
            ("Latin", &["Dødheimsgard", "dodheimsgard", "DODHEIMSGARD"]),
            ("Latin, German", &["Straße", "strasse", "STRASSE", "STRAẞE", "ﬆraſſe"]),
            ("Latin, ligatures", &["ﬁlm ﬀ ﬄ", "film ff ffl"]),
            ("Latin, Polish", &["Łódź żółć", "lodz zolc"]),
            ("Latin, Turkish", &["İstanbul ılık", "istanbul ilik", "ISTANBUL ILIK"]),
            ("Latin, Icelandic", &["Þórður æð", "thordur aed"]),
            ("Latin, Croatian", &["Đorđe ǆ", "dorde dz"]),
            ("Latin, French", &["Cœur Élève", "coeur eleve", "coeur e\u{301}le\u{300}ve"]),
            ("Latin, Vietnamese", &["Đường đến", "duong den"]),
            (
                "Latin, Portuguese",
                &["Ação e Reação", "acao e reacao", "ac\u{327}a\u{303}o e reac\u{327}a\u{303}o"],
            ),
            ("Latin, Romanian", &["Ștefan ţară", "stefan tara"]),
            ("Latin, Hausa", &["Ɓauna ƙasa", "bauna kasa"]),
            ("Latin, strokes as marks", &["o\u{338}", "o"]),
            ("width", &["Ｆｕｌｌ１２", "full12"]),
            ("compatibility", &["x² ½ ℡ Ⅷ №", "x2 1/2 tel viii no"]),
            ("Greek", &["Ελληνικός ΘΈΑΤΡΟΣ", "ελληνικοσ θεατρος", "ἑλληνικὸς θέατρος"]),
            ("Cyrillic, Russian", &["Ёлка", "елка", "е\u{308}лка"]),
            ("Cyrillic, decomposed", &["Йод", "йод", "и\u{306}од"]),
            ("Armenian", &["ԵՐԵՒԱՆ", "երեւան", "երևան"]),
            ("Georgian", &["ᲗᲑᲘᲚᲘᲡᲘ", "თბილისი"]),
            ("Hebrew", &["שָׁלוֹם", "שלום"]),
            ("Arabic", &["مُحَمَّد", "محمد", "محـــمد"]),
            ("Arabic forms", &["ﷲ", "الله"]),
            ("Persian", &["می\u{200c}خواهم", "میخواهم"]),
            ("Syriac", &["ܫܠܳܡܳܐ", "ܫܠܡܐ"]),
            ("Devanagari, joiners", &["क्\u{200d}ष", "क्ष"]),
            ("Devanagari, nukta", &["क़लम", "क\u{93c}लम"]),
            ("Bengali", &["বাংলা", "বাংলা"]),
            ("Tamil, two parts", &["கொ", "க\u{bc6}\u{bbe}"]),
            ("Thai, sara am", &["น้ำ", "น\u{e49}\u{e4d}\u{e32}"]),
            ("Ethiopic", &["አዲስ", "አዲስ"]),
            ("Cherokee", &["ᏣᎳᎩ", "ꮳꮃꭹ"]),
            ("Hangul", &["한글", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}"]),
            ("kana", &["ガイド", "がいど", "ｶﾞｲﾄﾞ", "か\u{3099}いと\u{3099}"]),
            ("Han", &["東京", "東京\u{fe00}"]),
            ("apostrophes", &["L’été d‘or ʼn", "l'ete d'or 'n"]),
            ("quotes", &["“a” «b» „c“", "\"a\" \"b\" \"c\""]),
            ("dashes", &["a–b—c−d‑e－f", "a-b-c-d-e-f"]),
            ("blanks", &["a\u{a0}b\u{3000}c", "a b c"]),
            ("soft hyphen", &["co\u{ad}operate", "cooperate"]),
            ("emoji", &["❤\u{fe0f}", "❤"]),
        ];
        for (script, texts) in equal {
            for text in *texts {
                assert_eq!(folded(text), folded(texts[0]), "{script}: {text}");
            }
        }
        // The first does not match the second.
        let others = [
            ("Thai", "ปู", "ปลา"),
            ("Thai", "กิน", "กัน"),
            ("Lao", "ປູ", "ປາ"),
            ("Lao", "ກຸ", "ກູ"),
            ("Khmer", "គោ", "គី"),
            ("Myanmar", "ကို", "ကာ"),
            ("Tibetan", "བོད", "བད"),
            ("Devanagari", "कि", "की"),
            ("Bengali", "কি", "কা"),
            ("Gurmukhi", "ਕਿ", "ਕੁ"),
            ("Gujarati", "કિ", "કા"),
            ("Oriya", "କି", "କୁ"),
            ("Tamil", "கி", "கா"),
            ("Telugu", "కి", "కా"),
            ("Kannada", "ಕಿ", "ಕಾ"),
            ("Malayalam", "കി", "കാ"),
            ("Sinhala", "කි", "කා"),
            ("Thaana", "ހިނ", "ހަނ"),
            ("Buginese", "ᨀᨗ", "ᨀᨘ"),
            ("Tai Viet", "ꪀꪲ", "ꪀꪴ"),
            ("Cyrillic", "мои", "мой"),
            ("Cyrillic", "мой", "мои"),
            ("kana", "かいと", "がいど"),
            ("kana", "はは", "ばば"),
            ("Hangul", "가", "각"),
            ("Hangul", "하", "한"),
            ("Ethiopic", "አ", "ኡ"),
            ("Hebrew", "ש", "ס"),
        ];
        for (script, wanted, text) in others {
            assert!(!folded(text).contains(&folded(wanted)), "{script}: {wanted} in {text}");
        }
    }

    #[test]
    fn the_fast_path_of_letters_agrees_with_the_general_one() {
        for letter in '\u{c0}'..='\u{ff}' {
            let mut long = String::new();
            fold_letter(letter, &mut long, 0);
            if let Some(plain) = latin(letter) {
                assert_eq!(plain.to_string(), long, "{letter}");
            }
        }
    }

    #[test]
    fn folding_finds_every_letter_of_the_table_and_is_idempotent() {
        for letter in LETTERS.iter().flat_map(|(_, letters)| letters.chars()).chain(DASHES.chars())
        {
            assert!(may_be_listed(letter), "{letter} {:x}", u32::from(letter));
        }
        let blocks = [
            0..=0x33ff,
            0xa000..=0xabff,
            0xfb00..=0xffff,
            0x1_0400..=0x1_04ff,
            0x1_d400..=0x1_d4ff,
        ];
        for letter in blocks.into_iter().flatten().filter_map(char::from_u32) {
            let once = folded(&letter.to_string());
            assert_eq!(folded(&once), once, "{letter:?} {:x}", u32::from(letter));
            assert!(letter == '\n' || !once.contains('\n'), "{letter:?}");
            // Case never matters. Letters with several capitals, as Greek with an iota below, have
            // cases above.
            let (upper, lower) = (letter.to_uppercase(), letter.to_lowercase());
            for other in [upper.to_string(), lower.to_string()]
                .iter()
                .filter(|_| upper.len() == 1 && !is_accent(letter))
            {
                assert_eq!(folded(other), once, "{letter:?} {other:?} {:x}", u32::from(letter));
            }
        }
    }

    #[test]
    fn the_cost_covers_growth_of_a_text() {
        let long = "\u{fdfa}".repeat(300);
        let mut out = String::new();
        assert!(fold(&long, &mut out) >= out.len());
    }
}
