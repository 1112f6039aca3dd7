//! The variables of a stage in the order of their last setting.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use kiln_solver::op::Variable;

use crate::expand::Variables;

/// An ordered set of variables; setting one again moves it to the end. A copy shares all until one of
/// the two changes.
#[derive(Debug, Clone, Default)]
pub(super) struct Environment {
    /// In order; what was set again has left a gap.
    ordered: Rc<Vec<Option<Variable>>>,
    positions: Rc<BTreeMap<Arc<str>, usize>>,
    /// How many bytes all names and values have.
    size: usize,
    /// The last list, as long as it holds: most commands see what the one before them saw.
    listed: Option<Arc<[Variable]>>,
}

impl Environment {
    pub(super) fn set(&mut self, name: &str, value: &str) {
        let known = self.positions.get(name).copied();
        let mut variable = match known.and_then(|position| self.ordered[position].clone()) {
            Some(variable) => variable,
            None => {
                self.size += name.len();
                (name.into(), Arc::default())
            }
        };
        if known.is_some() && known == self.ordered.len().checked_sub(1) && *variable.1 == *value {
            return;
        }
        if *variable.1 != *value {
            self.size = self.size - variable.1.len() + value.len();
            variable.1 = value.into();
        }
        self.listed = None;
        let ordered = Rc::make_mut(&mut self.ordered);
        if let Some(position) = known {
            ordered[position] = None;
        }
        Rc::make_mut(&mut self.positions).insert(Arc::clone(&variable.0), ordered.len());
        ordered.push(Some(variable));
        if ordered.len() > 2 * self.positions.len() + 16 {
            self.close_gaps();
        }
    }

    /// Sets several variables one after the other.
    pub(super) fn set_all<'p>(
        &mut self,
        pairs: impl DoubleEndedIterator<Item = (&'p str, &'p str)> + Clone,
    ) {
        if !self.ends_with(pairs.clone()) {
            pairs.for_each(|(name, value)| self.set(name, value));
        }
    }

    fn ends_with<'p>(&self, pairs: impl DoubleEndedIterator<Item = (&'p str, &'p str)>) -> bool {
        let mut last = self.ordered.iter().rev().flatten();
        pairs.rev().all(|(name, value)| {
            last.next()
                .is_some_and(|known| *known.0 == *name && *known.1 == *value)
        })
    }

    fn close_gaps(&mut self) {
        let ordered = Rc::make_mut(&mut self.ordered);
        ordered.retain(Option::is_some);
        let names = ordered.iter().flatten().enumerate();
        self.positions = Rc::new(
            names
                .map(|(at, (name, _))| (Arc::clone(name), at))
                .collect(),
        );
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let variable = self.ordered[*self.positions.get(name)?].as_ref()?;
        Some(&variable.1)
    }

    /// The names of all variables.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.positions.keys().map(|name| &**name)
    }

    /// How many variables there are.
    pub(super) fn len(&self) -> usize {
        self.positions.len()
    }

    /// How many bytes all names and values have.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Whether the next list is the last one.
    pub(super) fn is_listed(&self) -> bool {
        self.listed.is_some()
    }

    /// All variables in order.
    pub(super) fn list(&mut self) -> Arc<[Variable]> {
        let make = || self.ordered.iter().flatten().cloned().collect();
        Arc::clone(self.listed.get_or_insert_with(make))
    }
}

impl Variables for Environment {
    fn get(&self, name: &str) -> Option<&str> {
        self.value(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(environment: &mut Environment) -> String {
        let list = environment.list();
        let pairs = list.iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_set_again_moves_to_the_end() {
        let mut environment = Environment::default();
        for (name, value) in [("a", "1"), ("b", "2"), ("a", "1"), ("c", "3"), ("c", "4")] {
            environment.set(name, value);
        }
        assert_eq!(shown(&mut environment), "b=2 a=1 c=4");
        assert_eq!(environment.size(), 6);
        let copy = environment.clone();
        (0..100).for_each(|number| environment.set("b", &number.to_string()));
        assert_eq!(shown(&mut environment), "a=1 c=4 b=99");
        assert_eq!((environment.len(), environment.size()), (3, 7));
        assert_eq!(copy.value("b"), Some("2"));
    }

    #[test]
    fn several_at_once_are_several_one_after_the_other() {
        let mut environment = Environment::default();
        environment.set_all([("x", "1"), ("a", "1"), ("b", "1")].into_iter());
        environment.set_all([("a", "1"), ("b", "1")].into_iter());
        assert_eq!(shown(&mut environment), "x=1 a=1 b=1");
        environment.set_all([("a", "1"), ("x", "1")].into_iter());
        assert_eq!(shown(&mut environment), "b=1 a=1 x=1");
    }
}
