//! Why a step was not in the cache: how it differs from the most similar one that is.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::digest::Key;
use crate::execute::{Earlier, ListedFile, StepKeys};
use crate::graph::{Graph, VertexId};
use crate::key::{Difference, KeyPart, differences};
use crate::op::{Op, Source};

/// A step that was not in the cache, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Miss {
    /// The names of its inputs, in the order of the operation's.
    pub inputs: Vec<String>,
    /// Why it was not found.
    pub reason: Reason,
}

/// Why a step was not in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It was not to be looked for (`--no-cache`).
    Forbidden,
    /// Nothing like it was recorded.
    New,
    /// It was recorded, but what it yielded is no longer there.
    Gone,
    /// It differs from an earlier step.
    Changed {
        /// The content key of that step.
        earlier: Key,
        /// In what; nothing if the keys differ in what their explanations do not tell.
        differences: Vec<Difference>,
    },
}

/// Begins the path of what stands in an explanation beside the parts of the key.
const ABOUT: &str = "about.";
/// Follows it where it is about a file.
const FILE: &str = "file";
/// How many files that differ are told of a step.
const MOST_FILES: usize = 1000;

impl KeyPart {
    /// Whether it is a part of the key. The others only tell people more of a part that is: which image
    /// an input is, and what is left out of a context.
    pub fn identifies(&self) -> bool {
        !self.path.starts_with(ABOUT)
    }
}

impl Difference {
    /// The input that this tells more of, and what: `image`, `ignored` or `file`.
    pub fn about(&self) -> Option<(usize, &str)> {
        let (what, rest) = self.path.strip_prefix(ABOUT)?.split_once('.')?;
        let input = rest.split_once('.').map_or(rest, |(input, _)| input);
        Some((input.parse().ok()?, what))
    }

    /// The file that is another one, or came or went, if it is one that is only listed; how it differs is told
    /// by [`Difference::is_of_metadata`].
    pub fn file(&self) -> Option<&str> {
        let rest = self.path.strip_prefix(ABOUT)?.strip_prefix(FILE)?;
        Some(rest.strip_prefix('.')?.split_once('.')?.1)
    }

    /// Whether a listed file has the same bytes as before.
    pub fn is_of_metadata(&self) -> bool {
        let content = |values: &[String]| Some(values.first()?.split_once(' ')?.0.to_owned());
        let before = content(&self.before);
        before.is_some() && before == content(&self.after)
    }

    /// The input whose content this is about.
    pub fn input(&self) -> Option<usize> {
        let rest = self.path.strip_prefix("inputs.content")?;
        match rest.strip_prefix('[') {
            None => Some(0),
            Some(rest) => rest.split_once(']')?.0.parse().ok(),
        }
    }
}

/// What is said of a file that a step reads of an input.
pub(crate) fn about_file(input: usize, file: &ListedFile) -> KeyPart {
    KeyPart {
        path: format!("{ABOUT}{FILE}.{input}.{}", file.path),
        value: format!("{} {}", file.content, file.all),
    }
}

/// What people want to know of the inputs of a step when their content changed.
pub(crate) fn about(graph: &Graph, inputs: &[VertexId]) -> Vec<KeyPart> {
    let mut parts = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        let mut add = |what: &str, value: String| {
            let path = format!("{ABOUT}{what}.{index}");
            parts.push(KeyPart { path, value });
        };
        match &*graph.vertex(*input).op {
            Op::Source(Source::Image(image)) if image.reference.contains('@') => {
                add("image", image.reference.clone());
            }
            Op::Source(Source::Image(image)) => {
                add("image", format!("{}@{}", image.reference, image.manifest));
            }
            _ => {
                let rules = graph.ignored(*input).iter();
                rules.for_each(|rule| add("ignored", rule.clone()));
            }
        }
    }
    parts
}

/// The differences between two explanations, where what is only about an input counts if the input's
/// content differs.
pub fn compare(before: &[KeyPart], after: &[KeyPart]) -> Vec<Difference> {
    let mut found = differences(before, after);
    let changed: BTreeSet<usize> = found.iter().filter_map(Difference::input).collect();
    let mut files = 0;
    found.retain(|difference| {
        files += usize::from(difference.file().is_some());
        let about = difference.about();
        let is_too_much = difference.file().is_some() && files > MOST_FILES;
        about.is_none_or(|(input, _)| changed.contains(&input)) && !is_too_much
    });
    found
}

/// Explains by the candidate that fewest parts tell from this step, the first of several; its content
/// key is returned, too.
pub(crate) fn explain(keys: &StepKeys, candidates: Vec<Earlier>) -> (Reason, Option<Key>) {
    let is_same = |candidate: &Earlier| candidate.content == keys.content;
    if candidates.iter().any(is_same) {
        return (Reason::Gone, None);
    }
    let same_kind = candidates
        .into_iter()
        .filter(|candidate| kind(&candidate.explanation) == kind(&keys.explanation));
    let compared = same_kind.map(|candidate| {
        let found = compare(&candidate.explanation, &keys.explanation);
        (found, candidate.content)
    });
    let compared = compared.filter(|(found, _)| does_almost_the_same(found));
    let of_the_key =
        |found: &[Difference]| found.iter().filter(|one| one.about().is_none()).count();
    match compared.min_by_key(|(found, _)| of_the_key(found)) {
        None => (Reason::New, None),
        Some((differences, earlier)) => {
            let reason = Reason::Changed {
                earlier,
                differences,
            };
            (reason, Some(earlier))
        }
    }
}

