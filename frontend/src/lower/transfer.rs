//! COPY and ADD.

use std::sync::Arc;

use kiln_solver::op::{Copy, CopySource, FileAction, FileOp, InputIndex, Op, Unpack};
use kiln_solver::pattern::{PatternError, Patterns, check_glob};
use kiln_solver::{RelPath, VertexId};

use super::Checked;
use super::add::AddedSource;
use super::config::owner;
use super::plan::{Origin, Step};
use super::remote::RemoteSource;
use super::stage::{Builder, STEP_COST, State, describe};
use crate::diagnostic::Diagnostic;
use crate::expand::Expander;
use crate::file_mode;
use crate::source::Span;
use crate::syntax::{InlineFile, Transfer, Word};

/// Sources of one instruction that are copied together.
enum SourceGroup {
    /// Paths of the context or a stage, and heredocs.
    Local(Vec<CopySource>),
    /// One source of another machine.
    Remote(RemoteSource, Span),
}

/// The words of a COPY or ADD, variables expanded.
struct Expanded {
    paths: Vec<Word>,
    destination: String,
    chown: Option<Word>,
    chmod: Option<Word>,
    checksum: Option<Word>,
}

impl Builder<'_> {
    pub(super) fn transfer(
        &mut self,
        state: &mut State,
        step: &Step,
        transfer: &Transfer,
        origin: Origin,
        is_add: bool,
    ) -> Checked<()> {
        let span = step.instruction.span;
        let expanded = self.expanded(state, transfer)?;
        let template = template(state, transfer, &expanded, is_add)?;
        let message = message(transfer, &expanded, is_add);
        let sources = self.sources(state, transfer, expanded, origin, is_add)?;
        let text = self.expanded_name(state, step)?;
        // Onto another base, a linked copy is the same layer; a change of modes needs the base.
        let linked = transfer.link && template.mode.is_none();
        let base = if linked { None } else { state.root };
        let name = state
            .numbering
            .name(&text, step.triggered, &state.environment);
        let mut inputs = Vec::new();
        let base = base.map(|base| input(&mut inputs, base));
        let mut actions = Vec::new();
        for group in sources {
            let Some((from, copy)) = self.copy(group, template.clone(), transfer, origin, span)?
            else {
                continue;
            };
            let from = from.map(|from| input(&mut inputs, from));
            actions.push(FileAction::Copy(Copy { from, ..copy }));
        }
        let op = Op::File(FileOp { base, actions });
        let ignore_cache = state.ignore_cache;
        let below = state.root.filter(|_| linked);
        let link_name = below.map(|_| link_name(&name));
        let description = describe(name, Some(span));
        let vertex = self.graph.add(op, inputs, description, ignore_cache);
        let root = match (below, link_name) {
            (Some(below), Some(name)) => {
                let description = describe(name, Some(span));
                let inputs = vec![below, vertex];
                self.graph.add(Op::Merge, inputs, description, ignore_cache)
            }
            _ => vertex,
        };
        state.root = Some(root);
        self.layer(state, message, vertex);
        Ok(())
    }

    fn expanded(&self, state: &State, transfer: &Transfer) -> Checked<Expanded> {
        let expand = |word: &Word| {
            let value = self.expand(state, &word.value, word.span)?;
            Ok(Word::new(value, word.span))
        };
        let optional = |word: &Option<Word>| -> Checked<Option<Word>> {
            let word = word.as_ref().map(expand).transpose()?;
            Ok(word.filter(|word| !word.value.is_empty()))
        };
        Ok(Expanded {
            destination: expand(&transfer.destination)?.value,
            chmod: optional(&transfer.chmod)?,
            chown: optional(&transfer.chown)?,
            checksum: optional(&transfer.checksum)?,
            paths: transfer.paths.iter().map(expand).collect::<Checked<_>>()?,
        })
    }

    /// The sources in order; what lies in the same place and is copied the same way, together.
    fn sources(
        &self,
        state: &State,
        transfer: &Transfer,
        expanded: Expanded,
        origin: Origin,
        is_add: bool,
    ) -> Checked<Vec<SourceGroup>> {
        let checksum = expanded.checksum;
        let mut groups: Vec<SourceGroup> = Vec::new();
        let push_local = |groups: &mut Vec<SourceGroup>, source| match groups.last_mut() {
            Some(SourceGroup::Local(sources)) => sources.push(source),
            _ => groups.push(SourceGroup::Local(vec![source])),
        };
        for path in expanded.paths {
            match AddedSource::of(&path, checksum.as_ref(), transfer.keep_git_dir.as_ref())? {
                AddedSource::Path => {
                    check_pattern(&path.value, origin)
                        .map_err(|error| not_a_pattern(&error, path.span))?;
                    let path = match transfer.parents {
                        true => path.value,
                        false => in_one_way(&path.value),
                    };
                    push_local(&mut groups, CopySource::Path(path));
                }
                AddedSource::Remote(_) if !is_add => return Err(not_for_copy(&path)),
                AddedSource::Remote(source) => groups.push(SourceGroup::Remote(source, path.span)),
            }
        }
        for file in &transfer.files {
            let source = self.inline(state, file)?;
            push_local(&mut groups, source);
        }
        if let Some(checksum) = &checksum
            && !matches!(&groups[..], [SourceGroup::Remote(..)])
        {
            let message = "--checksum is only for one source behind an address";
            return Err(Box::new(Diagnostic::error(
                "invalid-checksum",
                checksum.span,
                message,
            )));
        }
        Ok(groups)
    }

    /// The copy of one group and the vertex that it reads; `None` if that is not known yet.
    fn copy(
        &mut self,
        group: SourceGroup,
        template: Copy,
        transfer: &Transfer,
        origin: Origin,
        span: Span,
    ) -> Checked<Option<(Option<VertexId>, Copy)>> {
        match group {
            SourceGroup::Local(sources) => {
                let is_path = |source: &CopySource| matches!(source, CopySource::Path(_));
                let from = match sources.iter().any(is_path) {
                    true => self.origin(origin, span)?,
                    false => None,
                };
                let copy = Copy {
                    sources,
                    keep_parents: transfer.parents,
                    ..template
                };
                Ok(Some((from, copy)))
            }
            SourceGroup::Remote(source, span) => {
                let name = format!("[internal] load {}", source.describe());
                let path = match &source {
                    RemoteSource::Git { .. } => "/".to_owned(),
                    RemoteSource::Http(request) => literal(&request.name),
                };
                let Some(from) = self.remote_vertex(&source, name, span)? else {
                    return Ok(None);
                };
                let is_file = matches!(source, RemoteSource::Http(_));
                let copy = Copy {
                    sources: vec![CopySource::Path(path)],
                    unpack: unpack_if(is_file && transfer.unpack == Some(true)),
                    ..template
                };
                Ok(Some((Some(from), copy)))
            }
        }
    }

    /// Bodies always escape with a backslash, and quotes mean nothing in them.
    fn inline(&self, state: &State, file: &InlineFile) -> Checked<CopySource> {
        if file.name.value.contains('/') {
            let message = format!(
                "the heredoc {} makes a file, which cannot be called so",
                file.name.value
            );
            let finding = Diagnostic::error("invalid-source", file.name.span, message);
            return Err(Box::new(
                finding.hint("the destination says in which directory the file is"),
            ));
        }
        let mut content = file.content.clone();
        if file.expand {
            let expander = Expander::new('\\', &state.environment).literal_quotes();
            let body = file.place.unwrap_or(file.name.span);
            let expansion = expander.attempt(&content).map_err(|failure| {
                let name = &file.name.value;
                let place = failure.place.clone();
                let place = place.and_then(|place| file.place_of(&self.dockerfile.source, place));
                let error = self.failed(state, *failure, body);
                let message = format!("the heredoc {name} cannot be expanded: {error}");
                let span = place.unwrap_or(file.name.span);
                Box::new(Diagnostic::error("expansion", span, message))
            })?;
            self.charge(
                expansion.text.len() + STEP_COST * expansion.steps,
                file.name.span,
            )?;
            self.undefined(state, &expansion.unmatched, body);
            content = expansion.text;
        }
        let data: Arc<[u8]> = content.into_bytes().into();
        Ok(CopySource::Inline {
            name: file.name.value.clone(),
            data,
        })
    }
}

