//! The commands of a RUN, as far as rules must know them: cut at separators, quotes removed. What
//! substitutions yield is not known; they stay as they are written.

use crate::mount::{self, MountType};
use crate::syntax::{CommandLine, Run};

/// A program and its arguments.
pub(super) type Invocation = Vec<String>;

/// Words in front of a command that do not change what it is.
const PREFIXES: [&str; 17] = [
    "if", "then", "else", "elif", "while", "until", "do", "!", "{", "}", "fi", "done", "sudo",
    "exec", "env", "command", "time",
];

/// The commands that a RUN executes, in order; a path to the program is cut off.
pub(super) fn invocations(run: &Run) -> Vec<Invocation> {
    match &run.command {
        CommandLine::Shell(text) if text.value.trim_start().starts_with("<<") => {
            let bodies = run.heredocs.iter().map(crate::heredoc::Heredoc::body);
            let scripts = bodies.filter(|body| !body.starts_with("#!") || is_shell_script(body));
            scripts.flat_map(|body| split(&body)).collect()
        }
        CommandLine::Shell(text) => split(&text.value),
        CommandLine::Exec(words) => {
            let words: Invocation = words.iter().map(|word| word.value.clone()).collect();
            match &words[..] {
                [program, flag, text, ..] if is_shell(program) && flag.ends_with('c') => {
                    split(text)
                }
                _ => clean(words).into_iter().collect(),
            }
        }
    }
}

/// The directories that do not stay in the layer: caches and memory.
pub(super) fn mounted(run: &Run) -> Vec<String> {
    let mounts = run.mounts.iter();
    mounts
        .filter_map(|word| mount::parse(&word.value, |value| Ok(value.to_owned())).ok())
        .filter(|mount| matches!(mount.kind, MountType::Cache | MountType::Tmpfs))
        .map(|mount| mount.target)
        .collect()
}

fn is_shell(program: &str) -> bool {
    matches!(base_name(program), "sh" | "bash" | "ash" | "dash")
}

fn is_shell_script(body: &str) -> bool {
    let first = body.lines().next().unwrap_or_default();
    first.split(['/', ' ']).any(is_shell)
}

pub(super) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Cuts a text for the shell into commands.
fn split(text: &str) -> Vec<Invocation> {
    let mut splitter = Splitter::default();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('\n') | None => {}
                Some(escaped) => splitter.push(escaped),
            },
            '\'' => {
                splitter.begin();
                for quoted in characters.by_ref().take_while(|c| *c != '\'') {
                    splitter.push(quoted);
                }
            }
            '"' => {
                splitter.begin();
                while let Some(quoted) = characters.next() {
                    match quoted {
                        '"' => break,
                        '\\' => characters.next().into_iter().for_each(|c| splitter.push(c)),
                        _ => splitter.push(quoted),
                    }
                }
            }
            '$' if characters.peek() == Some(&'(') => {
                splitter.push('$');
                let mut depth = 0;
                for inner in characters.by_ref() {
                    splitter.push(inner);
                    depth += i32::from(inner == '(') - i32::from(inner == ')');
                    if depth == 0 {
                        break;
                    }
                }
            }
            '#' if splitter.word.is_none() => {
                characters
                    .by_ref()
                    .take_while(|c| *c != '\n')
                    .for_each(drop);
                splitter.end_command();
            }
            '>' | '<' => {
                splitter.end_word();
                while characters
                    .next_if(|c| matches!(c, '>' | '<' | '&'))
                    .is_some()
                {}
            }
            ';' | '&' | '|' | '\n' | '(' | ')' => splitter.end_command(),
            blank if blank.is_whitespace() => splitter.end_word(),
            other => splitter.push(other),
        }
    }
    splitter.end_command();
    splitter.commands
}

#[derive(Default)]
struct Splitter {
    commands: Vec<Invocation>,
    words: Invocation,
    word: Option<String>,
}

impl Splitter {
    fn begin(&mut self) {
        self.word.get_or_insert_default();
    }

    fn push(&mut self, character: char) {
        self.word.get_or_insert_default().push(character);
    }

    fn end_word(&mut self) {
        self.words.extend(self.word.take());
    }

    fn end_command(&mut self) {
        self.end_word();
        self.commands.extend(clean(std::mem::take(&mut self.words)));
    }
}

/// Without what stands in front of the program; `None` if nothing is left.
fn clean(words: Invocation) -> Option<Invocation> {
    let is_assignment = |word: &str| {
        word.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        })
    };
    let mut words: Invocation = words
        .into_iter()
        .skip_while(|word| PREFIXES.contains(&word.as_str()) || is_assignment(word))
        .collect();
    let program = words.first_mut()?;
    *program = base_name(program).to_owned();
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_cut_apart() {
        let text = "set -e; A=b apt-get update >/dev/null 2>&1 && (cd /x || exit 1) \
            | 'a b' \"c;d\" $(e; f) # no; more";
        let found: Vec<String> = split(text).iter().map(|words| words.join(" ")).collect();
        let expected = [
            "set -e",
            "apt-get update /dev/null 2 1",
            "cd /x",
            "exit 1",
            "a b c;d $(e; f)",
        ];
        assert_eq!(found, expected);
        assert_eq!(split("if /usr/bin/x; then y; fi").len(), 2);
        assert_eq!(split("'open"), [["open"]]);
        assert!(split("").is_empty());
    }
}
