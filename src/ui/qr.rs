//! A QR code as text for a terminal, two modules a character.
//!
//! A scanner wants dark modules on a light ground, and terminals are mostly dark. So blocks are the
//! light modules, and blanks are the dark ones. A terminal with dark text on a light ground shows
//! the code inverted, which not every scanner reads.

use qrcodegen::{QrCode, QrCodeEcc};

/// Light modules around the code, as ISO/IEC 18004 demands.
const QUIET_ZONE: i32 = 4;

/// Lines of block characters, each with a line end. `None` when the code is wider than `columns`,
/// or the text does not fit into a code. Without `columns`, the width is not limited.
#[must_use]
pub fn render(text: &str, columns: Option<u16>) -> Option<String> {
    // The least redundancy makes the smallest code: a screen has no dirt. The encoder raises the
    // level where the size permits.
    let code = QrCode::encode_text(text, QrCodeEcc::Low).ok()?;
    let places = -QUIET_ZONE..code.size() + QUIET_ZONE;
    if columns.is_some_and(|columns| places.len() > usize::from(columns)) {
        return None;
    }
    let mut out = String::new();
    for y in places.clone().step_by(2) {
        for x in places.clone() {
            // A place outside of the code is light; a place below the quiet zone is blank.
            let upper = !code.get_module(x, y);
            let lower = places.contains(&(y + 1)) && !code.get_module(x, y + 1);
            out.push(match (upper, lower) {
                (true, true) => '\u{2588}',
                (true, false) => '\u{2580}',
                (false, true) => '\u{2584}',
                (false, false) => ' ',
            });
        }
        out.push('\n');
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "cardume://192.168.1.7:1099,203.0.113.9:1099/#11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo.3q2-7wECAwQFBgcICQoLDA0ODxA";

    /// The light modules of a rendered code, without the blank half of the last line.
    fn light(text: &str) -> Vec<Vec<bool>> {
        let mut rows = Vec::new();
        for line in text.lines() {
            rows.push(line.chars().map(|c| "\u{2588}\u{2580}".contains(c)).collect());
            rows.push(line.chars().map(|c| "\u{2588}\u{2584}".contains(c)).collect());
            assert!(line.chars().all(|c| "\u{2588}\u{2580}\u{2584} ".contains(c)), "{line:?}");
        }
        let blank: Vec<bool> = rows.pop().unwrap();
        assert!(blank.iter().all(|light| !light));
        rows
    }

    #[test]
    fn the_text_has_the_modules_of_the_code_in_a_quiet_zone() {
        for text in ["", "A", INVITE, &"x".repeat(2_048)] {
            let code = QrCode::encode_text(text, QrCodeEcc::Low).unwrap();
            let size = usize::try_from(code.size()).unwrap();
            let rows = light(&render(text, None).unwrap());
            assert_eq!(rows.len(), size + 8);
            for (row, y) in rows.iter().zip(-4..) {
                assert_eq!(row.len(), size + 8);
                for (light, x) in row.iter().zip(-4..) {
                    let inside = (0..code.size()).contains(&x) && (0..code.size()).contains(&y);
                    assert_eq!(*light, !inside || !code.get_module(x, y), "{x} {y}");
                }
            }
        }
    }

    #[test]
    fn the_corners_have_finder_patterns() {
        let rows = light(&render("A", None).unwrap());
        let at = |x: usize, y: usize| {
            let pattern = (0..7).map(|row| {
                rows[y + row][x..x + 7].iter().map(|light| if *light { '.' } else { '#' }).collect()
            });
            pattern.collect::<Vec<String>>()
        };
        let finder = ["#######", "#.....#", "#.###.#", "#.###.#", "#.###.#", "#.....#", "#######"];
        // 21 modules, which begin behind the quiet zone.
        for (x, y) in [(4, 4), (18, 4), (4, 18)] {
            assert_eq!(at(x, y), finder);
        }
        assert_ne!(at(18, 18), finder);
    }

    #[test]
    fn a_code_that_does_not_fit_is_not_drawn() {
        let wide = render(INVITE, None).unwrap();
        let columns = u16::try_from(wide.lines().next().unwrap().chars().count()).unwrap();
        assert!(columns < 80 && wide.lines().count() < 30, "{columns}");
        assert_eq!(render(INVITE, Some(columns)), Some(wide));
        assert_eq!(render(INVITE, Some(columns - 1)), None);
        assert_eq!(render(INVITE, Some(0)), None);
        assert_eq!(render(&"x".repeat(3_000), None), None);
    }
}
