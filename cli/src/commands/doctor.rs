//! `kiln doctor`: whether this machine can run builds. It knows nothing of machines itself: everything is found out
//! by what a build does, and said in the words that a build would fail with.

use std::io::Write;

use anyhow::{Context, Result};
use kiln_worker::gc::DiskSpace;
use kiln_worker::layer::can_share_bytes;
use kiln_worker::sandbox::{
    Groups, Identity, Network, Resources, Sandbox, WayOut, can_scope_sockets, cgroup_versions,
    has_system_call_filter, mapped_ids, try_step,
};
use kiln_worker::store::Store;
use serde::Serialize;
use tokio::runtime::Builder;

use crate::args::{DoctorArgs, Format, GlobalArgs};
use crate::exit::Exit;
use crate::human;
use crate::report::chain;
use crate::settings::Environment;
use crate::table::{self, Listed};
use crate::wire;

/// Below this many free bytes most builds would not get far.
const LITTLE_SPACE: u64 = 1 << 30;

/// As many ids as images use: those of accounts, and of `nobody`.
const ENOUGH_IDS: u64 = 65_536;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    /// As it should be.
    Works,
    /// Builds run, but something in them has no effect or costs more.
    Limited,
    /// No build can run.
    Broken,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Status::Works => "works",
            Status::Limited => "limited",
            Status::Broken => "BROKEN",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    check: &'static str,
    status: Status,
    detail: String,
}

fn row(check: &'static str, status: Status, detail: impl Into<String>) -> Row {
    Row {
        check,
        status,
        detail: detail.into(),
    }
}

/// Looks at the machine; `entered` is whether this process could become root of a user namespace, as a build would.
pub fn run(
    args: &DoctorArgs,
    entered: Result<()>,
    global: &GlobalArgs,
    environment: &Environment,
    out: &mut dyn Write,
) -> Result<Exit> {
    let rows = match entered {
        Ok(()) => examine(global, environment)?,
        Err(error) => vec![row("user", Status::Broken, chain(error.as_ref()))],
    };
    match args.format {
        Format::Json => table::print(out, &rows, args.format)?,
        Format::Table => rows.iter().try_for_each(|row| {
            let Row {
                check,
                status,
                detail,
            } = row;
            writeln!(out, "{:<7} {check}: {detail}", status.word())
        })?,
    }
    let is_broken = rows.iter().any(|row| row.status == Status::Broken);
    Ok(if is_broken { Exit::Failed } else { Exit::Done })
}

fn examine(global: &GlobalArgs, environment: &Environment) -> Result<Vec<Row>> {
    let mut rows = vec![user()];
    match wire::store(global, environment) {
        Err(error) => rows.push(row("store", Status::Broken, chain(error.as_ref()))),
        Ok(store) => {
            let root = wire::root(global, environment)?;
            rows.push(row("store", Status::Works, root.display().to_string()));
            rows.extend(steps(&store)?);
            rows.push(disk(&root)?);
            rows.push(shared_bytes(&store));
        }
    }
    rows.extend(control_groups());
    Ok(rows)
}

/// Whose ids Kiln has to give.
fn user() -> Row {
    let ids = mapped_ids();
    match Identity::of_this_process() {
        Identity::Shifted => row("user", Status::Works, "root of the machine"),
        Identity::Same if ids < ENOUGH_IDS => row(
            "user",
            Status::Limited,
            format!(
                "root of a user namespace with ids up to {} only: files of other owners cannot be made; \
                 `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER` gives more",
                ids.saturating_sub(1)
            ),
        ),
        Identity::Same => row(
            "user",
            Status::Works,
            format!("root of a user namespace with {ids} ids"),
        ),
    }
}

