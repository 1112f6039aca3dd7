//! The environment variables, as a value that tests can make up.

use std::collections::BTreeMap;

/// Environment variables whose names and values are Unicode; others are as good as unset.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// This process's environment.
    pub fn of_this_process() -> Self {
        let variables = std::env::vars_os();
        let unicode = variables.map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self(unicode.flatten().collect())
    }

    /// A variable's value; an empty one counts as a value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        Self(variables.map(|(k, v)| (k.to_owned(), v.to_owned())).into())
    }
}
