//! One difference between two keys as a sentence.

use kiln_solver::key::Difference;

use super::excerpt::{excerpts, shortened};

/// Names of steps are cut to so many characters.
const LONGEST_NAME: usize = 60;
/// How much of a digest tells it from others, in hexadecimal digits.
const DIGITS: usize = 12;

/// What differs, was and is. `inputs` names the step's inputs; values are cut to `longest` characters,
/// so that what differs stays.
pub(super) fn sentence(difference: &Difference, inputs: &[String], longest: usize) -> String {
    let path = difference.path.as_str();
    let (before, after) = joined(difference);
    match difference.about() {
        Some((_, "image")) => return image(&before, &after),
        Some(_) => return ignore_rules(difference, longest),
        None => {}
    }
    if let Some(input) = difference.input() {
        let name = inputs
            .get(input)
            .map_or("one of its inputs", String::as_str);
        return format!("what it reads of {} changed", shortened(name, LONGEST_NAME));
    }
    if difference.is_of_order() {
        let what = match path {
            "op.exec.hosts" => "hosts",
            _ => "variables",
        };
        let (before, after) = excerpts(&before, &after, longest);
        return format!("the order of the {what} changed: it was \"{before}\" and is \"{after}\"");
    }
    let subject = subject(path);
    let name = shortened(&subject.name, longest);
    let is_new = difference.before.is_empty();
    let is_gone = difference.after.is_empty();
    match subject.values {
        Values::Hidden => format!("{name} changed"),
        Values::Flag if is_new => format!("{name} is set now"),
        Values::Flag => format!("{name} is not set any more"),
        Values::Text | Values::Mode | Values::Id => {
            let (before, after) = (subject.shown(&before), subject.shown(&after));
            let default = subject.default;
            let (before, after) = match (is_new, is_gone, default) {
                (true, false, Some(default)) => (default.to_owned(), after),
                (false, true, Some(default)) => (before, default.to_owned()),
                (true, false, None) => {
                    return format!("{name} is new: \"{}\"", shortened(&after, longest));
                }
                (false, true, None) => {
                    return format!("{name} is gone; it was \"{}\"", shortened(&before, longest));
                }
                _ => (before, after),
            };
            let (before, after) = excerpts(&before, &after, longest);
            format!("{name} was \"{before}\" and is \"{after}\"")
        }
    }
}

/// The values as texts; where that leaves two lists looking alike, their items are set apart.
fn joined(difference: &Difference) -> (String, String) {
    let plain = |values: &[String]| values.join(" ");
    let apart = |values: &[String]| format!("{values:?}");
    let Difference { before, after, .. } = difference;
    match plain(before) == plain(after) {
        true => (apart(before), apart(after)),
        false => (plain(before), plain(after)),
    }
}

/// One image in place of another, by their references with digests.
fn image(before: &str, after: &str) -> String {
    let parts = |reference: &str| -> (String, String) {
        let (name, digest) = reference.split_once('@').unwrap_or((reference, ""));
        let (algorithm, hex) = digest.split_once(':').unwrap_or((digest, ""));
        let hex: String = hex.chars().take(DIGITS).collect();
        (shortened(name, usize::MAX), format!("{algorithm}:{hex}"))
    };
    let ((old, old_digest), (new, new_digest)) = (parts(before), parts(after));
    if old == new {
        return format!("the image {new} was {old_digest} and is {new_digest}");
    }
    format!("the image was {old} ({old_digest}) and is {new} ({new_digest})")
}

