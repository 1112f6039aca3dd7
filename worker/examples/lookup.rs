//! How long look-ups take in an index of many records, and what else such an index costs a process:
//! `lookup [RECORDS] [STORE]`, a million by default. A STORE that is given is kept, and used again if it
//! is there.

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kiln_solver::key::KeyPart;
use kiln_solver::{ContentDigest, DiffId, Key, StepKeys};
use kiln_worker::gc::{Policy, Space, prune};
use kiln_worker::snapshot::{Snapshot, SnapshotLayer};
use kiln_worker::store::Store;
use rustix::fs::Advice;

/// How many look-ups are measured with everything in memory, and how many with nothing.
const WARM: u64 = 20_000;
const COLD: u64 = 200;

/// How many layers the image of a usual step has.
const LAYERS: u64 = 8;

/// How many steps, one after the other, do the same on different inputs.
const ALIKE: u64 = 50;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let records: u64 = match arguments.next() {
        Some(text) => text.parse()?,
        None => 1_000_000,
    };
    let kept = arguments.next().map(PathBuf::from);
    let passing = std::env::temp_dir().join(format!("kiln-lookup-{}", std::process::id()));
    let directory = kept.as_ref().unwrap_or(&passing);
    if !directory.exists() {
        fill(directory, records)?;
    }
    let bench = Bench { directory, records };
    bench.open()?;
    bench.look_up("hit by definition key", |number| keys(number).definition)?;
    bench.look_up("hit by content key", |number| keys(number).content)?;
    bench.look_up("miss", |number| key("nothing", number))?;
    bench.similar()?;
    bench.touch()?;
    bench.record()?;
    bench.collect()?;
    if kept.is_none() {
        std::fs::remove_dir_all(directory)?;
    }
    Ok(())
}

/// An index with a number of records; a step has two.
struct Bench<'b> {
    directory: &'b Path,
    records: u64,
}

impl Bench<'_> {
    fn store(&self) -> Result<Store, Box<dyn Error>> {
        Ok(Store::open(self.directory)?)
    }

    /// Any of the steps.
    fn some(&self, number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (self.records / 2)
    }

    /// A store whose index is in the machine's memory.
    fn warm_store(&self) -> Result<Store, Box<dyn Error>> {
        std::io::copy(
            &mut File::open(self.directory.join("index.db"))?,
            &mut std::io::sink(),
        )?;
        self.store()
    }

    /// A store whose index is in no one's memory.
    fn cold_store(&self) -> Result<Store, Box<dyn Error>> {
        let index = File::open(self.directory.join("index.db"))?;
        index.sync_all()?;
        rustix::fs::fadvise(&index, 0, None, Advice::DontNeed)?;
        self.store()
    }

    fn open(&self) -> Result<(), Box<dyn Error>> {
        drop(self.warm_store()?);
        let warm = times(100, |_| self.store().map(drop))?;
        tell("opening the store", "warm", warm);
        let mut cold = Vec::new();
        for _ in 0..COLD {
            drop(self.cold_store()?);
            let index = File::open(self.directory.join("index.db"))?;
            rustix::fs::fadvise(&index, 0, None, Advice::DontNeed)?;
            let began = Instant::now();
            let store = self.store()?;
            cold.push(began.elapsed());
            drop(store);
        }
        tell("opening the store", "cold", cold);
        Ok(())
    }

    fn look_up(&self, what: &str, key: impl Fn(u64) -> Key) -> Result<(), Box<dyn Error>> {
        let is_hit = what.starts_with("hit");
        let store = self.warm_store()?;
        let warm = times(WARM, |number| {
            let found = store.index().record(&key(self.some(number)))?;
            assert_eq!(found.is_some(), is_hit);
            Ok(())
        })?;
        tell(what, "warm", warm);
        drop(store);
        let mut cold = Vec::new();
        for number in 0..COLD {
            let store = self.cold_store()?;
            let key = key(self.some(number + WARM));
            let began = Instant::now();
            let found = store.index().record(&key)?;
            cold.push(began.elapsed());
            assert_eq!(found.is_some(), is_hit);
        }
        tell(what, "cold", cold);
        Ok(())
    }

    /// What a miss asks for, to be explained.
    fn similar(&self) -> Result<(), Box<dyn Error>> {
        let store = self.warm_store()?;
        let taken = times(2000, |number| {
            let found = store.index().similar_steps(&keys(self.some(number)))?;
            assert!(!found.is_empty());
            Ok(())
        })?;
        tell("similar steps", "warm", taken);
        Ok(())
    }

    /// What a build of 20 steps from the cache writes.
    fn touch(&self) -> Result<(), Box<dyn Error>> {
        let store = self.warm_store()?;
        let taken = times(500, |number| {
            let used = (0..20).map(|step| keys(self.some(20 * number + step)).content);
            Ok(store.index().touch_records(&used.collect::<Vec<_>>())?)
        })?;
        tell("noting the use of 20 records", "warm", taken);
        Ok(())
    }

    fn record(&self) -> Result<(), Box<dyn Error>> {
        let store = self.warm_store()?;
        let result = snapshot(0).encode();
        let taken = times(1000, |number| {
            Ok(store.index().put_step(&keys(self.some(number)), &result)?)
        })?;
        tell("recording a step", "warm", taken);
        Ok(())
    }

    /// What follows a build that added something to a store that is far from full.
    fn collect(&self) -> Result<(), Box<dyn Error>> {
        let policy = Policy {
            max_used_space: Some(Space::Bytes(u64::MAX)),
            ..Policy::default()
        };
        let taken = times(5, |_| {
            let store = self.store()?;
            let pruned = prune(&store, std::slice::from_ref(&policy), 0, true)?;
            assert!(pruned.items.is_empty());
            Ok(())
        })?;
        tell("collecting garbage where none is", "warm", taken);
        Ok(())
    }
}

