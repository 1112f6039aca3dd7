//! What may go, in which order, and when it is enough. The options mean what they mean to BuildKit
//! (docs/buildkitd.toml.md there), except that the size that is kept below a cap is that of the whole
//! store, images included.

use std::collections::HashSet;
use std::str::FromStr;

use kiln_solver::{DiffId, Key};

use super::{Filter, Item, ItemKind, Survey};

/// An amount of disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// In bytes.
    Bytes(u64),
    /// Of the disk that the store is on, in hundredths.
    Percent(u8),
}

/// Why something is no amount of disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpaceError {
    /// It is none.
    #[error("{0:?} is no size; write it as in 20GB, 512MiB or 10%")]
    Nonsense(String),
    /// No disk is so large.
    #[error("{0:?} is more than any disk has; the largest size is 8EiB")]
    TooLarge(String),
}

/// The largest size, in bytes: what file systems can tell of a file.
const MAXIMUM: u64 = 1 << 63;

impl FromStr for Space {
    type Err = SpaceError;

    /// A number with a unit or `%`. Units are powers of 1000, with an `i` powers of 1024.
    fn from_str(text: &str) -> Result<Self, SpaceError> {
        let fail = || SpaceError::Nonsense(text.to_owned());
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let unit = unit.trim().to_ascii_lowercase();
        if unit == "%" {
            let percent: u8 = number.parse().map_err(|_| fail())?;
            return if percent <= 100 {
                Ok(Self::Percent(percent))
            } else {
                Err(fail())
            };
        }
        let (prefix, base) = match unit.strip_suffix("ib") {
            Some(prefix) => (prefix, 1024_u64),
            None => (unit.strip_suffix('b').unwrap_or(&unit), 1000),
        };
        let power = match prefix {
            "" => 0,
            "k" => 1,
            "m" => 2,
            "g" => 3,
            "t" => 4,
            "p" => 5,
            "e" => 6,
            _ => return Err(fail()),
        };
        let number: f64 = number.parse().map_err(|_| fail())?;
        let bytes = number * base.pow(power) as f64;
        match bytes <= MAXIMUM as f64 {
            true => Ok(Self::Bytes(bytes as u64)),
            false => Err(SpaceError::TooLarge(text.to_owned())),
        }
    }
}

impl Space {
    fn bytes(self, total: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => total / 100 * u64::from(percent),
        }
    }
}

/// What may go.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Whether records of builds go, too, and the cache whose layers images need anyway: that frees
    /// next to nothing, but the next build runs every step again.
    pub all: bool,
    /// Only what matches one of these goes, if there are any.
    pub filters: Vec<Filter>,
    /// How long something must not have been used to go, in seconds.
    pub keep_duration: Option<u64>,
    /// As long as the store is smaller, nothing goes.
    pub reserved_space: Option<Space>,
    /// Things go until the store is smaller.
    pub max_used_space: Option<Space>,
    /// Things go until that much of the disk is free.
    pub min_free_space: Option<Space>,
}

/// What goes.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Items, by their index in the survey, in the order in which they go.
    pub items: Vec<usize>,
    /// Records to forget.
    pub records: Vec<Key>,
    /// Blobs whose layers nobody needs to find in them any more.
    pub layer_blobs: Vec<(DiffId, String)>,
    /// Selections go that were not used since this moment, in seconds since 1970.
    pub selections_unused_since: Option<i64>,
    /// A cap that could not be kept.
    pub shortfall: Option<Shortfall>,
}

/// A cap that could not be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortfall {
    /// What the store should have at most, in bytes.
    pub wanted: u64,
    /// What it has once all is gone that may go, in bytes.
    pub left: u64,
}

impl Survey {
    /// What policies let go at a moment, each in turn. `describe` tells what made an item.
    pub fn choose(
        &self,
        policies: &[Policy],
        now: i64,
        describe: &dyn Fn(&Item) -> Option<String>,
    ) -> Choice {
        let mut choosing = Choosing::new(self, now, describe);
        for policy in policies {
            choosing.apply(policy);
        }
        choosing.finish()
    }
}

