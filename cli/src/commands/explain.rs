//! `kiln explain`: why steps of a build ran, and what their keys consist of.

use std::io::Write;

use anyhow::Result;
use jiff::Timestamp;
use kiln_solver::key::{Difference, KeyPart, differences};
use kiln_solver::{Key, Miss, MissReason};
use kiln_worker::explain::changed_files;
use kiln_worker::store::Store;
use kiln_worker::tree::PathChange;
use serde::Serialize;

use super::builds::{find, find_step, printable};
use crate::args::{ExplainArgs, Format};
use crate::explain;
use crate::record::{Build, Shelf, Step};

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
    let explained = cacheable.map(|(_, step)| {
        let other = against.as_ref().map(|build| twin(build, step));
        Explained::of(store, step, other)
    });
    let explained = explained.collect::<Result<Vec<_>>>()?;
    match args.format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &explained)?;
            Ok(writeln!(out)?)
        }
        Format::Table => {
            let shown = explained
                .iter()
                .filter(|step| only.is_some() || step.is_worth_a_word());
            let mut is_first = true;
            for step in shown {
                if !std::mem::take(&mut is_first) {
                    writeln!(out)?;
                }
                step.print(only.is_some(), out)?;
            }
            if is_first {
                writeln!(
                    out,
                    "Nothing ran: every step of build {} was in the cache.",
                    build.head.id
                )?;
            }
            Ok(())
        }
    }
}

/// The step of another build that does the same.
fn twin<'b>(build: &'b Build, step: &Step) -> Option<&'b Step> {
    let steps = || build.steps.values().filter(|other| other.is_cacheable());
    let place = place(&step.name);
    steps()
        .find(|other| other.name == step.name)
        .or_else(|| steps().find(|other| place.is_some() && place == self::place(&other.name)))
}

/// Where an instruction stands and which one it is: `[build 2/5] RUN` of `[build 2/5] RUN make`.
fn place(name: &str) -> Option<&str> {
    let (_, instruction) = name.split_once("] ")?;
    let keyword = instruction.split(' ').next()?;
    name.get(..name.len() - instruction.len() + keyword.len())
}

/// A step and why it ran.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Explained {
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u32>,
    name: String,
    ran: bool,
    /// Each reason as a sentence.
    causes: Vec<String>,
    /// The parts of its key that differ.
    differences: Vec<Difference>,
    /// For a copy, where its layer differs from the earlier one.
    files: Vec<PathChange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    definition_key: Option<Key>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_key: Option<Key>,
    /// What its key consists of, if the store still knows.
    key: Vec<KeyPart>,
}

impl Explained {
    /// Explains by what was in the cache, or with `other` by another build's step, if it has one.
    fn of(store: &Store, step: &Step, other: Option<Option<&Step>>) -> Result<Self> {
        let content = content_key(store, step)?;
        let key = parts(store, content)?;
        let mut explained = Self {
            number: step.number,
            name: step.name.clone(),
            ran: step.miss.is_some(),
            causes: step.reason().into_iter().collect(),
            differences: Vec::new(),
            files: Vec::new(),
            definition_key: step.definition,
            content_key: content,
            key,
        };
        match other {
            None => explained.add_miss(store, step)?,
            Some(other) => explained.compare(store, step, other)?,
        }
        Ok(explained)
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
            if let Some(content) = self.content_key {
                self.files = changed_files(store, earlier, &content)?.unwrap_or_default();
            }
        }
        Ok(())
    }

    fn compare(&mut self, store: &Store, step: &Step, other: Option<&Step>) -> Result<()> {
        let Some(other) = other else {
            self.causes = vec!["the other build has no such step".to_owned()];
            return Ok(());
        };
        let earlier = content_key(store, other)?;
        let same_definition = step.definition.is_some() && step.definition == other.definition;
        if same_definition || (earlier.is_some() && earlier == self.content_key) {
            self.causes = vec!["it is the same in both builds".to_owned()];
            return Ok(());
        }
        let before = parts(store, earlier)?;
        let (Some(earlier), false, false) = (earlier, before.is_empty(), self.key.is_empty())
        else {
            let unknown = "the store no longer knows what its key consisted of";
            self.causes = vec![unknown.to_owned()];
            return Ok(());
        };
        self.differences = differences(&before, &self.key);
        let inputs = step.miss.as_ref().or(other.miss.as_ref());
        let inputs = inputs.map(|miss| miss.inputs.clone()).unwrap_or_default();
        let miss = Miss {
            inputs,
            reason: MissReason::Changed {
                earlier,
                differences: self.differences.clone(),
            },
        };
        self.causes = explain::causes(&miss, LONGEST);
        if let Some(content) = self.content_key {
            self.files = changed_files(store, &earlier, &content)?.unwrap_or_default();
        }
        Ok(())
    }

    fn is_worth_a_word(&self) -> bool {
        self.ran || !self.differences.is_empty()
    }

    fn print(&self, with_key: bool, out: &mut dyn Write) -> Result<()> {
        match self.number {
            Some(number) => writeln!(out, "#{number} {}", printable(&self.name))?,
            None => writeln!(out, "{}", printable(&self.name))?,
        }
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