/// What all copies of one instruction have in common.
fn template(
    state: &State,
    transfer: &Transfer,
    expanded: &Expanded,
    is_add: bool,
) -> Checked<Copy> {
    for word in &transfer.exclude {
        let compiled = Patterns::new([word.value.as_str()].into_iter());
        compiled.map_err(|error| not_a_pattern(&error, word.span))?;
    }
    let cwd = RelPath::resolve(&RelPath::root(), &state.config.config.working_dir);
    let owner = expanded.chown.as_ref().and_then(|word| owner(&word.value));
    Ok(Copy {
        from: None,
        sources: Vec::new(),
        destination: RelPath::resolve(&cwd, &expanded.destination),
        destination_is_directory: names_directory(&expanded.destination),
        owner,
        mode: expanded.chmod.as_ref().map(parse_mode).transpose()?,
        unpack: unpack_if(is_add && transfer.unpack.unwrap_or(true)),
        exclude: super::config::values(&transfer.exclude),
        keep_parents: false,
    })
}

/// The entry of the history.
fn message(transfer: &Transfer, expanded: &Expanded, is_add: bool) -> String {
    let mut message = if is_add { "ADD" } else { "COPY" }.to_owned();
    if transfer.parents {
        message.push_str(" --parents");
    }
    for (flag, word) in [
        (" --chown=", &expanded.chown),
        (" --chmod=", &expanded.chmod),
    ] {
        if let Some(word) = word {
            message.extend([flag, &word.value]);
        }
    }
    for word in &expanded.paths {
        message.extend([" ", &word.value]);
    }
    for file in &transfer.files {
        message.extend([" <<", &file.name.value]);
    }
    message.extend([" ", &expanded.destination, " # buildkit"]);
    message
}

