//! `--annotation`, and the attributes of `--output` that say the same.

use std::collections::BTreeMap;

use kiln_solver::Platform;

use super::UsageError;

const LEVELS: [(&str, Level); 4] = [
    ("manifest", Level::Manifest),
    ("index", Level::Index),
    ("manifest-descriptor", Level::ManifestDescriptor),
    ("index-descriptor", Level::IndexDescriptor),
];

/// What is annotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The image's manifest.
    Manifest,
    /// The index that lists the manifests of several platforms.
    Index,
    /// The manifest's entry in what lists it.
    ManifestDescriptor,
    /// The index's entry in what lists it.
    IndexDescriptor,
}

/// One annotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// What is annotated.
    pub level: Level,
    /// The platform whose manifest is meant; `None` is every one.
    pub platform: Option<Platform>,
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// Reads `[LEVEL[PLATFORM],…:]KEY=VALUE`, which can be several annotations.
pub(super) fn parse(typed: &str) -> Result<Vec<Annotation>, UsageError> {
    const OPTION: &str = "--annotation";
    let wrong = |problem: &str| {
        UsageError::new(OPTION, typed, problem)
            .hint("write it as in --annotation manifest:org.opencontainers.image.title=App")
    };
    let (name, value) = typed
        .split_once('=')
        .ok_or_else(|| wrong("there is no ="))?;
    let (levels, key) = name.split_once(':').unwrap_or(("manifest", name));
    if key.is_empty() {
        return Err(wrong("the name before the = is missing"));
    }
    let annotation = |level: &str| {
        let (level, platform) = level_and_platform(OPTION, typed, level)?;
        Ok(Annotation {
            level,
            platform,
            key: key.to_owned(),
            value: value.to_owned(),
        })
    };
    levels.split(',').map(annotation).collect()
}

/// An image of one platform, which is all that is built yet, is listed by no index.
pub(super) fn check_levels<'a>(
    all: impl IntoIterator<Item = &'a Annotation>,
) -> Result<(), UsageError> {
    let of_index = |annotation: &&Annotation| {
        matches!(annotation.level, Level::Index | Level::IndexDescriptor)
    };
    match all.into_iter().find(of_index) {
        None => Ok(()),
        Some(annotation) => Err(UsageError::new(
            "--annotation",
            &annotation.key,
            "an image of one platform has no index to annotate",
        )
        .hint("annotate its manifest, or with manifest-descriptor the entry that lists it")),
    }
}

/// Reads an attribute of an output, such as `annotation-index[linux/amd64].KEY`; `None` if it is another
/// attribute.
pub(super) fn of_output(
    name: &str,
    value: &str,
    typed: &str,
) -> Result<Option<Annotation>, UsageError> {
    let Some((head, key)) = name.split_once('.') else {
        return Ok(None);
    };
    let Some(level) = head.strip_prefix("annotation") else {
        return Ok(None);
    };
    let level = match level.strip_prefix('-') {
        Some(level) => level.to_owned(),
        None => format!("manifest{level}"),
    };
    let (level, platform) = level_and_platform("--output", typed, &level)?;
    Ok(Some(Annotation {
        level,
        platform,
        key: key.to_owned(),
        value: value.to_owned(),
    }))
}

fn level_and_platform(
    option: &'static str,
    typed: &str,
    text: &str,
) -> Result<(Level, Option<Platform>), UsageError> {
    let wrong = |problem: String| UsageError::new(option, typed, problem);
    let bracket = text.split_once('[');
    let (name, platform) = match bracket {
        None => (text, None),
        Some((name, rest)) => {
            let inside = rest.strip_suffix(']');
            let platform = inside.and_then(|platform| platform.parse().ok());
            let problem = || wrong(format!("[{rest} is not a platform such as [linux/amd64]"));
            (name, Some(platform.ok_or_else(problem)?))
        }
    };
    let known = LEVELS.iter().find(|(known, _)| *known == name.trim());
    known.map(|(_, level)| (*level, platform)).ok_or_else(|| {
        let names = LEVELS.map(|(name, _)| name);
        wrong(format!("nothing is called {name:?} that can be annotated")).known_words(name, &names)
    })
}

/// The annotations of one level, for one platform; of two with one key the last counts.
pub fn annotations_of(
    all: &[Annotation],
    level: Level,
    platform: &Platform,
) -> BTreeMap<String, String> {
    let is_meant = |annotation: &&Annotation| {
        let other = annotation.platform.as_ref();
        annotation.level == level && other.is_none_or(|other| other == platform)
    };
    let pairs = all.iter().filter(is_meant);
    pairs
        .map(|annotation| (annotation.key.clone(), annotation.value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_platforms_stand_before_the_name() {
        let amd64: Platform = "linux/amd64".parse().expect("a platform");
        let cases: [(&str, &[(Level, bool)]); 5] = [
            ("k=v", &[(Level::Manifest, false)]),
            ("manifest[linux/amd64]:k=v", &[(Level::Manifest, true)]),
            ("index:k=v", &[(Level::Index, false)]),
            (
                "manifest-descriptor:k=v",
                &[(Level::ManifestDescriptor, false)],
            ),
            (
                "index,manifest[linux/amd64]:k=v",
                &[(Level::Index, false), (Level::Manifest, true)],
            ),
        ];
        for (typed, expected) in cases {
            let expected: Vec<_> = expected
                .iter()
                .map(|(level, has_platform)| Annotation {
                    level: *level,
                    platform: has_platform.then(|| amd64.clone()),
                    key: "k".into(),
                    value: "v".into(),
                })
                .collect();
            assert_eq!(parse(typed), Ok(expected), "{typed}");
        }
        for typed in [
            "k",
            "=v",
            "manfest:k=v",
            "manifest[x:k=v",
            "manifest[]:k=v",
            ":k=v",
        ] {
            assert!(parse(typed).is_err(), "{typed}");
        }
        let found = of_output("annotation-manifest-descriptor[linux/amd64].a.b", "v", "");
        let found = found.expect("it is well formed").expect("it is one");
        assert_eq!(
            (found.level, found.key.as_str()),
            (Level::ManifestDescriptor, "a.b")
        );
        assert_eq!(
            of_output("annotation.k", "v", "")
                .expect("well formed")
                .map(|a| a.level),
            Some(Level::Manifest)
        );
        assert_eq!(of_output("compression", "v", ""), Ok(None));
    }
}
