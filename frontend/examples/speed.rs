//! How long the frontend takes for large and for hostile Dockerfiles, each at two sizes, so that what
//! does not grow linearly shows. Times are those that the thread had a processor.
//!
//! `cargo run --release -p kiln-frontend --example speed [PART OF A NAME]`

#![allow(clippy::disallowed_methods, reason = "time is what is measured")]

use std::collections::BTreeMap;
use std::time::Duration;

use kiln_frontend::image_config::ImageConfig;
use kiln_frontend::lower::{Extent, survey};
use kiln_frontend::{
    LowerError, Lowered, Options, Parsed, ResolvedImage, Source, format, ignore, lower, parse,
};
use kiln_solver::{RelPath, Sha256Digest};

/// How often each case is measured; the best time counts.
const ROUNDS: usize = 7;

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    println!(
        "{:<44}{:>10}{:>10}{:>10}{:>10}{:>10}  outcome",
        "case", "KiB", "parse ms", "lower ms", "check ms", "fmt ms"
    );
    for (name, make) in CASES.iter().filter(|(name, _)| name.contains(&wanted)) {
        for size in [1, 2] {
            dockerfile(&format!("{name} x{size}"), &make(size));
        }
    }
    println!(
        "\n{:<44}{:>10}{:>10}",
        "ignore patterns", "read ms", "ask ms"
    );
    for (name, make) in PATTERNS.iter().filter(|(name, _)| name.contains(&wanted)) {
        for size in [1, 2] {
            patterns(&format!("{name} x{size}"), &make(size));
        }
    }
}

