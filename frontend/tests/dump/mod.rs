//! Graphs, trees and diagnostics as texts that are easy to compare.

use std::fmt::Write;

use kiln_frontend::lower::ImageLocation;
use kiln_frontend::syntax::Dockerfile;
use kiln_frontend::{Diagnostic, Lowered, Severity, Source};
use kiln_solver::VertexId;
use kiln_solver::op::{Copy, CopySource, Exec, FileAction, FileOp, InputIndex, Op, Source as From};

pub(crate) fn location(location: &ImageLocation) -> String {
    match location {
        ImageLocation::Registry(name) | ImageLocation::Layout(name) => name.clone(),
    }
}

pub(crate) fn diagnostics(source: &Source, diagnostics: &[Diagnostic]) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics {
        let severity = match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let place = diagnostic.span.map_or("nowhere".to_owned(), |span| {
            let position = source.position(span.start);
            format!(
                "{}:{} {:?}",
                position.line,
                position.column,
                source.slice(span)
            )
        });
        let code = diagnostic.code;
        writeln!(text, "{severity} {code} at {place}: {diagnostic}").expect("no failure");
    }
    text
}

pub(crate) fn tree(dockerfile: &Dockerfile) -> String {
    let mut text = format!("{:?}\n", dockerfile.directives);
    for instruction in &dockerfile.instructions {
        let comments = &instruction.comments;
        writeln!(text, "\n{:?} {comments:?}", instruction.keyword).expect("no failure");
        writeln!(text, "{:#?}", instruction.command).expect("no failure");
    }
    text
}

pub(crate) fn lowered(source: &Source, lowered: &Lowered) -> String {
    let mut text = diagnostics(source, &lowered.warnings);
    for id in lowered.graph.ids() {
        vertex(&mut text, source, lowered, id);
    }
    let target = lowered
        .target
        .map_or("nothing".to_owned(), |id| id.index().to_string());
    let layers: Vec<_> = lowered
        .layers
        .iter()
        .map(|layer| (layer.history, layer.vertex.index()))
        .collect();
    writeln!(
        text,
        "target {target}, layers {layers:?}, epoch {:?}",
        lowered.epoch
    )
    .expect("no failure");
    text + &serde_json::to_string_pretty(&lowered.config).expect("JSON")
}

fn vertex(text: &mut String, source: &Source, lowered: &Lowered, id: VertexId) {
    let vertex = lowered.graph.vertex(id);
    let lines = vertex
        .description
        .span
        .as_ref()
        .map_or("-".to_owned(), |span| {
            let span = kiln_frontend::Span::new(span.bytes.start, span.bytes.end);
            let (first, last) = source.lines(span);
            format!("{first}-{last}")
        });
    let ignore = if vertex.ignore_cache {
        " ignoring the cache"
    } else {
        ""
    };
    let name = &vertex.description.name;
    writeln!(text, "#{} {name} (lines {lines}){ignore}", id.index()).expect("no failure");
    let input = |index: InputIndex| format!("#{}", vertex.inputs[index.0].index());
    match &*vertex.op {
        Op::Source(From::Image(image)) => {
            writeln!(text, "    {} {:?}", image.reference, image.diff_ids)
        }
        Op::Source(From::Local(local)) => writeln!(text, "    local {}", local.name),
        Op::Source(From::Git(git)) => writeln!(text, "    {git:?}"),
        Op::Source(From::Http(http)) => writeln!(text, "    {http:?}"),
        Op::Merge => {
            let inputs: Vec<_> = vertex.inputs.iter().map(|id| id.index()).collect();
            writeln!(text, "    merge {inputs:?}")
        }
        Op::File(op) => {
            file(text, op, input);
            Ok(())
        }
        Op::Exec(op) => {
            exec(text, op, input);
            Ok(())
        }
    }
    .expect("no failure");
}

fn file(
    text: &mut String,
    op: &FileOp,
    input: impl std::ops::Fn(InputIndex) -> String + std::marker::Copy,
) {
    writeln!(text, "    file on {:?}", op.base.map(input)).expect("no failure");
    for action in &op.actions {
        match action {
            FileAction::Copy(op) => copy(text, op, input),
            FileAction::MakeDirectory {
                path,
                mode,
                owner,
                time,
            } => {
                let time = time.map_or(String::new(), |time| format!(" at {time}"));
                writeln!(text, "    mkdir {path} {mode:o} {owner:?}{time}").expect("no failure");
            }
        }
    }
}

fn copy(text: &mut String, op: &Copy, input: impl std::ops::Fn(InputIndex) -> String) {
    let from = op.from.map(input);
    let is_directory = if op.destination_is_directory {
        " (directory)"
    } else {
        ""
    };
    writeln!(
        text,
        "    copy from {from:?} to {}{is_directory}",
        op.destination
    )
    .expect("no failure");
    for source in &op.sources {
        match source {
            CopySource::Path(path) => writeln!(text, "        path {path:?}"),
            CopySource::Inline { name, data } => {
                writeln!(
                    text,
                    "        file {name:?} {:?}",
                    String::from_utf8_lossy(data)
                )
            }
        }
        .expect("no failure");
    }
    let (owner, mode, unpack) = (&op.owner, &op.mode, op.unpack);
    let (exclude, parents) = (&op.exclude, op.keep_parents);
    writeln!(
        text,
        "        owner {owner:?} mode {mode:?} unpack {unpack:?} exclude {exclude:?} parents {parents}"
    )
    .expect("no failure");
}

fn exec(
    text: &mut String,
    op: &Exec,
    input: impl std::ops::Fn(InputIndex) -> String + std::marker::Copy,
) {
    let root = op.root.map(input);
    writeln!(text, "    exec on {root:?} {:?}", op.args).expect("no failure");
    let env: Vec<_> = op
        .env
        .iter()
        .filter(|(name, _)| **name != *"PATH")
        .collect();
    writeln!(text, "        env {env:?} unhashed {:?}", op.unhashed_env).expect("no failure");
    writeln!(
        text,
        "        cwd {:?} user {:?} network {:?} security {:?} host {:?} on {}",
        op.cwd, op.user, op.network, op.security, op.hostname, op.platform
    )
    .expect("no failure");
    for mount in &op.mounts {
        writeln!(
            text,
            "        mount {:?} {:?} ro {}",
            mount.target, mount.kind, mount.read_only
        )
        .expect("no failure");
    }
}
