//! Canaries: values that nobody has by chance are given to builds as secrets of every kind, and then
//! searched for wherever Kiln keeps, writes or shows anything, and in what others see of its processes.

mod inputs;
mod search;
mod watch;

use std::fs;

use crate::bench::{Bench, text};
use crate::finished::Finished;
use crate::servers::{Answer, HttpServer};
use inputs::{Canary, Inputs};
use search::Search;
use watch::{Process, Sighting, Watch};

/// Where a process may show a canary to those who may look at it, and why.
type Meant = (
    &'static str,
    &'static str,
    fn(&Process) -> bool,
    &'static str,
);

const MEANT: &[Meant] = &[
    (
        "variable",
        "environ",
        Process::is_as_typed,
        "whoever builds gave it to Kiln in this way",
    ),
    (
        "variable",
        "environ",
        Process::is_of_the_meant_step,
        "it is the step that asks for it",
    ),
    (
        "address",
        "cmdline",
        Process::is_as_typed,
        "whoever builds typed it",
    ),
    (
        "token",
        "environ",
        Process::is_git,
        "git takes it from there, and only its own user can read it",
    ),
    (
        "address",
        "environ",
        Process::is_git,
        "git takes it from there, and only its own user can read it",
    ),
];

fn is_meant(sighting: &Sighting) -> bool {
    MEANT.iter().any(|(canary, place, who, _)| {
        sighting.canary == *canary && sighting.place == *place && who(&sighting.process)
    })
}

/// What a step can see of itself and of everybody beside it.
const LOOK: &str = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline /proc/mounts >/seen 2>/dev/null; env >>/seen; \
     find / -xdev -type f -size -64k -not -path '/proc/*' -not -path '/sys/*' -not -path '/seen' -exec cat {} + >>/seen 2>/dev/null; true";

/// A build in which every canary is used by those who are meant to have it.
fn dockerfile(inputs: &Inputs) -> String {
    let sum = |name: &str| inputs.sum(name);
    let (file, variable) = (sum("file"), sum("variable"));
    let (git, http, image) = (inputs.private_git(), inputs.private_file(), inputs.image());
    format!(
        "FROM {image} AS image\nRUN {LOOK}\n\
         FROM base AS meant\nENV MEANT=yes\n\
         RUN --mount=type=secret,id=file,required --mount=type=secret,id=variable,env=VARIABLE,required \
         test $(sha256sum </run/secrets/file | cut -c 1-64) = {file} && \
         test $(printf %s $VARIABLE | sha256sum | cut -c 1-64) = {variable} && sleep 0.5\n\
         RUN --mount=type=ssh,required test -S $SSH_AUTH_SOCK && sleep 0.1\n\
         RUN {LOOK}\n\
         FROM base AS beside\nRUN sleep 0.2; {LOOK}\n\
         FROM base\nADD {git}?submodules=0 /git/\nADD {http} /http\n\
         COPY --from=image /seen /image\nCOPY --from=meant /seen /meant\nCOPY --from=beside /seen /beside\n\
         COPY --from=repository /one /one\nRUN {LOOK}\n"
    )
}

/// Print all that Kiln knows of a build.
const TELL_OF_BUILD: &[&str] = &[
    "builds show",
    "builds inspect",
    "builds inspect --format=json",
    "builds logs",
    "builds trace -o BUILD.trace",
    "builds html -o BUILD.html",
    "explain",
];

/// Print all that it knows of what the builds yielded.
const TELL: &[&str] = &[
    "builds ls --no-trunc",
    "history app",
    "inspect app",
    "images --no-trunc",
    "du --verbose",
    "cache ls",
];

fn tell(bench: &Bench, builds: &[&str]) {
    let told = bench.path("told");
    fs::create_dir_all(&told).expect("a directory");
    let of_builds = builds.iter().flat_map(|build| {
        let lines = TELL_OF_BUILD.iter();
        lines.map(move |line| format!("{} {build}", line.replace("BUILD", build)))
    });
    let lines = of_builds.chain(TELL.iter().map(|line| (*line).to_owned()));
    for (number, line) in lines.enumerate() {
        let mut command = bench.kiln();
        let finished = Finished::of(command.args(line.split(' ')).current_dir(&told));
        let text = [&finished.stdout[..], finished.stderr.as_bytes()].concat();
        fs::write(told.join(format!("{number}")), text).expect("writable");
        // A command that is refused tells nothing, so it tells no secret.
        assert_eq!(finished.code, Some(0), "{line}: {}", finished.stderr);
    }
}

