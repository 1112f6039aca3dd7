//! The tree of a Dockerfile: every instruction with the places of its parts, nothing expanded yet.

use std::ops::Range;
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::directive::Directives;
use crate::heredoc;
use crate::layout::Layout;
use crate::source::{Source, Span, Spanned};

/// A text as written, and where. Joined lines are already joined, everything else is untouched.
pub type Word = Spanned<String>;

/// A whole file.
#[derive(Debug, Clone)]
pub struct Dockerfile {
    /// The text that it was read from.
    pub source: Source,
    /// The directives at its head.
    pub directives: Directives,
    /// The instructions in order; what could not be read is [`Command::Invalid`], or
    /// [`Command::UnreadFrom`] where a stage begins.
    pub instructions: Vec<Arc<Instruction>>,
    /// Every byte of the file, comments and blanks included.
    pub layout: Layout,
    /// What rules found that only see it while lines and flags are read. Whether they count is
    /// decided by [`crate::check`].
    pub warnings: Vec<Diagnostic>,
}

impl Dockerfile {
    /// The file as it was read, byte for byte.
    pub fn print(&self) -> String {
        self.layout.print(&self.source)
    }

    /// The instruction that a place lies in.
    pub(crate) fn instruction_at(&self, place: Span) -> Option<&Arc<Instruction>> {
        let instructions = &self.instructions;
        let at = instructions.partition_point(|instruction| instruction.span.end < place.start);
        let instruction = instructions.get(at)?;
        (instruction.span.start <= place.start).then_some(instruction)
    }
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// Its name as written.
    pub keyword: Word,
    /// All its lines, heredoc bodies included.
    pub span: Span,
    /// The pieces of the file's layout that it consists of; none for a trigger.
    pub pieces: Range<usize>,
    /// Its text on one line, without heredoc bodies.
    pub text: String,
    /// The comments right above.
    pub comments: Vec<Word>,
    /// What it says.
    pub command: Command,
}

impl Instruction {
    /// Whether it has that name, whether or not it could be read.
    pub(crate) fn is(&self, keyword: &str) -> bool {
        self.keyword.value.eq_ignore_ascii_case(keyword)
    }
}

/// What an instruction says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// ADD
    Add(Transfer),
    /// ARG
    Arg(Vec<Argument>),
    /// CMD
    Cmd(CommandLine),
    /// COPY
    Copy(Transfer),
    /// ENTRYPOINT
    Entrypoint(CommandLine),
    /// ENV
    Env(Vec<KeyValue>),
    /// EXPOSE: the ports as written, sorted.
    Expose(Vec<Word>),
    /// FROM
    From(From),
    /// HEALTHCHECK
    Healthcheck(Healthcheck),
    /// LABEL
    Label(Vec<KeyValue>),
    /// MAINTAINER
    Maintainer(Word),
    /// ONBUILD
    OnBuild(Trigger),
    /// RUN
    Run(Run),
    /// SHELL
    Shell(Vec<Word>),
    /// STOPSIGNAL
    StopSignal(Word),
    /// USER
    User(Word),
    /// VOLUME
    Volume(Vec<Word>),
    /// WORKDIR
    Workdir(Word),
    /// Something that is not an instruction or not a correct one; a diagnostic says why.
    Invalid,
    /// A FROM that is not correct, with what it seems to name: a stage begins here all the same, whose
    /// base is unknown. A diagnostic says why.
    UnreadFrom(From),
}

impl Command {
    /// Whether it is not what its instruction means, because that is wrong.
    pub fn is_unread(&self) -> bool {
        matches!(self, Self::Invalid | Self::UnreadFrom(_))
    }

    /// Whether it is a FROM, correct or not.
    pub fn begins_a_stage(&self) -> bool {
        matches!(self, Self::From(_) | Self::UnreadFrom(_))
    }
}

/// FROM
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// `--platform`
    pub platform: Option<Word>,
    /// An image, an earlier stage or `scratch`.
    pub image: Word,
    /// The `AS` between image and name.
    pub r#as: Option<Word>,
    /// The stage's name as written.
    pub name: Option<Word>,
}