fn ignore_rules(difference: &Difference, longest: usize) -> String {
    let list = |rules: &[String], verb: &str| {
        let rules = shortened(&rules.join("\", \""), longest);
        (!rules.is_empty()).then(|| format!("{verb} \"{rules}\""))
    };
    let parts = [
        list(&difference.before, "without"),
        list(&difference.after, "now with"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("the ignore rules changed: {}", parts.join(", "))
}

/// What a part of a key is called, and how its values are shown.
struct Subject {
    name: String,
    values: Values,
    /// What it is if nothing is said.
    default: Option<&'static str>,
}

#[derive(Clone, Copy)]
enum Values {
    Text,
    /// Permission bits, which keys have as decimal numbers.
    Mode,
    /// A cache's id, which keys have with a slash before it.
    Id,
    /// There or not there.
    Flag,
    /// A number that means nothing to people.
    Hidden,
}

impl Subject {
    fn shown(&self, value: &str) -> String {
        let mode = |value: &str| Some(format!("{:04o}", value.parse::<u32>().ok()?));
        let shown = match self.values {
            Values::Mode => mode(value),
            Values::Id => value.strip_prefix('/').map(str::to_owned),
            _ => None,
        };
        shown.unwrap_or_else(|| value.to_owned())
    }
}

fn subject(path: &str) -> Subject {
    let field = path.rsplit('.').find(|name| *name != "-").unwrap_or(path);
    let (values, default) = match field {
        "from" | "root" | "base" => (Values::Hidden, None),
        "mode" => (Values::Mode, None),
        "id" => (Values::Id, None),
        "read-only" | "required" | "destination-is-directory" | "keep-parents" => {
            (Values::Flag, None)
        }
        "sharing" => (Values::Text, Some("shared")),
        "network" => (Values::Text, Some("default")),
        "security" => (Values::Text, Some("sandbox")),
        "unpack" => (Values::Text, Some("never")),
        _ => (Values::Text, None),
    };
    let (name, values) = match (named(path, field), values) {
        // Names of variables and hosts may be like those of fields.
        (Ok(name), _) => (name, Values::Text),
        (Err(name), values) => (name, values),
    };
    Subject {
        name,
        values,
        default,
    }
}

/// `Ok` if the last part of the path is a name that somebody chose.
fn named(path: &str, field: &str) -> Result<String, String> {
    if let Some(name) = path.strip_prefix("op.exec.env.") {
        return Ok(format!("the variable {name}"));
    }
    if let Some(name) = path.strip_prefix("op.exec.hosts.") {
        return Ok(format!("the address of the host {name}"));
    }
    let words = match field {
        "read-only" => field.to_owned(),
        _ => field.replace('-', " "),
    };
    if let Some(mount) = path.strip_prefix("op.exec.mounts.") {
        let kinds = ["cache", "secret", "ssh"];
        let kind = kinds
            .iter()
            .find(|kind| mount.contains(&format!("kind.{kind}.")));
        let whose = kind.map_or("a mount's".to_owned(), |kind| format!("a {kind} mount's"));
        return Err(format!("{whose} {words}"));
    }
    if let Some(part) = path.strip_prefix("op.exec.") {
        return Err(match part.split('.').next() {
            Some("args") => "the command".to_owned(),
            Some("cwd") => "the working directory".to_owned(),
            Some("root") => "what it stands on".to_owned(),
            _ => format!("the {words}"),
        });
    }
    if path.starts_with("op.file.") {
        return Err(match field {
            "path" if path.contains(".sources") => "what is copied".to_owned(),
            "path" => "the directory".to_owned(),
            "data" => "the text in the Dockerfile".to_owned(),
            "user" => "the owner".to_owned(),
            "from" => "where it copies from".to_owned(),
            "base" => "what it stands on".to_owned(),
            "destination-is-directory" => "a slash behind the destination".to_owned(),
            "keep-parents" => "--parents".to_owned(),
            "unpack" => "what is unpacked".to_owned(),
            _ => format!("the {words}"),
        });
    }
    Err(path.to_owned())
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
    fn what_differs_never_looks_alike() {
        let words = said("op.exec.args.-", &["a b"], &["a", "b"]);
        assert_eq!(
            words,
            "the command was \"[\"a b\"]\" and is \"[\"a\", \"b\"]\""
        );
        let lines = said("op.exec.args.-", &["a\n"], &["a\\n"]);
        assert_eq!(lines, "the command was \"a\\n\" and is \"a\\\\n\"");
        let tabs = said("op.exec.args.-", &["a\tb"], &["a       b"]);
        assert_eq!(tabs, "the command was \"a\\tb\" and is \"a       b\"");
        let hidden = said("op.exec.args.-", &["ab"], &["a\u{200b}b"]);
        assert_eq!(hidden, "the command was \"ab\" and is \"a\\u{200b}b\"");
    }

    #[test]
    fn another_order_is_told_by_the_names() {
        let hosts = said("op.exec.hosts", &["a", "b"], &["b", "a"]);
        let expected = "the order of the hosts changed: it was \"a b\" and is \"b a\"";
        assert_eq!(hosts, expected);
    }

    #[test]
    fn values_stay_on_their_line_and_move_no_cursor() {
        let long = "x".repeat(1000);
        let said = said("op.exec.args.-", &["a\n\x1b[2Jb"], &[&long]);
        assert!(
            said.starts_with("the command was \"a\\n\\u{1b}[2Jb\" and is \"xxx"),
            "{said}"
        );
        assert!(said.chars().count() < 300);
    }
}
