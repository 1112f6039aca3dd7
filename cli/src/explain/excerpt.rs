//! Parts of long texts that fit on a line.

use crate::progress::revealed;

/// How much is shown of what two texts have in common before they differ, in characters.
const CONTEXT: usize = 16;

/// The beginning of a text, on one line that moves no cursor.
pub(super) fn shortened(text: &str, longest: usize) -> String {
    let clean = revealed(text);
    match clean.char_indices().nth(longest) {
        None => clean,
        Some((end, _)) => format!("{}…", &clean[..end]),
    }
}

/// Two texts, each on one line, that look alike only if they are the same; if one is longer than `longest` characters, the beginning and the end that they
/// have in common are left out, but for a little.
pub(super) fn excerpts(before: &str, after: &str, longest: usize) -> (String, String) {
    let (mut old, mut new) = (revealed(before), revealed(after));
    if old == new && before != after {
        // A line's end is `\n` here, and so is a backslash before an n.
        (old, new) = (escaped(before), escaped(after));
    }
    let (before, after) = (old, new);
    if before.chars().count().max(after.chars().count()) <= longest {
        return (before, after);
    }
    let (old, new): (Vec<char>, Vec<char>) = (before.chars().collect(), after.chars().collect());
    let start = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[start..], &new[start..]);
    let end = old_rest.iter().rev().zip(new_rest.iter().rev());
    let end = end.take_while(|(a, b)| a == b).count();
    let skipped = start.saturating_sub(CONTEXT);
    let cut = |text: &[char]| {
        let stop = text.len() - end.saturating_sub(CONTEXT);
        let middle: String = text[skipped..stop].iter().take(longest).collect();
        let before = if skipped > 0 { "…" } else { "" };
        let is_whole = stop == text.len() && stop - skipped <= longest;
        format!("{before}{middle}{}", if is_whole { "" } else { "…" })
    };
    (cut(&old), cut(&new))
}

fn escaped(text: &str) -> String {
    revealed(&text.replace('\\', r"\\"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_long_texts_the_part_that_differs_is_shown() {
        let command = |version: &str| {
            let packages = "first second third fourth fifth sixth seventh";
            format!(
                "apt-get update && apt-get install -y {packages} tool={version} && rm -rf /var/lib/apt/lists"
            )
        };
        let shown = excerpts(&command("1.2"), &command("1.3"), 48);
        assert_eq!(shown.0, "… seventh tool=1.2 && rm -rf /var/…");
        assert_eq!(shown.1, "… seventh tool=1.3 && rm -rf /var/…");
        let shown = excerpts("a short one", "another", 48);
        assert_eq!(shown, ("a short one".to_owned(), "another".to_owned()));
        let (old, new) = excerpts("make", &"make ".repeat(100), 40);
        assert_eq!(old, "make");
        assert_eq!(new.chars().count(), 41);
    }
}
