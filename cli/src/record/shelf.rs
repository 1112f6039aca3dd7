//! The directory of all records: which there are, which is meant, and which may go.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};

use super::reader::Record;

/// The file of a record with its events.
pub(super) const RECORD: &str = "record.jsonl";
/// The file of a record with its logs.
pub(super) const LOGS: &str = "logs.jsonl";
/// The same, compressed.
pub(super) const COMPRESSED_LOGS: &str = "logs.jsonl.zst";

/// How the time is written in the name of a record's directory.
const TIME: &str = "%Y%m%dT%H%M%S%.6f";
/// The length of an ID.
const ID_LENGTH: usize = 12;
/// The characters of an ID: none looks like another.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Logs that are longer are compressed when the build is over, in bytes.
const LONG_LOGS: u64 = 64 * 1024;

/// One of so many builds makes room; the others have a few microseconds less to do.
const ROUNDS: usize = 16;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many records, and a few more at times.
    pub count: usize,
    /// How old a record may be.
    pub age: SignedDuration,
    /// How many bytes all may have together.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            count: 200,
            age: SignedDuration::from_hours(30 * 24),
            bytes: 500_000_000,
        }
    }
}

/// Why a record could not be found.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ShelfError {
    /// There are none.
    #[error("no builds are recorded")]
    Empty,
    /// No record is called so.
    #[error("there is no build called {called}{}", hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}")))]
    Unknown {
        /// What was typed.
        called: String,
        /// What may have been meant.
        hint: Option<String>,
    },
    /// So many builds ago there was none.
    #[error("there is no build {called}; the oldest one recorded is ^{oldest}")]
    TooFarBack {
        /// What was typed.
        called: String,
        /// How many builds ago the oldest one was.
        oldest: usize,
    },
    /// Several begin so.
    #[error("{called} begins the IDs of {}", ids.join(", "))]
    Ambiguous {
        /// What was typed.
        called: String,
        /// Those that begin so.
        ids: Vec<String>,
    },
}

/// All records of a store.
#[derive(Debug, Clone)]
pub struct Shelf {
    directory: PathBuf,
}

impl Shelf {
    /// The records in `directory`.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Where they are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A new ID, and where the record of a build goes that began at this time.
    pub fn place(&self, started: Timestamp) -> io::Result<(String, PathBuf)> {
        let id = new_id()?;
        let name = format!("{}-{id}", started.strftime(TIME));
        Ok((id, self.directory.join(name)))
    }

    /// All records, the newest first.
    pub fn records(&self) -> io::Result<Vec<Record>> {
        let names = self.names()?.into_iter().rev();
        let records = names.map(|name| Record::at(self.directory.join(name)));
        Ok(records.filter(Record::exists).collect())
    }

    /// The record of a build: by its ID or the beginning of it, by how many builds ago it was (`^1`
    /// is the last but one), or the last one.
    pub fn find(&self, called: Option<&str>) -> io::Result<Result<Record, ShelfError>> {
        Ok(choose(self.records()?, called))
    }

    /// Cleans up after a build: compresses its logs if they are long. Then, and else once in a while,
    /// makes room.
    pub fn settle(&self, newest: &Record, limits: Limits, now: Timestamp) -> io::Result<()> {
        let is_long = compress_logs(newest.directory())?;
        let first = newest.id().bytes().next();
        let digit = first.and_then(|first| ALPHABET.iter().position(|digit| *digit == first));
        match is_long || digit.is_some_and(|digit| digit % ROUNDS == 0) {
            true => self.make_room(limits, now),
            false => Ok(()),
        }
    }

    /// Removes the oldest records past the limits, though never those of builds that run.
    pub fn make_room(&self, limits: Limits, now: Timestamp) -> io::Result<()> {
        let names = self.names()?;
        let oldest = now.saturating_sub(limits.age).unwrap_or(Timestamp::MIN);
        let is_old = |name: &String| time_of(name).is_some_and(|time| time < oldest);
        let mut total = 0;
        let kept = names.iter().rev().take(limits.count).take_while(|name| {
            total += size(&self.directory.join(name));
            total <= limits.bytes && !is_old(name)
        });
        let going = names.len() - kept.count();
        for name in &names[..going] {
            let record = Record::at(self.directory.join(name));
            if !record.is_locked() {
                record.remove()?;
            }
        }
        Ok(())
    }