impl Survey {
    /// Whether policies let nothing go at a moment, as far as that can be told of a survey without
    /// records: the store is small enough, or holds nothing that is meant.
    pub(super) fn is_left_alone(&self, policies: &[Policy], now: i64) -> bool {
        let choosing = Choosing::new(self, now, &|_| None);
        policies.iter().all(|policy| choosing.is_idle(policy))
    }
}

struct Choosing<'s> {
    survey: &'s Survey,
    now: i64,
    describe: &'s dyn Fn(&Item) -> Option<String>,
    going: HashSet<usize>,
    /// What the store has without what goes, in bytes.
    total: u64,
    choice: Choice,
}

impl<'s> Choosing<'s> {
    fn new(survey: &'s Survey, now: i64, describe: &'s dyn Fn(&Item) -> Option<String>) -> Self {
        Self {
            survey,
            now,
            describe,
            going: HashSet::new(),
            total: survey.bytes(),
            choice: Choice::default(),
        }
    }

    /// Whether a policy certainly lets nothing go.
    fn is_idle(&self, policy: &Policy) -> bool {
        if let Some(keep) = self.bytes_to_keep(policy)
            && self.total < keep
        {
            return true;
        }
        let cut_off = self.cut_off(policy);
        let may_go = |item: &Item| {
            // When a layer was used is in the records.
            let is_layer = matches!(item.kind, ItemKind::Layer | ItemKind::Blob);
            let is_old = is_layer || item.used < cut_off;
            is_old && policy.filters.iter().any(|filter| filter.may_match(item))
        };
        !policy.filters.is_empty() && !self.survey.items.iter().any(may_go)
    }

    fn apply(&mut self, policy: &Policy) {
        let keep = self.bytes_to_keep(policy);
        let items = &self.survey.items;
        let may_go: Vec<bool> = items.iter().map(|item| self.may_go(policy, item)).collect();
        let blocked = self.blocked(&may_go);
        let depths = self.depths();
        let mut candidates: Vec<usize> = (0..items.len())
            .filter(|index| may_go[*index] && !blocked[*index] && !self.going.contains(index))
            .collect();
        // The longest unused first; of what was used at once, what stands on the rest.
        candidates.sort_by_key(|index| (items[*index].used, std::cmp::Reverse(depths[*index])));
        for index in candidates {
            if keep.is_some_and(|keep| self.total < keep) {
                break;
            }
            self.going.insert(index);
            self.choice.items.push(index);
            self.total = self.total.saturating_sub(items[index].bytes);
        }
        if keep.is_none() && policy.all {
            self.forget_shared(policy);
        }
        let is_general = policy.filters.is_empty();
        if is_general && (keep.is_none() || policy.keep_duration.is_some()) {
            let since = self.cut_off(policy);
            let known = self.choice.selections_unused_since;
            self.choice.selections_unused_since = Some(known.map_or(since, |k| k.max(since)));
        }
        if is_general && policy.keep_duration.is_none() && policy.max_used_space.is_some() {
            let wanted = keep.unwrap_or_default();
            let left = self.total;
            self.choice.shortfall = (left > wanted).then_some(Shortfall { wanted, left });
        }
    }

    /// Down to which size things go; `None` if all go that may.
    fn bytes_to_keep(&self, policy: &Policy) -> Option<u64> {
        let disk = self.survey.disk;
        let bytes = |space: Option<Space>| space.map(|space| space.bytes(disk.total));
        let (maximum, free) = (bytes(policy.max_used_space), bytes(policy.min_free_space));
        let reserved = bytes(policy.reserved_space);
        if maximum.is_none() && free.is_none() && reserved.is_none() {
            return None;
        }
        let mut keep = maximum;
        if let Some(wanted) = free {
            // What went already is free by now.
            let free = disk.free + self.survey.bytes().saturating_sub(self.total);
            let excess = wanted.saturating_sub(free);
            let without = if excess > 0 {
                self.total.saturating_sub(excess)
            } else {
                u64::MAX
            };
            keep = Some(keep.map_or(without, |keep| keep.min(without)));
        }
        Some(keep.unwrap_or(0).max(reserved.unwrap_or(0)))
    }

