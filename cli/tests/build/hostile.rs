//! Dockerfiles that try to leave the sandbox, and their honest twins.

use crate::bench::Bench;

#[test]
fn steps_run_behind_a_filter_unless_they_are_trusted() {
    let bench = Bench::with(
        "FROM base\n\
         RUN grep -q '^Seccomp:.2$' /proc/self/status && ! unshare -U true && chown 1:2 /etc/passwd\n\
         USER 1000\nRUN grep -q '^Seccomp:.2$' /proc/self/status\n\
         USER 0\nRUN --security=insecure grep -q '^Seccomp:.0$' /proc/self/status && unshare -m true\n",
    );
    bench.build("--allow security.insecure");
}

/// The first of these numbers may be open while the command is started: such a directory is the root's own.
#[test]
fn no_workdir_leads_out_of_the_root() {
    let bench = Bench::new();
    for number in 0..64 {
        let script = "test $(stat -c %d,%i ../../../../../../../..) = $(stat -c %d,%i /) && test -e $(pwd -P)/.";
        bench.file(
            "Dockerfile",
            format!("FROM base\nWORKDIR /proc/self/fd/{number}\nRUN {script} || touch /escaped\nRUN test ! -e /escaped\n"),
        );
        let finished = bench.try_build("--no-cache");
        let refused = "cannot enter the working directory /proc/self/fd/";
        assert!(
            finished.code == Some(0) || finished.told().contains(refused),
            "{number}: {}",
            finished.told()
        );
    }
    bench.file(
        "Dockerfile",
        "FROM base\nWORKDIR /proc/self/../../d\nRUN test $(pwd) = /d\n",
    );
    bench.build("");
}

#[test]
fn names_are_as_asked_for() {
    let bench = Bench::with(
        "FROM base\nRUN test $(hostname) = builder && grep -q '^10.1.2.3.db$' /etc/hosts && ! (: >> /etc/hosts)\n",
    );
    bench.build("--build-arg BUILDKIT_SANDBOX_HOSTNAME=builder --add-host db:10.1.2.3");
    bench.file("Dockerfile", "FROM base\nRUN ! grep -w db /etc/hosts\n");
    bench.build("");
}
