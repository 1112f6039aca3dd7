//! `kiln explain`: why steps of a build ran, and what their keys consist of.

use std::io::Write;

use anyhow::Result;
use jiff::Timestamp;
use kiln_solver::key::{Difference, KeyPart};
use kiln_solver::miss::compare;
use kiln_solver::{Key, Miss, MissReason};
use kiln_worker::explain::changed_files;
use kiln_worker::store::Store;
use kiln_worker::tree::PathChange;
use serde::Serialize;

use super::builds::{find, find_step, printable};
use crate::args::{ExplainArgs, Format};
use crate::explain;
use crate::record::{Build, Ending, Shelf, Step};

/// Names and values that are longer are cut, in characters.
const LONGEST: usize = 400;

/// Explains what was asked for.
pub fn run(args: &ExplainArgs, store: &Store, now: Timestamp, out: &mut dyn Write) -> Result<()> {
    let shelf = Shelf::new(store.root().join("builds"));
    let read =
        |called: Option<&str>| -> Result<Build> { Ok(Build::read(&find(&shelf, called)?, now)?) };
    let build = read(args.build.as_deref())?;
    let against = args.against.as_deref().map(|called| read(Some(called)));
    let against = against.transpose()?;
    let only = match &args.step {
        Some(called) => Some(find_step(&build, called)?),
        None => None,
    };
    let cacheable = build.steps.iter().filter(|(id, step)| match only {
        Some(only) => **id == only,
        None => step.is_cacheable(),
    });
    let mut past = Past::new(&shelf, &build, now);
    let explained = cacheable.map(|(_, step)| match &against {
        None => Explained::by_cache(store, step, &mut past),
        Some(other) => Explained::by_build(store, (&build, step), other),
    });
    let explained = explained.collect::<Result<Vec<_>>>()?;
    match args.format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &explained)?;
            Ok(writeln!(out)?)
        }
        Format::Table => {
            let is_said = |step: &&Explained| only.is_some() || step.is_said;
            let shown: Vec<&Explained> = explained.iter().filter(is_said).collect();
            print_steps(&shown, only.is_some(), out)?;
            let missing = match (&against, only) {
                (Some(other), None) => steps_without_twin(other, &build),
                _ => Vec::new(),
            };
            match (&against, shown.is_empty() && missing.is_empty()) {
                (None, true) => writeln!(
                    out,
                    "Nothing ran: every step of build {} was in the cache.",
                    build.head.id
                )?,
                (Some(other), true) => writeln!(
                    out,
                    "Nothing differs: builds {} and {} do the same in every step.",
                    build.head.id, other.head.id
                )?,
                (Some(other), false) if !missing.is_empty() => {
                    let gap = if shown.is_empty() { "" } else { "\n" };
                    writeln!(out, "{gap}Only in build {}:", other.head.id)?;
                    for step in missing {
                        writeln!(out, "  {}", printable(&step.name))?;
                    }
                }
                _ => {}
            }
            Ok(())
        }
    }
}

/// Prints steps with their causes; what is true of several in a row is said once.
fn print_steps(shown: &[&Explained], with_key: bool, out: &mut dyn Write) -> Result<()> {
    for (index, step) in shown.iter().enumerate() {
        let next = shown.get(index + 1);
        step.print_name(out)?;
        if next.is_some_and(|next| next.says_the_same(step)) {
            continue;
        }
        step.print(with_key, out)?;
        if next.is_some() {
            writeln!(out)?;
        }
    }
    Ok(())
}

/// The steps of a build that another one does not have.
fn steps_without_twin<'b>(build: &'b Build, other: &Build) -> Vec<&'b Step> {
    let steps = build.steps.values().filter(|step| step.is_cacheable());
    steps.filter(|step| twin(other, step).is_none()).collect()
}

/// The step of another build that does the same: by its name, or else by its instruction in its stage, or
/// else by where in its stage it stands.
fn twin<'b>(build: &'b Build, step: &Step) -> Option<&'b Step> {
    let steps = || {
        let steps = build.steps.values().filter(|other| other.is_cacheable());
        steps.filter(|other| other.stage() == step.stage())
    };
    let (place, instruction) = parts_of_name(&step.name);
    let same_name = steps().find(|other| other.name == step.name);
    let same_instruction = || steps().find(|other| parts_of_name(&other.name).1 == instruction);
    let same_place = || {
        steps().find(|other| {
            let (other_place, other) = parts_of_name(&other.name);
            place.is_some() && place == other_place && keyword(instruction) == keyword(other)
        })
    };
    same_name.or_else(same_instruction).or_else(same_place)
}

