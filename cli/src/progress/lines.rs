//! Puts the lines of a log together from the pieces in which it arrives.

/// Where a line is broken that does not end by itself.
const LONGEST_LINE: usize = 16 * 1024;

/// The unfinished line of one step.
#[derive(Debug, Default)]
pub(crate) struct LineBuffer {
    partial: Vec<u8>,
    /// A carriage return came last: what follows, unless it ends the line, writes over it.
    returned: bool,
}

impl LineBuffer {
    /// Takes a piece and hands every line that it finishes, without its end, to `line`.
    pub(crate) fn push(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8])) {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.extend(&rest[..at], &mut line);
            if rest[at] == b'\n' {
                line(&self.partial);
                self.partial.clear();
                self.returned = false;
            } else {
                self.returned = true;
            }
            rest = &rest[at + 1..];
        }
        self.extend(rest, &mut line);
    }

    /// The line that has not ended, as a terminal would show it.
    pub(crate) fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// Hands over the line that has not ended, if there is one.
    pub(crate) fn flush(&mut self, line: impl FnOnce(&[u8])) {
        if !self.partial.is_empty() {
            line(&self.partial);
        }
        *self = Self::default();
    }

    fn extend(&mut self, mut bytes: &[u8], line: &mut impl FnMut(&[u8])) {
        if self.returned && !bytes.is_empty() {
            self.partial.clear();
            self.returned = false;
        }
        while self.partial.len() + bytes.len() > LONGEST_LINE {
            let (now, later) = bytes.split_at(LONGEST_LINE - self.partial.len());
            self.partial.extend_from_slice(now);
            line(&self.partial);
            self.partial.clear();
            bytes = later;
        }
        self.partial.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&str]) -> Vec<String> {
        let mut buffer = LineBuffer::default();
        let mut lines = Vec::new();
        let mut take = |line: &[u8]| lines.push(String::from_utf8_lossy(line).into_owned());
        for piece in pieces {
            buffer.push(piece.as_bytes(), &mut take);
        }
        buffer.flush(take);
        lines
    }

    #[test]
    fn pieces_become_lines() {
        let cases: [(&[&str], &[&str]); 7] = [
            (&["a\nb\n"], &["a", "b"]),
            (&["a", "b\nc"], &["ab", "c"]),
            (&["\n\n"], &["", ""]),
            (&["a\r\nb\r\n"], &["a", "b"]),
            (&["a\r", "\nb"], &["a", "b"]),
            (&["10%\r20%", "\r30%\n"], &["30%"]),
            (&["10%\r20%\r"], &["20%"]),
        ];
        for (pieces, expected) in cases {
            assert_eq!(lines(pieces), expected, "{pieces:?}");
        }
    }

    #[test]
    fn a_line_that_never_ends_is_broken() {
        let lines = lines(&["x".repeat(LONGEST_LINE * 2 + 1).as_str()]);
        let lengths: Vec<usize> = lines.iter().map(String::len).collect();
        assert_eq!(lengths, [LONGEST_LINE, LONGEST_LINE, 1]);
    }
}
