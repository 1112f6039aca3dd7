//! Values as Go's fmt package prints them, because histories of images are made of that.

/// A list, as `%v` prints it: `[a b]`.
pub(crate) fn list<T: AsRef<str>>(items: &[T]) -> String {
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    format!("[{}]", items.join(" "))
}

/// A list of quoted strings, as `%q` prints it: `["a" "b"]`.
pub(crate) fn quoted_list(items: &[String]) -> String {
    let mut list = String::from("[");
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            list.push(' ');
        }
        push_quoted(&mut list, item);
    }
    list.push(']');
    list
}

/// Appends a string in Go's syntax.
fn push_quoted(quoted: &mut String, text: &str) {
    quoted.reserve(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            c if is_printable(c) => quoted.push(c),
            c if c < '\u{80}' => quoted.push_str(&format!("\\x{:02x}", c as u32)),
            c if c <= '\u{ffff}' => quoted.push_str(&format!("\\u{:04x}", c as u32)),
            c => quoted.push_str(&format!("\\U{:08x}", c as u32)),
        }
    }
    quoted.push('"');
}

/// Whether Go shows a character as it is: the standard library escapes the same ones, except that it
/// escapes combining characters at the start of a text.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    let mut text = String::from("a");
    text.push(c);
    text.escape_debug().eq(text.chars())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_in_go() {
        let mut quoted = String::new();
        push_quoted(&mut quoted, "a 'b' \"c\"\\\n\u{1}é\u{a0}\u{301}😀");
        assert_eq!(quoted, "\"a 'b' \\\"c\\\"\\\\\\n\\x01é\\u00a0\u{301}😀\"");
        assert_eq!(quoted_list(&["a".into(), "b c".into()]), "[\"a\" \"b c\"]");
        assert_eq!(list(&["a", "b"]), "[a b]");
    }
}
