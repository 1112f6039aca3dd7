//! COPY and ADD: their flags, their sources and where they go.

use super::arguments::{Arguments, Rejected};
use super::flags::{Flags, Kind, Known};
use crate::heredoc;
use crate::syntax::{Command, InlineFile, Transfer, Word};

pub(super) const ADD_FLAGS: Known = &[
    ("chown", Kind::Value),
    ("chmod", Kind::Value),
    ("link", Kind::Switch),
    ("keep-git-dir", Kind::Switch),
    ("checksum", Kind::Value),
    ("unpack", Kind::Switch),
    ("exclude", Kind::Values),
];

pub(super) const COPY_FLAGS: Known = &[
    ("chown", Kind::Value),
    ("from", Kind::Value),
    ("chmod", Kind::Value),
    ("link", Kind::Switch),
    ("exclude", Kind::Values),
    ("parents", Kind::Switch),
];

pub(super) fn add(arguments: &Arguments<'_>, flags: Flags) -> Result<Command, Rejected> {
    transfer(arguments, flags).map(Command::Add)
}

pub(super) fn copy(arguments: &Arguments<'_>, flags: Flags) -> Result<Command, Rejected> {
    transfer(arguments, flags).map(Command::Copy)
}

fn transfer(arguments: &Arguments<'_>, mut flags: Flags) -> Result<Transfer, Rejected> {
    let mut words = arguments.list()?;
    let (Some(destination), false) = (words.pop(), words.is_empty()) else {
        let message = format!("{} needs a source and a destination", arguments.keyword);
        return Err(arguments.error("missing-argument", message));
    };
    if opening(&destination).is_some() {
        let message = format!(
            "a heredoc cannot be the destination of {}",
            arguments.keyword
        );
        return Err(arguments.error("invalid-heredoc", message));
    }
    let (files, paths): (Vec<_>, Vec<_>) =
        words.into_iter().partition(|word| opening(word).is_some());
    Ok(Transfer {
        paths,
        files: files
            .iter()
            .filter_map(|word| inline_file(arguments, word))
            .collect(),
        destination,
        from: flags.value("from"),
        chown: flags.value("chown"),
        chmod: flags.value("chmod"),
        link: flags.switch("link").is_some_and(|switch| switch.value),
        parents: flags.switch("parents").is_some_and(|switch| switch.value),
        exclude: flags.values("exclude"),
        checksum: flags.value("checksum"),
        keep_git_dir: flags.switch("keep-git-dir"),
        unpack: flags.switch("unpack").map(|switch| switch.value),
    })
}

fn opening(word: &Word) -> Option<heredoc::Opening> {
    heredoc::opening(&word.value).ok().flatten()
}

/// The file whose content is the heredoc of that name; the last one, if several have it.
fn inline_file(arguments: &Arguments<'_>, word: &Word) -> Option<InlineFile> {
    let opening = opening(word)?;
    let bodies = arguments.line.heredocs.iter();
    let body = bodies
        .rev()
        .find(|heredoc| heredoc.opening.name == opening.name);
    let content = body.map(|heredoc| heredoc::Heredoc {
        opening: opening.clone(),
        ..heredoc.clone()
    });
    Some(InlineFile {
        name: Word::new(opening.name, word.span),
        place: body.and_then(|heredoc| heredoc.place),
        content: content.map(|heredoc| heredoc.body()).unwrap_or_default(),
        expand: opening.expand,
    })
}
