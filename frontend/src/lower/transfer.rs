//! COPY and ADD.

use std::sync::Arc;

use kiln_solver::op::{Copy, CopySource, FileAction, FileOp, InputIndex, Op, Unpack};
use kiln_solver::{RelPath, VertexId};

use super::Checked;
use super::config::owner;
use super::plan::{Origin, Step};
use super::stage::{Builder, State, describe};
use crate::diagnostic::Diagnostic;
use crate::expand::Expander;
use crate::file_mode;
use crate::source::Span;
use crate::syntax::{InlineFile, Transfer, Word};

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
        let copy = self.copy(state, transfer, is_add)?;
        let text = self.expanded_name(state, step)?;
        let message = self.message(state, transfer, is_add)?;
        let from = match transfer.paths.is_empty() {
            true => None,
            false => self.origin(origin, span)?,
        };
        // Onto another base, a linked copy is the same layer; a change of modes needs the base.
        let linked = transfer.link && copy.mode.is_none();
        let base = if linked { None } else { state.root };
        let name = state
            .numbering
            .name(&text, step.triggered, &state.environment);
        let vertex = self.file_vertex(base, from, copy, &name, span, state.ignore_cache);
        let root = match state.root {
            Some(root) if linked => {
                let description = describe(link_name(&name), Some(span));
                self.graph.add(
                    Op::Merge,
                    vec![root, vertex],
                    description,
                    state.ignore_cache,
                )
            }
            _ => vertex,
        };
        state.root = Some(root);
        self.layer(state, message, vertex);
        Ok(())
    }

    fn file_vertex(
        &mut self,
        base: Option<VertexId>,
        from: Option<VertexId>,
        mut copy: Copy,
        name: &str,
        span: Span,
        ignore_cache: bool,
    ) -> VertexId {
        let mut inputs = Vec::new();
        let base = base.map(|base| input(&mut inputs, base));
        copy.from = from.map(|from| input(&mut inputs, from));
        let op = Op::File(FileOp {
            base,
            actions: vec![FileAction::Copy(copy)],
        });
        self.graph.add(
            op,
            inputs,
            describe(name.to_owned(), Some(span)),
            ignore_cache,
        )
    }

    /// The operation, without its inputs.
    fn copy(&self, state: &State, transfer: &Transfer, is_add: bool) -> Checked<Copy> {
        let mut sources = Vec::new();
        for word in &transfer.paths {
            let path = self.expand(state, &word.value, word.span)?;
            check_source(&path, word.span, is_add)?;
            sources.push(CopySource::Path(path));
        }
        for file in &transfer.files {
            sources.push(self.inline(state, file)?);
        }
        self.check_checksum(transfer)?;
        let word = &transfer.destination;
        let destination = self.expand(state, &word.value, word.span)?;
        let cwd = RelPath::resolve(&RelPath::root(), &state.config.config.working_dir);
        let mode = self.expand_optional(state, transfer.chmod.as_ref())?;
        let unpack = is_add && transfer.unpack.unwrap_or(true);
        Ok(Copy {
            from: None,
            sources,
            destination: RelPath::resolve(&cwd, &destination),
            destination_is_directory: names_directory(&destination),
            owner: self
                .expand_optional(state, transfer.chown.as_ref())?
                .and_then(|o| owner(&o.value)),
            mode: mode.map(|mode| parse_mode(&mode)).transpose()?,
            unpack: if unpack {
                Unpack::Archives
            } else {
                Unpack::Never
            },
            exclude: super::config::values(&transfer.exclude),
            keep_parents: transfer.parents,
        })
    }

    fn expand_optional(&self, state: &State, word: Option<&Word>) -> Checked<Option<Word>> {
        let Some(word) = word else { return Ok(None) };
        let value = self.expand(state, &word.value, word.span)?;
        Ok(Some(Word::new(value, word.span)).filter(|word| !word.value.is_empty()))
    }

    /// Bodies always escape with a backslash, and quotes mean nothing in them.
    fn inline(&self, state: &State, file: &InlineFile) -> Checked<CopySource> {
        let mut content = file.content.clone();
        if file.expand {
            let expander = Expander::new('\\', &state.environment).literal_quotes();
            let expansion = expander.word(&content).map_err(|error| {
                let message = format!(
                    "the heredoc {} cannot be expanded: {error}",
                    file.name.value
                );
                Box::new(Diagnostic::error("expansion", file.name.span, message))
            })?;
            self.undefined(state, &expansion.unmatched, file.name.span);
            content = expansion.text;
        }
        let data: Arc<[u8]> = content.into_bytes().into();
        Ok(CopySource::Inline {
            name: file.name.value.clone(),
            data,
        })
    }

    fn check_checksum(&self, transfer: &Transfer) -> Checked<()> {
        let Some(checksum) = &transfer.checksum else {
            return Ok(());
        };
        let message = "--checksum is only for one source behind an address";
        Err(Box::new(Diagnostic::error(
            "invalid-checksum",
            checksum.span,
            message,
        )))
    }

    /// The entry of the history.
    fn message(&self, state: &State, transfer: &Transfer, is_add: bool) -> Checked<String> {
        let mut message = if is_add { "ADD" } else { "COPY" }.to_owned();
        if transfer.parents {
            message.push_str(" --parents");
        }
        for (flag, word) in [("chown", &transfer.chown), ("chmod", &transfer.chmod)] {
            if let Some(word) = self.expand_optional(state, word.as_ref())? {
                message.push_str(&format!(" --{flag}={}", word.value));
            }
        }
        for word in &transfer.paths {
            message.push_str(&format!(" {}", self.expand(state, &word.value, word.span)?));
        }
        for file in &transfer.files {
            message.push_str(&format!(" <<{}", file.name.value));
        }
        let word = &transfer.destination;
        let destination = self.expand(state, &word.value, word.span)?;
        Ok(format!("{message} {destination} # buildkit"))
    }
}

