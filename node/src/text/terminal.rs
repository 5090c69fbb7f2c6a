//! Text for terminals. Names of processes, units and paths are chosen by others: a container could wipe a line with
//! them, or write one.

/// Escapes the characters that a terminal acts on, line ends too, as `\u{1b}` or `\n`; others stay.
pub fn plain(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            // Debug's form would escape these too, and a terminal does nothing with them.
            '"' | '\'' | '\\' => kept.push(character),
            _ => kept.extend(character.escape_debug()),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_escaped() {
        for (text, expect) in [
            ("\x1b[1A\x1b[2K\n yes", "\\u{1b}[1A\\u{1b}[2K\\n yes"),
            ("\u{9b}2K\r\t\x07\x7f\0", "\\u{9b}2K\\r\\t\\u{7}\\u{7f}\\0"),
            ("a\u{202e}b\u{2028}c\u{301}", "a\\u{202e}b\\u{2028}c\\u{301}"),
            ("/srv/\"Käse\" 'x' \\x2d", "/srv/\"Käse\" 'x' \\x2d"),
        ] {
            assert_eq!(plain(text), expect);
            assert_eq!(plain(expect), expect);
        }
    }
}