    fn cut_off(&self, policy: &Policy) -> i64 {
        let age = policy
            .keep_duration
            .map(|age| i64::try_from(age).unwrap_or(i64::MAX));
        age.map_or(i64::MAX, |age| self.now.saturating_sub(age))
    }

    fn may_go(&self, policy: &Policy, item: &Item) -> bool {
        let is_held = !item.processes.is_empty() || !item.images.is_empty();
        let is_spared = item.kind == ItemKind::Build && !policy.all;
        !is_held && !is_spared && self.is_meant(policy, item)
    }

    fn is_meant(&self, policy: &Policy, item: &Item) -> bool {
        let matches = |filter: &Filter| filter.matches(item, self.describe);
        item.used < self.cut_off(policy)
            && (policy.filters.is_empty() || policy.filters.iter().any(matches))
    }

    /// Which items have something above them in a record that stays: they stay, too.
    fn blocked(&self, may_go: &[bool]) -> Vec<bool> {
        let mut blocked = vec![false; may_go.len()];
        for record in &self.survey.records {
            let mut stays = false;
            for index in record.layers.iter().rev() {
                blocked[*index] |= stays;
                stays |= !may_go[*index] && !self.going.contains(index);
            }
        }
        blocked
    }

    /// How high each layer stands at most.
    fn depths(&self) -> Vec<usize> {
        let mut depths = vec![0; self.survey.items.len()];
        for record in &self.survey.records {
            for (depth, index) in record.layers.iter().enumerate() {
                depths[*index] = depth.max(depths[*index]);
            }
        }
        depths
    }

    /// Forgets what is known of layers that images need: they stay.
    fn forget_shared(&mut self, policy: &Policy) {
        for record in &self.survey.records {
            let Some(top) = record.layers.last().map(|top| &self.survey.items[*top]) else {
                continue;
            };
            let is_old = record.used < self.cut_off(policy);
            if !top.images.is_empty() && is_old && self.is_meant(policy, top) {
                self.choice.records.push(record.key);
            }
        }
    }

    fn finish(mut self) -> Choice {
        let is_going = |index: &usize| self.going.contains(index);
        let records = self.survey.records.iter();
        let without_layers = records.filter(|record| record.layers.iter().any(is_going));
        self.choice
            .records
            .extend(without_layers.map(|record| record.key));
        self.choice.records.extend(&self.survey.useless);
        self.choice.records.sort_unstable();
        self.choice.records.dedup();
        for (diff_id, blob) in &self.survey.claims {
            let is_leased = self
                .survey
                .leased
                .contains(&format!("layers/{}", diff_id.hex()));
            let stays = self
                .survey
                .layers
                .get(diff_id)
                .is_some_and(|i| !self.going.contains(i));
            if !is_leased && !stays {
                self.choice
                    .layer_blobs
                    .push((*diff_id, blob.compression.clone()));
            }
        }
        self.choice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let cases = [
            ("0", Some(Space::Bytes(0))),
            ("512", Some(Space::Bytes(512))),
            ("10GB", Some(Space::Bytes(10_000_000_000))),
            ("1.5kb", Some(Space::Bytes(1500))),
            ("2GiB", Some(Space::Bytes(2 << 30))),
            ("3 MB", Some(Space::Bytes(3_000_000))),
            ("80%", Some(Space::Percent(80))),
            ("101%", None),
            ("", None),
            ("GB", None),
            ("1XB", None),
            ("-1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse().ok(), expected, "{text:?}");
        }
        let all = Ok(Space::Bytes(1 << 63));
        assert_eq!("8EiB".parse(), all);
        let digits = "9".repeat(400);
        for text in ["9223372036854780000", "8.1EiB", "99999PB", &digits] {
            let error = Err(SpaceError::TooLarge(text.to_owned()));
            assert_eq!(text.parse::<Space>(), error);
        }
    }
}
