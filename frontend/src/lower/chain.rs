//! A list that only grows at its end. Copies share what they have in common, so that a stage goes on
//! where another one ended without copying what was before.

use std::rc::Rc;

/// A list whose copies cost nothing.
#[derive(Debug)]
pub(super) struct Chain<T> {
    last: Option<Rc<Link<T>>>,
}

#[derive(Debug)]
struct Link<T> {
    value: T,
    before: Option<Rc<Link<T>>>,
}

impl<T> Chain<T> {
    pub(super) fn push(&mut self, value: T) {
        let before = self.last.take();
        self.last = Some(Rc::new(Link { value, before }));
    }

    /// The value at the end.
    pub(super) fn last(&self) -> Option<&T> {
        self.last.as_ref().map(|link| &link.value)
    }

    /// All values from the first to the last.
    pub(super) fn values(&self) -> Vec<&T> {
        let links = std::iter::successors(self.last.as_deref(), |link| link.before.as_deref());
        let mut values: Vec<&T> = links.map(|link| &link.value).collect();
        values.reverse();
        values
    }
}

impl<T> Clone for Chain<T> {
    fn clone(&self) -> Self {
        Self {
            last: self.last.clone(),
        }
    }
}

impl<T> Default for Chain<T> {
    fn default() -> Self {
        Self { last: None }
    }
}

/// In a loop: links that drop each other would need a stack as deep as the list is long.
impl<T> Drop for Chain<T> {
    fn drop(&mut self) {
        let mut next = self.last.take();
        while let Some(link) = next {
            next = Rc::into_inner(link).and_then(|link| link.before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_go_separate_ways() {
        let mut one = Chain::default();
        one.push(1);
        let mut other = one.clone();
        one.push(2);
        other.push(3);
        assert_eq!(one.values(), [&1, &2]);
        assert_eq!(other.values(), [&1, &3]);
        assert_eq!(other.last(), Some(&3));
    }

    #[test]
    fn a_long_list_is_dropped_without_a_deep_stack() {
        let mut list = Chain::default();
        (0..1_000_000).for_each(|number| list.push(number));
        let shared = list.clone();
        drop(list);
        assert_eq!(shared.values().len(), 1_000_000);
    }
}
