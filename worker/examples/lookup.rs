//! How long a look-up takes in an index of many records: `lookup [RECORDS]`, a million by default.

use std::error::Error;
use std::time::{Duration, Instant};

use kiln_solver::{Key, StepKeys};
use kiln_worker::snapshot::{Snapshot, SnapshotLayer};
use kiln_worker::store::Store;

fn main() -> Result<(), Box<dyn Error>> {
    let records: u64 = match std::env::args().nth(1) {
        Some(text) => text.parse()?,
        None => 1_000_000,
    };
    let directory = std::env::temp_dir().join(format!("kiln-lookup-{}", std::process::id()));
    let store = Store::open(&directory)?;
    let began = Instant::now();
    let result = snapshot().encode();
    // A step has two records.
    for number in 0..records / 2 {
        let keys = StepKeys {
            definition: key(2 * number),
            content: key(2 * number + 1),
            outline: key(number),
            inputs: key(number),
            explanation: Vec::new(),
        };
        store.index().put_step(&keys, &result)?;
    }
    println!("{records} records written in {:.1?}", began.elapsed());
    drop(store);
    let mut opened = Vec::new();
    for _ in 0..100 {
        let began = Instant::now();
        let store = Store::open(&directory)?;
        opened.push(began.elapsed());
        drop(store);
    }
    tell("opening the store", opened);
    let store = Store::open(&directory)?;
    for (what, first) in [
        ("a record that is there", 0),
        ("a record that is not there", records),
    ] {
        let mut taken = Vec::new();
        for number in 0..20_000_u64 {
            let key = key(first + number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % records);
            let began = Instant::now();
            let found = store.index().record(&key)?;
            taken.push(began.elapsed());
            assert_eq!(found.is_some(), first == 0);
        }
        tell(what, taken);
    }
    drop(store);
    Ok(std::fs::remove_dir_all(directory)?)
}

fn key(number: u64) -> Key {
    Key::new(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

/// As large as that of a usual step: eight layers.
fn snapshot() -> Snapshot {
    let layer = |number: u8| SnapshotLayer {
        diff_id: kiln_solver::DiffId::new([number; 32]),
        content: kiln_solver::ContentDigest::new([number; 32]),
        created: None,
    };
    Snapshot {
        layers: (0..8).map(layer).collect(),
    }
}

fn tell(what: &str, mut taken: Vec<Duration>) {
    taken.sort();
    let at = |percent: usize| taken[taken.len() * percent / 100];
    println!(
        "{what}: median {:.1?}, 99 of 100 within {:.1?}",
        at(50),
        at(99)
    );
}