fn fill(directory: &Path, records: u64) -> Result<(), Box<dyn Error>> {
    let store = Store::open(directory)?;
    let began = Instant::now();
    for number in 0..records / 2 {
        let result = snapshot(number).encode();
        store.index().put_step(&keys(number), &result)?;
    }
    let bytes = std::fs::metadata(directory.join("index.db"))?.len();
    println!(
        "{records} records, {} MB, written in {:.0?}",
        bytes / 1_000_000,
        began.elapsed()
    );
    Ok(())
}

fn hash(what: &str, number: u64) -> [u8; 32] {
    *blake3::hash(format!("{what} {number}").as_bytes()).as_bytes()
}

fn key(what: &str, number: u64) -> Key {
    Key::new(hash(what, number))
}

/// The keys of a step, and what a usual RUN says of itself.
fn keys(number: u64) -> StepKeys {
    let part = |path: &str, value: String| KeyPart {
        path: path.to_owned(),
        value,
    };
    let command = format!("apt-get install -y package-{}", number / ALIKE);
    StepKeys {
        definition: key("definition", number),
        content: key("content", number),
        outline: key("outline", number / ALIKE),
        inputs: key("inputs", number),
        explanation: vec![
            part("op.exec.root", "0".to_owned()),
            part("op.exec.args.-", "/bin/sh".to_owned()),
            part("op.exec.args.-", "-c".to_owned()),
            part("op.exec.args.-", command),
            part(
                "op.exec.env.PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            ),
            part("op.exec.env.LANG", "C.UTF-8".to_owned()),
            part("op.exec.env.DEBIAN_FRONTEND", "noninteractive".to_owned()),
            part("op.exec.cwd", "/usr/src/app".to_owned()),
            part("op.exec.user", String::new()),
            part("op.exec.platform", "linux/amd64".to_owned()),
            part("inputs.content.-", key("inputs", number).to_string()),
        ],
    }
}

/// The result of a step: its own layer on some that others share.
fn snapshot(number: u64) -> Snapshot {
    let layer = |height: u64| {
        let shared = number >> (4 * (LAYERS - 1 - height));
        SnapshotLayer {
            diff_id: DiffId::new(hash("layer", shared)),
            content: ContentDigest::new(hash("chain", shared)),
            created: None,
        }
    };
    Snapshot {
        layers: (0..LAYERS).map(layer).collect(),
    }
}

/// How long each of some calls takes.
fn times(
    count: u64,
    mut call: impl FnMut(u64) -> Result<(), Box<dyn Error>>,
) -> Result<Vec<Duration>, Box<dyn Error>> {
    let mut taken = Vec::new();
    for number in 0..count {
        let began = Instant::now();
        call(number)?;
        taken.push(began.elapsed());
    }
    Ok(taken)
}

fn tell(what: &str, how: &str, mut taken: Vec<Duration>) {
    taken.sort();
    let at = |percent: usize| taken[taken.len() * percent / 100];
    println!(
        "{what}, {how}: median {:.1?}, 99 of 100 within {:.1?}",
        at(50),
        at(99)
    );
}
