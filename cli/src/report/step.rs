//! A step that failed: its log and the Dockerfile's lines around it, as BuildKit prints them.

use std::collections::VecDeque;
use std::io::{self, Write};

use kiln_frontend::{Source, Span};
use kiln_solver::SolveError;
use kiln_solver::graph::SourceSpan;

use super::chain;
use crate::progress::{Colors, LineBuffer, printable, sanitize};
use crate::record::{RecordError, StepLog};
use crate::settings::ProgressMode;

/// How many lines around the failing instruction are shown.
const AROUND: usize = 2;
/// How many lines of the instruction itself are shown; the middle of longer ones is left out.
const OF_INSTRUCTION: usize = 20;
/// How many characters of the command are said again; the instruction stands above in full.
const LONGEST_COMMAND: usize = 400;

/// How much of a failing step's log is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogExtent {
    /// All of it.
    Whole,
    /// Its last lines, since all of it was printed before.
    Tail(usize),
}

impl LogExtent {
    /// What is missing after a build that was shown in a mode.
    pub fn after(mode: ProgressMode) -> Self {
        match mode {
            ProgressMode::Plain | ProgressMode::RawJson => LogExtent::Tail(10),
            ProgressMode::Auto | ProgressMode::Tty | ProgressMode::Quiet => LogExtent::Whole,
        }
    }
}

/// Prints a step's log between dashes.
pub(super) fn write_log(
    out: &mut dyn Write,
    name: &str,
    log: Option<&StepLog>,
    extent: LogExtent,
) -> io::Result<()> {
    let Some(log) = log else { return Ok(()) };
    writeln!(out, "------\n > {}:", printable(name))?;
    if let Err(error) = copy_log(out, log, extent)? {
        writeln!(out, "[its log cannot be read: {}]", chain(&error))?;
    }
    writeln!(out, "------")
}

fn copy_log(
    out: &mut dyn Write,
    log: &StepLog,
    extent: LogExtent,
) -> io::Result<Result<(), RecordError>> {
    let kept = match extent {
        LogExtent::Whole => 0,
        LogExtent::Tail(lines) => lines,
    };
    let mut waiting: VecDeque<String> = VecDeque::with_capacity(kept + 1);
    let mut left_out = 0_u64;
    let mut lines = LineBuffer::default();
    let mut failed = Ok(());
    let mut take = |line: &[u8]| {
        let line = sanitize(line, Colors::Keep);
        match extent {
            LogExtent::Whole if failed.is_ok() => failed = writeln!(out, "{line}"),
            LogExtent::Whole => {}
            LogExtent::Tail(_) => waiting.push_back(line),
        }
        if waiting.len() > kept {
            waiting.pop_front();
            left_out += 1;
        }
    };
    let read = log.read(|piece| lines.push(piece, &mut take));
    lines.flush(&mut take);
    failed?;
    if left_out > 0 {
        writeln!(out, "[{left_out} lines before these; all of them: {log}]")?;
    }
    waiting
        .iter()
        .try_for_each(|line| writeln!(out, "{line}"))?;
    Ok(read)
}

/// Prints the lines of an instruction, marked, and those around it.
pub(super) fn write_lines(
    out: &mut dyn Write,
    source: &Source,
    span: &SourceSpan,
) -> io::Result<()> {
    let (first, last) = source.lines(Span::new(span.bytes.start, span.bytes.end));
    let lines: Vec<&str> = source.text().lines().collect();
    let begin = first.saturating_sub(AROUND).max(1);
    let end = (last + AROUND).min(lines.len());
    let left_out = first + OF_INSTRUCTION / 2..(last + 1).saturating_sub(OF_INSTRUCTION / 2);
    let edge = "-".repeat(20);
    writeln!(out, "{}:{first}\n{edge}", printable(source.name()))?;
    for number in begin..=end {
        if number == left_out.start && !left_out.is_empty() {
            writeln!(out, "     | >>> [{} lines]", left_out.len())?;
        }
        if left_out.contains(&number) {
            continue;
        }
        let mark = if (first..=last).contains(&number) {
            ">>>"
        } else {
            "   "
        };
        let line = lines.get(number - 1).copied().unwrap_or_default();
        writeln!(
            out,
            "{}",
            format!("{number:4} | {mark} {}", printable(line)).trim_end()
        )?;
    }
    writeln!(out, "{edge}")
}

/// Why the step failed: `process "/bin/sh -c make" did not complete successfully: exit code: 2`.
pub(super) fn reason(error: &SolveError) -> String {
    match error {
        SolveError::Exited { command, exit, .. } => {
            let command = console::truncate_str(command, LONGEST_COMMAND, "…");
            format!("process {command:?} did not complete successfully: {exit}")
        }
        error @ SolveError::Step { .. } => chain(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use kiln_solver::{LogStream, Reporter};

    use super::*;
    use crate::progress::{Display, Quiet};
    use crate::record::{Head, Recorder};

    fn lines(text: &str, marked: &str) -> String {
        let start = text.find(marked).expect("the text has it");
        let span = SourceSpan {
            bytes: start..start + marked.len(),
        };
        let mut out = Vec::new();
        let source = Source::new("Dockerfile", text);
        write_lines(&mut out, &source, &span).expect("a Vec takes everything");
        String::from_utf8(out).expect("what is printed is text")
    }

    fn log(text: &str, extent: LogExtent) -> String {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let (id, directory) = ("id".to_owned(), parent.path().join("record"));
        let head = Head::new(id, Timestamp::UNIX_EPOCH);
        let display = Display::start(Quiet);
        let recorder = Recorder::begin(display.progress(), directory, &head).expect("writable");
        let recorder = Arc::new(recorder);
        let step = Reporter::new(Arc::clone(&recorder) as _).start("[2/3] RUN make");
        step.log(LogStream::Stdout, text.as_bytes());
        step.failed("exit code: 2");
        let [failed] = recorder.failed_steps().try_into().expect("one failed");
        let mut out = Vec::new();
        write_log(&mut out, &failed.name, failed.log.as_ref(), extent).expect("a Vec");
        String::from_utf8(out).expect("what is printed is text")
    }

    #[test]
    fn the_instruction_is_marked_among_its_neighbors() {
        let text = "FROM a\nENV b=c\n\nRUN make \\\n\t-j 2\nCOPY d e\nUSER f\nCMD g\n";
        insta::assert_snapshot!(lines(text, "RUN make \\\n\t-j 2"));
        insta::assert_snapshot!(lines(text, "FROM a"));
    }

    #[test]
    fn the_middle_of_a_long_instruction_is_left_out() {
        let body: String = (0..100).map(|number| format!("line {number}\n")).collect();
        let instruction = format!("RUN <<EOF\n{body}EOF");
        insta::assert_snapshot!(lines(
            &format!("FROM a\n{instruction}\nCMD b\n"),
            &instruction
        ));
    }

    #[test]
    fn a_log_is_printed_whole_or_by_its_end() {
        let text = "one\ntwo\x1b[2J\nthree\nfour";
        let whole = "------\n > [2/3] RUN make:\none\ntwo\nthree\nfour\n------\n";
        assert_eq!(log(text, LogExtent::Whole), whole);
        let tail = "------\n > [2/3] RUN make:\n[2 lines before these; all of them: kiln builds logs id --step 1]\nthree\nfour\n------\n";
        assert_eq!(log(text, LogExtent::Tail(2)), tail);
        assert_eq!(log(text, LogExtent::Tail(9)), whole);
    }
}