/// One argument that ARG declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: Word,
    /// Its default.
    pub default: Option<Word>,
}

/// A pair of ENV or LABEL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The name.
    pub key: Word,
    /// The value.
    pub value: Word,
    /// Written without `=`, as one pair that fills the line.
    pub legacy: bool,
}

/// What RUN, CMD, ENTRYPOINT and HEALTHCHECK run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// A text for the shell.
    Shell(Word),
    /// A program and its arguments.
    Exec(Vec<Word>),
}

/// RUN
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What is run.
    pub command: CommandLine,
    /// The heredocs of the line.
    pub heredocs: Vec<heredoc::Heredoc>,
    /// `--mount`, as written.
    pub mounts: Vec<Word>,
    /// `--network`
    pub network: Option<Spanned<Network>>,
    /// `--security`
    pub security: Option<Spanned<Security>>,
    /// `--device`, as written.
    pub devices: Vec<Word>,
}

/// `RUN --network`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// What the build as a whole uses.
    Default,
    /// Only a loopback interface.
    None,
    /// The host's network.
    Host,
}

/// `RUN --security`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// The usual confinement.
    Sandbox,
    /// No confinement.
    Insecure,
}

/// COPY or ADD
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Paths, and for ADD also addresses.
    pub paths: Vec<Word>,
    /// Files whose content stands in the Dockerfile; they are copied after the paths.
    pub files: Vec<InlineFile>,
    /// Where it goes.
    pub destination: Word,
    /// `--from` (COPY)
    pub from: Option<Word>,
    /// `--chown`
    pub chown: Option<Word>,
    /// `--chmod`
    pub chmod: Option<Word>,
    /// `--link`
    pub link: bool,
    /// `--parents` (COPY)
    pub parents: bool,
    /// `--exclude`
    pub exclude: Vec<Word>,
    /// `--checksum` (ADD)
    pub checksum: Option<Word>,
    /// `--keep-git-dir` (ADD)
    pub keep_git_dir: Option<Spanned<bool>>,
    /// `--unpack` (ADD)
    pub unpack: Option<bool>,
}

/// A heredoc as a source of COPY or ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlineFile {
    /// The file's name.
    pub name: Word,
    /// Its content.
    pub content: String,
    /// Where the lines stand that it was made of; `None` in a trigger.
    pub place: Option<Span>,
    /// Whether variables in it are expanded.
    pub expand: bool,
}

impl InlineFile {
    /// Where a range of the content stands. Its lines may have lost tabs at their beginning.
    pub(crate) fn place_of(&self, source: &Source, range: Range<usize>) -> Option<Span> {
        let place = self.place?;
        let written = source.slice(place).split_inclusive('\n');
        let lost: Vec<usize> = written
            .zip(self.content.split_inclusive('\n'))
            .map(|(written, kept)| written.len() - kept.len())
            .collect();
        let offset = |at: usize| {
            let line = self.content[..at].matches('\n').count();
            place.start + at + lost.iter().take(line + 1).sum::<usize>()
        };
        Some(Span::new(offset(range.start), offset(range.end)))
    }
}

/// HEALTHCHECK
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// `HEALTHCHECK NONE`: an inherited check is switched off.
    None,
    /// `HEALTHCHECK CMD`
    Check(HealthcheckOptions),
}

/// `HEALTHCHECK CMD` and its flags; durations in nanoseconds, 0 if not given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthcheckOptions {
    /// What is run.
    pub command: CommandLine,
    /// `--interval`
    pub interval: i64,
    /// `--timeout`
    pub timeout: i64,
    /// `--start-period`
    pub start_period: i64,
    /// `--start-interval`
    pub start_interval: i64,
    /// `--retries`
    pub retries: i32,
}

/// ONBUILD
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// The instruction that the trigger begins with, as written.
    pub keyword: Word,
    /// The instruction for the child image, with its heredocs' bodies behind it.
    pub text: String,
}

/// The names of all instructions, in capitals.
pub const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];
