//! `SOURCE_DATE_EPOCH`: a fixed time instead of the clock. It is a number, or names what has one:
//! `context`, a named context, or a stage that only adds something of another machine.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::add::AddedSource;
use super::environment::Environment;
use super::remote::RemoteSource;
use super::root::Roots;
use super::{Images, LowerError, MainContext, NamedContext, Options};
use crate::diagnostic::{Diagnostic, Suggestions};
use crate::expand::Expander;
use crate::stage::{Stage, Stages};
use crate::syntax::{Argument, Command, Dockerfile, Transfer, Word};

const NAME: &str = "SOURCE_DATE_EPOCH";

/// The years 1 to 9999, which RFC 3339 can say, without the last day, which has not ended everywhere.
const SECONDS: RangeInclusive<i64> = -62_135_596_800..=253_402_207_200;

/// The value that stands for the time of the build's context.
pub(super) const CONTEXT: &str = "context";

/// The time that the build arguments or a global ARG fix, in seconds since 1970, or else the default.
pub(super) fn resolve(
    dockerfile: &Dockerfile,
    stages: &Stages<'_>,
    options: &Options,
    global: &Environment,
    images: &dyn Images,
) -> Result<Option<i64>, LowerError> {
    let named = named(dockerfile, stages, options, global, images)?;
    Ok(named.or(options.default_epoch))
}

fn named(
    dockerfile: &Dockerfile,
    stages: &Stages<'_>,
    options: &Options,
    global: &Environment,
    images: &dyn Images,
) -> Result<Option<i64>, LowerError> {
    let given = options
        .build_args
        .get(NAME)
        .map(String::as_str)
        .or(global.value(NAME));
    let text = match given {
        None | Some("") => return Ok(None),
        Some(CONTEXT) => {
            return Ok(match &options.context {
                MainContext::Directory => None,
                MainContext::Remote { time, .. } => *time,
            });
        }
        Some(text) => text,
    };
    if let Ok(seconds) = text.parse() {
        return match SECONDS.contains(&seconds) {
            true => Ok(Some(seconds)),
            false => Err(no_time(text).into()),
        };
    }
    let suggestions = &Suggestions::default();
    let roots = Roots {
        stages,
        options,
        suggestions,
    };
    let source = match roots.find_named(text) {
        Some((key, NamedContext::Remote(address))) => {
            RemoteSource::of_context(address).map_err(|error| {
                Diagnostic::error_nowhere("invalid-context", format!("the context {key}: {error}"))
            })?
        }
        // Directories and images have no time of their own.
        Some(_) => return Ok(None),
        None => match stages.by_name(text) {
            Some(index) => {
                let mut scope = Scope {
                    dockerfile,
                    options,
                    environment: global.clone(),
                };
                scope.source_of(&stages.all[index])?
            }
            None => return Err(unknown(text, stages, options).into()),
        },
    };
    let source = source.with_time();
    let request = source.request();
    match images.remote(&request) {
        Some(pinned) => Ok(pinned.time()),
        None => Err(LowerError::NeedsRemotes(vec![(request, None)])),
    }
}

/// The time as far as it is known without asking, and what is wrong with it.
pub(super) fn resolve_if_known(
    dockerfile: &Dockerfile,
    stages: &Stages<'_>,
    options: &Options,
    global: &Environment,
    images: &dyn Images,
) -> (Option<i64>, Vec<Diagnostic>) {
    match resolve(dockerfile, stages, options, global, images) {
        Ok(epoch) => (epoch, Vec::new()),
        Err(LowerError::Invalid(errors)) => (None, errors),
        Err(LowerError::NeedsImages(_) | LowerError::NeedsRemotes(_)) => (None, Vec::new()),
    }
}

fn no_time(text: &str) -> Diagnostic {
    let message = format!("SOURCE_DATE_EPOCH is no time between the years 1 and 9999: {text}");
    Diagnostic::error_nowhere("invalid-epoch", message)
}

