//! Disks that are full or take no writes: a clear message, and nothing half-made left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bench::{Bench, run, text};

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
            &["No space left", text(&out)],
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
