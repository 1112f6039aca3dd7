//! Options of the form `NAME=VALUE`, of which the last one of a name counts.

use std::collections::BTreeMap;

use super::{Environment, UsageError};

const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Build arguments; a name alone takes its value from the environment, or is left out.
pub(super) fn build_args(
    typed: &[String],
    environment: &Environment,
) -> Result<BTreeMap<String, String>, UsageError> {
    let mut values = BTreeMap::new();
    // buildx passes this one on by itself.
    if let Some(epoch) = environment.get(EPOCH).filter(|epoch| !epoch.is_empty()) {
        values.insert(EPOCH.to_owned(), epoch.to_owned());
    }
    for argument in typed {
        let (name, value) = split("--build-arg", argument)?;
        let value = value.or_else(|| environment.get(name));
        if let Some(value) = value {
            values.insert(name.to_owned(), value.to_owned());
        }
    }
    Ok(values)
}

/// Labels; a name alone has the empty value.
pub(super) fn labels(typed: &[String]) -> Result<BTreeMap<String, String>, UsageError> {
    let pairs = typed.iter().map(|label| split("--label", label));
    let owned = pairs.map(|pair| {
        let (name, value) = pair?;
        Ok((name.to_owned(), value.unwrap_or_default().to_owned()))
    });
    owned.collect()
}

fn split<'t>(
    option: &'static str,
    typed: &'t str,
) -> Result<(&'t str, Option<&'t str>), UsageError> {
    let (name, value) = match typed.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (typed, None),
    };
    if name.is_empty() {
        return Err(UsageError::new(
            option,
            typed,
            "the name before the = is missing",
        ));
    }
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_build_argument_without_a_value_comes_from_the_environment() {
        let environment = Environment::from([("FROM_ENV", "e"), ("EMPTY", "")]);
        let typed = strings(&["A=1", "B=x=y", "C=", "FROM_ENV", "EMPTY", "UNSET", "A=2"]);
        let values = build_args(&typed, &environment).expect("all are well formed");
        let expected = [
            ("A", "2"),
            ("B", "x=y"),
            ("C", ""),
            ("EMPTY", ""),
            ("FROM_ENV", "e"),
        ];
        let expected = expected.map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(values, expected.into());
    }

    #[test]
    fn the_environment_fixes_the_time_unless_it_is_typed() {
        let environment = Environment::from([("SOURCE_DATE_EPOCH", "1")]);
        let epoch = |typed: &[&str]| {
            build_args(&strings(typed), &environment).map(|all| all[EPOCH].clone())
        };
        assert_eq!(epoch(&[]), Ok("1".to_owned()));
        assert_eq!(epoch(&["SOURCE_DATE_EPOCH=2"]), Ok("2".to_owned()));
        let unset = Environment::from([("SOURCE_DATE_EPOCH", "")]);
        assert_eq!(build_args(&[], &unset), Ok(BTreeMap::new()));
    }

    #[test]
    fn a_label_without_a_value_is_empty_and_one_without_a_name_is_refused() {
        let values = labels(&strings(&["a", "b=c"])).expect("all are well formed");
        assert_eq!(values["a"], "");
        assert!(labels(&strings(&["=x"])).is_err());
    }
}