type Case = (&'static str, fn(usize) -> String);

const CASES: [Case; 37] = [
    ("10,000 instructions in 1,000 stages", stages),
    ("20,000 stages on each other", |size| {
        let stages = (1..20_000 * size).map(|i| format!("FROM s{} AS s{i}\n", i - 1));
        format!("FROM scratch AS s0\n{}", stages.collect::<String>())
    }),
    ("20,000 stages that copy", |size| {
        let stages = (1..20_000 * size)
            .map(|i| format!("FROM scratch AS s{i}\nCOPY --from=s{} a b\n", i - 1));
        format!("FROM scratch AS s0\n{}", stages.collect::<String>())
    }),
    ("500 stages that copy later ones", |size| {
        let stages =
            (0..500 * size).map(|i| format!("FROM scratch AS s{i}\nCOPY --from=s{} a b\n", i + 1));
        format!(
            "{}FROM scratch AS s{}\n",
            stages.collect::<String>(),
            500 * size
        )
    }),
    ("50,000 lines of RUN", |size| {
        format!("FROM a\n{}", "RUN echo a\n".repeat(50_000 * size))
    }),
    ("one RUN of 100,000 lines", |size| {
        format!("FROM a\nRUN x{}\n", " \\\n  && y".repeat(100_000 * size))
    }),
    ("100,000 comments in a continuation", |size| {
        format!("FROM a\nRUN x \\\n{}  y\n", "# c\n".repeat(100_000 * size))
    }),
    ("10,000 heredocs", |size| {
        format!("FROM a\n{}", "RUN <<E\nx\nE\n".repeat(10_000 * size))
    }),
    ("one heredoc of 200,000 lines", |size| {
        format!(
            "FROM a\nCOPY <<E /x\n{}E\n",
            "$A ${B:-b}\n".repeat(200_000 * size)
        )
    }),
    ("10,000 ARGs, each used", |size| {
        let args = (0..10_000 * size).map(|i| format!("ARG a{i}=x\nUSER $a{i}\n"));
        format!("FROM scratch\n{}", args.collect::<String>())
    }),
    ("1,000 ARGs and 1,000 RUNs", |size| {
        let args = (0..1000 * size).map(|i| format!("ARG a{i}=x\nRUN $a{i}\n"));
        format!("FROM scratch\n{}", args.collect::<String>())
    }),
    ("a variable that doubles 64 times", |size| {
        format!(
            "FROM scratch\nENV a=0123456789\n{}",
            "ENV a=$a$a\n".repeat(64 * size)
        )
    }),
    ("1,000 stages that inherit 1,000 variables", |size| {
        let env: String = (0..1000).map(|i| format!(" a{i}=x")).collect();
        let stages = (1..1000 * size).map(|i| format!("FROM s{} AS s{i}\nENV b=c\n", i - 1));
        format!(
            "FROM scratch AS s0\nENV {env}\n{}",
            stages.collect::<String>()
        )
    }),
    ("a line of 20 MB", |size| {
        format!("FROM a\nRUN {}\n", "x ".repeat((5 << 20) * size))
    }),
    ("6,000 nested ${a:-}", |size| {
        let count = 6000 * size;
        let nested = "${a:-\\\n".repeat(count) + &"}\\\n".repeat(count);
        format!("FROM a\nENV x={nested}\n")
    }),
    ("globs with many *", |size| {
        let value = "a".repeat(20_000 * size);
        let line = format!("ENV c=${{b//{}b/x}}\n", "*a".repeat(100));
        format!("FROM a\nENV b={value}\n{}", line.repeat(100))
    }),
    ("200,000 unknown flags", |size| {
        format!("FROM a\nRUN {} x\n", "--a \\\n".repeat(200_000 * size))
    }),
    ("JSON of 200,000 strings", |size| {
        format!(
            "FROM a\nRUN [{}\"\"]\n",
            "\"a\",\\\n".repeat(200_000 * size)
        )
    }),
    ("20,000 stages on each other that RUN", |size| {
        let stages =
            (1..20_000 * size).map(|i| format!("FROM s{} AS s{i}\nRUN touch /x{i}\n", i - 1));
        format!("FROM scratch AS s0\n{}", stages.collect::<String>())
    }),
    ("20,000 stages on one that COPY all of a dir", |size| {
        let stages = (1..20_000 * size).map(|i| format!("FROM s0\nCOPY a{i} /b{i}\n"));
        format!("FROM scratch AS s0\n{}", stages.collect::<String>())
    }),
    ("10,000 ENVs, then 10,000 expansions", |size| {
        let count = 10_000 * size;
        let set = (0..count).map(|i| format!("ENV a{i}=x\n"));
        let used = (0..count).map(|i| format!("LABEL b=$a{i}\n"));
        format!(
            "FROM scratch\n{}{}",
            set.collect::<String>(),
            used.collect::<String>()
        )
    }),
    ("10,000 undefined variables", |size| {
        let used = (0..10_000 * size).map(|i| format!("LABEL b=$a{i}\n"));
        format!("FROM scratch\n{}", used.collect::<String>())
    }),
    ("10,000 COPY --from distinct stages", |size| {
        let count = 10_000 * size;
        let stages = (0..count).map(|i| format!("FROM scratch AS s{i}\nCOPY a b\n"));
        let copies = (0..count).map(|i| format!("COPY --from=s{i} a b{i}\n"));
        format!(
            "{}FROM scratch\n{}",
            stages.collect::<String>(),
            copies.collect::<String>()
        )
    }),
    ("10,000 COPY --from misspelt stages", |size| {
        let count = 10_000 * size;
        let stages = (0..count).map(|i| format!("FROM scratch AS stage{i}\n"));
        let copies = (0..count).map(|i| format!("COPY --from=Stage_{i} a b{i}\n"));
        format!(
            "{}FROM scratch\n{}",
            stages.collect::<String>(),
            copies.collect::<String>()
        )
    }),
    ("10,000 mounts of one RUN", |size| {
        let mounts = (0..10_000 * size).map(|i| format!("--mount=type=tmpfs,target=/a{i} \\\n"));
        format!("FROM a\nRUN {} x\n", mounts.collect::<String>())
    }),
    ("100,000 --exclude of one COPY", |size| {
        let flags = (0..100_000 * size).map(|i| format!("--exclude=a{i} \\\n"));
        format!("FROM a\nCOPY {} . .\n", flags.collect::<String>())
    }),
    ("100,000 sources of one COPY", |size| {
        let paths = (0..100_000 * size).map(|i| format!("a{i} \\\n"));
        format!("FROM a\nCOPY {} /b/\n", paths.collect::<String>())
    }),
    ("1,000 heredocs of one COPY, 20 times", |size| {
        let count = 20 * size;
        let opened: String = (0..1000).map(|i| format!("<<E{i} \\\n")).collect();
        let closed: String = (0..1000).map(|i| format!("x\nE{i}\n")).collect();
        format!(
            "FROM a\n{}",
            format!("COPY {opened} /b/\n{closed}").repeat(count)
        )
    }),
    ("49,000 ONBUILDs", |size| {
        format!(
            "FROM a AS b\n{}FROM b\n",
            "ONBUILD RUN x\n".repeat(49_000 * size)
        )
    }),
    ("500 ONBUILDs in 500 stages", |size| {
        let count = 500 * size;
        let triggers = "ONBUILD LABEL a=b\n".repeat(count);
        let stages = (0..count).map(|i| format!("FROM b AS c{i}\n"));
        let copies = (0..count).map(|i| format!("COPY --from=c{i} a a\n"));
        format!(
            "FROM scratch AS b\n{triggers}{}FROM a\n{}",
            stages.collect::<String>(),
            copies.collect::<String>()
        )
    }),
    ("500 times EXPOSE 1-65535", |size| {
        format!("FROM scratch\n{}", "EXPOSE 1-65535\n".repeat(500 * size))
    }),
    ("2,000 RUNs behind a SHELL of 1 MB", |size| {
        let shell = format!(
            "SHELL [{}\"-c\"]\n",
            format!("\"{}\",\\\n", "x".repeat(1000)).repeat(1000)
        );
        format!("FROM a\n{shell}{}", "RUN x\n".repeat(2000 * size))
    }),
    ("2,000 relative WORKDIRs of 1 KB", |size| {
        format!(
            "FROM scratch\n{}",
            format!("WORKDIR {}\n", "x".repeat(1000)).repeat(2000 * size)
        )
    }),
    ("2,000 stages on one with labels of 1 MB", |size| {
        let labels = (0..1000).map(|i| format!("LABEL a{i}={}\n", "x".repeat(1000)));
        let stages = (0..2000 * size).map(|i| format!("FROM s AS s{i}\n"));
        let copies = (0..2000 * size).map(|i| format!("COPY --from=s{i} a a\n"));
        format!(
            "FROM scratch AS s\n{}{}FROM scratch\n{}",
            labels.collect::<String>(),
            stages.collect::<String>(),
            copies.collect::<String>()
        )
    }),
    ("2,000 ARGs of 1 MB before FROM", |size| {
        let args = (0..2000 * size).map(|i| format!("ARG b{i}=$a\n"));
        format!(
            "ARG a=x\n{}{}FROM $a\n",
            "ARG a=$a$a\n".repeat(20),
            args.collect::<String>()
        )
    }),
    ("10,000 FROMs of a name of 1 MB", |size| {
        format!(
            "ARG a=x\n{}{}",
            "ARG a=$a$a\n".repeat(20),
            "FROM $a\n".repeat(10_000 * size)
        )
    }),
    ("100,000 pairs of ENV", |size| {
        let pairs = (0..100_000 * size).map(|i| format!(" \\\n a{i}=b"));
        format!("FROM a\nENV {}\n", pairs.collect::<String>())
    }),
];

fn stages(size: usize) -> String {
    let mut text = String::from("ARG BASE=debian\n");
    for i in 0..1000 * size {
        let before = i.saturating_sub(1);
        text.push_str(&match i % 3 {
            0 => format!("FROM ${{BASE}}:{} AS s{i}\n", i % 7),
            _ => format!("FROM s{before} AS s{i}\n"),
        });
        text.push_str("ARG VERSION=1.2.3\nENV NAME=value OTHER=\"${VERSION} two\"\n");
        text.push_str("WORKDIR /src/app\nRUN apt-get update && \\\n    apt-get install -y gcc\n");
        let from = if i == 0 {
            "debian"
        } else {
            &format!("s{before}")
        };
        text.push_str(&format!("COPY --from={from} /out/a /out/b /in/\n"));
        text.push_str(
            "COPY --chown=1:1 . .\nRUN --mount=type=cache,target=/root/.cache make $VERSION\n",
        );
        text.push_str("LABEL a.b.c=\"$NAME\" d=e\nCMD [\"/bin/app\", \"--serve\"]\n");
    }
    let last = 1000 * size - 1;
    let copies = (0..last).map(|i| format!("COPY --from=s{i} /x /y{i}\n"));
    text.push_str("FROM scratch\n");
    text.extend(copies.step_by(5));
    text
}

fn dockerfile(name: &str, text: &str) {
    let source = Source::new("Dockerfile", text);
    let (parsing, parsed) = best(|| parse(&source));
    let (lowering, outcome) = best(|| lowered(&parsed));
    let outcome = match outcome {
        Ok(lowered) => format!("{} vertices", lowered.graph.len()),
        Err(message) => message.chars().take(60).collect(),
    };
    let (checking, _) = best(|| checked(&parsed));
    let (formatting, _) = best(|| format(&parsed.dockerfile));
    println!(
        "{name:<44}{:>10}{:>10}{:>10}{:>10}{:>10}  {outcome}",
        text.len() / 1024,
        milliseconds(parsing),
        milliseconds(lowering),
        milliseconds(checking),
        milliseconds(formatting)
    );
}

/// Asks all rules, as `kiln check --offline --enable all` does.
fn checked(parsed: &Parsed) -> usize {
    let mut options = Options::new("linux/amd64".parse().expect("a platform"));
    options.check.own_rules = true;
    options.check.enable = vec!["all".to_owned()];
    let survey = survey(parsed, &options, &BTreeMap::new(), Extent::All);
    survey.diagnostics.len()
}

/// Lowers a file as often as it asks for images.
fn lowered(parsed: &Parsed) -> Result<Lowered, String> {
    if let Some(error) = parsed.diagnostics.iter().find(|found| found.is_error()) {
        return Err(error.message.clone());
    }
    let options = Options::new("linux/amd64".parse().expect("a platform"));
    let mut images = BTreeMap::new();
    loop {
        match lower(&parsed.dockerfile, &options, &images) {
            Ok(lowered) => return Ok(lowered),
            Err(LowerError::Invalid(errors)) => return Err(errors[0].message.clone()),
            Err(LowerError::NeedsRemotes(requests)) => {
                return Err(format!("{} unknown sources", requests.len()));
            }
            Err(LowerError::NeedsImages(requests)) => {
                for request in requests {
                    let digest = Sha256Digest::new([1; 32]);
                    let config = ImageConfig::empty(&request.value.platform);
                    let image = ResolvedImage {
                        digest,
                        manifest: digest,
                        config,
                    };
                    images.insert(request.value, image);
                }
            }
        }
    }
}

const PATTERNS: [Case; 4] = [
    ("10,000 plain patterns", |size| {
        let lines = (0..10_000 * size).map(|i| match i % 5 {
            0 => format!("packages/p{i}/build\n"),
            1 => format!("**/cache{i}\n"),
            2 => format!("src/m{i}/*.o\n"),
            3 => format!("*/gen{i}_*/**\n"),
            _ => format!("!packages/p{i}/build/keep*\n"),
        });
        lines.collect()
    }),
    ("10,000 times **/a*b*c*N", |size| {
        (0..10_000 * size)
            .map(|i| format!("**/a*b*c*{i}\n"))
            .collect()
    }),
    ("10,000 times **/*e*l*", |size| {
        (0..10_000 * size)
            .map(|i| {
                format!(
                    "**/*{}*{}*o*x{}\n",
                    letter(i),
                    letter(i / 26),
                    letter(i / 676)
                )
            })
            .collect()
    }),
    ("10,000 negations of one directory", |size| {
        let lines = (0..10_000 * size).map(|i| format!("!packages/**/file{i}.o\n"));
        format!("packages\n{}", lines.collect::<String>())
    }),
];

fn letter(number: usize) -> char {
    char::from(b'a' + (number % 26) as u8)
}

/// Asks about 100,000 paths.
fn patterns(name: &str, text: &str) {
    let source = Source::new(".dockerignore", text);
    let (reading, compiled) = best(|| ignore::compile(&source).expect("patterns"));
    let paths: Vec<RelPath> = (0..100_000)
        .map(|i| format!("packages/p{}/build/lib/module{i}/file{i}.o", i % 20_000))
        .map(|path| RelPath::parse(path.as_bytes()).expect("a path"))
        .collect();
    let started = processor_time();
    let excluded = paths.iter().filter(|path| compiled.excludes(path)).count();
    println!(
        "{name:<44}{:>10}{:>10}  {excluded} excluded",
        milliseconds(reading),
        milliseconds(processor_time() - started)
    );
}

fn best<T>(mut work: impl FnMut() -> T) -> (Duration, T) {
    let mut best: Option<(Duration, T)> = None;
    for _ in 0..ROUNDS {
        let started = processor_time();
        let result = work();
        let taken = processor_time() - started;
        if best.as_ref().is_none_or(|(least, _)| taken < *least) {
            best = Some((taken, result));
        }
        if taken > Duration::from_secs(1) {
            break;
        }
    }
    best.expect("at least one round")
}

/// How long this thread has run (proc_pid_schedstat(5)).
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds = text.split(' ').next().and_then(|field| field.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number"))
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1000.0)
}
