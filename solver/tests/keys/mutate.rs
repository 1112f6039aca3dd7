//! All values that differ from a given one in one place.

use std::sync::Arc;

use kiln_solver::op::{InputIndex, Variable};
use kiln_solver::{ContentDigest, DiffId, Key, ObjectId, RelPath, Sha256Digest};

/// A value that differs from another in one place.
#[derive(Debug, Clone)]
pub(crate) struct Mutant<T> {
    /// The place: names of fields and variants, joined by `.`.
    pub(crate) place: String,
    /// The value.
    pub(crate) value: T,
    /// Whether a result may depend on the place.
    pub(crate) counts: bool,
}

impl<T> Mutant<T> {
    fn new(place: &str, value: T) -> Self {
        Self {
            place: place.to_owned(),
            value,
            counts: true,
        }
    }

    /// The same difference in something larger.
    pub(crate) fn within<U>(
        self,
        place: &str,
        counts: bool,
        enclose: impl FnOnce(T) -> U,
    ) -> Mutant<U> {
        Mutant {
            place: format!("{place}.{}", self.place),
            value: enclose(self.value),
            counts: counts && self.counts,
        }
    }
}

/// What the place of a mutant contains that is of another variant.
pub(crate) const OTHER: &str = "other variant";

/// Something that a key may depend on.
pub(crate) trait Mutate: Clone + PartialEq {
    /// Any value, with everything present that may be absent.
    fn sample() -> Self;

    /// All that differ from this one in one place.
    fn mutants(&self) -> Vec<Mutant<Self>>;
}

/// Names every field of a struct and whether it is part of the `key` or only stands `beside` it. A
/// field that is not named here does not compile.
macro_rules! structure {
    ($type:ident { $($field:ident: $role:ident),* $(,)? }) => {
        impl $crate::mutate::Mutate for $type {
            fn sample() -> Self {
                Self { $($field: $crate::mutate::Mutate::sample()),* }
            }

            fn mutants(&self) -> Vec<$crate::mutate::Mutant<Self>> {
                let Self { $($field),* } = self;
                let mut all = Vec::new();
                $(all.extend($field.mutants().into_iter().map(|inner| {
                    let counts = $crate::mutate::role!($role);
                    inner.within(stringify!($field), counts, |value| {
                        let mut changed = self.clone();
                        changed.$field = value;
                        changed
                    })
                }));)*
                all
            }
        }
    };
}

macro_rules! role {
    (key) => {
        true
    };
    (beside) => {
        false
    };
}

/// Names every variant of an enum and its fields. One that is not named here does not compile.
macro_rules! choice {
    ($type:ident { $($variant:ident $(($inner:ident))? $({ $($field:ident),* })?),* $(,)? }) => {
        impl $crate::mutate::Mutate for $type {
            fn sample() -> Self {
                let all = $crate::mutate::choice!(@samples $($variant $(($inner))? $({ $($field),* })?),*);
                all.into_iter().next().expect("an enum has variants")
            }

            fn mutants(&self) -> Vec<$crate::mutate::Mutant<Self>> {
                let all = $crate::mutate::choice!(@samples $($variant $(($inner))? $({ $($field),* })?),*);
                let mut all = $crate::mutate::others(self, all);
                match self {
                    $(Self::$variant $(($inner))? $({ $($field),* })? => {
                        let own = std::iter::empty();
                        $(let own = own.chain($inner.mutants().into_iter().map(|inner| {
                            inner.within(stringify!($variant), true, Self::$variant)
                        }));)?
                        $($(let own = own.chain($field.mutants().into_iter().map(|inner| {
                            let place = concat!(stringify!($variant), ".", stringify!($field));
                            inner.within(place, true, |value| {
                                let mut changed = self.clone();
                                if let Self::$variant { $field: old, .. } = &mut changed {
                                    *old = value;
                                }
                                changed
                            })
                        }));)*)?
                        all.extend(own);
                    })*
                }
                all
            }
        }
    };
    (@samples $($variant:ident $(($inner:ident))? $({ $($field:ident),* })?),*) => {
        [$(
            Self::$variant
                $(({ let $inner = $crate::mutate::Mutate::sample(); $inner }))?
                $({ $($field: $crate::mutate::Mutate::sample()),* })?
        ),*]
    };
}

pub(crate) use {choice, role, structure};

/// Those of other variants than this value.
pub(crate) fn others<T>(this: &T, all: impl IntoIterator<Item = T>) -> Vec<Mutant<T>> {
    let variant = std::mem::discriminant(this);
    all.into_iter()
        .filter(|other| std::mem::discriminant(other) != variant)
        .enumerate()
        .map(|(number, other)| Mutant::new(&format!("{OTHER} {number}"), other))
        .collect()
}

/// Something without parts: a sample and what it may change to.
macro_rules! whole {
    ($($type:ty: $sample:expr, $value:ident => [$($change:expr),* $(,)?]);* $(;)?) => {
        $(impl Mutate for $type {
            fn sample() -> Self {
                $sample
            }

            fn mutants(&self) -> Vec<Mutant<Self>> {
                let $value = self;
                let changes = [$((stringify!($change), $change)),*];
                let changes = changes.into_iter().filter(|(_, changed)| changed != self);
                changes.map(|(what, changed)| Mutant::new(what, changed)).collect()
            }
        })*
    };
}

