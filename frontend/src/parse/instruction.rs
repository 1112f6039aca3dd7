//! One logical line → one instruction.

use nom::Offset;

use super::arguments::{Arguments, Rejected};
use super::flags::{Flags, Kind, Known};
use super::{head, options, transfer};
use crate::check::{self, names};
use crate::diagnostic::Diagnostic;
use crate::scan::LogicalLine;
use crate::source::{Span, Spanned};
use crate::syntax::{Argument, Command, From, Instruction, KEYWORDS, KeyValue, Trigger, Word};

/// Reads a line; what is wrong goes to `diagnostics`.
pub(super) fn parse(
    line: &LogicalLine,
    escape: char,
    diagnostics: &mut Vec<Diagnostic>,
) -> Instruction {
    let head = head::split(&line.text, escape);
    let mut reader = Reader {
        line,
        escape,
        head: &head,
        is_trigger: false,
        diagnostics,
    };
    let command = reader.command();
    Instruction {
        keyword: reader.keyword(),
        span: line.span,
        pieces: line.pieces.clone(),
        text: line.text.trim().to_owned(),
        comments: line.comments.clone(),
        command,
    }
}

struct Reader<'a> {
    line: &'a LogicalLine,
    escape: char,
    head: &'a head::Head<'a>,
    /// Whether it stands behind ONBUILD.
    is_trigger: bool,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl<'a> Reader<'a> {
    fn command(&mut self) -> Command {
        let keyword = self.head.keyword.to_ascii_uppercase();
        let before = self.diagnostics.len();
        let command = match self.dispatch(&keyword) {
            // A wrong flag is reported, but leaves nothing to work with.
            Ok(_) if self.diagnostics[before..].iter().any(Diagnostic::is_error) => {
                Command::Invalid
            }
            Ok(command) => command,
            Err(diagnostic) => {
                self.diagnostics.push(*diagnostic);
                Command::Invalid
            }
        };
        if command == Command::Invalid && keyword == "FROM" {
            return self.unread_from();
        }
        command
    }

    /// What can be said of a FROM that is wrong. A third word is the name that later stages use, whatever
    /// stands before it.
    fn unread_from(&mut self) -> Command {
        let words = self.arguments("FROM").blank_separated();
        let found = check::of_rejected_from(self.head.keyword, &words);
        self.diagnostics.extend(found);
        let mut words = words.into_iter();
        let nothing = || Spanned::new(String::new(), self.keyword().span);
        Command::UnreadFrom(From {
            platform: None,
            image: words.next().unwrap_or_else(nothing),
            r#as: words.next(),
            name: words.next(),
        })
    }

    fn arguments<'k>(&self, keyword: &'k str) -> Arguments<'k>
    where
        'a: 'k,
    {
        Arguments {
            line: self.line,
            keyword,
            text: self.head.arguments,
            escape: self.escape,
        }
    }

    fn keyword(&self) -> Word {
        let start = self.line.text.offset(self.head.keyword);
        let span = self.line.span_of(start..start + self.head.keyword.len());
        Spanned::new(self.head.keyword.to_owned(), span)
    }

    fn dispatch(&mut self, keyword: &str) -> Result<Command, Rejected> {
        let arguments = self.arguments(keyword);
        let known = known_flags(keyword);
        match keyword {
            "ADD" => self.with_flags(known, |f| transfer::add(&arguments, f)),
            "ARG" => self.ignoring_flags(|| argument_declarations(&arguments)),
            "CMD" => self.without_flags(|| arguments.command_line().map(Command::Cmd)),
            "COPY" => self.with_flags(known, |f| transfer::copy(&arguments, f)),
            "ENTRYPOINT" => {
                self.without_flags(|| arguments.command_line().map(Command::Entrypoint))
            }
            "ENV" => self.without_flags(|| pairs(&arguments).map(Command::Env)),
            "EXPOSE" => self.without_flags(|| expose(&arguments)),
            "FROM" => self.with_flags(known, |flags| from(&arguments, flags)),
            "HEALTHCHECK" => self.healthcheck(&arguments),
            "LABEL" => self.without_flags(|| pairs(&arguments).map(Command::Label)),
            "MAINTAINER" => self.without_flags(|| arguments.single().map(Command::Maintainer)),
            "ONBUILD" => self.on_build(&arguments),
            "RUN" => self.with_flags(known, |flags| options::run(&arguments, flags)),
            "SHELL" => self.without_flags(|| options::shell(&arguments)),
            "STOPSIGNAL" => self.ignoring_flags(|| arguments.single().map(Command::StopSignal)),
            "USER" => self.without_flags(|| arguments.single().map(Command::User)),
            "VOLUME" => self.without_flags(|| volume(&arguments)),
            "WORKDIR" => self.without_flags(|| arguments.single().map(Command::Workdir)),
            _ => Err(self.unknown(keyword)),
        }
    }

    fn unknown(&self, keyword: &str) -> Rejected {
        let written = self.keyword();
        let message = format!("there is no instruction {:?}", written.value);
        let finding = Diagnostic::error("unknown-instruction", written.span, message);
        let is_possible = |known: &&str| !(self.is_trigger && NEVER_TRIGGERED.contains(known));
        let possible = KEYWORDS.into_iter().filter(is_possible);
        Box::new(finding.did_you_mean(keyword, possible))
    }

    fn with_flags(
        &mut self,
        known: Known,
        read: impl FnOnce(Flags) -> Result<Command, Rejected>,
    ) -> Result<Command, Rejected> {
        read(Flags::check(
            self.line,
            &self.head.flags,
            known,
            self.diagnostics,
        ))
    }

    fn without_flags(
        &mut self,
        read: impl FnOnce() -> Result<Command, Rejected>,
    ) -> Result<Command, Rejected> {
        self.with_flags(&[], |_| read())
    }

    /// BuildKit never looks at the flags of these instructions, so neither may they fail here.
    fn ignoring_flags(
        &mut self,
        read: impl FnOnce() -> Result<Command, Rejected>,
    ) -> Result<Command, Rejected> {
        for flag in &self.head.flags {
            let span = self.line.span_of(flag.range.clone());
            let message = format!("the flag {} has no effect here", flag.text);
            self.diagnostics
                .push(Diagnostic::warning(names::IGNORED_FLAG, span, message));
        }
        read()
    }

    fn healthcheck(&mut self, arguments: &Arguments<'_>) -> Result<Command, Rejected> {
        let (kind, rest) = arguments.split_first().ok_or_else(|| arguments.missing())?;
        match kind.value.to_ascii_uppercase().as_str() {
            "NONE" => self.ignoring_flags(|| options::healthcheck_none(&rest)),
            "CMD" => self.with_flags(known_flags(arguments.keyword), |flags| {
                options::healthcheck_command(&rest, flags)
            }),
            _ => {
                let message = format!("HEALTHCHECK takes CMD or NONE, not {:?}", kind.value);
                let finding = Diagnostic::error("invalid-healthcheck", kind.span, message);
                let written = kind.value.to_ascii_uppercase();
                Err(Box::new(finding.did_you_mean(&written, ["CMD", "NONE"])))
            }
        }
    }

    /// The trigger is only checked as far as it must be to be stored; that a child image will not be
    /// able to run it is a warning.
    fn on_build(&mut self, arguments: &Arguments<'_>) -> Result<Command, Rejected> {
        self.with_flags(&[], |_| Ok(Command::Invalid))?;
        let (keyword, _) = arguments.split_first().ok_or_else(|| arguments.missing())?;
        let name = keyword.value.to_ascii_uppercase();
        if NEVER_TRIGGERED.contains(&name.as_str()) {
            let message = format!("ONBUILD may not trigger {name}");
            return Err(Box::new(Diagnostic::error(
                "invalid-trigger",
                keyword.span,
                message,
            )));
        }
        let trigger = head::split_part(&self.line.text, arguments.text, self.escape);
        let mut findings = Vec::new();
        let (line, escape) = (self.line, self.escape);
        Reader {
            line,
            escape,
            head: &trigger,
            is_trigger: true,
            diagnostics: &mut findings,
        }
        .command();
        let severe = |finding: &Diagnostic| matches!(finding.code, "invalid-json" | "invalid-pair");
        for mut finding in findings {
            if finding.is_error() && !severe(&finding) {
                finding.severity = crate::Severity::Warning;
                finding.code = names::TRIGGER;
            }
            self.diagnostics.push(finding);
        }
        Ok(Command::OnBuild(Trigger {
            keyword,
            text: self.trigger_text(arguments.text),
        }))
    }

    fn trigger_text(&self, arguments: &str) -> String {
        let start = self.line.text.offset(arguments);
        let mut text = self.line.text[start..].to_owned();
        for heredoc in &self.line.heredocs {
            text.push('\n');
            text.push_str(&heredoc.content);
            text.push_str(&heredoc.opening.name);
        }
        text
    }
}

