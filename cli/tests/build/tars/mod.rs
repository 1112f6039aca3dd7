//! Archives as ADD unpacks them, beside GNU's tar, libarchive and Python: the same files come of them, or it
//! is said why not.

pub(crate) mod archive;
mod cases;
mod ends;
mod extensions;
mod files;
mod headers;
pub(crate) mod layout;
mod tools;
mod written;

use std::time::{SystemTime, UNIX_EPOCH};

use crate::bench::Bench;
use cases::{Case, Kiln, cases};
use tools::{Line, TOOLS, Tool, Tree, tree, unpacked};

/// What is no older than this, in seconds, was not told by an archive: it is from now.
const NOW: i64 = 24 * 60 * 60;

/// What came of an archive: lines of a tree, or why there is none.
type Outcome = Result<Vec<String>, String>;

/// What Kiln makes of the archives: trees, or what it says when it refuses.
fn unpack_all(bench: &Bench, cases: &[Case]) -> Vec<Result<Tree, String>> {
    let is_refused = |case: &Case| matches!(case.kiln, Kiln::Refuses(_));
    let numbered = || cases.iter().enumerate();
    let taken = numbered().filter(|(_, case)| !is_refused(case));
    let lines = taken.map(|(number, _)| format!("ADD archives/{number}.tar /{number}/\n"));
    let dockerfile: String = std::iter::once("FROM scratch\n".to_owned())
        .chain(lines)
        .collect();
    bench.file("Dockerfile", dockerfile);
    let all = bench.files("kiln", "");
    let outcome = |(number, case): (usize, &Case)| {
        if !is_refused(case) {
            return Ok(tree(&all.join(number.to_string())));
        }
        bench.file(
            "Dockerfile",
            format!("FROM scratch\nADD archives/{number}.tar /\n"),
        );
        match bench.try_build("") {
            finished if finished.code == Some(0) => Ok(Tree::new()),
            finished => Err(finished.told()),
        }
    };
    numbered().map(outcome).collect()
}

/// Both trees without what says nothing, as text.
fn comparable(tree: &Tree, tool: &Tool) -> Vec<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = i64::try_from(now.expect("it is later than 1970").as_secs()).expect("it fits");
    let time = |line: &Line| match line.seconds {
        _ if line.is_link && tool.leaves_times_of_links => "-".to_owned(),
        seconds if (now - NOW..=now + NOW).contains(&seconds) => "now".to_owned(),
        seconds => seconds.to_string(),
    };
    let lines = tree.iter();
    lines
        .map(|(path, line)| format!("{path}: {} {}", line.what, time(line)))
        .collect()
}

/// What is said on one side only.
fn difference(ours: &Outcome, tool: &Tool, theirs: &Outcome) -> String {
    let only = |all: &Outcome, others: &Outcome| {
        let others = others.clone().unwrap_or_default();
        all.clone().map(|mut lines| {
            lines.retain(|line| !others.contains(line));
            lines
        })
    };
    let (mine, other) = (only(ours, theirs), only(theirs, ours));
    format!("kiln {mine:?}\n  {} {other:?}", tool.name)
}

/// What is wrong with what Kiln makes of a case, whatever others make of it.
fn check_kiln(number: usize, case: &Case, ours: &Result<Tree, String>) -> Option<String> {
    match (case.kiln, ours) {
        (Kiln::Unpacks, _) => None,
        (Kiln::Refuses(says), Err(said)) if said.contains(says) => None,
        (Kiln::Refuses(_), ours) => Some(format!("not refused: {ours:?}")),
        (Kiln::Copies, Ok(tree)) if tree.keys().eq([&format!("{number}.tar")]) => None,
        (Kiln::Copies, ours) => Some(format!("not copied: {ours:?}")),
    }
}

/// What is wrong with what somebody else makes of it.
fn check_tool(
    case: &Case,
    ours: &Result<Tree, String>,
    tool: &Tool,
    theirs: &Result<Tree, String>,
) -> Option<String> {
    let of = |tree: &Result<Tree, String>| {
        tree.as_ref()
            .map(|tree| comparable(tree, tool))
            .map_err(Clone::clone)
    };
    let (ours, theirs) = (of(ours), of(theirs));
    let is_same = ours == theirs || (ours.is_err() && theirs.is_err());
    let is_meant = case.differs.iter().any(|(name, _)| *name == tool.name);
    match (is_same, is_meant) {
        (true, true) => Some(format!("agrees with {} now", tool.name)),
        (false, false) => Some(difference(&ours, tool, &theirs)),
        _ => None,
    }
}

#[test]
fn everybody_unpacks_the_same() {
    let bench = Bench::new();
    let cases = cases();
    for (number, case) in cases.iter().enumerate() {
        bench.file(&format!("archives/{number}.tar"), &case.archive);
    }
    let results = unpack_all(&bench, &cases);
    for tool in &TOOLS {
        tool.unpack_all(&bench.context("archives"), &bench.path(tool.name));
    }
    let mut wrong = Vec::new();
    for ((number, case), ours) in cases.iter().enumerate().zip(&results) {
        let kiln = check_kiln(number, case, ours);
        let unasked = case.unasked.map(|(name, _)| name);
        let asked = TOOLS.iter().filter(|tool| unasked != Some(tool.name));
        let tools = asked.filter_map(|tool| {
            let theirs = unpacked(&bench.path(tool.name), number);
            check_tool(case, ours, tool, &theirs)
        });
        let said = kiln.into_iter().chain(tools);
        wrong.extend(said.map(|said| format!("{}: {said}", case.name)));
    }
    assert!(
        wrong.is_empty(),
        "{} of {} cases:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}
