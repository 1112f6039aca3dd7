//! One difference between two keys as a sentence.

use kiln_solver::key::Difference;

use crate::progress::{Colors, sanitize};

/// What differs, was and is. `inputs` names the step's inputs; names and values are cut to `longest`
/// characters.
pub(super) fn sentence(difference: &Difference, inputs: &[String], longest: usize) -> String {
    let shown = |text: &str| shown(text, longest);
    let path = difference.path.as_str();
    if let Some(input) = input_of(path) {
        let name = inputs.get(input).map_or("an input", String::as_str);
        return format!("what it reads of {} changed", shown(name));
    }
    let values = |values: &[String]| format!("\"{}\"", shown(&values.join(" ")));
    let (before, after) = (values(&difference.before), values(&difference.after));
    let what = shown(&subject(path));
    match (difference.before.is_empty(), difference.after.is_empty()) {
        (true, _) => format!("{what} is new: {after}"),
        (_, true) => format!("{what} is gone; it was {before}"),
        (false, false) => format!("{what} was {before} and is {after}"),
    }
}

/// The position of the input that a part is about.
fn input_of(path: &str) -> Option<usize> {
    let rest = path.strip_prefix("inputs.content")?;
    match rest.strip_prefix('[') {
        None => Some(0),
        Some(rest) => rest.split_once(']')?.0.parse().ok(),
    }
}

fn subject(path: &str) -> String {
    if let Some(name) = path.strip_prefix("op.exec.env.") {
        return format!("the variable {name}");
    }
    if let Some(name) = path.strip_prefix("op.exec.hosts.") {
        return format!("the address of the host {name}");
    }
    if let Some(field) = path.strip_prefix("op.exec.") {
        return match field.split('.').next() {
            Some("args") => "the command".to_owned(),
            Some("cwd") => "the working directory".to_owned(),
            Some("mounts") => "a mount".to_owned(),
            _ => format!("the {}", field.replace(['.', '-'], " ").trim()),
        };
    }
    if path.starts_with("op.file.") {
        let field = path.rsplit('.').find(|name| *name != "-").unwrap_or(path);
        return match field {
            "path" if path.contains(".sources") => "what is copied".to_owned(),
            "destination-is-directory" => "whether the destination is a directory".to_owned(),
            "path" => "the directory".to_owned(),
            "data" => "the text in the Dockerfile".to_owned(),
            "user" | "group" => "the owner".to_owned(),
            _ => format!("the {}", field.replace('-', " ")),
        };
    }
    path.to_owned()
}

fn shown(text: &str, longest: usize) -> String {
    let clean = sanitize(text.replace('\n', "\\n").as_bytes(), Colors::Strip);
    match clean.char_indices().nth(longest) {
        None => clean,
        Some((end, _)) => format!("{}…", &clean[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(path: &str, before: &[&str], after: &[&str]) -> String {
        let owned = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect();
        let difference = Difference {
            path: path.to_owned(),
            before: owned(before),
            after: owned(after),
        };
        sentence(&difference, &["[1/2] FROM base".to_owned()], 200)
    }

    #[test]
    fn parts_are_named_as_in_a_dockerfile() {
        let command = said("op.exec.args.-", &["make"], &["make all"]);
        assert_eq!(command, "the command was \"make\" and is \"make all\"");
        let variable = said("op.exec.env.VERSION", &[], &["2"]);
        assert_eq!(variable, "the variable VERSION is new: \"2\"");
        let base = said("inputs.content.-", &["aa"], &["bb"]);
        assert_eq!(base, "what it reads of [1/2] FROM base changed");
        let gone = said("op.file.actions.-.copy.owner.user", &["app"], &[]);
        assert_eq!(gone, "the owner is gone; it was \"app\"");
    }

    #[test]
    fn values_stay_on_their_line_and_move_no_cursor() {
        let long = "x".repeat(1000);
        let said = said("op.exec.args.-", &["a\n\x1b[2Jb"], &[&long]);
        assert!(
            said.starts_with("the command was \"a\\nb\" and is \"xxx"),
            "{said}"
        );
        assert!(said.chars().count() < 300);
    }
}
