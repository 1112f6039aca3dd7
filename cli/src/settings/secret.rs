//! `--secret`: what steps may be shown without its being part of the image.

use std::path::PathBuf;

use super::csv::fields;
use super::{Environment, UsageError};

const OPTION: &str = "--secret";
const ATTRIBUTES: [&str; 5] = ["id", "src", "source", "env", "type"];

/// A secret's name, and where its value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretSetting {
    /// What mounts call it.
    pub id: String,
    /// Where its value is.
    pub source: SecretSource,
}

/// Where a secret's value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In this file.
    File(PathBuf),
    /// In this variable of the environment.
    Variable(String),
}

/// The attributes as typed.
#[derive(Default)]
struct Attributes {
    id: String,
    file: String,
    variable: String,
    is_variable: bool,
}

/// Reads `id=ID[,src=FILE|,env=NAME][,type=file|env]`.
pub(super) fn parse(typed: &str, environment: &Environment) -> Result<SecretSetting, UsageError> {
    let wrong = |problem: String| {
        UsageError::new(OPTION, typed, problem)
            .hint("write it as in --secret id=token,src=token.txt")
    };
    let mut attributes = Attributes::default();
    for field in fields(typed).map_err(|error| wrong(error.to_string()))? {
        let pair = field.split_once('=');
        let (name, value) = pair.ok_or_else(|| wrong(format!("{field:?} has no =")))?;
        match name.to_lowercase().as_str() {
            "id" => attributes.id = value.to_owned(),
            "src" | "source" => attributes.file = value.to_owned(),
            "env" => attributes.variable = value.to_owned(),
            "type" => match value {
                "file" => attributes.is_variable = false,
                "env" => attributes.is_variable = true,
                _ => {
                    return Err(wrong(format!("unknown type {value:?}"))
                        .known_words(value, &["file", "env"]));
                }
            },
            name => {
                let error = UsageError::new(OPTION, typed, format!("unknown attribute {name:?}"));
                return Err(error.known_words(name, &ATTRIBUTES));
            }
        }
    }
    if attributes.id.is_empty() {
        return Err(wrong("id= is missing".to_owned()));
    }
    Ok(attributes.setting(environment))
}

impl Attributes {
    /// As buildx has it: a variable counts more than a file, and where neither is named, the secret's
    /// name is that of a variable, or else of a file.
    fn setting(mut self, environment: &Environment) -> SecretSetting {
        if self.is_variable && self.variable.is_empty() {
            self.variable = std::mem::take(&mut self.file);
        }
        let source = match (self.variable.is_empty(), self.file.is_empty()) {
            (false, _) => SecretSource::Variable(self.variable),
            (true, false) => SecretSource::File(self.file.into()),
            (true, true) if environment.get(&self.id).is_some() => {
                SecretSource::Variable(self.id.clone())
            }
            (true, true) => SecretSource::File(self.id.clone().into()),
        };
        SecretSetting {
            id: self.id,
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_looked_for_where_buildx_looks() {
        let environment = Environment::from([("TOKEN", "x")]);
        let file = |path: &str| SecretSource::File(path.into());
        let variable = |name: &str| SecretSource::Variable(name.into());
        let cases = [
            ("id=a,src=f", "a", file("f")),
            ("id=a,source=f", "a", file("f")),
            ("ID=a,type=file,src=f", "a", file("f")),
            ("\"id=a\",\"src=x,y\"", "a", file("x,y")),
            ("id=a,env=V", "a", variable("V")),
            ("id=a,type=env,src=V", "a", variable("V")),
            ("id=a,src=f,env=V", "a", variable("V")),
            ("id=TOKEN", "TOKEN", variable("TOKEN")),
            ("id=TOKEN,type=env", "TOKEN", variable("TOKEN")),
            ("id=other", "other", file("other")),
        ];
        for (typed, id, source) in cases {
            let expected = SecretSetting {
                id: id.into(),
                source,
            };
            assert_eq!(parse(typed, &environment), Ok(expected), "{typed}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_advice() {
        let example = "write it as in --secret id=token,src=token.txt";
        let cases = [
            ("", example),
            ("src=f", example),
            ("token", example),
            ("id=a,scr=f", "did you mean src?"),
            ("id=a,type=var", "known are file, env"),
        ];
        for (typed, hint) in cases {
            let error = parse(typed, &Environment::default()).expect_err(typed);
            assert_eq!(error.hint.as_deref(), Some(hint), "{typed}");
        }
    }
}
