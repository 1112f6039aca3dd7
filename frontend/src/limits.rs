//! How much of everything a Dockerfile may have. BuildKit bounds only the length of a line; the other
//! limits are far beyond what people write, and keep a hostile file from taking time or memory.

/// The longest file, in bytes.
pub const FILE_SIZE: usize = 32 << 20;

/// The longest physical line in bytes, its end not counted; BuildKit's limit.
pub const LINE: usize = 65_535;

/// The most instructions.
pub const INSTRUCTIONS: usize = 100_000;

/// The most heredocs that one instruction may announce.
pub const HEREDOCS: usize = 1000;

/// How deep substitutions may be nested in one another, as in `${a:-${b:-c}}`.
pub const EXPANSION_DEPTH: usize = 128;

/// How many bytes longer than its text a word may become; Linux takes no variable of more than
/// 128 KiB.
pub const EXPANSION_GROWTH: usize = 1 << 20;

/// How many steps the patterns of `#`, `%` and `/` may take in one word.
pub const PATTERN_STEPS: usize = 1 << 24;

/// How many names are compared with misspelt ones in one file, to suggest what was meant.
pub const COMPARED_NAMES: usize = 50_000;

/// How many findings about one file are told; how many more there are is told in their place.
pub const FINDINGS: usize = 1000;

/// How long the image or the platform of a FROM may be, variables expanded, in bytes; no name of an
/// image is nearly as long.
pub const FROM: usize = 4096;

/// How many bytes the triggers may have that stages inherit from what they are based on, all stages
/// together; each counts at least [`TRIGGER_COST`].
pub const TRIGGERS: usize = 16 << 20;

/// What a trigger takes in memory besides its text, in bytes.
pub const TRIGGER_COST: usize = 256;

/// How many bytes the history of the image may have; that of a RUN repeats all ARGs.
pub const HISTORY: usize = 64 << 20;

/// How many bytes the results of all expansions, the environments of all steps and the variables that
/// stages inherit may have together.
pub const VARIABLES: usize = 256 << 20;
