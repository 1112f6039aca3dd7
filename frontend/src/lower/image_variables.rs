//! The variables of an image's config: each stays where it was first set.

use std::collections::BTreeMap;
use std::rc::Rc;

/// The pairs `name=value` of a config. A copy shares all until one of the two changes.
#[derive(Debug, Clone, Default)]
pub(super) struct ImageVariables {
    pairs: Rc<Vec<Rc<str>>>,
    positions: Rc<BTreeMap<Rc<str>, usize>>,
}

impl ImageVariables {
    pub(super) fn new(pairs: Vec<String>) -> Self {
        let pairs: Vec<Rc<str>> = pairs.into_iter().map(Rc::from).collect();
        // Of several with one name, the first counts.
        let positions = pairs.iter().enumerate().rev();
        let positions = positions.map(|(at, pair)| (Rc::from(split(pair).0), at));
        Self {
            positions: Rc::new(positions.collect()),
            pairs: Rc::new(pairs),
        }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.positions.contains_key(name)
    }

    /// Sets a variable, where it stands or else at the end.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        let pair: Rc<str> = format!("{name}={value}").into();
        match self.positions.get(name) {
            Some(position) if self.pairs[*position] == pair => {}
            Some(position) => Rc::make_mut(&mut self.pairs)[*position] = pair,
            None => {
                let positions = Rc::make_mut(&mut self.positions);
                let (name, _) = split(&pair);
                positions.entry(name.into()).or_insert(self.pairs.len());
                Rc::make_mut(&mut self.pairs).push(pair);
            }
        }
    }

    /// Names and values in order.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> + Clone {
        self.pairs.iter().map(|pair| split(pair))
    }

    /// As a config has them.
    pub(super) fn list(&self) -> Vec<String> {
        self.pairs.iter().map(|pair| (**pair).to_owned()).collect()
    }
}

fn split(pair: &str) -> (&str, &str) {
    pair.split_once('=').unwrap_or((pair, ""))
}
