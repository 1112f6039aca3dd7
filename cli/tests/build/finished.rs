//! What came of one run of the program, and what its progress says happened.

use std::process::{Command, Stdio};

use base64::Engine;
use serde_json::Value;

/// A run that has ended.
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// A step as the progress told it.
#[derive(Debug, Default, Clone)]
struct Step {
    digest: String,
    name: String,
    completed: bool,
    cached: bool,
    error: String,
}

impl Finished {
    /// Runs a command to its end.
    pub(crate) fn of(command: &mut Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = command.output().expect("kiln runs");
        Self {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub(crate) fn assert_well(&self) {
        assert_eq!(self.code, Some(0), "{}", self.told());
        assert!(!self.stderr.contains("panicked"), "{}", self.told());
    }

    #[track_caller]
    pub(crate) fn assert_failed(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.told());
        assert!(!self.stderr.contains("panicked"), "{}", self.told());
        for part in parts {
            assert!(
                self.told().contains(part),
                "no {part:?} in:\n{}",
                self.told()
            );
        }
    }

    /// Standard error without the progress.
    pub(crate) fn told(&self) -> String {
        let lines = self.stderr.lines().filter(|line| !line.starts_with('{'));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// What was told, and the logs of the steps.
    pub(crate) fn everything(&self) -> String {
        let mut text = self.told();
        for log in self
            .events()
            .flat_map(|event| event["logs"].as_array().cloned().unwrap_or_default())
        {
            let data = log["data"].as_str().expect("logs have data");
            let bytes = base64::engine::general_purpose::STANDARD.decode(data);
            text.push_str(&String::from_utf8_lossy(&bytes.expect("base64")));
        }
        text
    }

    fn events(&self) -> impl Iterator<Item = Value> {
        let lines = self.stderr.lines().filter(|line| line.starts_with('{'));
        lines.map(|line| serde_json::from_str(line).expect("one JSON object a line"))
    }

    /// Names of the instructions that ran, without their numbers, in the graph's order.
    pub(crate) fn ran(&self) -> Vec<String> {
        self.instructions(|step| step.completed && !step.cached && step.error.is_empty())
    }

    /// Names of the instructions that the cache answered.
    pub(crate) fn cached(&self) -> Vec<String> {
        self.instructions(|step| step.cached)
    }

    fn instructions(&self, wanted: impl Fn(&Step) -> bool) -> Vec<String> {
        let steps = self.steps();
        let wanted = steps.iter().filter(|step| wanted(step));
        let names = wanted.filter_map(|step| {
            let (number, name) = step.name.strip_prefix('[')?.split_once("] ")?;
            let is_instruction = number.contains('/') && !name.starts_with("FROM ");
            is_instruction.then(|| name.to_owned())
        });
        names.collect()
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for event in self.events() {
            for vertex in event["vertexes"].as_array().into_iter().flatten() {
                let digest = vertex["digest"].as_str().expect("vertices have digests");
                let known = steps.iter().position(|step| step.digest == digest);
                let index = known.unwrap_or_else(|| {
                    steps.push(Step {
                        digest: digest.to_owned(),
                        ..Step::default()
                    });
                    steps.len() - 1
                });
                let step = &mut steps[index];
                step.name = vertex["name"].as_str().unwrap_or_default().to_owned();
                step.completed = vertex["completed"].is_string();
                step.cached = vertex["cached"] == true;
                step.error = vertex["error"].as_str().unwrap_or_default().to_owned();
            }
        }
        steps
    }
}