fn unknown(text: &str, stages: &Stages<'_>, options: &Options) -> Diagnostic {
    let message = format!(
        "SOURCE_DATE_EPOCH must be a number of seconds, context, or the name of a context or stage, not {text:?}"
    );
    let contexts = options.contexts.keys().map(String::as_str);
    let names = stages.names().chain(contexts).chain([CONTEXT]);
    Diagnostic::error_nowhere("invalid-epoch", message).did_you_mean(text, names)
}

/// Whether a build argument says that there is no time. As in BuildKit, its ARG then has no value, not even
/// an empty one or that of the whole file.
pub(super) fn is_none(name: &str, value: &str) -> bool {
    name == NAME && value.is_empty()
}

/// The options with the time as a number, as ARGs of that name see it.
pub(super) fn with_number(options: Cow<'_, Options>, epoch: Option<i64>) -> Cow<'_, Options> {
    let number = epoch.map_or(String::new(), |epoch| epoch.to_string());
    let is_other = match options.build_args.get(NAME) {
        Some(given) => *given != number,
        None => epoch.is_some() && epoch == options.default_epoch,
    };
    if !is_other {
        return options;
    }
    let mut options = options.into_owned();
    options.build_args.insert(NAME.to_owned(), number);
    Cow::Owned(options)
}

/// The variables of a stage that stands for a time.
struct Scope<'a> {
    dockerfile: &'a Dockerfile,
    options: &'a Options,
    environment: Environment,
}

impl Scope<'_> {
    /// What a stage adds: the one thing that it may do, besides ARG, is one ADD from elsewhere.
    fn source_of(&mut self, stage: &Stage<'_>) -> Result<RemoteSource, LowerError> {
        let span = stage.instruction.span;
        let refused = |message: &str| Diagnostic::error("invalid-epoch", span, message);
        if self.expand(&stage.from.image)? != "scratch" {
            return Err(
                refused("a stage that SOURCE_DATE_EPOCH names must begin FROM scratch").into(),
            );
        }
        let mut found = None;
        for instruction in stage.instructions {
            let one = "a stage that SOURCE_DATE_EPOCH names has one ADD from http or git, and no other instruction but ARG";
            match &instruction.command {
                Command::Arg(arguments) => self.declare(arguments)?,
                Command::Add(add) if found.is_none() => found = Some(self.added(add)?),
                _ => return Err(refused(one).at(instruction.span).into()),
            }
        }
        match found.flatten() {
            Some(source) => Ok(source),
            None => Err(refused("a stage that SOURCE_DATE_EPOCH names must ADD one file or repository of another machine").into()),
        }
    }

    fn declare(&mut self, arguments: &[Argument]) -> Result<(), LowerError> {
        for argument in arguments {
            let name = &argument.name.value;
            if let Some(value) = self.options.build_args.get(name) {
                self.environment.set(name, value);
            } else if let Some(default) = &argument.default {
                let value = self.expand(default)?;
                self.environment.set(name, &value);
            }
        }
        Ok(())
    }

    fn added(&self, add: &Transfer) -> Result<Option<RemoteSource>, LowerError> {
        let [path] = &add.paths[..] else {
            return Ok(None);
        };
        let checksum = match &add.checksum {
            Some(checksum) => Some(Word::new(self.expand(checksum)?, checksum.span)),
            None => None,
        };
        let path = Word::new(self.expand(path)?, path.span);
        let added = AddedSource::of(&path, checksum.as_ref(), add.keep_git_dir.as_ref())?;
        Ok(match added {
            AddedSource::Remote(source) if add.files.is_empty() => Some(source),
            _ => None,
        })
    }

    fn expand(&self, word: &Word) -> Result<String, Diagnostic> {
        let expander = Expander::new(self.dockerfile.directives.escape_char(), &self.environment);
        let expansion = expander
            .word(&word.value)
            .map_err(|error| Diagnostic::error("expansion", word.span, error.to_string()))?;
        Ok(expansion.text)
    }
}

/// A time as RFC 3339 in UTC.
pub(super) fn rfc3339(seconds: i64) -> String {
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(day);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The date of a day counted from 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date
/// algorithms"): years begin in March, so that the leap day comes last.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn dates() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ];
        for (seconds, text) in cases {
            assert_eq!(rfc3339(seconds), text);
        }
    }
}