/// `2` and `RUN make` of `[build 2/5] RUN make`.
fn parts_of_name(name: &str) -> (Option<&str>, &str) {
    let Some((inside, instruction)) = name.split_once("] ") else {
        return (None, name);
    };
    let place = inside.rsplit([' ', '[']).next();
    (
        place.and_then(|place| Some(place.split_once('/')?.0)),
        instruction,
    )
}

fn keyword(instruction: &str) -> Option<&str> {
    instruction.split(' ').next()
}

/// A step and why it ran.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Explained {
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u32>,
    name: String,
    ran: bool,
    /// Whether it yielded what an earlier one had, which was kept.
    reproduced: bool,
    /// Each reason as a sentence.
    causes: Vec<String>,
    /// The parts of its key that differ.
    differences: Vec<Difference>,
    /// The files that differ: of a copy, where its layer differs from the earlier one, else of what it reads.
    files: Vec<PathChange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    definition_key: Option<Key>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_key: Option<Key>,
    /// What its key consists of, if the store still knows.
    key: Vec<KeyPart>,
    /// Whether it is worth a word where nobody asked for this step.
    #[serde(skip)]
    is_said: bool,
}

impl Explained {
    fn new(store: &Store, step: &Step) -> Result<Self> {
        let content = content_key(store, step)?;
        Ok(Self {
            number: step.number,
            name: step.name.clone(),
            ran: step.miss.is_some(),
            reproduced: step.is_reproduced,
            causes: step.reason().into_iter().collect(),
            differences: Vec::new(),
            files: Vec::new(),
            definition_key: step.definition,
            content_key: content,
            key: parts(store, content)?,
            is_said: step.miss.is_some(),
        })
    }

    /// Explains by what was in the cache.
    fn by_cache(store: &Store, step: &Step, past: &mut Past<'_>) -> Result<Self> {
        let mut explained = Self::new(store, step)?;
        explained.add_miss(store, step)?;
        if step
            .miss
            .as_ref()
            .is_some_and(|miss| miss.reason == MissReason::New)
            && let Some(id) = past.build_that_did(step)?
        {
            let pruned = format!("build {id} did the same, but its result was pruned");
            explained.causes.push(pruned);
        }
        if step.is_reproduced {
            explained.causes.push(explain::REPRODUCED.to_owned());
        }
        Ok(explained.without_descriptions())
    }

    /// Explains a step of a build by another build.
    fn by_build(store: &Store, step: (&Build, &Step), other: &Build) -> Result<Self> {
        let mut explained = Self::new(store, step.1)?;
        explained.is_said = true;
        explained.compare(store, step, twin(other, step.1))?;
        Ok(explained.without_descriptions())
    }

    /// What is shown as the key has only what identifies.
    fn without_descriptions(mut self) -> Self {
        self.key.retain(KeyPart::identifies);
        self
    }

    fn add_miss(&mut self, store: &Store, step: &Step) -> Result<()> {
        let Some(miss) = &step.miss else {
            return Ok(());
        };
        self.causes = explain::causes(miss, LONGEST);
        if let MissReason::Changed {
            earlier,
            differences,
        } = &miss.reason
        {
            self.differences.clone_from(differences);
            self.add_files(store, earlier)?;
        }
        Ok(())
    }

    fn compare(
        &mut self,
        store: &Store,
        (build, step): (&Build, &Step),
        other: Option<&Step>,
    ) -> Result<()> {
        let Some(other) = other else {
            self.causes = vec!["the other build has no such step".to_owned()];
            return Ok(());
        };
        let earlier = content_key(store, other)?;
        let same_definition = step.definition.is_some() && step.definition == other.definition;
        if same_definition || (earlier.is_some() && earlier == self.content_key) {
            self.causes = vec!["it is the same in both builds".to_owned()];
            self.is_said = false;
            return Ok(());
        }
        let before = parts(store, earlier)?;
        let (Some(earlier), false, false) = (earlier, before.is_empty(), self.key.is_empty())
        else {
            let has_failed = |step: &Step| matches!(step.ending, Ending::Failed(_));
            let unknown = match has_failed(step) || has_failed(other) {
                true => "it failed in one of the builds, and of what failed no key is kept",
                false => "the store no longer knows what its key consisted of",
            };
            self.causes = vec![unknown.to_owned()];
            return Ok(());
        };
        self.differences = compare(&before, &self.key);
        let inputs = step.miss.as_ref().or(other.miss.as_ref());
        let inputs = inputs.map(|miss| miss.inputs.clone());
        let inputs = inputs.unwrap_or_else(|| only_input(build, step));
        let miss = Miss {
            inputs,
            reason: MissReason::Changed {
                earlier,
                differences: self.differences.clone(),
            },
        };
        self.causes = explain::causes(&miss, LONGEST);
        self.add_files(store, &earlier)
    }

