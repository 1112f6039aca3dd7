//! The sandbox on a real Debian root file system, as root and as an ordinary user with subordinate ids.
//!
//! The main function is also that of the helper and of the user's re-executed self, so the usual harness is not
//! used; `--list`, `--exact` and name filters work as they do there. Run as root, it makes what it needs:
//! an account `kilntest` and, once, the archive of a root file system.

mod bench;
mod calls;
mod death;
mod identity;
mod isolation;
mod network;
mod outcome;
mod outside;
mod rootfs;
mod spare;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use bench::Bench;
use kiln_worker::sandbox::{enter_user_namespace_if_needed, run_if_helper};
use outside::Outside;

/// One test; `None` runs as root and as a user.
struct Case {
    name: &'static str,
    only: Option<Role>,
    run: fn(&Bench),
}

/// Who runs the cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Root,
    User,
}

impl Role {
    fn prefix(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::User => "user",
        }
    }
}

/// Cases by name: the function's own.
#[macro_export]
macro_rules! cases {
    ($($(#[$only:ident])? $name:ident),* $(,)?) => {
        pub(crate) const CASES: &[$crate::Case] = &[$($crate::Case {
            name: stringify!($name),
            only: $crate::cases!(@only $($only)?),
            run: $name,
        }),*];
    };
    (@only) => { None };
    (@only root) => { Some($crate::Role::Root) };
    (@only user) => { Some($crate::Role::User) };
}

fn all() -> impl Iterator<Item = &'static Case> {
    [
        outcome::CASES,
        isolation::CASES,
        network::CASES,
        calls::CASES,
        rootfs::CASES,
        identity::CASES,
        death::CASES,
        spare::CASES,
    ]
    .into_iter()
    .flatten()
}

fn main() -> ExitCode {
    run_if_helper();
    let started_by_root = rustix::process::geteuid().is_root();
    if let Err(error) = enter_user_namespace_if_needed() {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    if let Some(victim) = std::env::args()
        .skip(1)
        .find_map(|arg| arg.strip_prefix(death::VICTIM).map(str::to_owned))
    {
        return death::be_victim(&victim);
    }
    // Inside the namespace the user is root as well; only the parent can tell.
    let role = match std::env::var_os(bench::ROLE).is_some() || !started_by_root {
        true => Role::User,
        false => Role::Root,
    };
    Arguments::parse().run(role)
}

/// What of the usual harness's command line is understood.
struct Arguments {
    list: bool,
    exact: bool,
    filters: Vec<String>,
}

impl Arguments {
    fn parse() -> Self {
        let mut parsed = Self {
            list: false,
            exact: false,
            filters: Vec::new(),
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match &*arg {
                "--list" => parsed.list = true,
                "--exact" => parsed.exact = true,
                "--format" | "--test-threads" | "--color" | "--logfile" => drop(args.next()),
                flag if flag.starts_with('-') => {}
                _ => parsed.filters.push(arg),
            }
        }
        parsed
    }

    fn wants(&self, name: &str) -> bool {
        self.filters.is_empty()
            || self.filters.iter().any(|filter| match self.exact {
                true => name == filter,
                false => name.contains(&**filter),
            })
    }

    fn wanted(&self, role: Role) -> Vec<(String, &'static Case)> {
        all()
            .filter(|case| case.only.is_none_or(|only| only == role))
            .map(|case| (format!("{}::{}", role.prefix(), case.name), case))
            .filter(|(name, _)| self.wants(name))
            .collect()
    }

    fn run(&self, role: Role) -> ExitCode {
        if self.list {
            let roles = [Role::Root, Role::User];
            for (name, _) in roles.into_iter().flat_map(|role| self.wanted(role)) {
                println!("{name}: test");
            }
            return ExitCode::SUCCESS;
        }
        if role == Role::Root {
            bench::make_account();
        }
        let outside = (role == Role::Root).then(Outside::make);
        let mut well = self.run_cases(role);
        if role == Role::Root && !self.wanted(Role::User).is_empty() {
            well &= bench::run_again_as_user();
        }
        drop(outside);
        if well {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    fn run_cases(&self, role: Role) -> bool {
        let wanted = self.wanted(role);
        if wanted.is_empty() {
            return true;
        }
        let bench = Bench::new(role);
        let mut failed = Vec::new();
        for (name, case) in &wanted {
            let began = std::time::Instant::now();
            let well = catch_unwind(AssertUnwindSafe(|| (case.run)(&bench))).is_ok();
            let word = if well { "ok" } else { "FAILED" };
            println!(
                "test {name} ... {word} ({} ms)",
                began.elapsed().as_millis()
            );
            if !well {
                failed.push(name);
            }
        }
        println!(
            "{} cases as {}, failed: {failed:?}",
            wanted.len(),
            role.prefix()
        );
        failed.is_empty()
    }
}