    /// Names of directories, the oldest first.
    fn names(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    }
}

fn choose(records: Vec<Record>, called: Option<&str>) -> Result<Record, ShelfError> {
    let count = records.len();
    let back = match called {
        None => Some(0),
        Some("^") => Some(1),
        Some(called) => called.strip_prefix('^').and_then(|back| back.parse().ok()),
    };
    if count == 0 {
        return Err(ShelfError::Empty);
    }
    if let Some(back) = back {
        let called = called.unwrap_or_default().to_owned();
        let oldest = count - 1;
        let record = records.into_iter().nth(back);
        return record.ok_or(ShelfError::TooFarBack { called, oldest });
    }
    let called = called.unwrap_or_default().to_owned();
    let begins = |record: &&Record| record.id().starts_with(&called) && !called.is_empty();
    let mut found: Vec<&Record> = records.iter().filter(begins).collect();
    match (found.pop(), found.is_empty()) {
        (Some(record), true) => Ok(record.clone()),
        (Some(record), false) => {
            found.push(record);
            let ids = found.iter().take(5).map(|record| record.id().to_owned());
            Err(ShelfError::Ambiguous {
                ids: ids.collect(),
                called,
            })
        }
        (None, _) => {
            let hint = hint(&records, &called);
            Err(ShelfError::Unknown { called, hint })
        }
    }
}

/// The build of that name, or the ID that looks most like what was typed.
fn hint(records: &[Record], called: &str) -> Option<String> {
    let is_name = |record: &&Record| {
        record
            .head()
            .is_ok_and(|head| super::build::name(&head) == called)
    };
    if let Some(record) = records.iter().find(is_name) {
        return Some(format!("the last build of that name is {}", record.id()));
    }
    let likeness = |record: &Record| {
        let begin: String = record.id().chars().take(called.chars().count()).collect();
        strsim::normalized_damerau_levenshtein(called, &begin)
    };
    let scored = records.iter().map(|record| (likeness(record), record));
    let (score, record) = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (score > 0.6).then(|| format!("did you mean {}?", record.id()))
}

fn new_id() -> io::Result<String> {
    let mut bytes = [0; ID_LENGTH];
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())?;
    let character = |byte: &u8| char::from(ALPHABET[usize::from(byte % 32)]);
    Ok(bytes.iter().map(character).collect())
}

fn time_of(name: &str) -> Option<Timestamp> {
    let (time, _) = name.split_once('-')?;
    let time = civil::DateTime::strptime(TIME, time).ok()?;
    let time = time.to_zoned(TimeZone::UTC).ok()?;
    Some(time.timestamp())
}

/// Whether the logs were long.
fn compress_logs(directory: &Path) -> io::Result<bool> {
    let logs = directory.join(LOGS);
    match fs::metadata(&logs) {
        Ok(metadata) if metadata.len() > LONG_LOGS => {}
        _ => return Ok(false),
    }
    let half = directory.join("logs.jsonl.zst.new");
    let mut source = fs::File::open(&logs)?;
    zstd::stream::copy_encode(&mut source, fs::File::create(&half)?, 3)?;
    fs::rename(&half, directory.join(COMPRESSED_LOGS))?;
    fs::remove_file(&logs)?;
    Ok(true)
}