    /// What a copy made says more than what it read: it is told where it is now. Only what that does not show is
    /// told of what was read.
    fn add_files(&mut self, store: &Store, earlier: &Key) -> Result<()> {
        if let Some(content) = self.content_key {
            self.files = changed_files(store, earlier, &content)?.unwrap_or_default();
        }
        if self.files.is_empty() {
            self.files = explain::listed_files(&self.differences);
        }
        Ok(())
    }

    fn says_the_same(&self, other: &Self) -> bool {
        self.causes == other.causes && self.files.is_empty() && other.files.is_empty()
    }

    fn print_name(&self, out: &mut dyn Write) -> Result<()> {
        match self.number {
            Some(number) => writeln!(out, "#{number} {}", printable(&self.name))?,
            None => writeln!(out, "{}", printable(&self.name))?,
        }
        Ok(())
    }

    fn print(&self, with_key: bool, out: &mut dyn Write) -> Result<()> {
        for cause in &self.causes {
            writeln!(out, "  {}", printable(cause))?;
        }
        for file in explain::changed_files(&self.files) {
            writeln!(out, "    {}", printable(&file))?;
        }
        if with_key {
            for (name, key) in [
                ("definition key", self.definition_key),
                ("content key", self.content_key),
            ] {
                if let Some(key) = key {
                    writeln!(out, "  {name} {key}")?;
                }
            }
            for part in &self.key {
                writeln!(
                    out,
                    "    {} {}",
                    printable(&part.path),
                    printable(&part.value)
                )?;
            }
        }
        Ok(())
    }
}

/// The builds before one, as far as their records are there.
struct Past<'p> {
    shelf: &'p Shelf,
    build: &'p Build,
    now: Timestamp,
    /// Read when they are asked for, the latest first.
    earlier: Option<Vec<Build>>,
}

impl<'p> Past<'p> {
    fn new(shelf: &'p Shelf, build: &'p Build, now: Timestamp) -> Self {
        Self {
            shelf,
            build,
            now,
            earlier: None,
        }
    }

    /// The latest earlier build that had a result of the very same step.
    fn build_that_did(&mut self, step: &Step) -> Result<Option<&str>> {
        let earlier = match self.earlier.take() {
            Some(earlier) => earlier,
            None => self.read()?,
        };
        let earlier = self.earlier.insert(earlier);
        let has_result = |other: &Step| {
            let is_same = other.content.is_some() && other.content == step.content;
            let same_definition = other.definition.is_some() && other.definition == step.definition;
            (is_same || same_definition) && matches!(other.ending, Ending::Done | Ending::Cached)
        };
        let did = earlier
            .iter()
            .find(|build| build.steps.values().any(has_result));
        Ok(did.map(|build| build.head.id.as_str()))
    }

    fn read(&self) -> Result<Vec<Build>> {
        let records = self.shelf.records()?;
        // What cannot be read tells nothing.
        let builds = records
            .iter()
            .filter_map(|record| Build::read(record, self.now).ok());
        let mut earlier: Vec<Build> = builds
            .filter(|build| build.head.started < self.build.head.started)
            .collect();
        earlier.sort_by_key(|build| std::cmp::Reverse(build.head.started));
        Ok(earlier)
    }
}

/// The name of a step's input, if it has no other.
fn only_input(build: &Build, step: &Step) -> Vec<String> {
    match step.inputs.as_slice() {
        [input] => build
            .steps
            .get(input)
            .map(|input| input.name.clone())
            .into_iter()
            .collect(),
        _ => Vec::new(),
    }
}

/// A step that was found by its definition never asked for its content.
fn content_key(store: &Store, step: &Step) -> Result<Option<Key>> {
    match (step.content, step.definition) {
        (Some(content), _) => Ok(Some(content)),
        (None, Some(definition)) => Ok(store.index().content_key(&definition)?),
        (None, None) => Ok(None),
    }
}

fn parts(store: &Store, content: Option<Key>) -> Result<Vec<KeyPart>> {
    let Some(content) = content else {
        return Ok(Vec::new());
    };
    let step = store.index().step(&content)?;
    Ok(step.map(|step| step.explanation).unwrap_or_default())
}