/// What kind of operation an explanation is about.
fn kind(explanation: &[KeyPart]) -> Option<&'static str> {
    let kinds = [
        "op.exec.",
        "op.file.actions.-.copy.",
        "op.file.actions.-.make-directory.",
    ];
    let has = |kind: &&str| explanation.iter().any(|part| part.path.starts_with(kind));
    kinds.into_iter().find(has)
}

/// Whether what a step does is so much like what an earlier one did that people would call it changed. Two
/// commands that merely run on the same image have nothing to do with each other.
fn does_almost_the_same(found: &[Difference]) -> bool {
    let of_path = |end: &str| {
        let mut of_the_key = found.iter().filter(|one| one.about().is_none());
        of_the_key.find(|one| one.path.ends_with(end))
    };
    if let Some(command) = of_path("op.exec.args.-") {
        // Words that both have at their beginning and end are left out of the difference.
        let (before, after) = (command.before.join(" "), command.after.join(" "));
        return before.is_empty() || after.is_empty() || have_much_in_common(&before, &after);
    }
    let [sources, destination] = [".copy.sources.-.path", ".copy.destination"].map(of_path);
    sources.is_none() || destination.is_none()
}

/// Whether a third of the longer of two texts is the same at their beginnings and ends, or a third of its
/// words stands in the other, too.
fn have_much_in_common(a: &str, b: &str) -> bool {
    let words = |text: &'_ str| -> BTreeSet<String> {
        text.split_whitespace().map(str::to_owned).collect()
    };
    let (words_of_a, words_of_b) = (words(a), words(b));
    let common_words = words_of_a.intersection(&words_of_b).count();
    if 3 * common_words >= words_of_a.len().max(words_of_b.len()) {
        return true;
    }
    let same_start = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let (rest_of_a, rest_of_b) = (&a.as_bytes()[same_start..], &b.as_bytes()[same_start..]);
    let pairs = rest_of_a.iter().rev().zip(rest_of_b.iter().rev());
    let same_end = pairs.take_while(|(a, b)| a == b).count();
    3 * (same_start + same_end) >= a.len().max(b.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::ContentDigest;

    fn explanation(parts: &[(&str, &str)]) -> Vec<KeyPart> {
        let part = |(path, value): &(&str, &str)| KeyPart {
            path: (*path).to_owned(),
            value: (*value).to_owned(),
        };
        parts.iter().map(part).collect()
    }

    /// What is said of a step beside an earlier one, by the paths that differ.
    fn said(earlier: &[(&str, &str)], now: &[(&str, &str)]) -> Result<Vec<String>, Reason> {
        let key = Key::new([7; 32]);
        let keys = StepKeys {
            definition: key,
            content: key,
            outline: key,
            inputs: key,
            explanation: explanation(now),
        };
        let earlier = Earlier {
            content: Key::new(*ContentDigest::new([8; 32]).as_bytes()),
            explanation: explanation(earlier),
        };
        match explain(&keys, vec![earlier]).0 {
            Reason::Changed { differences, .. } => {
                Ok(differences.into_iter().map(|one| one.path).collect())
            }
            reason => Err(reason),
        }
    }

    #[test]
    fn an_earlier_step_counts_if_it_did_almost_the_same() {
        let command = "op.exec.args.-";
        let cases = [
            ("make", "make all", true),
            ("cat a >b", "cat c >b", true),
            ("echo $V >v", "id; echo $V >/tmp/v", true),
            ("apt-get update", "pip install x", false),
            ("sleep 1", "echo starting; sleep 30", false),
        ];
        for (before, after, is_changed) in cases {
            let found = said(&[(command, before)], &[(command, after)]);
            assert_eq!(found.is_ok(), is_changed, "{before}, {after}");
        }
        let (from, to) = (
            "op.file.actions.-.copy.sources.-.path",
            "op.file.actions.-.copy.destination",
        );
        assert!(said(&[(from, "a"), (to, "x")], &[(from, "b"), (to, "x")]).is_ok());
        let other = said(&[(from, "a"), (to, "x")], &[(from, "b"), (to, "y")]);
        assert_eq!(other, Err(Reason::New));
        let directory = [("op.file.actions.-.make-directory.path", "a")];
        assert_eq!(said(&directory, &[(command, "a")]), Err(Reason::New));
    }

    #[test]
    fn what_is_about_an_input_counts_if_its_content_changed() {
        let parts = |name, content| [("about.image.0", name), ("inputs.content.-", content)];
        let both = said(&parts("a@1", "x"), &parts("a@2", "y"));
        let expected = ["about.image.0", "inputs.content.-"].map(str::to_owned);
        assert_eq!(both, Ok(expected.to_vec()));
        let renamed = said(&parts("a@1", "x"), &parts("b@1", "x"));
        assert_eq!(renamed, Ok(Vec::new()));
    }

    #[test]
    fn only_what_has_the_same_key_is_gone() {
        let key = Key::new([7; 32]);
        let of = |content, value| Earlier {
            content,
            explanation: explanation(&[("op.exec.user", value)]),
        };
        let keys = StepKeys {
            definition: key,
            content: key,
            outline: key,
            inputs: key,
            explanation: of(key, "a").explanation,
        };
        let other = Key::new([8; 32]);
        let (found, _) = explain(
            &keys,
            vec![of(other, "b"), of(key, "as an older Kiln said it")],
        );
        assert_eq!(found, Reason::Gone);
        let (found, earlier) = explain(&keys, vec![of(other, "a")]);
        let differences = Vec::new();
        let expected = Reason::Changed {
            earlier: other,
            differences,
        };
        assert_eq!((found, earlier), (expected, Some(other)));
    }
}