/// What cannot stand behind ONBUILD.
const NEVER_TRIGGERED: [&str; 3] = ["ONBUILD", "FROM", "MAINTAINER"];

const FROM_FLAGS: Known = &[("platform", Kind::Value)];

fn known_flags(keyword: &str) -> Known {
    match keyword {
        "ADD" => transfer::ADD_FLAGS,
        "COPY" => transfer::COPY_FLAGS,
        "FROM" => FROM_FLAGS,
        "HEALTHCHECK" => options::HEALTHCHECK_FLAGS,
        "RUN" => options::RUN_FLAGS,
        _ => &[],
    }
}

/// The names of the flags that an instruction takes, whose own name is in capitals.
pub fn flags_of(keyword: &str) -> impl Iterator<Item = &'static str> {
    known_flags(keyword).iter().map(|(name, _)| *name)
}

fn from(arguments: &Arguments<'_>, mut flags: Flags) -> Result<Command, Rejected> {
    let platform = flags.value("platform");
    let mut words = arguments.blank_separated().into_iter();
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(image), None, None, None) => Ok(Command::From(From {
            platform,
            image,
            r#as: None,
            name: None,
        })),
        (Some(image), Some(r#as), Some(name), None) if r#as.value.eq_ignore_ascii_case("as") => {
            check_stage_name(&name)?;
            Ok(Command::From(From {
                platform,
                image,
                r#as: Some(r#as),
                name: Some(name),
            }))
        }
        _ => Err(arguments.error("invalid-from", "FROM takes an image, or an image AS a name")),
    }
}

