//! Kiln's own rules about what stays in layers and what is done again.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::findings::Findings;
use super::installer::{self, MANAGERS, Manager};
use super::rule::{Group, Rule, Standing};
use super::shell::{self, Invocation};
use crate::diagnostic::Diagnostic;
use crate::mount;
use crate::source::{Source, Span};
use crate::stage::{Stage, Stages};
use crate::syntax::{Command, Dockerfile, Instruction, Run, Transfer};

/// PackageCacheInLayer
pub(super) static PACKAGE_CACHE: Rule = Rule {
    name: "PackageCacheInLayer",
    group: Group::Kiln,
    standing: Standing::Checks,
    summary: "A package manager's cache stays in a layer of the image",
    reason: "What a package manager downloads to work with is of no use once the packages are \
        installed, but whoever pulls the image pulls it as well. It must go in the RUN that makes \
        it, or lie in a cache mount. Stages that only lend files to others are not looked at.",
    bad: "FROM debian:12\nRUN apt-get update && apt-get install -y curl\n",
    good: "FROM debian:12\nRUN apt-get update && apt-get install -y curl \\\n    \
        && rm -rf /var/lib/apt/lists/*\n",
};

/// DeletedInLaterLayer
pub(super) static DELETED: Rule = Rule {
    name: "DeletedInLaterLayer",
    group: Group::Kiln,
    standing: Standing::Checks,
    summary: "A RUN only deletes what an earlier layer of the stage holds",
    reason: "A layer cannot take anything out of the layers below it: the image stays as large as \
        before, and what was deleted can still be read from it. It has to be deleted in the \
        instruction that makes it, or not be copied at all (.dockerignore, COPY --exclude), or \
        stay behind in another stage.",
    bad: "FROM debian:12\nCOPY app.tar /tmp/app.tar\nRUN tar -C /srv -xf /tmp/app.tar\n\
        RUN rm /tmp/app.tar\n",
    good: "FROM debian:12\nRUN --mount=type=bind,source=app.tar,target=/tmp/app.tar \\\n    \
        tar -C /srv -xf /tmp/app.tar\n",
};

/// CopyBeforeInstall
pub(super) static COPY_ORDER: Rule = Rule {
    name: "CopyBeforeInstall",
    group: Group::Kiln,
    standing: Standing::Checks,
    summary: "All files are copied before dependencies are installed",
    reason: "A step runs again when what was copied before it changes. Behind COPY . any change of \
        any file makes the dependencies be installed again, though they depend on a manifest only. \
        Copied alone and first, the manifest lets the installation come from the cache.",
    bad: "FROM node:22\nWORKDIR /app\nCOPY . .\nRUN npm ci\n",
    good: "FROM node:22\nWORKDIR /app\nCOPY package.json package-lock.json ./\nRUN npm ci \
        && npm cache clean --force\nCOPY . .\n",
};

/// CacheMountHelps
pub(super) static CACHE_MOUNT: Rule = Rule {
    name: "CacheMountHelps",
    group: Group::Kiln,
    standing: Standing::OnRequest,
    summary: "A cache mount would keep downloads from build to build",
    reason: "When the step must run again, everything is downloaded again. A cache mount outlives \
        the step and is in no layer, so that only what is new is downloaded.",
    bad: "FROM golang:1.25\nRUN go mod download\n",
    good: "FROM golang:1.25\nRUN --mount=type=cache,target=/go/pkg/mod go mod download\n",
};

