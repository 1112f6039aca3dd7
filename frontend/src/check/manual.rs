//! The page about all rules, made of what each says about itself.

use super::RULES;
use super::rule::{Group, Rule};

const INTRODUCTION: &str = "\
# Rules

`kiln check` asks all rules that are not off by default. `kiln build`, `kiln build --check` and
`--call=check` ask BuildKit's and those of Kiln's that concern every build.

A rule can be left out for a file or for an instruction, in the words of BuildKit:

```dockerfile
# check=skip=StageNameCasing,JSONArgsRecommended;error=true
FROM alpine:3.20 AS Build
# check=skip=MaintainerDeprecated // the old registry reads it
MAINTAINER ann
```

- `skip=A,B` or `skip=all` leaves rules out.
- `experimental=A,B` asks rules that are off by default; `experimental=all` asks BuildKit's.
- `error=true`, at the head of the file only, makes the build fail if one of BuildKit's rules finds
  something. Kiln's own rules never make a build fail.
- `--build-arg BUILDKIT_DOCKERFILE_CHECK=…` takes the place of what the head of the file says.
- `kiln check --skip A,B` and `--enable A,B` add to all of that; `kiln check --help` tells the exit
  codes, `kiln check --explain A` prints what stands here.

";

/// The page, in Markdown.
pub fn manual() -> String {
    let mut page = INTRODUCTION.to_owned();
    let chapters = [
        (Group::BuildKit, "BuildKit's rules"),
        (Group::Kiln, "Kiln's own rules"),
    ];
    for (group, title) in chapters {
        let rules = || RULES.iter().filter(|rule| rule.group == group);
        page.push_str(&format!("## {title}\n\n| rule | finds |\n|---|---|\n"));
        rules().for_each(|rule| page.push_str(&row(rule)));
        for rule in rules() {
            page.push('\n');
            page.push_str(&rule.page());
        }
        page.push('\n');
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn row(rule: &Rule) -> String {
    let off = match rule.is_on_by_default() {
        true => "",
        false => " (off by default)",
    };
    let Rule { name, summary, .. } = rule;
    format!("| [{name}](#{}) | {summary}{off} |\n", name.to_lowercase())
}
