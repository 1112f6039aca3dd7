//! What both languages of patterns compile to, and how that is matched.

use super::class::Class;

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// These bytes.
    Literal(Vec<u8>),
    /// One character, but no `/`.
    One,
    /// Any characters, but no `/`.
    Star,
    /// One character of a class.
    Class(Class),
    /// Nothing, or anything up to a `/`; no line feed.
    Directories,
    /// Anything but a line feed.
    Everything,
    /// The start of the path.
    Start,
    /// The end of the path.
    End,
    /// Whatever follows.
    Rest,
    /// Between two bytes of which one belongs to an ASCII word, or, if not so, no such place.
    Boundary(bool),
    /// Matches nothing.
    Never,
}

/// Adds a character, to the literal at the end if there is one.
pub(super) fn push_literal(tokens: &mut Vec<Token>, character: char) {
    let mut buffer = [0; 4];
    let bytes = character.encode_utf8(&mut buffer).as_bytes();
    match tokens.last_mut() {
        Some(Token::Literal(literal)) => literal.extend_from_slice(bytes),
        _ => tokens.push(Token::Literal(bytes.to_vec())),
    }
}

/// Whether the tokens match a whole path; takes at most tokens × bytes steps.
pub(super) fn matches(tokens: &[Token], path: &[u8]) -> bool {
    if !literal_ends_agree(tokens, path) {
        return false;
    }
    let mut reached = Reached::start(path);
    tokens.iter().all(|token| reached.advance(token)) && reached.is_at_end()
}

/// Whether the tokens could match some path that begins with `start` and goes on.
pub(super) fn may_go_on_behind(tokens: &[Token], start: &[u8]) -> bool {
    let mut reached = Reached::start(start);
    for token in tokens {
        if reached.is_at_end() || reached.ends_inside(token) {
            return true;
        }
        if !reached.advance(token) {
            return false;
        }
    }
    false
}

/// Most patterns that do not match are told from the literals at their ends.
fn literal_ends_agree(tokens: &[Token], path: &[u8]) -> bool {
    let start = match tokens.first() {
        Some(Token::Literal(literal)) => path.starts_with(literal),
        _ => true,
    };
    start
        && match tokens.last() {
            Some(Token::Literal(literal)) => path.ends_with(literal),
            _ => true,
        }
}

/// The places in a path up to which the tokens so far match.
struct Reached<'p> {
    path: &'p [u8],
    /// One for each byte and one for the end.
    places: Vec<bool>,
    next: Vec<bool>,
}

impl<'p> Reached<'p> {
    fn start(path: &'p [u8]) -> Self {
        let mut places = vec![false; path.len() + 1];
        places[0] = true;
        let next = vec![false; path.len() + 1];
        Self { path, places, next }
    }

    fn is_at_end(&self) -> bool {
        self.places[self.path.len()]
    }

    /// Whether the path ends while it agrees with a literal.
    fn ends_inside(&self, token: &Token) -> bool {
        let Token::Literal(literal) = token else {
            return false;
        };
        let first = self.path.len().saturating_sub(literal.len());
        let mut places = first..self.path.len();
        places.any(|place| self.places[place] && literal.starts_with(&self.path[place..]))
    }

    /// Matches one more token; whether any place is left.
    fn advance(&mut self, token: &Token) -> bool {
        self.next.fill(false);
        match token {
            Token::Literal(literal) => self.literal(literal),
            Token::One => self.character(|character| character != '/'),
            Token::Class(class) => self.character(|character| class.contains(character)),
            Token::Star => self.repeat(|byte| byte != b'/'),
            Token::Everything => self.repeat(|byte| byte != b'\n'),
            Token::Directories => self.directories(),
            Token::Start => self.next[0] = self.places[0],
            Token::End => self.next[self.path.len()] = self.is_at_end(),
            Token::Rest => self.next[self.path.len()] = self.places.contains(&true),
            Token::Boundary(wanted) => self.boundaries(*wanted),
            Token::Never => {}
        }
        std::mem::swap(&mut self.places, &mut self.next);
        self.places.contains(&true)
    }

    fn literal(&mut self, literal: &[u8]) {
        for place in 0..=self.path.len() {
            if self.places[place] && self.path[place..].starts_with(literal) {
                self.next[place + literal.len()] = true;
            }
        }
    }

    fn character(&mut self, accepts: impl Fn(char) -> bool) {
        for place in 0..self.path.len() {
            if self.places[place] {
                let (character, length) = first_character(&self.path[place..]);
                self.next[place + length] |= accepts(character);
            }
        }
    }

    /// Any number of bytes; none that is accepted begins a character that is not.
    fn repeat(&mut self, accepts: impl Fn(u8) -> bool) {
        let mut running = false;
        for place in 0..=self.path.len() {
            running |= self.places[place];
            let at_boundary = self.path.get(place).is_none_or(|byte| byte & 0xc0 != 0x80);
            self.next[place] = running && (at_boundary || self.places[place]);
            running &= self.path.get(place).is_some_and(|byte| accepts(*byte));
        }
    }

    fn boundaries(&mut self, wanted: bool) {
        let is_word = |byte: Option<&u8>| {
            byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        };
        for place in 0..=self.path.len() {
            let before = place.checked_sub(1).and_then(|at| self.path.get(at));
            let is_boundary = is_word(before) != is_word(self.path.get(place));
            self.next[place] = self.places[place] && is_boundary == wanted;
        }
    }

    fn directories(&mut self) {
        let mut running = false;
        for place in 0..=self.path.len() {
            running |= self.places[place];
            self.next[place] |= self.places[place];
            match self.path.get(place) {
                Some(b'/') if running => self.next[place + 1] = true,
                Some(b'\n') => running = false,
                _ => {}
            }
        }
    }
}

/// The first character and its length; a byte that is not UTF-8 is U+FFFD.
fn first_character(bytes: &[u8]) -> (char, usize) {
    let window = &bytes[..bytes.len().min(4)];
    let text = match std::str::from_utf8(window) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&window[..error.valid_up_to()]).unwrap_or_default(),
    };
    text.chars()
        .next()
        .map_or((char::REPLACEMENT_CHARACTER, 1), |c| (c, c.len_utf8()))
}
