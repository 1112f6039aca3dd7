//! Finds, among thousands of patterns, the few that can match a path.
//!
//! Every pattern is filed under a few bytes that each path it matches contains, the rarest it has.
//! A path is cut into all its pieces of that length, and only what is filed under them is tried.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::rule::Rule;

/// The most bytes that a pattern is filed under.
const LONGEST: usize = 4;

/// A few bytes: the length, then the bytes.
type Piece = u64;

/// Which patterns to try.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    filed: HashMap<Piece, Vec<u32>, BuildHasherDefault<PieceHasher>>,
    /// The lengths of pieces that are in use.
    lengths: Vec<usize>,
    /// The patterns without any bytes of their own.
    always: Vec<u32>,
}

impl Index {
    pub(super) fn new<'r>(rules: impl Iterator<Item = &'r Rule> + Clone) -> Self {
        let mut index = Self::default();
        let mut frequencies: HashMap<Piece, u32, BuildHasherDefault<PieceHasher>> =
            HashMap::default();
        for piece in rules.clone().flat_map(pieces_of) {
            *frequencies.entry(piece).or_default() += 1;
        }
        for (number, rule) in (0..).zip(rules) {
            let rarest = pieces_of(rule)
                .into_iter()
                .min_by_key(|piece| (frequencies.get(piece).copied(), *piece));
            match rarest {
                Some(piece) => index.filed.entry(piece).or_default().push(number),
                None => index.always.push(number),
            }
        }
        let is_used = |length: &usize| index.filed.keys().any(|piece| length_of(*piece) == *length);
        index.lengths = (1..=LONGEST).filter(is_used).collect();
        index
    }

    /// The patterns that may match a path or a directory above it, in order.
    pub(super) fn candidates(&self, path: &[u8]) -> Vec<usize> {
        let mut found = self.always.clone();
        for length in &self.lengths {
            for window in path.windows(*length) {
                if let Some(filed) = self.filed.get(&piece(window)) {
                    found.extend_from_slice(filed);
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found.into_iter().map(|number| number as usize).collect()
    }
}

/// All pieces of a pattern's longest literals.
fn pieces_of(rule: &Rule) -> Vec<Piece> {
    let literals = rule.literals();
    let longest = literals
        .iter()
        .map(|literal| literal.len())
        .max()
        .unwrap_or(0)
        .min(LONGEST);
    if longest == 0 {
        return Vec::new();
    }
    literals
        .iter()
        .flat_map(|literal| literal.windows(longest))
        .map(piece)
        .collect()
}

fn piece(bytes: &[u8]) -> Piece {
    bytes.iter().fold(bytes.len() as u64, |piece, byte| {
        piece << 8 | u64::from(*byte)
    })
}

fn length_of(piece: Piece) -> usize {
    (1..=LONGEST)
        .find(|length| piece >> (8 * length) == *length as u64)
        .unwrap_or(LONGEST)
}

/// Pieces come from patterns and paths alike, so a path cannot make more collisions than there are
/// patterns; one multiplication suffices.
#[derive(Debug, Clone, Default)]
struct PieceHasher(u64);

impl Hasher for PieceHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(26);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
