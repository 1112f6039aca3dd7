//! What can be said about a Dockerfile without building it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use kiln_frontend::lower::{self, CheckOptions, Extent, ImageLocation, Outline};
use kiln_frontend::syntax::Dockerfile;
use kiln_frontend::targets::Target;
use kiln_frontend::{Diagnostic, Options, Parsed, Source};
use kiln_solver::Reporter;
use kiln_worker::image::Images;

use super::context::{self, OpenContext};
use super::images::ImageBook;
use super::{Backends, BuildError, dockerfile, options};
use crate::settings::BuildSettings;

/// How long registries may take to tell what base images are.
const PATIENCE: Duration = Duration::from_secs(20);

/// A Dockerfile about which something is asked.
pub struct Question {
    parsed: Parsed,
    options: Options,
}

/// A question as far as it can be asked without a store.
pub enum Begun {
    /// The Dockerfile was read.
    Read(Box<Question>),
    /// It is in a context that must be brought in.
    Elsewhere(Elsewhere),
}

/// A question about a Dockerfile that is not on this machine.
pub struct Elsewhere {
    stdin: context::Stdin,
    check: CheckOptions,
}

/// What was found.
pub struct Checked {
    /// Errors and warnings in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
    /// The base images that could not be looked at.
    pub unknown: Vec<UnknownImage>,
}

/// A base image that could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownImage {
    /// Its name.
    pub name: String,
    /// Why; `None` if nobody was asked.
    pub reason: Option<String>,
}

impl Question {
    /// Reads the Dockerfile that the settings name, if it is on this machine.
    pub fn begin(settings: &BuildSettings, check: CheckOptions) -> Result<Begun> {
        Ok(match context::begin(settings)? {
            context::Begun::Open(context) => {
                Begun::Read(Box::new(Self::of(settings, *context, check)?))
            }
            context::Begun::Elsewhere(stdin) => Begun::Elsewhere(Elsewhere { stdin, check }),
        })
    }

    /// Brings the context in as a build would, and reads the Dockerfile.
    pub async fn bring_in(
        settings: &BuildSettings,
        elsewhere: Elsewhere,
        backends: &Backends,
        reporter: &Reporter,
    ) -> Result<Self> {
        let Elsewhere { stdin, check } = elsewhere;
        let context = context::bring_in(settings, stdin, backends, reporter).await?;
        Self::of(settings, context, check)
    }

    fn of(settings: &BuildSettings, context: OpenContext, check: CheckOptions) -> Result<Self> {
        let loaded = dockerfile::load(settings, &context)?;
        let options = Options {
            ignored: loaded.excludes,
            context: context.main,
            check,
            ..options(settings)
        };
        let parsed = kiln_frontend::parse(&loaded.source);
        Ok(Self { parsed, options })
    }

    /// The Dockerfile as a tree.
    pub fn dockerfile(&self) -> &Dockerfile {
        &self.parsed.dockerfile
    }

    /// The Dockerfile's text.
    pub fn source(&self) -> &Source {
        &self.parsed.dockerfile.source
    }

    /// Whether some base image should be looked at.
    pub fn needs_images(&self) -> bool {
        !self.survey(&BTreeMap::new()).missing.is_empty()
    }

    /// What is found without looking at base images.
    pub fn check_alone(&self) -> Checked {
        let survey = self.survey(&BTreeMap::new());
        let unknown = survey.missing.iter().map(|request| UnknownImage {
            name: name_of(&request.value.location).to_owned(),
            reason: None,
        });
        Checked {
            unknown: unknown.collect(),
            diagnostics: survey.diagnostics,
        }
    }

    /// What is found, with base images looked at as far as they can be reached.
    pub async fn check(&self, images: Arc<Images>, reporter: &Reporter) -> Checked {
        let mut book = ImageBook::new(images, false);
        let mut unknown: BTreeMap<String, UnknownImage> = BTreeMap::new();
        loop {
            let survey = self.survey(&book);
            let missing: Vec<_> = survey
                .missing
                .into_iter()
                .filter(|request| !unknown.contains_key(name_of(&request.value.location)))
                .collect();
            if missing.is_empty() {
                return Checked {
                    diagnostics: survey.diagnostics,
                    unknown: unknown.into_values().collect(),
                };
            }
            let lookups = book.resolve_some(&missing, reporter);
            let failed = match tokio::time::timeout(PATIENCE, lookups).await {
                Ok(failed) => failed,
                Err(_) => {
                    let late = |request: &kiln_frontend::source::Spanned<_>| {
                        (request.clone(), "the registry takes too long".to_owned())
                    };
                    missing.iter().map(late).collect()
                }
            };
            for (request, reason) in failed {
                let name = name_of(&request.value.location).to_owned();
                let reason = Some(reason);
                unknown.insert(name.clone(), UnknownImage { name, reason });
            }
        }
    }

    fn survey(&self, images: &dyn kiln_frontend::Images) -> lower::Survey {
        lower::survey(&self.parsed, &self.options, images, Extent::All)
    }
}

/// What the target takes from outside. Base images are not looked at.
pub fn outline(question: &Question) -> Result<Outline, BuildError> {
    let Question { parsed, options } = question;
    lower::outline(parsed, options, &BTreeMap::new()).map_err(|errors| invalid(question, errors))
}

/// The targets that there are.
pub fn targets(question: &Question) -> Result<Vec<Target>, BuildError> {
    if question.parsed.has_errors() {
        return Err(invalid(question, question.parsed.diagnostics.clone()));
    }
    Ok(kiln_frontend::targets::targets(&question.parsed.dockerfile))
}

fn invalid(question: &Question, diagnostics: Vec<Diagnostic>) -> BuildError {
    BuildError::Dockerfile {
        dockerfile: Box::new(question.source().clone()),
        diagnostics,
    }
}

fn name_of(location: &ImageLocation) -> &str {
    match location {
        ImageLocation::Registry(name) | ImageLocation::Layout(name) => name,
    }
}
