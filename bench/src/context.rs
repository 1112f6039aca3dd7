//! Build contexts: trees of generated files, always the same ones.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use crate::interrupt;

/// What generated files hold.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    /// Words, which compress to about a third.
    Words,
    /// Words and random bytes by turns, which compress to about two thirds.
    HalfRandom,
}

/// A tree of generated files `dNNNN/fNNNN`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileTree {
    pub(crate) files: u32,
    pub(crate) files_per_directory: u32,
    /// Sizes vary evenly between the two.
    pub(crate) smallest_bytes: usize,
    pub(crate) largest_bytes: usize,
    pub(crate) content: Content,
}

impl FileTree {
    /// Writes the tree below `directory`.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let mut generator = Generator::new(self.files.into());
        for number in 0..self.files {
            interrupt::check()?;
            let path = directory.join(self.file_name(number));
            self.write_file(&path, number, &mut generator)
                .with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    /// The path of a file below the tree's directory.
    pub(crate) fn file_name(&self, number: u32) -> String {
        format!(
            "d{:04}/f{:04}",
            number / self.files_per_directory,
            number % self.files_per_directory
        )
    }

    fn write_file(&self, path: &Path, number: u32, generator: &mut Generator) -> io::Result<()> {
        if number.is_multiple_of(self.files_per_directory) {
            fs::create_dir_all(path.parent().unwrap_or(path))?;
        }
        let spread = self.largest_bytes - self.smallest_bytes + 1;
        let mut left = self.smallest_bytes + generator.below(spread);
        let mut file = File::create(path)?;
        let mut block = 0;
        while left > 0 {
            let bytes = generator.block(self.content, block);
            let length = bytes.len().min(left);
            file.write_all(&bytes[..length])?;
            left -= length;
            block += 1;
        }
        Ok(())
    }
}

const BLOCK_BYTES: usize = 64 << 10;
const REPEATED_BYTES: usize = 100;

/// To be raised when the same recipe makes other files than before.
const GENERATION: u32 = 1;

/// How many words there are. With much fewer, every place in a text resembles thousands of others,
/// and deflate takes several times as long as with real text.
const VOCABULARY: usize = 4096;

/// A generator of bytes whose sequence depends on its seed alone (splitmix64).
struct Generator {
    state: u64,
    words: Vec<String>,
    block: Vec<u8>,
}

impl Generator {
    fn new(seed: u64) -> Self {
        let mut generator = Self {
            state: seed,
            words: Vec::new(),
            block: Vec::new(),
        };
        generator.words = (0..VOCABULARY).map(|_| generator.word()).collect();
        generator
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        // The remainder is less than `limit`, a usize.
        (self.next() % limit as u64) as usize
    }

    /// A word of 2 to 10 letters.
    fn word(&mut self) -> String {
        let length = 2 + self.below(9);
        (0..length)
            .map(|_| char::from(b"etaoinshrdlucmfwypvbgkqjxz_"[self.below(27)]))
            .collect()
    }

    /// At least [`BLOCK_BYTES`] bytes, the `number`th of a file.
    fn block(&mut self, content: Content, number: usize) -> &[u8] {
        self.block.clear();
        let random = matches!(content, Content::HalfRandom) && number.is_multiple_of(2);
        while self.block.len() < BLOCK_BYTES {
            if random {
                let bits = self.next();
                self.block.extend_from_slice(&bits.to_le_bytes());
            } else {
                self.append_line();
            }
        }
        &self.block
    }

    /// Ten words, of which the first of the vocabulary are more frequent than the last; or, as in
    /// most texts, something that was said before.
    fn append_line(&mut self) {
        if self.block.len() > REPEATED_BYTES && self.below(2) == 0 {
            let start = self.below(self.block.len() - REPEATED_BYTES);
            self.block.extend_from_within(start..start + REPEATED_BYTES);
            return;
        }
        for _ in 0..10 {
            let limit = 1 + self.below(VOCABULARY);
            let chosen = self.below(limit);
            self.block.extend_from_slice(self.words[chosen].as_bytes());
            self.block.push(b' ');
        }
        self.block.push(b'\n');
    }
}

/// Gives a file content that it never had.
pub(crate) fn change_file(file: &Path) -> Result<()> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let content = format!("changed at {} ns\n", now.as_nanos());
    fs::write(file, content).with_context(|| file.display().to_string())
}

/// Makes what `make` makes in `directory`, unless it is there since an earlier run with the same `recipe`.
///
/// The recipe is written last, beside the directory, so that half a tree is never taken for a whole.
pub(crate) fn make_once(
    directory: &Path,
    recipe: &str,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let stamp = directory.with_extension("complete");
    let recipe = format!("generation {GENERATION}: {recipe}\n");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == recipe) {
        return Ok(());
    }
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    make(directory)?;
    fs::write(&stamp, recipe).with_context(|| stamp.display().to_string())
}

/// Reads every file below `directory`, so that no builder is the first to read it from the disk.
pub(crate) fn read_into_page_cache(directory: &Path) -> Result<()> {
    let mut buffer = vec![0; BLOCK_BYTES];
    let mut waiting = vec![directory.to_owned()];
    while let Some(current) = waiting.pop() {
        interrupt::check()?;
        for entry in fs::read_dir(&current).with_context(|| current.display().to_string())? {
            let entry = entry.with_context(|| current.display().to_string())?;
            let kind = entry
                .file_type()
                .with_context(|| entry.path().display().to_string())?;
            if kind.is_dir() {
                waiting.push(entry.path());
            } else if kind.is_file() {
                read_file(&entry.path(), &mut buffer)
                    .with_context(|| entry.path().display().to_string())?;
            }
        }
    }
    Ok(())
}

fn read_file(path: &Path, buffer: &mut [u8]) -> io::Result<()> {
    let mut file = File::open(path)?;
    while file.read(buffer)? > 0 {}
    Ok(())
}
