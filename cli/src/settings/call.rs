//! `--call` and `--check`: what is asked about a Dockerfile instead of building it.

use super::{UsageError, csv};

/// What is done with a Dockerfile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Call {
    /// What is asked.
    pub method: Method,
    /// How the answer is printed.
    pub format: AnswerFormat,
    /// Whether findings leave the exit code alone.
    pub ignore_status: bool,
}

/// What is asked about a Dockerfile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    /// Nothing: it is built.
    #[default]
    Build,
    /// What the rules find.
    Check,
    /// What the target takes from outside.
    Outline,
    /// Which targets there are.
    Targets,
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AnswerFormat {
    /// For people.
    #[default]
    Text,
    /// As buildx prints it.
    Json,
    /// SARIF 2.1.0; for findings only.
    Sarif,
}

/// The names of methods.
const METHODS: [(&str, Method); 4] = [
    ("build", Method::Build),
    ("check", Method::Check),
    ("outline", Method::Outline),
    ("targets", Method::Targets),
];

/// The names of formats.
const FORMATS: [(&str, AnswerFormat); 3] = [
    ("text", AnswerFormat::Text),
    ("json", AnswerFormat::Json),
    ("sarif", AnswerFormat::Sarif),
];

/// Reads `METHOD[,format=FORMAT][,ignorestatus]`.
pub(super) fn parse(typed: Option<&str>, check: bool) -> Result<Call, UsageError> {
    let Some(typed) = typed else {
        let method = match check {
            true => Method::Check,
            false => Method::Build,
        };
        return Ok(Call {
            method,
            ..Call::default()
        });
    };
    let wrong = |problem: &str| UsageError::new("--call", typed, problem);
    let mut call = Call::default();
    let fields = csv::fields(typed).map_err(|error| wrong(&error.to_string()))?;
    for field in &fields {
        let (name, value) = match field.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (field.as_str(), None),
        };
        match (name, value) {
            ("format", Some(value)) => call.format = choose("format", value, &FORMATS, typed)?,
            ("ignorestatus", None | Some("true")) => call.ignore_status = true,
            ("ignorestatus", Some("false")) => call.ignore_status = false,
            (method, None) => call.method = choose("method", method, &METHODS, typed)?,
            _ => return Err(wrong("it should look like check,format=json")),
        }
    }
    if check && call.method != Method::Check {
        return Err(wrong("it contradicts --check"));
    }
    if call.format == AnswerFormat::Sarif && call.method != Method::Check {
        return Err(wrong("only findings can be printed as SARIF"));
    }
    Ok(call)
}

fn choose<T: Copy>(
    what: &str,
    name: &str,
    known: &[(&str, T)],
    typed: &str,
) -> Result<T, UsageError> {
    let found = known.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = known.iter().map(|(known, _)| *known).collect();
        UsageError::new("--call", typed, format!("there is no {what} {name}"))
            .known_words(name, &words)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_have_options() {
        let call = |typed| parse(Some(typed), false).expect(typed);
        let check = call("check,format=json,ignorestatus");
        assert_eq!(check.method, Method::Check);
        assert_eq!(check.format, AnswerFormat::Json);
        assert!(check.ignore_status);
        assert_eq!(call("outline").format, AnswerFormat::Text);
        let short = parse(None, true).expect("--check alone");
        assert_eq!(short.method, Method::Check);
        assert_eq!(parse(None, false), Ok(Call::default()));
    }

    #[test]
    fn what_does_not_exist_is_refused() {
        for typed in [
            "chek",
            "check,format=yaml",
            "outline,format=sarif",
            "check,x=y",
        ] {
            assert!(parse(Some(typed), false).is_err(), "{typed}");
        }
        assert!(parse(Some("outline"), true).is_err());
    }
}
