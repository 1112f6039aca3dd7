//! What a rule is, and when it is asked.

use super::settings::Settings;

/// A rule: its name, what it finds, and why that matters. Its documentation is made of nothing else.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// The name that findings carry and that `# check=` knows.
    pub name: &'static str,
    /// Whose rule it is.
    pub group: Group,
    /// When it is asked.
    pub standing: Standing,
    /// What is wrong, in one sentence without a full stop.
    pub summary: &'static str,
    /// Why it matters and what to do, in whole sentences.
    pub reason: &'static str,
    /// A Dockerfile in which it finds something.
    pub bad: &'static str,
    /// The same put right.
    pub good: &'static str,
}

/// Whose rule it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// BuildKit has it too, under the same name.
    BuildKit,
    /// Only Kiln has it; it never makes a build fail.
    Kiln,
}

/// When a rule is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// In every build and check, unless it is skipped.
    Always,
    /// In checks that ask Kiln's own rules, unless it is skipped.
    Checks,
    /// Only if `experimental=` names it or says `all`; then it cannot be skipped.
    Experimental,
    /// Only in checks that ask Kiln's own rules, and only if it is named.
    OnRequest,
}

impl Rule {
    /// Whether its findings count, where `own_rules` says that Kiln's rules are asked as well.
    pub(super) fn is_asked(&self, settings: &Settings, own_rules: bool) -> bool {
        match self.standing {
            Standing::Always => !settings.skips(self.name),
            Standing::Checks => own_rules && !settings.skips(self.name),
            Standing::Experimental => settings.enables_experiment(self.name),
            Standing::OnRequest => {
                own_rules && settings.names(self.name) && !settings.skips(self.name)
            }
        }
    }

    /// Its documentation, in Markdown.
    pub fn page(&self) -> String {
        let Self {
            name,
            summary,
            reason,
            ..
        } = self;
        let standing = match self.standing {
            Standing::Always => "",
            Standing::Checks => "In checks only. ",
            Standing::Experimental => "Off by default; `# check=experimental=` names it. ",
            Standing::OnRequest => "In checks only, and off by default; `--enable` names it. ",
        };
        let (bad, good) = (self.bad.trim_end(), self.good.trim_end());
        format!(
            "### {name}\n\n{summary}. {standing}{reason}\n\n\
             ```dockerfile\n{bad}\n```\n\nBetter:\n\n```dockerfile\n{good}\n```\n"
        )
    }

    /// Whether it is asked, perhaps only in checks, unless somebody says otherwise.
    pub fn is_on_by_default(&self) -> bool {
        matches!(self.standing, Standing::Always | Standing::Checks)
    }

    /// Where BuildKit's documentation of the rule is; it has none for some.
    pub fn url(&self) -> Option<String> {
        if self.group != Group::BuildKit || self.name == "InvalidBaseImagePlatform" {
            return None;
        }
        let page = dashed(self.name);
        Some(format!(
            "https://docs.docker.com/go/dockerfile/rule/{page}/"
        ))
    }
}

/// `JSONArgsRecommended` → `json-args-recommended`
fn dashed(name: &str) -> String {
    let characters: Vec<char> = name.chars().collect();
    let mut dashed = String::new();
    for (index, character) in characters.iter().enumerate() {
        let begins_word = character.is_uppercase()
            && index > 0
            && (characters[index - 1].is_lowercase()
                || characters.get(index + 1).is_some_and(|c| c.is_lowercase()));
        if begins_word {
            dashed.push('-');
        }
        dashed.extend(character.to_lowercase());
    }
    dashed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_names_of_pages() {
        assert_eq!(dashed("JSONArgsRecommended"), "json-args-recommended");
        assert_eq!(dashed("StageNameCasing"), "stage-name-casing");
        assert_eq!(
            dashed("SecretsUsedInArgOrEnv"),
            "secrets-used-in-arg-or-env"
        );
    }
}