/// Asks these rules. Stages are looked at from each base to what is based on it, so that what is known
/// of a stage need not be copied for the next one.
pub(super) fn stages(findings: &Findings, dockerfile: &Dockerfile, stages: &Stages<'_>) {
    let bases: Vec<Option<usize>> = stages
        .all
        .iter()
        .map(|stage| stages.before(stage.index, &stage.from.image.value))
        .collect();
    let mut children = vec![Vec::new(); bases.len()];
    for (index, base) in bases.iter().enumerate() {
        if let Some(base) = base {
            children[*base].push(index);
        }
    }
    let shipped = shipped(stages, &bases);
    let mut known = Known::default();
    let roots = (0..bases.len()).filter(|index| bases[*index].is_none());
    let mut open: Vec<Visit> = roots.map(Visit::Enter).collect();
    while let Some(visit) = open.pop() {
        let index = match visit {
            Visit::Enter(index) => index,
            Visit::Leave(before) => {
                known.go_back(before);
                continue;
            }
        };
        open.push(Visit::Leave(known.journal.len()));
        known.whole_copy = None;
        for instruction in stages.all[index].instructions {
            known.look_at(findings, &dockerfile.source, instruction, shipped[index]);
        }
        open.extend(children[index].iter().copied().map(Visit::Enter));
    }
}

/// A step of the way through all stages.
enum Visit {
    Enter(usize),
    /// Forget what was learned since the journal had this length.
    Leave(usize),
}

/// Which stages have layers that are in some image: targets and what they are based on, but not those
/// that only lend files.
fn shipped(stages: &Stages<'_>, bases: &[Option<usize>]) -> Vec<bool> {
    let mut is_leaf = vec![true; bases.len()];
    bases
        .iter()
        .flatten()
        .for_each(|base| is_leaf[*base] = false);
    for stage in &stages.all {
        for name in borrowed(stage) {
            let lender = name.parse().ok().or_else(|| stages.by_name(&name));
            if let Some(lends) = lender.and_then(|index: usize| is_leaf.get_mut(index)) {
                *lends = false;
            }
        }
    }
    if let Some(last) = is_leaf.last_mut() {
        *last = true;
    }
    let mut shipped = vec![false; bases.len()];
    for leaf in (0..bases.len()).filter(|index| is_leaf[*index]) {
        let mut next = Some(leaf);
        while let Some(index) = next.filter(|index| !shipped[*index]) {
            shipped[index] = true;
            next = bases[index];
        }
    }
    shipped
}

/// The names of what a stage takes files from.
fn borrowed(stage: &Stage<'_>) -> impl Iterator<Item = String> {
    stage
        .instructions
        .iter()
        .flat_map(|instruction| match &instruction.command {
            Command::Copy(copy) => copy.from.iter().map(|from| from.value.clone()).collect(),
            Command::Run(run) => {
                let from = |word: &crate::syntax::Word| mount::from_unexpanded(&word.value);
                let found = run
                    .mounts
                    .iter()
                    .filter_map(|word| from(word).ok().flatten());
                found.collect::<Vec<String>>()
            }
            _ => Vec::new(),
        })
}

/// What is known of a stage so far.
#[derive(Debug, Default)]
struct Known {
    variables: BTreeSet<String>,
    /// Paths that earlier layers added, and the instruction that did it.
    added: BTreeMap<String, Span>,
    /// Tools that have installed something.
    tools: BTreeSet<&'static str>,
    /// Where all files of the context were copied.
    whole_copy: Option<Span>,
    /// What was learned, in order.
    journal: Vec<Learned>,
}

/// Something that was not known before.
#[derive(Debug)]
enum Learned {
    Variable(String),
    Path(String),
    Tool(&'static str),
}

impl Known {
    /// Forgets what was learned since the journal had a length.
    fn go_back(&mut self, length: usize) {
        for learned in self.journal.drain(length..) {
            match learned {
                Learned::Variable(name) => drop(self.variables.remove(&name)),
                Learned::Path(path) => drop(self.added.remove(&path)),
                Learned::Tool(tool) => drop(self.tools.remove(tool)),
            }
        }
    }

    fn variable(&mut self, name: &str) {
        if self.variables.insert(name.to_owned()) {
            self.journal.push(Learned::Variable(name.to_owned()));
        }
    }