fn keep(bench: &Bench, name: &str, finished: &Finished) {
    let said = [&finished.stdout[..], finished.stderr.as_bytes()].concat();
    let path = bench.path(name);
    fs::create_dir_all(path.parent().expect("it is in the bench")).expect("directories");
    fs::write(path, said).expect("writable");
}

/// All that a build wrote, the inputs aside.
const PLACES: &[&str] = &[
    "store", "gzip", "zstd", "files", "cache", "meta", "told", "said", "failed", "context",
];

#[test]
fn nothing_that_is_secret_is_anywhere() {
    let bench = Bench::new();
    let inputs = Inputs::make(&bench);
    bench.file("Dockerfile", dockerfile(&inputs));
    let line = format!(
        "{} --no-cache -t app --metadata-file meta -o type=image -o type=oci,tar=false,compression=gzip,dest=gzip \
         -o type=oci,tar=false,compression=zstd,dest=zstd -o files --cache-to type=local,mode=max,dest=cache",
        inputs.line()
    );
    let watch = Watch::start(inputs.canaries());
    let mut command = bench.command_shown("--progress=plain", &line);
    let finished = Finished::of(inputs.give(&mut command));
    finished.assert_well();
    keep(&bench, "said", &finished);

    // A step that fails tells more than one that does not.
    let steps = fs::read_to_string(bench.context("Dockerfile")).expect("it was written");
    let mount = "--mount=type=secret,id=file --mount=type=secret,id=variable,env=VARIABLE";
    bench.file(
        "Dockerfile",
        format!("{steps}ENV MEANT=yes\nRUN {mount} exit 7\n"),
    );
    let mut command = bench.command_shown("--progress=plain", &inputs.line());
    let finished = Finished::of(inputs.give(&mut command));
    finished.assert_failed(1, &["exit code: 7"]);
    keep(&bench, "failed", &finished);

    let sightings = watch.stop();
    let shown: Vec<_> = sightings.iter().filter(|seen| !is_meant(seen)).collect();
    assert!(shown.is_empty(), "{shown:#?}");
    // Had nobody looked, nobody would have seen anything.
    let in_step = |seen: &&Sighting| seen.process.is_of_the_meant_step();
    assert!(
        sightings.iter().any(|seen| in_step(&seen)),
        "{sightings:#?}"
    );

    tell(&bench, &["^0", "^1"]);
    let found = Search::of(&bench, PLACES).find(inputs.canaries());
    assert!(found.is_empty(), "{found:#?}");
}

/// The twin: had a step kept its secrets, they would have been found in each of these.
#[test]
fn what_a_step_gives_away_is_found() {
    let bench = Bench::with(
        "FROM base\nRUN --mount=type=secret,id=file cp /run/secrets/file /kept && cat /kept\n",
    );
    let inputs = Inputs::of_files(&bench);
    let line = format!(
        "{} -t app -o type=oci,tar=false,compression=gzip,dest=gzip -o type=oci,tar=false,compression=zstd,dest=zstd -o files",
        inputs.line()
    );
    let mut command = bench.command_shown("--progress=plain", &line);
    let finished = Finished::of(&mut command);
    finished.assert_well();
    keep(&bench, "said", &finished);
    for place in ["store", "gzip", "zstd", "files", "said"] {
        let found = Search::of(&bench, &[place]).find(inputs.canaries());
        let canaries: Vec<&str> = found.iter().map(|found| found.0).collect();
        assert!(canaries.contains(&"file"), "{place}: {found:?}");
    }
}

