//! What is kept of a build: everything that happened, to be shown again.
//!
//! # On disk
//! `ROOT/builds/TIME-ID`, where TIME is when the build began (UTC, `20261121T100359.123456`) and ID
//! is twelve random characters of `0-9a-z` without `i l o u`. In it lie
//! - `record.jsonl`: one [`Head`], then one [`Line`] an event, all but logs;
//! - `logs.jsonl`: one [`Line`] a piece of log, whole and in order; `logs.jsonl.zst` once a long one
//!   was closed. There is none if no step wrote anything.
//!
//! # Format (version 1)
//! Every line is a JSON object that ends with a line feed. Both files are only ever appended to. The
//! number of microseconds since the build began, `at`, is different for each line of a record, logs
//! included, so that the two files merge into one order. Readers skip lines and fields that they do
//! not know, and an unended last line, which a killed build may leave. Whatever readers of this
//! version could not make sense of gets a new version in the head. `testdata/frozen/build-v1` must
//! still open.
//!
//! # States
//! The build holds a lock (flock) on its `record.jsonl`. A record without [`Event::Ended`](Happening)
//! is that of a running build while it is locked, and of a killed one afterwards. Pieces of log are
//! written at once, other lines within 50 ms: a killed build says no more than that too little.
//!
//! A full disk, or whatever else keeps a record from being written, fails no build.

mod build;
mod critical;
mod line;
mod reader;
mod reason;
mod recorder;
mod shelf;

pub use build::{Build, Ending, Log, Moved, Status, Step};
pub use critical::{critical_path, lanes};
pub use line::{End, Happening, Head, Line, Outcome, Text};
pub use reader::{Piece, Record, RecordError};
pub use recorder::{FailedStep, Recorder, StepLog};
pub use shelf::{Limits, Shelf, ShelfError};

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use jiff::Timestamp;
    use kiln_solver::progress::Hit;
    use kiln_solver::{EventKind, Exit};

    use super::*;

    fn frozen(name: &str) -> Record {
        let frozen = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/frozen");
        Record::at(PathBuf::from(frozen).join(name))
    }

    fn build() -> Build {
        Build::read(&frozen("build-v1"), Timestamp::UNIX_EPOCH).expect("the format is frozen")
    }

    #[test]
    fn a_frozen_record_still_opens() {
        let build = build();
        assert_eq!(build.name(), "app");
        assert_eq!(build.status, Status::Failed);
        assert_eq!(build.duration.as_micros(), 900_100);
        assert_eq!((build.hits(), build.misses(), build.damaged), (1, 3, 0));
        let make = &build.steps[&3];
        assert_eq!(make.name, "[app 2/3] RUN make");
        assert_eq!((make.number, make.stage()), (Some(5), "app"));
        assert_eq!((make.hit, make.peak_memory), (None, Some(4_096_000)));
        assert_eq!(build.steps[&2].hit, Some(Hit::SameDefinition));
        assert!(make.definition.is_none() && make.content.is_some());
        assert_eq!(build.steps[&4].exit, Some(Exit::Code(2)));
        assert_eq!(build.steps[&1].moved[0].bytes, 2000);
        assert_eq!(critical_path(&build), [0, 1, 3, 4]);
        let reasons = [3, 4, 5].map(|id| build.steps[&id].reason().unwrap_or_default());
        let expected = [
            "the command was \"cc\" and is \"make\"",
            "what it reads of [app 2/3] RUN make changed",
            "the cache was not to be used",
        ];
        assert_eq!(reasons, expected);
    }

    #[test]
    fn frozen_lines_are_written_as_they_were() {
        for file in ["record.jsonl", "logs.jsonl"] {
            let path = frozen("build-v1").directory().join(file);
            let text = std::fs::read_to_string(path).expect("the fixture is there");
            for (number, line) in text.lines().enumerate() {
                let again = if line.contains("kiln-build") {
                    serde_json::from_str::<Head>(line).map(|head| serde_json::to_string(&head))
                } else {
                    serde_json::from_str::<Line>(line).map(|line| serde_json::to_string(&line))
                };
                let again = again.expect("it can be read").expect("it can be written");
                assert_eq!(again, line, "{file}, line {}", number + 1);
            }
        }
    }

    #[test]
    fn logs_are_the_same_compressed_or_not_and_play_in_their_place() {
        let logs = |name: &str| {
            let mut pieces = Vec::new();
            let read = frozen(name).logs(|piece| pieces.push(piece));
            read.expect("the format is frozen");
            pieces
        };
        let plain = logs("build-v1");
        assert_eq!(plain, logs("build-v1-compressed"));
        assert_eq!(plain[3].bytes, b"\xffline\n");
        let mut order = Vec::new();
        let played = frozen("build-v1-compressed").play(|at, event| {
            if let EventKind::Log { .. } | EventKind::Finished = event.kind {
                order.push((at.as_micros(), event.step.0));
            }
            Ok::<_, RecordError>(())
        });
        assert_eq!(played.expect("the format is frozen").as_micros(), 900_100);
        let expected = [
            (200, 0),
            (910, 1),
            (1000, 3),
            (1100, 5),
            (400_000, 3),
            (400_100, 5),
            (500_010, 3),
            (899_000, 4),
        ];
        assert_eq!(order, expected);
    }

    #[test]
    fn a_torn_line_is_passed_over_and_a_damaged_one_counted() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = frozen("build-v1").directory().join("record.jsonl");
        let text = std::fs::read_to_string(path).expect("the fixture is there");
        let record = Record::at(directory.path().to_owned());
        let file = directory.path().join("record.jsonl");
        let damaged = text
            .replace("\"at\":960", "\"at\":x")
            .replace("\"started\"}\n", "\"started\"}\n\n");
        for length in text
            .find("\n")
            .map(|head| head + 1)
            .into_iter()
            .chain([300, 900, 1234])
        {
            std::fs::write(&file, &text[..length]).expect("writable");
            let build = Build::read(&record, Timestamp::UNIX_EPOCH).expect("readable");
            assert_eq!(
                (build.status, build.damaged),
                (Status::Killed, 0),
                "{length}"
            );
        }
        std::fs::write(&file, damaged).expect("writable");
        let build = Build::read(&record, Timestamp::UNIX_EPOCH).expect("readable");
        assert_eq!((build.status, build.damaged), (Status::Failed, 1));
        std::fs::write(&file, text.replace("\"kiln-build\":1", "\"kiln-build\":2"))
            .expect("writable");
        let error = Build::read(&record, Timestamp::UNIX_EPOCH).expect_err("another version");
        assert!(
            matches!(error, RecordError::Version { found: 2, .. }),
            "{error}"
        );
    }

    #[test]
    fn names_say_the_stage() {
        let cases = [
            ("[builder 2/5] RUN make", "builder"),
            ("[2/5] RUN make", "stage"),
            ("[linux/arm64 builder 2/5] RUN make", "linux/arm64 builder"),
            ("[internal] load build context", "internal"),
            ("exporting to image", "export"),
            ("anything", ""),
        ];
        for (name, stage) in cases {
            let name = name.to_owned();
            let step = Step {
                name,
                ..Step::default()
            };
            assert_eq!(step.stage(), stage);
        }
    }

    #[test]
    fn steps_that_overlap_have_lanes_of_their_own() {
        let build = build();
        let all: Vec<u32> = build.steps.keys().copied().collect();
        let lanes = lanes(&build, &all);
        assert_eq!(lanes[&0], 0);
        assert_ne!(lanes[&1], lanes[&5]);
        assert_eq!(lanes[&3], lanes[&4]);
    }
}