    fn look_at(
        &mut self,
        findings: &Findings,
        source: &Source,
        instruction: &Instruction,
        is_shipped: bool,
    ) {
        match &instruction.command {
            Command::Env(pairs) => {
                pairs.iter().for_each(|pair| self.variable(&pair.key.value));
            }
            Command::Arg(arguments) => {
                arguments
                    .iter()
                    .for_each(|argument| self.variable(&argument.name.value));
            }
            Command::Copy(copy) | Command::Add(copy) => self.copied(instruction, copy),
            Command::Run(run) => {
                let commands = shell::invocations(run);
                let mounted = shell::mounted(run);
                if is_shipped {
                    self.package_caches(findings, source, instruction, &commands, &mounted);
                    self.deletion(findings, source, instruction, run, &commands);
                }
                self.copy_order(findings, instruction, &commands, &mounted);
                if mounted.is_empty() {
                    cache_mount(findings, source, instruction, &commands);
                    self.added_by(instruction, &commands);
                }
            }
            _ => {}
        }
    }

    fn copied(&mut self, instruction: &Instruction, transfer: &Transfer) {
        let is_whole = |path: &str| matches!(path, "." | "./" | "/" | "*" | "./*");
        let destination = &transfer.destination.value;
        if transfer.from.is_none()
            && let Some(whole) = transfer.paths.iter().find(|path| is_whole(&path.value))
        {
            self.whole_copy.get_or_insert(whole.span);
        }
        for path in transfer.paths.iter().filter(|path| !is_whole(&path.value)) {
            let is_directory = destination.ends_with('/') || transfer.paths.len() > 1;
            let added = match is_directory {
                true => format!(
                    "{}/{}",
                    destination.trim_end_matches('/'),
                    shell::base_name(path.value.trim_end_matches('/'))
                ),
                false => destination.clone(),
            };
            self.add(&added, instruction.span);
        }
    }

    fn add(&mut self, path: &str, span: Span) {
        let path = path.trim_end_matches('/');
        if path.starts_with('/')
            && path.len() > 1
            && !path.contains(['*', '$'])
            && let Entry::Vacant(entry) = self.added.entry(path.to_owned())
        {
            entry.insert(span);
            self.journal.push(Learned::Path(path.to_owned()));
        }
    }

    fn added_by(&mut self, instruction: &Instruction, commands: &[Invocation]) {
        const WRITERS: [&str; 9] = [
            "curl", "wget", "git", "tar", "unzip", "cp", "mv", "touch", "tee",
        ];
        for words in commands {
            let program = words.first().map_or("", String::as_str);
            if WRITERS.contains(&program) {
                for word in &words[1..] {
                    self.add(word, instruction.span);
                }
            }
            for manager in MANAGERS.iter().filter(|manager| manager.fills(words)) {
                self.add(manager.caches[0], instruction.span);
            }
        }
    }

    fn package_caches(
        &self,
        findings: &Findings,
        source: &Source,
        instruction: &Instruction,
        commands: &[Invocation],
        mounted: &[String],
    ) {
        for manager in &MANAGERS {
            let Some(filled) = commands.iter().position(|words| manager.fills(words)) else {
                continue;
            };
            let is_spared = commands[filled..]
                .iter()
                .any(|words| manager.empties(words))
                || mounted
                    .iter()
                    .any(|directory| manager.is_kept_in(directory))
                || manager
                    .variables
                    .iter()
                    .any(|name| self.variables.contains(*name));
            if is_spared {
                continue;
            }
            let Manager { name, remedy, .. } = manager;
            let message = format!("what {name} downloads to work with stays in this layer");
            let place = place_of(source, instruction, &commands[filled]);
            let finding = Diagnostic::warning(PACKAGE_CACHE.name, place, message).hint(*remedy);
            findings.add(&PACKAGE_CACHE, instruction, finding);
        }
    }