/// Whether a step can be set up, and what it has.
fn steps(store: &Store) -> Result<Vec<Row>> {
    let sandbox = Sandbox::default();
    let wanted = sandbox.identity();
    if let Err(problem) = try_in(store, &sandbox, Network::Host)? {
        return Ok(vec![row("steps", Status::Broken, problem)]);
    }
    let mut rows = vec![row(
        "steps",
        Status::Works,
        "namespaces, overlay and mounts can be made",
    )];
    rows.push(match (wanted, sandbox.identity()) {
        (Identity::Shifted, Identity::Same) => row(
            "owners",
            Status::Limited,
            "the store's file system has no id-mapped mounts: root in a step is the machine's root; a store on ext4, \
             XFS or Btrfs (--root) lets it be nobody",
        ),
        (_, Identity::Shifted) => row("owners", Status::Works, "id-mapped mounts: root in a step is nobody"),
        (_, Identity::Same) => row("owners", Status::Works, "root in a step is who runs Kiln"),
    });
    rows.push(match has_system_call_filter() {
        true => row(
            "system calls",
            Status::Works,
            "seccomp, with Docker's default profile",
        ),
        false => row(
            "system calls",
            Status::Limited,
            format!(
                "not filtered: Kiln has no table of them for {}",
                std::env::consts::ARCH
            ),
        ),
    });
    rows.push(match can_scope_sockets() {
        true => row("sockets", Status::Works, "Landlock keeps steps from the host's abstract ones"),
        false => row(
            "sockets",
            Status::Limited,
            "steps with the host's network reach its abstract UNIX sockets; Landlock (Linux 6.12, in the kernel's \
             parameter lsm=) keeps them away",
        ),
    });
    rows.push(network(
        try_in(store, &sandbox, Network::Private)?,
        sandbox.way_out(),
    ));
    Ok(rows)
}

/// The network of steps: by what the step that was tried reached what is outside.
fn network(tried: Result<(), String>, way_out: Option<WayOut>) -> Row {
    const NAME: &str = "network";
    match (tried, way_out) {
        (Err(problem), _) => row(NAME, Status::Broken, problem),
        (Ok(()), Some(way)) => row(NAME, Status::Works, format!("of the step's own, by {way}")),
        (Ok(()), None) => row(
            NAME,
            Status::Limited,
            "the host's; CAP_NET_ADMIN gives steps of the machine's root their own, and the package slirp4netns or \
             passt with access to /dev/net/tun those of anybody",
        ),
    }
}

/// Tries a step in a directory of the store, and says why it cannot run.
fn try_in(store: &Store, sandbox: &Sandbox, network: Network) -> Result<Result<(), String>> {
    let directory = store.scratch().new_directory()?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let tried = runtime.block_on(try_step(sandbox, &directory, network));
    Ok(tried.map_err(|error| chain(&error)))
}

/// Asks for everything that can be asked for, as options of a build.
fn control_groups() -> Vec<Row> {
    let everything = Resources {
        memory: Some(1 << 30),
        memory_and_swap: Some(Some(1 << 30)),
        cpu_shares: Some(1024),
        cpu_quota: Some(100_000),
        cpu_period: Some(100_000),
        cpus: Some("0".to_owned()),
        memory_nodes: Some("0".to_owned()),
        processes: Some(1000),
    };
    let (_, shortfalls) = Groups::plan(&everything, None);
    if shortfalls.is_empty() {
        let versions: Vec<_> = cgroup_versions().iter().map(u8::to_string).collect();
        let detail = format!(
            "version {}; all limits have an effect",
            versions.join(" and ")
        );
        return vec![row("control groups", Status::Works, detail)];
    }
    let limited = |shortfall| row("control groups", Status::Limited, shortfall);
    shortfalls.into_iter().map(limited).collect()
}

fn disk(root: &std::path::Path) -> Result<Row> {
    let DiskSpace { total, free } = DiskSpace::at(root)?;
    let detail = format!("{} of {} are free", human::size(free), human::size(total));
    Ok(match free < LITTLE_SPACE {
        true => row(
            "disk",
            Status::Limited,
            format!("{detail}; `kiln prune` frees some"),
        ),
        false => row("disk", Status::Works, detail),
    })
}

fn shared_bytes(store: &Store) -> Row {
    match can_share_bytes(store) {
        true => row(
            "shared bytes",
            Status::Works,
            "similar layers share the bytes of files",
        ),
        false => row(
            "shared bytes",
            Status::Limited,
            "similar layers are whole copies; a store on XFS or Btrfs (--root) shares their bytes",
        ),
    }
}

impl Listed for Row {
    fn headers() -> Vec<&'static str> {
        vec!["CHECK", "STATUS", "DETAIL"]
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.check.to_owned(),
            self.status.word().to_owned(),
            self.detail.clone(),
        ]
    }
}
