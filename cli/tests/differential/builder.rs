//! What builds a case: Kiln, or another program with the command line of `docker buildx build`.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::base::Base;
use crate::case::Case;
use crate::ground::Ground;
use crate::image::Image;

/// A program and its first arguments.
#[derive(Clone)]
pub(crate) struct Builder {
    words: Vec<String>,
}

/// What came of a build.
pub(crate) enum Outcome {
    Built(Box<Image>),
    Failed(Failure),
}

/// A build that ended with an error.
pub(crate) struct Failure {
    /// Lines of the Dockerfile that are blamed.
    pub(crate) lines: Vec<u32>,
    /// All that was said.
    pub(crate) told: String,
}

impl Builder {
    pub(crate) fn kiln() -> Self {
        let words = [env!("CARGO_BIN_EXE_kiln"), "build"];
        Self {
            words: words.map(ToOwned::to_owned).into(),
        }
    }

    pub(crate) fn peer(command: &str) -> Self {
        let words = command.split_whitespace().map(ToOwned::to_owned);
        Self {
            words: words.collect(),
        }
    }

    /// The program in a context, beside which Kiln has its store.
    pub(crate) fn command(&self, context: &Path) -> Command {
        let mut command = Command::new(&self.words[0]);
        command
            .args(&self.words[1..])
            .args(["--progress=plain", "."])
            .current_dir(context)
            .env("KILN_ROOT", context.with_file_name("store"))
            .stdin(Stdio::null());
        command
    }

    /// Builds a case from the context that it is laid out in.
    ///
    /// Fails with what went wrong if the builder did not end by itself, or left no image.
    pub(crate) fn build(
        &self,
        case: &Case,
        base: &Base,
        ground: &Ground,
    ) -> Result<Outcome, String> {
        let image = ground.path().join("image.tar");
        let layout = base.layout();
        let finished = self
            .command(&ground.context())
            .arg("--no-cache")
            .arg(format!(
                "--build-context=base=oci-layout://{}:latest",
                layout.display()
            ))
            .args(&case.arguments)
            .arg(format!(
                "--output=type=oci,compression=uncompressed,dest={}",
                image.display()
            ))
            .envs(case.environment.iter().map(|(name, value)| (name, value)))
            .output()
            .map_err(|error| format!("{}: {error}", self.words[0]))?;
        let told = String::from_utf8_lossy(&finished.stderr).into_owned();
        match finished.status.code() {
            Some(0) => Ok(Outcome::Built(Box::new(Image::read(&image)))),
            Some(1) if !told.contains("panicked") => Ok(Outcome::Failed(Failure {
                lines: blamed_lines(&told),
                told,
            })),
            _ => Err(format!("ended with {}\n{told}", finished.status)),
        }
    }
}

/// Lines that are said as `Dockerfile:3` above an excerpt, as `--> Dockerfile:3:1`, or as the parser of
/// BuildKit does.
fn blamed_lines(told: &str) -> Vec<u32> {
    let lines = told.lines().filter_map(|line| {
        let place = match line.trim_start().strip_prefix("--> ") {
            Some(place) => place.rsplit_once(':')?.0,
            None => line,
        };
        if let Some((_, rest)) = place.split_once("parse error on line ") {
            return rest.split_once(':')?.0.parse().ok();
        }
        let (file, number) = place.rsplit_once(':')?;
        (!file.is_empty() && !file.contains(' ')).then(|| number.parse().ok())?
    });
    lines.collect()
}
