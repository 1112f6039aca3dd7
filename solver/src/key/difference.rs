//! What tells one explanation of a key from another.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::KeyPart;

/// A part of a key that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Which part, as in [`KeyPart::path`].
    pub path: String,
    /// What it was; several values if it is a list, of which the same first and last ones are left
    /// out.
    pub before: Vec<String>,
    /// What it is.
    pub after: Vec<String>,
}

/// Lists whose items are told apart by their names: the key has their order, the paths do not.
const NAMED: [&str; 2] = ["op.exec.env", "op.exec.hosts"];

impl Difference {
    /// Whether it is the order of a list that differs: the path is the list's, and the values are the names
    /// of its items, of which the same first and last ones are left out.
    pub fn is_of_order(&self) -> bool {
        NAMED.contains(&self.path.as_str())
    }
}

/// The differences between two explanations, in the order of the second; what only the first has
/// comes behind that, and last the lists whose order differs.
pub fn differences(before: &[KeyPart], after: &[KeyPart]) -> Vec<Difference> {
    let (mut old, new) = (by_path(before), by_path(after));
    let mut seen = BTreeSet::new();
    let paths = after.iter().chain(before).map(|part| part.path.as_str());
    let differing = paths.filter(|path| seen.insert(*path)).filter_map(|path| {
        let before = old.remove(path).unwrap_or_default();
        let after = new.get(path).cloned().unwrap_or_default();
        let (before, after) = without_common_ends(&before, &after);
        let differs = !before.is_empty() || !after.is_empty();
        let owned = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect();
        differs.then(|| Difference {
            path: path.to_owned(),
            before: owned(before),
            after: owned(after),
        })
    });
    let orders = NAMED
        .iter()
        .filter_map(|list| order_of(list, before, after));
    differing.chain(orders).collect()
}

/// How the order differs of what both have in a list of named items.
fn order_of(list: &str, before: &[KeyPart], after: &[KeyPart]) -> Option<Difference> {
    let (old, new) = (names_in(list, before), names_in(list, after));
    let both = |names: &[&str], other: &[&str]| -> Vec<String> {
        let mut count = BTreeMap::<&str, usize>::new();
        other
            .iter()
            .for_each(|name| *count.entry(name).or_default() += 1);
        let mut take = |name: &str| match count.get_mut(name) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        };
        let names = names.iter().filter(|name| take(name));
        names.map(|name| (*name).to_owned()).collect()
    };
    let (old, new) = (both(&old, &new), both(&new, &old));
    let (before, after) = without_common_ends(&old, &new);
    (!before.is_empty()).then(|| Difference {
        path: list.to_owned(),
        before: before.to_vec(),
        after: after.to_vec(),
    })
}

fn names_in<'p>(list: &str, parts: &'p [KeyPart]) -> Vec<&'p str> {
    let names = parts.iter().filter_map(|part| part.path.strip_prefix(list));
    names.filter_map(|name| name.strip_prefix('.')).collect()
}

fn by_path(parts: &[KeyPart]) -> BTreeMap<&str, Vec<&str>> {
    let mut values: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for KeyPart { path, value } in parts {
        values.entry(path).or_default().push(value);
    }
    values
}

fn without_common_ends<'v, T: PartialEq>(a: &'v [T], b: &'v [T]) -> (&'v [T], &'v [T]) {
    let first = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[first..], &b[first..]);
    let last = a
        .iter()
        .rev()
        .zip(b.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    (&a[..a.len() - last], &b[..b.len() - last])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(parts: &[(&str, &str)]) -> Vec<KeyPart> {
        let part = |(path, value): &(&str, &str)| KeyPart {
            path: (*path).to_owned(),
            value: (*value).to_owned(),
        };
        parts.iter().map(part).collect()
    }

    fn found(before: &[(&str, &str)], after: &[(&str, &str)]) -> Vec<(String, String, String)> {
        let found = differences(&parts(before), &parts(after)).into_iter();
        found
            .map(|one| (one.path, one.before.join(" "), one.after.join(" ")))
            .collect()
    }

    fn texts(path: &str, before: &str, after: &str) -> (String, String, String) {
        (path.to_owned(), before.to_owned(), after.to_owned())
    }

    #[test]
    fn equal_explanations_do_not_differ() {
        assert_eq!(
            found(&[("a", "1"), ("b", "2")], &[("b", "2"), ("a", "1")]),
            []
        );
    }

    #[test]
    fn another_order_of_what_has_names_is_a_difference() {
        let [a, b, c] = ["op.exec.env.A", "op.exec.env.B.c", "op.exec.env.C"];
        let swapped = found(
            &[(a, "1"), (b, "2"), (c, "3")],
            &[(b, "2"), (a, "1"), (c, "3")],
        );
        assert_eq!(swapped, [texts("op.exec.env", "A B.c", "B.c A")]);
        // Whatever comes between the two that both have says nothing of their order.
        let new = found(&[(a, "1"), (c, "3")], &[(b, "2"), (a, "1"), (c, "3")]);
        assert_eq!(new, [texts(b, "", "2")]);
        let host = "op.exec.hosts.a";
        let [one, two] = [(host, "1.1.1.1"), (host, "2.2.2.2")];
        let other = ("op.exec.hosts.b", "3.3.3.3");
        let apart = found(&[one, two, other], &[one, other, two]);
        assert_eq!(apart, [texts("op.exec.hosts", "a b", "b a")]);
    }

    #[test]
    fn what_changed_came_or_went_is_named() {
        let before = [("user", ""), ("env.A", "1"), ("env.B", "2")];
        let after = [("user", "app"), ("env.A", "1"), ("env.C", "3")];
        let expected = [
            texts("user", "", "app"),
            texts("env.C", "", "3"),
            texts("env.B", "2", ""),
        ];
        assert_eq!(found(&before, &after), expected);
    }

    #[test]
    fn of_lists_only_the_middle_that_differs_is_said() {
        let before = [
            ("args.-", "sh"),
            ("args.-", "-c"),
            ("args.-", "make"),
            ("args.-", "x"),
        ];
        let after = [
            ("args.-", "sh"),
            ("args.-", "make"),
            ("args.-", "all"),
            ("args.-", "x"),
        ];
        assert_eq!(
            found(&before, &after),
            [texts("args.-", "-c make", "make all")]
        );
    }
}
