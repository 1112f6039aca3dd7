//! `kiln check`, and the questions of `kiln build --call`.

use std::io::{self, Write};
use std::sync::Arc;

use anyhow::Result;
use kiln_frontend::check::{self, RULES, Rule};
use kiln_frontend::diagnostic::shortened;
use kiln_frontend::lower::CheckOptions;
use kiln_solver::Reporter;
use kiln_worker::image::Images;
use tokio::runtime::Runtime;

use crate::answer;
use crate::args::{CheckArgs, CheckFormat, FailOn, GlobalArgs};
use crate::build::{self, Begun, BuildError, Checked, Question, UnknownImage};
use crate::exit::Exit;
use crate::progress::{self, Display, Quiet};
use crate::report::Report;
use crate::settings::{AnswerFormat, BuildSettings, Environment, Method, ProgressMode, UsageError};
use crate::wire;

/// Checks a Dockerfile, or tells about the rules.
pub fn run(
    args: &CheckArgs,
    global: &GlobalArgs,
    environment: &Environment,
    out: &mut dyn Write,
) -> Result<Exit> {
    if args.list_rules {
        list_rules(out)?;
        return Ok(Exit::Done);
    }
    if let Some(name) = &args.explain {
        out.write_all(rule("--explain", name)?.page().as_bytes())?;
        return Ok(Exit::Done);
    }
    for (option, names) in [("--skip", &args.skip), ("--enable", &args.enable)] {
        for name in names.iter().filter(|name| *name != "all") {
            rule(option, name)?;
        }
    }
    let settings = BuildSettings::resolve(args.as_build(), environment)?;
    let options = CheckOptions {
        own_rules: true,
        skip: args.skip.clone(),
        enable: args.enable.clone(),
    };
    let question = question(&settings, options, global, environment)?;
    let checked = checked(&question, args.offline, global, environment)?;
    let format = match args.format {
        CheckFormat::Text => AnswerFormat::Text,
        CheckFormat::Json => AnswerFormat::Json,
        CheckFormat::Sarif => AnswerFormat::Sarif,
    };
    write_checked(out, &question, &checked, format, environment)?;
    let has_errors = checked.diagnostics.iter().any(|found| found.is_error());
    let failed = match args.fail_on {
        FailOn::Never => false,
        FailOn::Error => has_errors,
        FailOn::Warning => !checked.diagnostics.is_empty(),
    };
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

/// Answers what `--call` asks.
pub fn answer(
    settings: &BuildSettings,
    global: &GlobalArgs,
    environment: &Environment,
    out: &mut dyn Write,
) -> Result<Exit> {
    let question = question(settings, CheckOptions::default(), global, environment)?;
    let call = settings.call;
    let failed = match call.method {
        Method::Check | Method::Build => {
            let checked = checked(&question, false, global, environment)?;
            write_checked(out, &question, &checked, call.format, environment)?;
            !checked.diagnostics.is_empty()
        }
        Method::Outline => match build::outline(&question) {
            Ok(outline) if call.format == AnswerFormat::Json => {
                answer::write_outline_json(out, question.source(), &outline)?;
                false
            }
            Ok(outline) => {
                answer::write_outline(out, &outline)?;
                false
            }
            Err(error) => return refuse(&error, environment),
        },
        Method::Targets => match build::targets(&question) {
            Ok(targets) if call.format == AnswerFormat::Json => {
                answer::write_targets_json(out, question.source(), &targets)?;
                false
            }
            Ok(targets) => {
                answer::write_targets(out, &targets)?;
                false
            }
            Err(error) => return refuse(&error, environment),
        },
    };
    Ok(match failed && !call.ignore_status {
        true => Exit::Failed,
        false => Exit::Done,
    })
}

/// Reads the Dockerfile, for which the context may have to be brought in.
fn question(
    settings: &BuildSettings,
    check: CheckOptions,
    global: &GlobalArgs,
    environment: &Environment,
) -> Result<Question> {
    let elsewhere = match Question::begin(settings, check)? {
        Begun::Read(question) => return Ok(*question),
        Begun::Elsewhere(elsewhere) => elsewhere,
    };
    wire::become_root()?;
    let store = wire::store(global, environment)?;
    let backends = wire::backends(store, settings, environment)?;
    let display = Display::start(Quiet);
    let reporter = Reporter::new(display.progress());
    let runtime = runtime()?;
    let question = runtime.block_on(Question::bring_in(
        settings, elsewhere, &backends, &reporter,
    ));
    runtime.shutdown_background();
    drop(reporter);
    display.finish();
    backends.store.scratch().discard();
    question
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}

fn refuse(error: &BuildError, environment: &Environment) -> Result<Exit> {
    let stderr = &mut io::stderr();
    let mut report = Report {
        out: stderr,
        colors: progress::colors(environment),
    };
    report.build_error(error, &[], ProgressMode::Plain, None)?;
    Ok(Exit::Failed)
}

/// Looks at base images where rules want to know them.
fn checked(
    question: &Question,
    is_offline: bool,
    global: &GlobalArgs,
    environment: &Environment,
) -> Result<Checked> {
    if !question.needs_images() {
        return Ok(question.check_alone());
    }
    let images = match is_offline {
        true => None,
        false => images(global, environment),
    };
    let Some(images) = images else {
        return Ok(question.check_alone());
    };
    let display = Display::start(Quiet);
    let reporter = Reporter::new(display.progress());
    let runtime = runtime()?;
    let checked = runtime.block_on(question.check(images, &reporter));
    // A connection that hangs is nobody's concern any more.
    runtime.shutdown_background();
    drop(reporter);
    display.finish();
    Ok(checked)
}

/// Where images are looked up. A check does not fail for want of a store.
fn images(global: &GlobalArgs, environment: &Environment) -> Option<Arc<Images>> {
    wire::become_root().ok()?;
    let store = wire::store(global, environment).ok()?;
    Some(wire::images_to_check(&store, environment))
}

fn write_checked(
    out: &mut dyn Write,
    question: &Question,
    checked: &Checked,
    format: AnswerFormat,
    environment: &Environment,
) -> Result<()> {
    let found = &checked.diagnostics;
    match format {
        AnswerFormat::Json => {
            answer::write_findings(out, question.dockerfile(), &shortened(found))?;
        }
        AnswerFormat::Sarif => answer::write_sarif(out, question.source(), &shortened(found))?,
        AnswerFormat::Text => {
            let colors = progress::stdout_colors(environment);
            Report { out, colors }.findings(question.source(), found)?;
        }
    }
    tell_unknown(&checked.unknown)?;
    Ok(())
}

/// What could not be checked is no finding, but should be known.
fn tell_unknown(unknown: &[UnknownImage]) -> io::Result<()> {
    for UnknownImage { name, reason } in unknown {
        let reason = reason.as_deref().and_then(|reason| reason.lines().next());
        let reason = reason.unwrap_or("it was not looked at");
        writeln!(
            io::stderr(),
            "note: the image {name} is not known ({reason}); rules that depend on it say nothing"
        )?;
    }
    Ok(())
}

fn rule(option: &'static str, name: &str) -> Result<&'static Rule, UsageError> {
    check::find(name).ok_or_else(|| {
        let names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
        UsageError::new(option, name, "there is no such rule").known_words(name, &names)
    })
}

fn list_rules(out: &mut dyn Write) -> io::Result<()> {
    let width = RULES.iter().map(|rule| rule.name.len()).max().unwrap_or(0);
    for rule in RULES {
        let off = match rule.is_on_by_default() {
            true => "",
            false => " (off by default)",
        };
        writeln!(out, "{:width$}  {}{off}", rule.name, rule.summary)?;
    }
    Ok(())
}
