//! Disks that are full or take no writes: a clear message, and nothing half-made left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bench::{Bench, run, text};
use crate::prune::{APP, assert_whole, assert_whole_and_empty};

#[test]
fn a_full_disk() {
    for (what, dockerfile) in [
        (
            "RUN",
            "FROM base\nRUN dd if=/dev/urandom of=/big bs=1M count=64\n",
        ),
        ("COPY", "FROM base\nCOPY big /big\n"),
        ("ADD", "FROM base\nADD big.tar.gz /big\n"),
    ] {
        let bench = Bench::with(dockerfile);
        bench.shell("head -c 64M /dev/urandom >big; tar -czf big.tar.gz big");
        let disk = Disk::tmpfs(&bench.store(), "size=24m");
        let failed = bench.try_build("");
        failed.assert_failed(1, &[what]);
        assert!(failed.everything().contains("No space left"), "{what}");
        let mount = format!("the file system at {} (", text(&bench.store()));
        failed.assert_failed(1, &[&mount, "ran full; kiln prune makes room there"]);
        let left = run(
            "sh",
            &["-c", &format!("ls -A {}/tmp", text(&bench.store()))],
        );
        assert_eq!(left, "", "{what}");
        // There is room again for something smaller.
        bench.file("Dockerfile", "FROM base\nRUN echo x >/x\n");
        bench.build("");
        drop(disk);
    }
}

#[test]
fn a_full_disk_under_an_output() {
    let bench = Bench::with("FROM scratch\nCOPY big /\n");
    bench.shell("head -c 8M /dev/urandom >big");
    let out = bench.path("out");
    let _disk = Disk::tmpfs(&out, "size=4m");
    for line in [
        "type=oci,dest=",
        "type=tar,dest=",
        "type=oci,tar=false,dest=",
        "type=local,dest=",
    ] {
        let dest = out.join("it");
        bench.refused(
            &format!("-o {line}{}", text(&dest)),
            1,
            &[
                "No space left",
                &format!("the file system at {} (", text(&out)),
                "ran full",
            ],
        );
        let is_file = !line.contains("local") && !line.contains("false");
        if is_file {
            let left: Vec<_> = fs::read_dir(&out).expect("a directory").flatten().collect();
            assert!(left.is_empty(), "{line}: {left:?}");
        }
        let _ = fs::remove_dir_all(&dest);
    }
}

#[test]
fn a_read_only_store() {
    let bench = Bench::with("FROM base\nRUN true\n");
    bench.build("");
    bench.file("Dockerfile", "FROM base\nRUN true again\n");
    {
        let _disk = Disk::read_only(&bench.store());
        bench.try_build("").assert_failed(
            1,
            &["Read-only file system", text(&bench.store()), "--root"],
        );
    }
    bench.build("");
}

/// Something mounted for as long as this lives.
struct Disk(PathBuf);

impl Disk {
    fn tmpfs(at: &Path, options: &str) -> Self {
        fs::create_dir_all(at).expect("a directory");
        run(
            "mount",
            &["-t", "tmpfs", "-o", options, "kiln-test", text(at)],
        );
        Self(at.to_owned())
    }

    fn read_only(at: &Path) -> Self {
        run("mount", &["--bind", text(at), text(at)]);
        let disk = Self(at.to_owned());
        run("mount", &["-o", "remount,bind,ro", text(at)]);
        disk
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: what still uses it fails its own test.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A disk with room for less and less of a build: whatever cannot be written any more, what is recorded
/// is whole, it goes with a prune, and with room again the build is right.
#[test]
fn a_disk_of_every_size() {
    let bench = Bench::with(APP);
    bench.file("data", "some data\n");
    let store = bench.store();
    let disk = Disk::tmpfs(&store, "size=200m");
    let room = |options: &str| {
        run(
            "mount",
            &["-o", &format!("remount,{options}"), text(&store)],
        );
    };
    let fresh = || {
        room("size=200m,nr_inodes=100k");
        bench.build("--build-arg N=0");
        assert_whole_and_empty(&bench);
    };
    fresh();
    let mut failed = 0;
    for step in 0..STEPS {
        for is_of_bytes in [true, false] {
            let limit = match is_of_bytes {
                // tmpfs counts whole pages.
                true => format!("size={}k", used_of(&store, "used") + 4 + 96 * step * step),
                false => format!(
                    "nr_inodes={}",
                    used_of(&store, "iused") + 1 + 8 * step * step
                ),
            };
            println!("{limit}");
            room(&limit);
            let line = format!("--build-arg N={step}");
            let built = bench.try_build(&line);
            assert!(
                !built.stderr.contains("panicked"),
                "{limit}: {}",
                built.told()
            );
            if built.code != Some(0) {
                failed += 1;
                let said = built.everything();
                let ways = [
                    "No space left",
                    "is full",
                    "may be full",
                    "the store's disk has",
                ];
                let is_said = ways.iter().any(|it| said.contains(it));
                assert!(built.code == Some(1) && is_said, "{limit}: {said}");
            }
            room("size=200m,nr_inodes=100k");
            assert_whole(&bench, &limit);
            let sum = bench.text("sum", &line);
            assert_eq!(sum, format!("some data\n{step}\ntwo {step}\n"), "{limit}");
            assert_whole_and_empty(&bench);
        }
    }
    assert!((STEPS..2 * STEPS).contains(&failed), "{failed}");
    drop(disk);
}

/// How many sizes are tried.
const STEPS: u64 = 12;

/// A column of df(1), in KiB or inodes.
fn used_of(at: &Path, column: &str) -> u64 {
    let said = run("df", &[&format!("--output={column}"), text(at)]);
    let number = said.lines().last().expect("a line").trim();
    number.parse().expect("a number")
}
