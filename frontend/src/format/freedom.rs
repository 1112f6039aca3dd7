//! Where the text of one instruction, its lines joined, may change without changing its meaning.

use std::ops::Range;

use nom::Offset;

use crate::json::{self, Array};
use crate::parse::head::{self, Head};
use crate::syntax::{Command, CommandLine, Instruction};
use crate::words;

/// What may change.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Freedom {
    /// The gaps in order; between two of them is always something.
    pub(super) gaps: Vec<Gap>,
    /// The words that are written in capitals.
    pub(super) capitals: Vec<Range<usize>>,
}

/// A place where blanks only separate; it may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) range: Range<usize>,
    /// What stands there on a line.
    pub(super) blank: &'static str,
}

impl Freedom {
    /// What may change in `text`, which was read as `instruction`.
    pub(super) fn of(text: &str, instruction: &Instruction, escape: char) -> Self {
        let head = head::split(text, escape);
        let mut reader = Reader {
            text,
            escape,
            freedom: Self::default(),
        };
        reader.head(&head);
        reader.arguments(head.arguments, &instruction.command);
        if !matches!(instruction.command, Command::OnBuild(_)) {
            reader.gap(text.trim_end().len()..text.len(), "");
        }
        reader.freedom
    }

    /// The gap that touches a place.
    pub(super) fn gap_at(&self, place: usize) -> Option<&Gap> {
        let at = self.gaps.partition_point(|gap| gap.range.end < place);
        self.gaps.get(at).filter(|gap| gap.range.start <= place)
    }
}

struct Reader<'a> {
    text: &'a str,
    escape: char,
    freedom: Freedom,
}

impl Reader<'_> {
    /// Takes a stretch as a gap, if it holds nothing but blanks.
    fn gap(&mut self, range: Range<usize>, blank: &'static str) {
        if self.text[range.clone()].chars().all(char::is_whitespace) {
            self.freedom.gaps.push(Gap { range, blank });
        }
    }

    /// Takes all runs of blanks of a stretch.
    fn gaps_in(&mut self, range: Range<usize>) {
        let mut at = range.start;
        while at < range.end {
            let rest = &self.text[at..range.end];
            let blanks = rest.len() - rest.trim_start().len();
            if blanks > 0 {
                self.gap(at..at + blanks, " ");
            }
            at += blanks;
            let rest = &self.text[at..range.end];
            at += rest.find(char::is_whitespace).unwrap_or(rest.len());
        }
    }

    /// What stands between the name, the flags and the arguments.
    fn head(&mut self, head: &Head<'_>) {
        let end = self.text.trim_end().len();
        let mut at = head.keyword.len();
        self.freedom.capitals.push(0..at);
        for flag in &head.flags {
            self.gaps_in(at..flag.range.start);
            at = flag.range.end;
        }
        let arguments = if head.arguments.is_empty() {
            end
        } else {
            self.text.offset(head.arguments)
        };
        self.gaps_in(at..arguments);
    }

    fn arguments(&mut self, arguments: &str, command: &Command) {
        if arguments.is_empty() {
            return;
        }
        match command {
            Command::Add(_) | Command::Copy(_) | Command::Volume(_) => self.list(arguments),
            Command::Run(run) => self.command_line(arguments, &run.command),
            Command::Cmd(command) | Command::Entrypoint(command) => {
                self.command_line(arguments, command);
            }
            Command::Shell(_) => self.json(arguments),
            Command::Expose(_) => self.words(arguments, &words::blank_separated(arguments)),
            Command::From(_) => self.from(arguments),
            Command::Arg(_) => self.quoted_words(arguments),
            Command::Env(pairs) | Command::Label(pairs) => {
                if pairs.iter().any(|pair| pair.legacy) {
                    self.first_word(arguments);
                } else {
                    self.quoted_words(arguments);
                }
            }
            Command::Healthcheck(_) => self.healthcheck(arguments),
            Command::Maintainer(_)
            | Command::OnBuild(_)
            | Command::StopSignal(_)
            | Command::User(_)
            | Command::Workdir(_)
            | Command::UnreadFrom(_)
            | Command::Invalid => {}
        }
    }

    /// The gaps between words, which are given as ranges of `part`.
    fn words(&mut self, part: &str, words: &[Range<usize>]) {
        let start = self.text.offset(part);
        for pair in words.windows(2) {
            self.gap(start + pair[0].end..start + pair[1].start, " ");
        }
    }

    fn quoted_words(&mut self, arguments: &str) {
        self.words(arguments, &words::quoted_words(arguments, self.escape));
    }

    /// The gap behind the first word; what follows is one value.
    fn first_word(&mut self, arguments: &str) {
        if let Some((first, rest)) = words::split_first(arguments) {
            let start = self.text.offset(arguments);
            self.gap(start + first.len()..self.text.offset(rest), " ");
        }
    }

    fn from(&mut self, arguments: &str) {
        let words = words::blank_separated(arguments);
        if let [_, r#as, _] = &words[..] {
            let start = self.text.offset(arguments);
            let r#as = start + r#as.start..start + r#as.end;
            self.freedom.capitals.push(r#as);
        }
        self.words(arguments, &words);
    }

    fn healthcheck(&mut self, arguments: &str) {
        let start = self.text.offset(arguments);
        let kind = arguments
            .find(char::is_whitespace)
            .unwrap_or(arguments.len());
        self.freedom.capitals.push(start..start + kind);
        let rest = arguments[kind..].trim_start();
        if !rest.is_empty() {
            self.gap(start + kind..self.text.offset(rest), " ");
            self.list_or_text(rest);
        }
    }

    fn command_line(&mut self, arguments: &str, command: &CommandLine) {
        if matches!(command, CommandLine::Exec(_)) {
            self.json(arguments);
        }
    }

    fn list_or_text(&mut self, arguments: &str) {
        if json::is_string_array(arguments) {
            self.json(arguments);
        }
    }

    fn list(&mut self, arguments: &str) {
        if json::is_string_array(arguments) {
            self.json(arguments);
        } else if !arguments.starts_with('[') {
            // Other blanks could make JSON of what is none.
            self.words(arguments, &words::blank_separated(arguments));
        }
    }

    /// The gaps around the strings, the brackets and the commas of an array.
    fn json(&mut self, arguments: &str) {
        let Array::Strings(strings) = json::array(arguments) else {
            return;
        };
        let start = self.text.offset(arguments);
        let mut at = 0;
        let ends = std::iter::once(arguments.len()..arguments.len());
        for (number, string) in strings
            .into_iter()
            .map(|(_, range)| range)
            .chain(ends)
            .enumerate()
        {
            let between = &arguments[at..string.start];
            for (offset, mark) in between.match_indices(['[', ',', ']']) {
                let (mark_at, before) = (start + at + offset, between[..offset].trim_end().len());
                // Nothing stands before an opening bracket.
                if mark != "[" {
                    self.gap(start + at + before..mark_at, "");
                }
            }
            let behind = between.trim_end().len();
            if string.start < arguments.len() {
                let blank = if number == 0 { "" } else { " " };
                self.gap(start + at + behind..start + string.start, blank);
            }
            at = string.end;
        }
    }
}