fn check_stage_name(name: &Word) -> Result<(), Rejected> {
    let lower = name.value.to_lowercase();
    let mut bytes = lower.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
    let is_rest = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    if first && bytes.all(is_rest) {
        return Ok(());
    }
    let message = format!("{:?} cannot be the name of a stage", name.value);
    let finding = Diagnostic::error("invalid-stage-name", name.span, message);
    Err(Box::new(finding.hint(
        "begin with a letter and go on with letters, digits, '-', '_', '.'",
    )))
}

fn argument_declarations(arguments: &Arguments<'_>) -> Result<Command, Rejected> {
    let words = arguments.quoted_words();
    if words.is_empty() {
        return Err(arguments.missing());
    }
    let declare = |range: std::ops::Range<usize>| {
        let Some(equals) = arguments.text[range.clone()].find('=') else {
            return Ok(Argument {
                name: arguments.word(range),
                default: None,
            });
        };
        let (name, value) = split_pair(arguments, range, equals)?;
        Ok(Argument {
            name,
            default: Some(value),
        })
    };
    words
        .into_iter()
        .map(declare)
        .collect::<Result<_, _>>()
        .map(Command::Arg)
}

/// `name=value`, cut at `equals`, counted from the start of `range`.
fn split_pair(
    arguments: &Arguments<'_>,
    range: std::ops::Range<usize>,
    equals: usize,
) -> Result<(Word, Word), Rejected> {
    if equals == 0 {
        let span: Span = arguments.span_of(range);
        let message = format!("a name of {} is empty", arguments.keyword);
        return Err(Box::new(Diagnostic::error("empty-name", span, message)));
    }
    let at = range.start + equals;
    Ok((
        arguments.word(range.start..at),
        arguments.word(at + 1..range.end),
    ))
}

/// The pairs of ENV and LABEL, or the one pair of the old form without `=`.
fn pairs(arguments: &Arguments<'_>) -> Result<Vec<KeyValue>, Rejected> {
    let words = arguments.quoted_words();
    let first = words.first().ok_or_else(|| arguments.missing())?;
    if !arguments.text[first.clone()].contains('=') {
        return Ok(vec![legacy_pair(arguments)?]);
    }
    let pair = |range: std::ops::Range<usize>| {
        let Some(equals) = arguments.text[range.clone()].find('=') else {
            let message = format!(
                "{:?} is not of the form name=value",
                &arguments.text[range.clone()]
            );
            let finding = Diagnostic::error("invalid-pair", arguments.span_of(range), message);
            return Err(Box::new(finding.hint("quote values that contain blanks")));
        };
        let (key, value) = split_pair(arguments, range, equals)?;
        Ok(KeyValue {
            key,
            value,
            legacy: false,
        })
    };
    words.into_iter().map(pair).collect()
}

fn legacy_pair(arguments: &Arguments<'_>) -> Result<KeyValue, Rejected> {
    let Some((key, value)) = crate::words::split_first(arguments.text) else {
        return Err(arguments.error(
            "invalid-pair",
            format!("{} needs a value", arguments.keyword),
        ));
    };
    let value_start = arguments.text.offset(value);
    let value = arguments.word(value_start..arguments.text.len());
    Ok(KeyValue {
        key: arguments.word(0..key.len()),
        value,
        legacy: true,
    })
}

fn expose(arguments: &Arguments<'_>) -> Result<Command, Rejected> {
    let mut ports = arguments.blank_separated();
    if ports.is_empty() {
        return Err(arguments.missing());
    }
    ports.sort_by(|a, b| a.value.cmp(&b.value));
    Ok(Command::Expose(ports))
}

fn volume(arguments: &Arguments<'_>) -> Result<Command, Rejected> {
    let mut volumes = arguments.list()?;
    if volumes.is_empty() {
        return Err(arguments.missing());
    }
    for volume in &mut volumes {
        volume.value = volume.value.trim().to_owned();
        if volume.value.is_empty() {
            let message = "a volume's path is empty";
            return Err(Box::new(Diagnostic::error(
                "empty-volume",
                volume.span,
                message,
            )));
        }
    }
    Ok(Command::Volume(volumes))
}
