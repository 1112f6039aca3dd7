//! Kiln's images beside BuildKit's: every case of `testdata/differential` is built, and what comes out
//! must be what a real BuildKit made of it when the case was recorded.
//!
//! To be run as root, like the other builds. With the variable `KILN_RECORD_WITH` the same program
//! records: see `testdata/differential/README.md`.

mod base;
mod builder;
mod case;
mod flat;
mod ground;
mod image;
mod layer;
mod layout;
mod report;
mod time;
mod trial;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use crate::base::Base;
use crate::builder::Builder;
use crate::case::Case;
use crate::trial::{Suite, record, verify};

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/differential");

/// The command line of the builder to record from, such as `docker buildx build`.
const RECORD_WITH: &str = "KILN_RECORD_WITH";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let peer = std::env::var(RECORD_WITH).ok().map(|it| Builder::peer(&it));
    let base = (!arguments.list).then(|| Arc::new(Base::make()));
    let trials = Case::all(Path::new(CASES)).into_iter().map(|case| {
        let suite = Suite {
            base: base.clone(),
            peer: peer.clone(),
        };
        Trial::test(case.name.clone(), move || {
            let base = suite.base.expect("cases run only after the base was made");
            match suite.peer {
                Some(peer) => record(&case, &base, &peer),
                None => verify(&case, &base),
            }
            .map_err(Into::into)
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop(base);
    conclusion.exit_code()
}