fn input(inputs: &mut Vec<VertexId>, vertex: VertexId) -> InputIndex {
    inputs.push(vertex);
    InputIndex(inputs.len() - 1)
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

/// Addresses are only for ADD, and not for this version.
fn check_source(path: &str, span: Span, is_add: bool) -> Checked<()> {
    let (what, article) = if is_git(path) {
        ("git repository", "a")
    } else if path.starts_with("http://") || path.starts_with("https://") {
        ("URL", "a")
    } else {
        return Ok(());
    };
    Err(Box::new(if is_add {
        Diagnostic::unsupported(span, &format!("{article} {what} as a source of ADD"))
    } else {
        let message = format!("{article} {what} cannot be a source of COPY");
        Diagnostic::error("invalid-source", span, message).hint("use ADD")
    }))
}

/// Whether a source is a git repository: `git://`, `ssh://`, `user@host:path`, or an HTTP address
/// whose path ends in `.git`.
fn is_git(source: &str) -> bool {
    if let Some((scheme, rest)) = source.split_once("://") {
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        return match scheme.to_ascii_lowercase().as_str() {
            "git" | "ssh" => true,
            "http" | "https" => path.contains('/') && path.ends_with(".git"),
            _ => false,
        };
    }
    let Some((user, rest)) = source.split_once('@') else {
        return false;
    };
    let Some((host, _)) = rest.split_once(':') else {
        return false;
    };
    let is_user = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    !user.is_empty() && user.chars().all(is_user) && !host.is_empty() && host.chars().all(is_host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_repositories_are_told_from_paths() {
        for source in [
            "git@github.com:a/b",
            "https://x/y.git#main",
            "ssh://x/y",
            "git://x",
        ] {
            assert!(is_git(source), "{source}");
        }
        for source in [
            "https://x/y",
            "a/b.git",
            "./git@x:y",
            "github.com/a/b",
            "a@b",
        ] {
            assert!(!is_git(source), "{source}");
        }
    }
}