whole! {
    bool: true, value => [!value];
    u32: 7, value => [value.wrapping_add(1), 0, u32::MAX];
    u64: 7, value => [value.wrapping_add(1), 0, u64::MAX];
    i64: 7, value => [value.wrapping_add(1), 0, -1];
    String: "some text".to_owned(), value => [
        String::new(),
        format!("{value}x"),
        format!("x{value}"),
        format!("{value}\n"),
        value.to_uppercase(),
    ];
    RelPath: RelPath::parse(b"some/path").expect("a path"), value => [
        RelPath::root(),
        value.join_name(b"x"),
        RelPath::parse(b"some").expect("a path"),
    ];
    Arc<[u8]>: b"some bytes".as_slice().into(), value => [
        [].into(),
        [&value[..], b"x"].concat().into(),
        value.to_ascii_uppercase().into(),
        b"\xff".as_slice().into(),
    ];
    InputIndex: InputIndex(1), value => [InputIndex(value.0 + 1), InputIndex(0)];
    ObjectId: "ab".repeat(20).parse().expect("40 digits"), _value => [
        "cd".repeat(20).parse().expect("40 digits"),
        "ab".repeat(32).parse().expect("64 digits"),
    ];
    Sha256Digest: Sha256Digest::new([1; 32]), value => [Sha256Digest::new(flipped(value.as_bytes()))];
    DiffId: DiffId::new([2; 32]), value => [DiffId::new(flipped(value.as_bytes()))];
    ContentDigest: ContentDigest::new([3; 32]), value => [ContentDigest::new(flipped(value.as_bytes()))];
    Key: Key::new([4; 32]), value => [Key::new(flipped(value.as_bytes()))];
}

fn flipped(bytes: &[u8; 32]) -> [u8; 32] {
    let mut flipped = *bytes;
    flipped[31] ^= 1;
    flipped
}

impl<T: Mutate> Mutate for Box<T> {
    fn sample() -> Self {
        Box::new(T::sample())
    }

    fn mutants(&self) -> Vec<Mutant<Self>> {
        let inner = self.as_ref().mutants().into_iter();
        inner
            .map(|inner| inner.within("box", true, Box::new))
            .collect()
    }
}

impl<T: Mutate> Mutate for Option<T> {
    fn sample() -> Self {
        Some(T::sample())
    }

    fn mutants(&self) -> Vec<Mutant<Self>> {
        let Some(value) = self else {
            return vec![Mutant::new("some", Self::sample())];
        };
        let inner = value.mutants().into_iter();
        let inner = inner.map(|inner| inner.within("some", true, Some));
        inner.chain([Mutant::new("none", None)]).collect()
    }
}

impl<T: Mutate> Mutate for Vec<T> {
    fn sample() -> Self {
        vec![T::sample()]
    }

    fn mutants(&self) -> Vec<Mutant<Self>> {
        let mut all = Vec::new();
        for (at, item) in self.iter().enumerate() {
            let replaced = |value| {
                let mut changed = self.clone();
                changed[at] = value;
                changed
            };
            let inner = item.mutants().into_iter();
            all.extend(inner.map(|inner| inner.within(&at.to_string(), true, replaced)));
            let mut shorter = self.clone();
            shorter.remove(at);
            all.push(Mutant::new(&format!("without {at}"), shorter));
            let mut swapped = self.clone();
            swapped.swap(0, at);
            if swapped != *self {
                all.push(Mutant::new(&format!("0 and {at} swapped"), swapped));
            }
        }
        let mut longer = self.clone();
        longer.push(T::sample());
        all.push(Mutant::new("one more", longer));
        all
    }
}

/// A list that is shared.
impl<T: Mutate> Mutate for Arc<[T]> {
    fn sample() -> Self {
        Vec::sample().into()
    }

    fn mutants(&self) -> Vec<Mutant<Self>> {
        let own = self.to_vec().mutants().into_iter();
        own.map(|inner| inner.within("list", true, Arc::from))
            .collect()
    }
}

/// A variable whose name and value are shared.
impl Mutate for Variable {
    fn sample() -> Self {
        shared(Mutate::sample())
    }

    fn mutants(&self) -> Vec<Mutant<Self>> {
        let own = (self.0.to_string(), self.1.to_string());
        let own = own.mutants().into_iter();
        own.map(|inner| inner.within("variable", true, shared))
            .collect()
    }
}

fn shared((name, value): (String, String)) -> Variable {
    (name.into(), value.into())
}

impl Mutate for (String, String) {
    fn sample() -> Self {
        ("NAME".to_owned(), "value".to_owned())
    }

    fn mutants(&self) -> Vec<Mutant<Self>> {
        let (name, value) = self;
        let names = name.mutants().into_iter();
        let names = names.map(|inner| inner.within("name", true, |name| (name, value.clone())));
        let values = value.mutants().into_iter();
        let values = values.map(|inner| inner.within("value", true, |value| (name.clone(), value)));
        let joined = (format!("{name}{value}"), String::new());
        let joined = (joined != *self).then(|| Mutant::new("joined", joined));
        names.chain(values).chain(joined).collect()
    }
}