/// The predefined arguments for proxies are for the steps, and no part of what comes of them.
#[test]
fn the_password_of_a_proxy_stays_with_the_steps() {
    let bench = Bench::with("FROM base\nRUN test -n \"$HTTP_PROXY\" && test -n \"$no_proxy\"\n");
    let canary = Canary::new("proxy");
    let proxy = format!("http://user:{}@127.0.0.1:9", canary.value);
    let line = format!(
        "-t app -o type=oci,tar=false,compression=gzip,dest=gzip -o type=image --metadata-file meta --build-arg HTTP_PROXY={proxy} --build-arg no_proxy={proxy}"
    );
    let mut command = bench.command_shown("--progress=plain", &line);
    let finished = Finished::of(&mut command);
    finished.assert_well();
    keep(&bench, "said", &finished);
    tell(&bench, &["^0"]);
    let places = ["store", "gzip", "meta", "told", "said"];
    let found = Search::of(&bench, &places).find(&[canary]);
    assert!(found.is_empty(), "{found:#?}");
}

/// A server that asks for a password, and is given it by who has it.
#[test]
fn the_password_of_an_address_reaches_its_server_and_nobody_else() {
    let bench = Bench::new();
    let canary = Canary::new("address");
    let root = crate::servers::repositories(bench.path("repositories"));
    let proof = inputs::basic("user", &canary.value);
    let server = HttpServer::of_git(&root, move |asked| {
        asked.header("authorization") == Some(&proof)
    });
    let host = server.host();
    let address = format!("http://user:{}@{host}/main.git", canary.value);
    let mut command = bench.kiln();
    let base = format!("base=oci-layout://{}", text(crate::base::small()));
    command.args(["build", "--build-context", &base, "-o", "files", &address]);
    let finished = Finished::of(&mut command);
    finished.assert_well();
    keep(&bench, "said", &finished);
    assert!(bench.path("files/all/module/file").exists());
    // Those that fail say why.
    let context = bench.path("context");
    fs::write(
        context.join("Dockerfile"),
        "FROM scratch\nCOPY --from=x . /\n",
    )
    .expect("writable");
    for (number, rest) in [
        "none.git",
        "main.git?nonsense=1",
        "main.git#--nope",
        "main.git#main:none",
        "none.tar",
        "main.git?checksum=x",
    ]
    .into_iter()
    .enumerate()
    {
        let address = format!("http://user:{}@{host}/{rest}", canary.value);
        let named = [
            "--build-context".to_owned(),
            format!("x={address}"),
            text(&context).to_owned(),
        ];
        for (how, arguments) in [("main", &[address][..]), ("named", &named[..])] {
            let mut command = bench.kiln();
            let finished = Finished::of(command.arg("build").args(arguments));
            assert_ne!(finished.code, Some(0), "{rest}");
            keep(&bench, &format!("failed/{how}-{number}"), &finished);
        }
    }
    let canaries = [canary];
    let found = Search::of(&bench, &["store", "files", "said", "failed"]).find(&canaries);
    assert!(found.is_empty(), "{found:#?}");
}

/// A server may send git elsewhere, but not with a token.
#[test]
fn a_token_is_not_taken_to_where_a_server_redirects() {
    let bench = Bench::new();
    let canary = Canary::new("token");
    let root = crate::servers::repositories(bench.path("repositories"));
    let other = HttpServer::of_git(&root, |_| true);
    let target = other.url("");
    let first = HttpServer::start(move |asked| {
        Answer::status(302).with("Location", &format!("{target}{}", asked.target))
    });
    let address = first.url("/main.git?submodules=0");
    bench.file("Dockerfile", format!("FROM scratch\nADD {address} /x/\n"));
    fs::write(bench.path("token"), &canary.value).expect("writable");
    let secret = text(&bench.path("token")).to_owned();
    let parts = ["it redirects, and the token or password is not taken along"];
    bench.refused(
        &format!("--secret id=GIT_AUTH_TOKEN,src={secret}"),
        1,
        &parts,
    );
    let shown = |asked: Vec<crate::servers::Asked>| {
        asked
            .iter()
            .any(|asked| asked.header("authorization").is_some())
    };
    assert!(shown(first.asked()), "it was meant for this one");
    assert!(!shown(other.asked()));
    // Who shows nothing is taken there.
    let files = bench.files("files", "");
    assert!(files.join("x/one").exists());
}
