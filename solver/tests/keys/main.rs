//! A key changes exactly when a result may: every field of every operation is changed in turn.

mod mutate;
mod op;

use std::collections::HashMap;
use std::fmt::Debug;

use kiln_solver::key::{InputPart, content_key, definition_key, explain, selection_key};
use kiln_solver::op::{Op, Reads};
use kiln_solver::{ContentDigest, Key};
use mutate::{Mutant, Mutate, OTHER};

/// Asserts of a value and all its mutants that exactly those have a key of their own that differ in
/// what counts.
fn assert_exact<T: Mutate + Debug>(base: &T, key: impl Fn(&T) -> Key) -> usize {
    let own = key(base);
    let mutants = base.mutants();
    let mut keys: HashMap<Key, &Mutant<T>> = HashMap::new();
    for mutant in &mutants {
        let Mutant {
            place,
            value,
            counts,
        } = mutant;
        assert_ne!(value, base, "{place} is no change");
        let mutated = key(value);
        assert_eq!(mutated != own, *counts, "{place} of {base:#?}");
        if *counts && let Some(other) = keys.insert(mutated, mutant) {
            let both = (&other.place, place);
            assert_eq!(other.value, *value, "{both:?} of {base:#?} have one key");
        }
    }
    mutants.len()
}

/// A sample, all that differ from it in one place, and what differs from those of another variant: so
/// that what is absent, present, alone and one of several is changed in turn.
fn bases<T: Mutate>() -> Vec<T> {
    let sample = T::sample();
    let near = sample.mutants();
    let variants = near.iter().filter(|near| near.place.contains(OTHER));
    let far = variants.flat_map(|near| near.value.mutants());
    let far: Vec<_> = far.collect();
    let mutants = near.into_iter().chain(far).map(|mutant| mutant.value);
    [sample].into_iter().chain(mutants).collect()
}

fn inputs() -> Vec<InputPart> {
    vec![
        InputPart::Content(vec![ContentDigest::new([5; 32])]),
        InputPart::Definition(Key::new([6; 32])),
    ]
}

/// The explanation as a key: it must tell apart what the key does. Which operation it is, is told by the
/// step's name.
fn explained(op: &Op) -> Key {
    let source = match op {
        Op::Source(source) => Some(std::mem::discriminant(source)),
        _ => None,
    };
    let kind = (std::mem::discriminant(op), source);
    let text = format!("{kind:?} {:?}", explain(op, &inputs()));
    Key::new(*blake3::hash(text.as_bytes()).as_bytes())
}

#[test]
fn a_key_changes_exactly_when_the_result_may() {
    let mut count = 0;
    for op in bases::<Op>() {
        count += assert_exact(&op, |op| definition_key(op, &inputs()));
        assert_exact(&op, |op| content_key(op, &inputs()));
    }
    assert!(count > 10_000, "{count}");
}

#[test]
fn an_explanation_changes_exactly_when_the_key_does() {
    for op in bases::<Op>() {
        assert_exact(&op, explained);
    }
}

#[test]
fn every_input_is_part_of_the_key() {
    for parts in bases::<Vec<InputPart>>() {
        assert_exact(&parts, |parts| definition_key(&Op::Merge, parts));
        assert_exact(&parts, |parts| content_key(&Op::Merge, parts));
    }
}

#[test]
fn what_is_read_of_an_input_is_named_exactly() {
    for reads in bases::<Reads>() {
        assert_exact(&reads, |reads| {
            selection_key(ContentDigest::new([7; 32]), reads)
        });
    }
    let reads = Reads::sample();
    assert_exact(&ContentDigest::sample(), |input| {
        selection_key(*input, &reads)
    });
}
