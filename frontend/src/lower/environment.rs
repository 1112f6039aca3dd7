//! The variables of a stage in the order of their last setting.

use std::collections::BTreeMap;

use crate::expand::Variables;

/// An ordered set of variables; setting one again moves it to the end.
#[derive(Debug, Clone, Default)]
pub(super) struct Environment {
    values: BTreeMap<String, (usize, String)>,
    next: usize,
}

impl Environment {
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.values
            .insert(name.to_owned(), (self.next, value.to_owned()));
        self.next += 1;
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|(_, value)| value.as_str())
    }

    /// The names of all variables.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// How many bytes all names and values have.
    pub(super) fn size(&self) -> usize {
        self.values
            .iter()
            .map(|(name, (_, value))| name.len() + value.len())
            .sum()
    }

    /// All variables in order.
    pub(super) fn list(&self) -> Vec<(String, String)> {
        let mut list: Vec<_> = self.values.iter().collect();
        list.sort_by_key(|(_, (order, _))| *order);
        list.into_iter()
            .map(|(name, (_, value))| (name.clone(), value.clone()))
            .collect()
    }
}

impl Variables for Environment {
    fn get(&self, name: &str) -> Option<&str> {
        self.value(name)
    }
}
