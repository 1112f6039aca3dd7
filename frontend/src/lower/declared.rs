//! The ARGs that a stage has declared so far.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use super::chain::Chain;
use super::environment::Environment;

/// The ARGs so far with their last values.
#[derive(Debug, Clone, Default)]
pub(super) struct Declared {
    values: Rc<Vec<(Arc<str>, Arc<str>)>>,
    positions: Rc<BTreeMap<Arc<str>, usize>>,
    seen: Chain<SeenArgument>,
    /// Whether a value changed since the last command, and not only new ARGs came.
    is_stale: bool,
}

/// An ARG with the value that a command sees, which an ENV of the same name decides.
#[derive(Debug)]
pub(super) struct SeenArgument {
    pub(super) name: Arc<str>,
    pub(super) value: Arc<str>,
    /// How many arguments there are up to this one.
    pub(super) count: usize,
    /// How many bytes all names and values up to this one have.
    size: usize,
}

impl Declared {
    pub(super) fn contains(&self, name: &str) -> bool {
        self.positions.contains_key(name)
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Declares an ARG that is in the environment already; a second time it only changes the value.
    pub(super) fn declare(&mut self, name: &str, value: &str, environment: &Environment) {
        let value: Arc<str> = value.into();
        if let Some(position) = self.positions.get(name) {
            Rc::make_mut(&mut self.values)[*position].1 = value;
            self.is_stale = true;
            return;
        }
        let name: Arc<str> = name.into();
        Rc::make_mut(&mut self.positions).insert(Arc::clone(&name), self.values.len());
        Rc::make_mut(&mut self.values).push((Arc::clone(&name), Arc::clone(&value)));
        if !self.is_stale {
            self.push_seen(name, value, environment);
        }
    }

    /// Takes note of a variable that was set.
    pub(super) fn changed(&mut self, name: &str) {
        self.is_stale |= self.contains(name);
    }

    /// Whether [`Declared::seen`] must look at all arguments.
    pub(super) fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// The arguments as a command sees them now.
    pub(super) fn seen(&mut self, environment: &Environment) -> Chain<SeenArgument> {
        if self.is_stale {
            self.is_stale = false;
            self.seen = Chain::default();
            for (name, value) in Rc::clone(&self.values).iter() {
                self.push_seen(Arc::clone(name), Arc::clone(value), environment);
            }
        }
        self.seen.clone()
    }

    fn push_seen(&mut self, name: Arc<str>, value: Arc<str>, environment: &Environment) {
        let value = match environment.value(&name) {
            Some(set) if *set != *value => set.into(),
            _ => value,
        };
        let (count, size) = (self.seen.last()).map_or((0, 0), |last| (last.count, last.size));
        self.seen.push(SeenArgument {
            size: size + name.len() + value.len(),
            count: count + 1,
            name,
            value,
        });
    }
}

/// How many bytes all arguments have in a history.
pub(super) fn size(arguments: &Chain<SeenArgument>) -> usize {
    let separators = 2;
    (arguments.last()).map_or(0, |last| last.size + separators * last.count)
}
