//! Filters as BuildKit and containerd write them: `type==regular`, `id~=^ab`, `shared`,
//! `description!=x`; several in one, joined by commas, must all match.

use std::str::FromStr;

use regex_lite::Regex;

use super::Item;

/// What an item must be like.
#[derive(Debug, Clone, Default)]
pub struct Filter(Vec<Condition>);

#[derive(Debug, Clone)]
struct Condition {
    field: Field,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    IsPresent,
    Equals(String),
    Differs(String),
    Matches(Regex),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Id,
    Parents,
    Description,
    Type,
    InUse,
    Mutable,
    Immutable,
    Shared,
    Private,
}

const FIELDS: [(&str, Field); 9] = [
    ("id", Field::Id),
    ("parents", Field::Parents),
    ("description", Field::Description),
    ("type", Field::Type),
    ("inuse", Field::InUse),
    ("mutable", Field::Mutable),
    ("immutable", Field::Immutable),
    ("shared", Field::Shared),
    ("private", Field::Private),
];

const TYPES: [&str; 6] = [
    "internal",
    "frontend",
    "source.local",
    "source.git.checkout",
    "exec.cachemount",
    "regular",
];

/// Why something is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// There is no such field.
    #[error("there is no filter {0:?}; there are {fields}", fields = FIELDS.map(|(name, _)| name).join(", "))]
    Field(String),
    /// There is no such type of records.
    #[error("there are no records of type {0:?}; there are {types}", types = TYPES.join(", "))]
    Type(String),
    /// What follows `~=` is no regular expression.
    #[error("{0:?} is no regular expression: {1}")]
    Expression(String, String),
}

impl FromStr for Filter {
    type Err = FilterError;

    /// One `=` means what BuildKit's clients make of it: for `id` a regular expression, else the
    /// exact value.
    fn from_str(text: &str) -> Result<Self, FilterError> {
        let parts = text.split(',').filter(|part| !part.is_empty());
        parts
            .map(Condition::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Condition {
    fn parse(text: &str) -> Result<Self, FilterError> {
        let end = text.find(['=', '~', '!']).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let known = FIELDS.iter().find(|(known, _)| *known == name);
        let field = known.map(|(_, field)| *field);
        let field = field.ok_or_else(|| FilterError::Field(name.to_owned()))?;
        let matches = |value: &str| {
            let expression = Regex::new(value);
            expression
                .map(Test::Matches)
                .map_err(|error| FilterError::Expression(value.to_owned(), error.to_string()))
        };
        let test = if let Some(value) = rest.strip_prefix("==") {
            Test::Equals(value.to_owned())
        } else if let Some(value) = rest.strip_prefix("!=") {
            Test::Differs(value.to_owned())
        } else if let Some(value) = rest.strip_prefix("~=") {
            matches(value)?
        } else if let Some(value) = rest.strip_prefix('=') {
            match field {
                Field::Id => matches(value)?,
                _ => Test::Equals(value.to_owned()),
            }
        } else if rest.is_empty() {
            Test::IsPresent
        } else {
            return Err(FilterError::Field(text.to_owned()));
        };
        match &test {
            Test::Equals(value) | Test::Differs(value)
                if field == Field::Type && !TYPES.contains(&&**value) =>
            {
                Err(FilterError::Type(value.clone()))
            }
            _ => Ok(Self { field, test }),
        }
    }
}

impl Filter {
    /// Whether an item is like this. `describe` tells what made it, if that is asked.
    pub fn matches(&self, item: &Item, describe: &dyn Fn(&Item) -> Option<String>) -> bool {
        let mut conditions = self.0.iter();
        conditions.all(|condition| condition.holds(item, describe))
    }

    /// Whether an item may be like this, if no more is known of it than its type.
    pub(super) fn may_match(&self, item: &Item) -> bool {
        let of_type = |condition: &&Condition| condition.field == Field::Type;
        let mut conditions = self.0.iter().filter(of_type);
        conditions.all(|condition| condition.holds(item, &|_| None))
    }
}

impl Condition {
    fn holds(&self, item: &Item, describe: &dyn Fn(&Item) -> Option<String>) -> bool {
        let value = self.field.of(item, describe);
        match &self.test {
            Test::IsPresent => value.is_some(),
            Test::Equals(wanted) => value.as_ref() == Some(wanted),
            Test::Differs(wanted) => value.as_ref() != Some(wanted),
            Test::Matches(wanted) => value.is_some_and(|value| wanted.is_match(&value)),
        }
    }
}

impl Field {
    /// The field's value; what is only there or not has an empty one.
    fn of(self, item: &Item, describe: &dyn Fn(&Item) -> Option<String>) -> Option<String> {
        let flag = |is_set: bool| is_set.then(String::new);
        match self {
            Self::Id => Some(item.name.clone()),
            Self::Parents => (!item.parents.is_empty()).then(|| item.parents.join(";")),
            Self::Description => describe(item),
            Self::Type => Some(item.kind.record_type().to_owned()),
            Self::InUse => flag(!item.processes.is_empty()),
            Self::Mutable => flag(item.kind.is_mutable()),
            Self::Immutable => flag(!item.kind.is_mutable()),
            Self::Shared => flag(!item.images.is_empty()),
            Self::Private => flag(item.images.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ItemKind;
    use super::*;

    #[test]
    fn filters_match_as_in_buildkit() {
        let item = Item {
            kind: ItemKind::CacheMount,
            name: "abc123".to_owned(),
            paths: Vec::new(),
            bytes: 0,
            created: 0,
            used: 0,
            records: Vec::new(),
            parents: Vec::new(),
            images: Vec::new(),
            processes: vec![7],
            is_cache: false,
        };
        let cases = [
            ("", true),
            ("type==exec.cachemount", true),
            ("type=exec.cachemount", true),
            ("type!=exec.cachemount", false),
            ("type==regular", false),
            ("type~=^exec", true),
            ("id~=^abc", true),
            ("id=c1", true),
            ("id==abc", false),
            ("inuse", true),
            ("shared", false),
            ("private", true),
            ("mutable,inuse", true),
            ("mutable,shared", false),
            ("immutable", false),
            ("parents", false),
            ("description~=npm", true),
        ];
        for (text, expected) in cases {
            let filter: Filter = text.parse().expect(text);
            let describe = |_: &Item| Some("cache mount npm".to_owned());
            assert_eq!(filter.matches(&item, &describe), expected, "{text}");
        }
        for text in ["size==1", "type==layer", "id~=[", "id~x", "until=24h"] {
            assert!(text.parse::<Filter>().is_err(), "{text}");
        }
    }
}
