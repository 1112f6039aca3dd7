//! All that can be said about a Dockerfile at once, errors and findings of rules, whether or not it can
//! be built and its base images are known.

use std::collections::BTreeSet;

use super::plan::Plan;
use super::stage::Builder;
use super::{Allowed, ImageRequest, Images, Options, arguments, check_syntax, epoch};
use crate::check::{self, Findings, FromScope, Settings};
use crate::diagnostic::Diagnostic;
use crate::parse::Parsed;
use crate::source::Spanned;
use crate::stage::Stages;
use crate::syntax::Dockerfile;

/// Which stages are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Those that the build needs.
    Needed,
    /// All of them, unless a target is given: then those that it needs.
    All,
}

/// What was found.
#[derive(Debug)]
pub struct Survey {
    /// Errors and warnings in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
    /// The base images that are not known. What depends on them is not among the diagnostics.
    pub missing: Vec<Spanned<ImageRequest>>,
}

/// Reports all errors and what the rules find.
pub fn survey(parsed: &Parsed, options: &Options, images: &dyn Images, extent: Extent) -> Survey {
    let mut options = options.clone();
    if extent == Extent::All {
        // Nothing is built, so nobody need agree to anything.
        options.allowed = Allowed::EVERYTHING;
    }
    let mut survey = survey_tree(&parsed.dockerfile, &options, images, extent);
    let mut diagnostics = parsed.diagnostics.clone();
    diagnostics.append(&mut survey.diagnostics);
    survey.diagnostics = diagnostics;
    sort(&mut survey.diagnostics);
    survey
}

fn sort(diagnostics: &mut [Diagnostic]) {
    diagnostics.sort_by_key(|diagnostic| diagnostic.span.map(|span| span.start));
}

/// Reports what is wrong beyond the syntax.
pub(super) fn survey_tree(
    dockerfile: &Dockerfile,
    options: &Options,
    images: &dyn Images,
    extent: Extent,
) -> Survey {
    let mut survey = Survey {
        diagnostics: Vec::new(),
        missing: Vec::new(),
    };
    let settings = settings(dockerfile, options).unwrap_or_else(|error| {
        survey.diagnostics.push(error);
        Settings::default()
    });
    let findings = Findings::new(settings, options.check.own_rules);
    survey.diagnostics.extend(check_syntax(dockerfile).err());
    let stages = Stages::of(dockerfile);
    check::file(&findings, dockerfile, &stages);
    let target = stages.target(options.target.as_deref());
    let findings = match target {
        Ok(target) => {
            let surveyor = Surveyor {
                dockerfile,
                options,
                images,
                stages: &stages,
            };
            surveyor.stages(target, extent, findings, &mut survey)
        }
        // Where a FROM is missing or wrong, that has been told.
        Err(error) if !stages.all.is_empty() && !misses_a_base(&stages) => {
            survey.diagnostics.push(error);
            findings
        }
        Err(_) => findings,
    };
    let directive = dockerfile.directives.check.as_ref();
    survey
        .diagnostics
        .extend(findings.finish(directive.map(|directive| directive.span)));
    sort(&mut survey.diagnostics);
    survey
}

/// The directive's settings, and those of the command line.
pub(super) fn settings(dockerfile: &Dockerfile, options: &Options) -> Result<Settings, Diagnostic> {
    let mut settings = Settings::of(dockerfile, &options.build_args)?;
    options
        .check
        .skip
        .iter()
        .for_each(|name| settings.skip(name));
    options
        .check
        .enable
        .iter()
        .for_each(|name| settings.enable(name));
    Ok(settings)
}

/// Whether the base of some stage could not be read, so that nobody knows which stages it needs.
fn misses_a_base(stages: &Stages<'_>) -> bool {
    stages.all.iter().any(|stage| !stage.is_read)
}

struct Surveyor<'a> {
    dockerfile: &'a Dockerfile,
    options: &'a Options,
    images: &'a dyn Images,
    stages: &'a Stages<'a>,
}

impl Surveyor<'_> {
    fn stages(
        &self,
        target: usize,
        extent: Extent,
        findings: Findings,
        survey: &mut Survey,
    ) -> Findings {
        let (dockerfile, stages, options) = (self.dockerfile, self.stages, self.options);
        let (global, errors) = arguments::global(dockerfile, stages, options, target);
        survey.diagnostics.extend(errors);
        from_rules(&findings, dockerfile, stages, options, target, &global);
        let (epoch, errors) =
            epoch::resolve_if_known(dockerfile, stages, options, &global, self.images);
        survey.diagnostics.extend(errors);
        let (mut plan, errors) = Plan::new(dockerfile, stages, options, &global);
        survey.diagnostics.extend(errors);
        let all = (extent == Extent::All && options.target.is_none()) || misses_a_base(stages);
        let (missing, errors) = plan.survey((!all).then_some(target), self.images);
        survey.missing = missing;
        survey.diagnostics.extend(errors);
        let builder = Builder::new(
            dockerfile,
            options,
            &global,
            &plan,
            self.images,
            epoch,
            findings,
        );
        let (findings, errors) = builder.survey();
        // A second error of one place only follows from the first.
        let known: BTreeSet<_> = survey.diagnostics.iter().map(|error| error.span).collect();
        let errors = errors.into_iter();
        let fresh = errors.filter(|error| error.span.is_none() || !known.contains(&error.span));
        survey.diagnostics.extend(fresh);
        if let Some(unused) = arguments::unused(&plan, options) {
            check::unused_build_argument(&findings, unused);
        }
        findings
    }
}

/// Asks the rules about FROM.
pub(super) fn from_rules(
    findings: &Findings,
    dockerfile: &Dockerfile,
    stages: &Stages<'_>,
    options: &Options,
    target: usize,
    global: &super::environment::Environment,
) {
    let defaults = arguments::defaults(dockerfile, stages, options, target);
    let scope = FromScope {
        escape: dockerfile.directives.escape_char(),
        variables: global,
        defaults: defaults.as_ref().map(|defaults| defaults as _),
        names: global.names().collect(),
        target_platform: global
            .value("TARGETPLATFORM")
            .unwrap_or_default()
            .to_owned(),
    };
    check::from(findings, stages, &scope);
}
