//! Makes what a step wrote safe to show: a log must not move the cursor, rename the window or write
//! to the clipboard of whoever watches.

use std::iter::Peekable;
use std::str::Chars;

/// Whether colours survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colors {
    /// Escape sequences that only set colours and weights stay, and are ended with the line.
    Keep,
    /// Nothing but text stays.
    Strip,
}

const ESCAPE: char = '\u{1b}';
const RESET: &str = "\u{1b}[0m";

/// One line as text that only takes up room: invalid UTF-8 is replaced, tabs become spaces, and
/// control characters, escape sequences (ECMA-48) and changes of direction are left out.
pub(crate) fn sanitize(line: &[u8], colors: Colors) -> String {
    let text = String::from_utf8_lossy(line);
    let mut clean = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    let mut column = 0;
    let mut colored = false;
    while let Some(character) = characters.next() {
        match character {
            ESCAPE => {
                let color = skip_escape(&mut characters);
                if let (Some(parameters), Colors::Keep) = (color, colors) {
                    colored = !matches!(parameters.as_str(), "" | "0");
                    clean.extend([ESCAPE, '[']);
                    clean.push_str(&parameters);
                    clean.push('m');
                }
            }
            '\t' => {
                let width = 8 - column % 8;
                clean.extend(std::iter::repeat_n(' ', width));
                column += width;
            }
            character if is_hidden(character) => {}
            character => {
                clean.push(character);
                column += 1;
            }
        }
    }
    if colored {
        clean.push_str(RESET);
    }
    clean
}

/// A text as one line without anything that a terminal would take for more than text: names of files and
/// cache mounts, values, and messages that quote such.
pub(crate) fn printable(text: &str) -> String {
    sanitize(text.replace(['\n', '\r'], " ").as_bytes(), Colors::Strip)
}

/// The same of a text of several lines, which stay apart and end as they do.
pub fn printable_lines(text: &str) -> String {
    let lines = text.split('\n').map(printable);
    lines.collect::<Vec<_>>().join("\n")
}

/// Skips an escape sequence whose escape was read; the parameters if it sets a colour.
fn skip_escape(characters: &mut Peekable<Chars<'_>>) -> Option<String> {
    match characters.peek()? {
        '[' => {
            characters.next();
            control_sequence(characters)
        }
        ']' | 'P' | 'X' | '^' | '_' => {
            characters.next();
            skip_string(characters);
            None
        }
        _ => {
            while characters.next_if(|c| (' '..='/').contains(c)).is_some() {}
            characters.next_if(|c| ('0'..='~').contains(c));
            None
        }
    }
}

/// `CSI parameters intermediates final`; the parameters if the final byte is `m`.
fn control_sequence(characters: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut parameters = String::new();
    while let Some(character) = characters.next_if(|c| (' '..='?').contains(c)) {
        parameters.push(character);
    }
    let last = characters.next_if(|c| ('@'..='~').contains(c))?;
    let is_color = parameters
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b';' | b':'));
    (last == 'm' && is_color).then_some(parameters)
}

/// A string that ends with BEL or with `ESC \`, such as a window's title; an unended one takes the
/// whole line.
fn skip_string(characters: &mut Peekable<Chars<'_>>) {
    while let Some(character) = characters.next() {
        match character {
            '\u{7}' | '\u{9c}' => return,
            ESCAPE => {
                characters.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

/// One line that shows every character of a text: those that take up no room, or that one cannot tell from a
/// space, are written as in Rust. A backslash of the text stays as it is.
pub(crate) fn revealed(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match is_hidden(character) || is_like_nothing(character) {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    shown
}

/// Spaces of another kind and of no width.
fn is_like_nothing(character: char) -> bool {
    let is_space = character.is_whitespace() && character != ' ';
    is_space
        || matches!(
            character,
            '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}'
        )
}

/// Control characters, and those that change the direction of what follows.
fn is_hidden(character: char) -> bool {
    let direction = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || direction || matches!(character, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_is_left() {
        let cases: [(&[u8], &str); 11] = [
            (b"plain", "plain"),
            (b"a\tb", "a       b"),
            (b"\x1b[31mred\x1b[0m", "red"),
            (b"up\x1b[3A\x1b[2Kdown", "updown"),
            (b"\x1b]0;title\x07text", "text"),
            (b"\x1b]52;c;aGk=\x1b\\text", "text"),
            (b"\x1bPq#0\x1b\\text", "text"),
            (b"\x1b(Btext\x1b7", "text"),
            (b"bell\x07 back\x08 del\x7f", "bell back del"),
            (b"bad \xff utf-8", "bad \u{fffd} utf-8"),
            ("c1 \u{9b}31m turn \u{202e}x".as_bytes(), "c1 31m turn x"),
        ];
        for (line, expected) in cases {
            assert_eq!(sanitize(line, Colors::Strip), expected, "{line:?}");
        }
    }

    #[test]
    fn what_cannot_be_seen_can_be_revealed() {
        let text = "a\tb\nc\u{1b}[31m\u{202e}d\u{a0}e\u{200b}f \u{e9}\\";
        let expected = r"a\tb\nc\u{1b}[31m\u{202e}d\u{a0}e\u{200b}f é\";
        assert_eq!(revealed(text), expected);
    }

    #[test]
    fn colors_may_stay_and_end_with_the_line() {
        let cases: [(&[u8], &str); 4] = [
            (b"\x1b[1;31mred\x1b[0m", "\u{1b}[1;31mred\u{1b}[0m"),
            (b"\x1b[32mgreen", "\u{1b}[32mgreen\u{1b}[0m"),
            (b"\x1b[>4;2mkeys", "keys"),
            (b"\x1b[2J\x1b[Hgone", "gone"),
        ];
        for (line, expected) in cases {
            assert_eq!(sanitize(line, Colors::Keep), expected, "{line:?}");
        }
    }

    #[test]
    fn unended_sequences_are_harmless() {
        for line in [
            "\u{1b}",
            "\u{1b}[",
            "\u{1b}[31",
            "\u{1b}]0;x",
            "\u{1b}P",
            "\u{1b}(",
        ] {
            assert_eq!(sanitize(line.as_bytes(), Colors::Keep), "", "{line:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_but_colors_gets_through(pieces: Vec<Piece>) {
            let line: Vec<u8> = pieces.iter().flat_map(|piece| piece.0.clone()).collect();
            let plain = sanitize(&line, Colors::Strip);
            proptest::prop_assert!(!plain.chars().any(char::is_control), "{plain:?}");
            let colored = sanitize(&line, Colors::Keep);
            let stripped = console::strip_ansi_codes(&colored);
            proptest::prop_assert_eq!(&stripped, &plain);
        }
    }

    /// Random bytes, mixed with those that terminals take for more than text.
    #[derive(Debug)]
    struct Piece(Vec<u8>);

    impl proptest::arbitrary::Arbitrary for Piece {
        type Parameters = ();
        type Strategy = proptest::strategy::BoxedStrategy<Self>;

        fn arbitrary_with((): ()) -> Self::Strategy {
            use proptest::prelude::*;
            let special = [
                "\u{1b}", "[", "]", "P", "31", ";", "m", "J", "\u{7}", "\\", "\u{9b}",
            ];
            let special = prop::sample::select(special.to_vec());
            let special = special.prop_map(|text| Piece(text.as_bytes().to_vec()));
            let random = prop::collection::vec(any::<u8>(), 0..4).prop_map(Piece);
            prop_oneof![4 => special, 1 => random].boxed()
        }
    }
}