fn input(inputs: &mut Vec<VertexId>, vertex: VertexId) -> InputIndex {
    inputs.push(vertex);
    InputIndex(inputs.len() - 1)
}

/// A path as everyone would write it, so that another way of writing it is no other key. A pattern stays
/// as it is: whether it may match nothing is told by its wildcards.
fn in_one_way(path: &str) -> String {
    if path.contains(['*', '?', '[', '\\']) {
        return path.to_owned();
    }
    let clean = RelPath::resolve(&RelPath::root(), path);
    match clean.to_string().trim_start_matches('/') {
        "" => ".".to_owned(),
        clean => clean.to_owned(),
    }
}

/// `[1/2] COPY` → `[1/2] LINK COPY`
fn link_name(name: &str) -> String {
    match name.split_once("] ") {
        Some((number, text)) => format!("{number}] LINK {text}"),
        None => format!("LINK {name}"),
    }
}

/// Whether a destination can only be a directory; an empty one is the working directory.
fn names_directory(destination: &str) -> bool {
    matches!(destination, "" | ".") || destination.ends_with('/') || destination.ends_with("/.")
}

fn parse_mode(word: &Word) -> Checked<kiln_solver::op::ModeChange> {
    file_mode::parse(&word.value).ok_or_else(|| {
        let message = format!(
            "{:?} is neither an octal mode up to 07777 nor one like u+x,go=rX",
            word.value
        );
        Box::new(Diagnostic::error("invalid-mode", word.span, message))
    })
}

fn unpack_if(archives: bool) -> Unpack {
    match archives {
        true => Unpack::Archives,
        false => Unpack::Never,
    }
}

/// What is wanted of a context is asked for in the language of `.dockerignore`, too, which has fewer
/// patterns.
fn check_pattern(path: &str, origin: Origin) -> Result<(), PatternError> {
    check_glob(path)?;
    match origin {
        Origin::Context => Patterns::new([path].into_iter()).map(drop),
        Origin::Nothing | Origin::Stage(_) | Origin::External(_) => Ok(()),
    }
}

fn not_a_pattern(error: &PatternError, span: Span) -> Box<Diagnostic> {
    Box::new(Diagnostic::error(
        "invalid-pattern",
        span,
        error.to_string(),
    ))
}

fn not_for_copy(path: &Word) -> Box<Diagnostic> {
    let message = format!("{} cannot be a source of COPY", path.value);
    Box::new(Diagnostic::error("invalid-source", path.span, message).hint("use ADD"))
}

/// A pattern that matches a name and nothing else.
fn literal(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '\\' => pattern.push_str("[\\\\]"),
            '*' | '?' | '[' => pattern.extend(['[', character, ']']),
            _ => pattern.push(character),
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use kiln_solver::pattern::glob_matches;

    use super::literal;

    #[test]
    fn a_literal_pattern_matches_its_name_only() {
        let names = ["plain", "a*b", "a?", "[x]", "a\\b", "a]b", "x-[^a-z]*"];
        for name in names {
            let pattern = literal(name);
            let matched: Vec<_> = names
                .iter()
                .filter(|other| glob_matches(pattern.as_bytes(), other.as_bytes()))
                .collect();
            assert_eq!(matched, [&name], "{pattern}");
        }
    }
}