    /// A RUN of nothing but deletions.
    fn deletion(
        &self,
        findings: &Findings,
        source: &Source,
        instruction: &Instruction,
        run: &Run,
        commands: &[Invocation],
    ) {
        const HARMLESS: [&str; 7] = ["cd", "set", "true", "echo", ":", "ls", "export"];
        let program = |words: &Invocation| words.first().cloned().unwrap_or_default();
        let is_deletion = |words: &&Invocation| {
            matches!(program(words).as_str(), "rm" | "rmdir" | "unlink")
                || MANAGERS.iter().any(|manager| manager.empties(words))
        };
        let only_deletes = commands
            .iter()
            .all(|words| is_deletion(&words) || HARMLESS.contains(&program(words).as_str()));
        if !only_deletes || !run.mounts.is_empty() {
            return;
        }
        let deleted = commands.iter().filter(is_deletion).find_map(|words| {
            let earlier = self.earlier_layer_of(words)?;
            Some((words, earlier))
        });
        let Some((words, earlier)) = deleted else {
            return;
        };
        let line = source.lines(earlier).0;
        let message = format!("the layer of line {line} keeps what is deleted here");
        let finding =
            Diagnostic::warning(DELETED.name, place_of(source, instruction, words), message)
                .label("the image does not get smaller")
                .hint(format!(
                    "delete it in the instruction of line {line}, or do not put it there"
                ));
        findings.add(&DELETED, instruction, finding);
    }

    /// The instruction that made what a command deletes.
    fn earlier_layer_of(&self, words: &Invocation) -> Option<Span> {
        let of_manager = MANAGERS
            .iter()
            .filter(|manager| manager.empties(words))
            .find_map(|manager| self.added.get(manager.caches[0]));
        let of_path = || {
            let mut paths = words[1..].iter().filter(|word| word.starts_with('/'));
            paths.find_map(|path| {
                let path = path.trim_end_matches(['*', '/']);
                let (known, span) = self.added.range(path.to_owned()..).next()?;
                let is_inside = known
                    .strip_prefix(path)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
                (is_inside && path.len() > 1).then_some(span)
            })
        };
        of_manager.or_else(of_path).copied()
    }

    fn copy_order(
        &mut self,
        findings: &Findings,
        instruction: &Instruction,
        commands: &[Invocation],
        mounted: &[String],
    ) {
        for words in commands {
            if let (Some((tool, manifest)), Some(copy)) =
                (installer::of_manifest(words), self.whole_copy)
                && mounted.is_empty()
                && !self.tools.contains(tool)
            {
                let message = format!("any change of a file makes {tool} install everything again");
                let finding = Diagnostic::warning(COPY_ORDER.name, copy, message)
                    .label("copies all files")
                    .hint(format!(
                        "copy {manifest} first, run {tool}, then copy the rest"
                    ));
                findings.add(&COPY_ORDER, instruction, finding);
            }
            let fresh = installer::tool_of(words).filter(|tool| self.tools.insert(tool));
            self.journal.extend(fresh.map(Learned::Tool));
        }
    }
}

fn cache_mount(
    findings: &Findings,
    source: &Source,
    instruction: &Instruction,
    commands: &[Invocation],
) {
    let mut told = BTreeSet::new();
    for words in commands {
        let Some((tool, mount)) = installer::download_cache(words) else {
            continue;
        };
        if told.insert(tool) {
            let message = format!("{tool} downloads everything again whenever this step runs");
            let place = place_of(source, instruction, words);
            let finding = Diagnostic::warning(CACHE_MOUNT.name, place, message)
                .hint(format!("write RUN {mount} …"));
            findings.add(&CACHE_MOUNT, instruction, finding);
        }
    }
}

/// Where a command stands: its first two words if they can be found, else the instruction's name.
fn place_of(source: &Source, instruction: &Instruction, words: &Invocation) -> Span {
    let text = source.slice(instruction.span);
    let both = words.get(1).map(|second| format!("{} {second}", words[0]));
    let wanted = both.iter().chain(words.first());
    let mut found = wanted.filter_map(|wanted| Some((text.find(wanted.as_str())?, wanted.len())));
    match found.next() {
        Some((at, length)) => {
            let start = instruction.span.start + at;
            Span::new(start, start + length)
        }
        None => instruction.keyword.span,
    }
}
