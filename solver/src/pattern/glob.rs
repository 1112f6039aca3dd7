//! Go's `filepath.Match`.

use super::class::Class;
use super::token::{Token, push_literal};

/// Compiles a pattern; bytes that are not UTF-8 become U+FFFD and match nothing.
pub(super) fn parse(pattern: &[u8]) -> Result<Vec<Token>, &'static str> {
    let text = String::from_utf8_lossy(pattern);
    let mut rest = text.chars().peekable();
    let mut tokens = Vec::new();
    while let Some(next) = rest.next() {
        match next {
            '*' if tokens.last() == Some(&Token::Star) => {}
            '*' => tokens.push(Token::Star),
            '?' => tokens.push(Token::One),
            '[' => tokens.push(Token::Class(Class::of_glob(&mut rest)?)),
            '\\' => push_literal(&mut tokens, rest.next().ok_or("it ends in a backslash")?),
            literal => push_literal(&mut tokens, literal),
        }
    }
    Ok(tokens)
}
