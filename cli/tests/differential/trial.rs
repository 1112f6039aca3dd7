//! What is done with a case: it is built and compared, or recorded anew.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use similar::TextDiff;

use crate::base::Base;
use crate::builder::{Builder, Outcome};
use crate::case::Case;
use crate::ground::prepare;
use crate::report::report;

/// What all cases share.
pub(crate) struct Suite {
    pub(crate) base: Option<Arc<Base>>,
    /// What to record from, if that is what is asked for.
    pub(crate) peer: Option<Builder>,
}

/// Builds with Kiln and compares with what is recorded.
pub(crate) fn verify(case: &Case, base: &Base) -> Result<(), String> {
    let expected = read(&case.expected())?;
    let (found, outcome) = built(&Builder::kiln(), case, base)?;
    let told = match &outcome {
        Outcome::Built(_) => "",
        Outcome::Failed(failure) => &failure.told,
    };
    let is_same = found == expected || blames_the_same(&outcome, &expected);
    match (&case.differs, is_same) {
        (None, true) => Ok(()),
        (None, false) => Err(format!("{}{told}", difference(&expected, &found))),
        (Some(reason), true) => Err(format!("is as in BuildKit, so this is not true: {reason}")),
        (Some(_), false) => {
            let own = read(&case.kiln())?;
            let is_own = found == own;
            is_own
                .then_some(())
                .ok_or_else(|| format!("{}{told}", difference(&own, &found)))
        }
    }
}

/// An error that names several places, or one where BuildKit names none, is the same error.
fn blames_the_same(outcome: &Outcome, expected: &str) -> bool {
    let Outcome::Failed(failure) = outcome else {
        return false;
    };
    match expected.trim_end().strip_prefix("fails at line ") {
        Some(line) => failure.lines.iter().any(|it| it.to_string() == line),
        None => expected == "fails\n",
    }
}

/// Builds with a peer and keeps what comes out; Kiln's own result is kept where the case says that it
/// differs.
pub(crate) fn record(case: &Case, base: &Base, peer: &Builder) -> Result<(), String> {
    let (text, _) = built(peer, case, base)?;
    write(&case.expected(), &text)?;
    if case.differs.is_some() {
        let (text, _) = built(&Builder::kiln(), case, base)?;
        write(&case.kiln(), &text)?;
    }
    Ok(())
}

fn built(builder: &Builder, case: &Case, base: &Base) -> Result<(String, Outcome), String> {
    let ground = prepare(case)?;
    let outcome = builder.build(case, base, &ground)?;
    Ok((report(&outcome, base), outcome))
}

fn difference(expected: &str, found: &str) -> String {
    let difference = TextDiff::from_lines(expected, found);
    let mut unified = difference.unified_diff();
    unified.header("BuildKit", "Kiln").to_string()
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