fn size(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|entry| Some(entry.metadata().ok()?.len()));
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Head, Recorder};

    /// A shelf with builds that began so many hours before `now`, and their recorders.
    fn shelf(hours: &[i64], now: Timestamp) -> (tempfile::TempDir, Shelf, Vec<Recorder>) {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let shelf = Shelf::new(parent.path().join("builds"));
        fs::create_dir(shelf.directory()).expect("a directory");
        let begin = |hours: &i64| {
            let started = now - SignedDuration::from_hours(*hours);
            let (id, place) = shelf.place(started).expect("random numbers");
            let display = crate::progress::Display::start(crate::progress::Quiet);
            let head = Head {
                tags: vec![format!("app:{hours}")],
                ..Head::new(id, started)
            };
            Recorder::begin(display.progress(), place, &head).expect("writable")
        };
        let recorders = hours.iter().map(begin).collect();
        (parent, shelf, recorders)
    }

    fn ids(shelf: &Shelf) -> Vec<String> {
        let records = shelf.records().expect("readable");
        records
            .iter()
            .map(|record| record.id().to_owned())
            .collect()
    }

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    #[test]
    fn builds_are_found_by_the_beginning_of_their_id_and_by_their_age() {
        let (_parent, shelf, _recorders) = shelf(&[1, 3, 2], NOW);
        let [newest, middle, oldest] = ids(&shelf).try_into().expect("three builds");
        let find = |called: &str| {
            let found = shelf.find(Some(called)).expect("readable");
            found.map(|record| record.id().to_owned())
        };
        assert_eq!(find(&newest), Ok(newest.clone()));
        assert_eq!(find(&middle[..8]), Ok(middle.clone()));
        assert_eq!(find("^0"), Ok(newest.clone()));
        assert_eq!(find("^"), Ok(middle));
        assert_eq!(find("^2"), Ok(oldest.clone()));
        let last = shelf.find(None).expect("readable").expect("there is one");
        assert_eq!(last.id(), newest);
        let told = |called: &str| find(called).expect_err("there is none").to_string();
        assert_eq!(
            told("^3"),
            "there is no build ^3; the oldest one recorded is ^2"
        );
        assert_eq!(told("!"), "there is no build called !");
        let mut misspelt = oldest.clone();
        misspelt.replace_range(3..4, "u");
        let hint = format!("there is no build called {misspelt}; did you mean {oldest}?");
        assert_eq!(told(&misspelt), hint);
        let named =
            format!("there is no build called app:3; the last build of that name is {oldest}");
        assert_eq!(told("app:3"), named);
    }

    #[test]
    fn a_beginning_that_several_share_is_refused() {
        let record = |name: &str| Record::at(PathBuf::from(name));
        let records = vec![record("t-abc"), record("t-abd"), record("t-xyz")];
        let refused = choose(records.clone(), Some("ab")).expect_err("two begin so");
        assert_eq!(refused.to_string(), "ab begins the IDs of abc, abd");
        assert_eq!(choose(records, Some("x")), Ok(record("t-xyz")));
        assert_eq!(choose(Vec::new(), None), Err(ShelfError::Empty));
    }

    #[test]
    fn the_oldest_go_first_and_those_that_run_stay() {
        let (_parent, shelf, mut recorders) = shelf(&[1, 2, 3, 4, 5, 100], NOW);
        let limits = Limits::default();
        let all = ids(&shelf);
        shelf
            .make_room(Limits { count: 1, ..limits }, NOW)
            .expect("removable");
        assert_eq!(ids(&shelf), all, "all of them run");
        // The one of 5 hours ago runs on.
        let running = recorders.swap_remove(4);
        drop(recorders);
        let age = SignedDuration::from_hours(50);
        shelf
            .make_room(Limits { age, ..limits }, NOW)
            .expect("removable");
        assert_eq!(ids(&shelf), all[..5]);
        shelf
            .make_room(Limits { count: 3, ..limits }, NOW)
            .expect("removable");
        assert_eq!(ids(&shelf), [&all[..3], &all[4..5]].concat());
        let one = size(running.record().directory());
        let bytes = one * 2;
        shelf
            .make_room(Limits { bytes, ..limits }, NOW)
            .expect("removable");
        assert_eq!(ids(&shelf), [&all[..2], &all[4..5]].concat());
    }

    #[test]
    fn long_logs_are_compressed_and_say_the_same() {
        use kiln_solver::progress::Reporter;
        use kiln_solver::{LogStream, Progress};
        let (_parent, shelf, mut recorders) = shelf(&[1], NOW);
        let recorder = std::sync::Arc::new(recorders.remove(0));
        let progress: std::sync::Arc<dyn Progress> = std::sync::Arc::clone(&recorder) as _;
        let step = Reporter::new(progress).start("RUN seq");
        let mut written = Vec::new();
        for number in 0..20_000 {
            let line = format!("line {number}\n");
            step.log(LogStream::Stdout, line.as_bytes());
            written.extend_from_slice(line.as_bytes());
        }
        let record = recorder.record();
        let before = record.size();
        shelf
            .settle(&record, Limits::default(), NOW)
            .expect("writable");
        assert!(record.size() * 4 < before);
        let mut found = Vec::new();
        record
            .logs(|piece| found.extend(piece.bytes))
            .expect("readable");
        assert!(found == written);
    }
}
