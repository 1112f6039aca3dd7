//! `RUN --network` and `RUN --security`, and what whoever builds must agree to.

use std::fs;
use std::process::Stdio;

use crate::bench::{Bench, run, text};
use crate::machine;
use crate::wait;

#[test]
fn a_dockerfile_gets_only_what_it_is_allowed() {
    let bench = Bench::with("FROM base\nRUN --network=host true\n");
    bench.refused(
        "",
        1,
        &[
            "network.host is not allowed",
            "--allow network.host",
            "2 | RUN --network=host",
        ],
    );
    bench.build("--allow network.host");
    bench.build("--network host --no-cache");
    bench.file("Dockerfile", "FROM base\nRUN --security=insecure true\n");
    bench.refused(
        "--allow network.host",
        1,
        &[
            "security.insecure is not allowed",
            "--allow security.insecure",
        ],
    );
    bench.file("Dockerfile", "FROM base\nRUN --network=none test \"$(ls /sys/class/net)\" = lo\nRUN --network=default true\nRUN --security=sandbox ! mount -t tmpfs none /mnt\n");
    bench.build("--network none");
    bench.file(
        "Dockerfile",
        "FROM base\nRUN --device=vendor.com/class=one true\n",
    );
    bench.refused("", 1, &["RUN --device"]);
    machine::assert_clean(&bench.store());
}

#[test]
fn an_insecure_step_has_all_that_the_machines_root_has() {
    let bench = Bench::with(
        "FROM base\n\
         RUN mkdir -p /mnt\n\
         RUN --security=insecure mount -t tmpfs none /mnt && touch /mnt/x && umount /mnt\n\
         RUN --security=insecure test \"$(grep CapEff /proc/self/status | cut -f2)\" = \"$(grep CapBnd /proc/self/status | cut -f2)\"\n\
         RUN --security=insecure test \"$(tr -s ' ' </proc/self/uid_map)\" = ' 0 0 4294967295'\n\
         RUN --security=insecure test -w /proc/sys/kernel/hostname && ! grep ' /proc/' /proc/self/mountinfo && grep ' /sys ' /proc/self/mountinfo | grep -q ' rw'\n\
         RUN --security=insecure mknod /made c 1 3 && echo x >/made && rm /made\n\
         RUN --security=insecure ls /dev/loop-control /dev/loop0 /dev/fuse /dev/kmsg /dev/net/tun\n\
         RUN --security=insecure echo kept >/kept && chown 7:8 /kept\n\
         RUN test \"$(stat -c %u:%g /kept)\" = 7:8\n\
         USER 1000\n\
         RUN --security=insecure test $(id -u) = 1000 && grep -q 'CapAmb.*[1-9a-f]' /proc/self/status\n\
         RUN ! grep -q 'CapEff.*[1-9a-f]' /proc/self/status\n",
    );
    let out = bench.files("out", "--allow security.insecure");
    assert!(!out.join("made").exists());
    machine::assert_clean(&bench.store());
    // A nested namespace with an overlay in it: what builders of images inside of builds do.
    bench.file("Dockerfile", "FROM base\nRUN --security=insecure --mount=type=tmpfs,target=/t mkdir /t/l /t/u /t/w /t/m && unshare -m sh -ec 'mount -t overlay -o lowerdir=/t/l,upperdir=/t/u,workdir=/t/w none /t/m && touch /t/m/x' && test -e /t/u/x\n");
    bench.build("--allow security.insecure");
    machine::assert_clean(&bench.store());
}

#[test]
fn a_users_insecure_step_is_root_of_his_namespace() {
    let user = crate::rootless::User::new(
        crate::base::small(),
        "FROM base\nRUN --security=insecure mkdir -p /mnt && mount -t tmpfs none /mnt && umount /mnt && test -e /dev/null\n",
    );
    user.build("--allow security.insecure").assert_well();
    machine::assert_clean(&user.store());
}

#[test]
fn an_image_without_a_shell_says_so() {
    let bench = Bench::with("FROM scratch\nRUN true\n");
    bench.refused(
        "",
        1,
        &[
            "the image has no /bin/sh",
            "RUN [\"program\", \"argument\"]",
        ],
    );
    bench.file("Dockerfile", "FROM base\nRUN [\"/nonesuch\"]\n");
    bench.refused("", 1, &["the image has no /nonesuch"]);
    bench.file(
        "Dockerfile",
        "FROM base\nRUN printf '#!/no/loader\\n' >/script && chmod +x /script\nRUN [\"/script\"]\n",
    );
    bench.refused("", 1, &["/script", "interpreter or loader"]);
}

#[test]
fn destinations_are_looked_at_before_the_build() {
    let bench = Bench::with("FROM base\nRUN exit 7\n");
    let file = bench.path("file");
    fs::write(&file, "").expect("writable");
    let file = text(&file);
    for (line, parts) in [
        (
            format!("-o type=oci,dest={file}/x"),
            ["--output", "Not a directory"],
        ),
        (
            "-o type=oci,dest=/no/where/x.tar".to_owned(),
            ["--output", "No such file"],
        ),
        (
            "-o type=tar,dest=/".to_owned(),
            ["--output", "is a directory"],
        ),
        (format!("-o {file}"), ["--output", "ot a directory"]),
        (format!("-o {file}/x"), ["--output", "ot a directory"]),
        (
            format!("--iidfile {file}/x"),
            ["--iidfile", "Not a directory"],
        ),
        (
            "--metadata-file /no/where/x".to_owned(),
            ["--metadata-file", "No such file"],
        ),
    ] {
        let finished = bench.try_build(&line);
        finished.assert_failed(1, &parts);
        assert!(!finished.told().contains("RUN exit 7"), "{line}");
    }
    let user = crate::rootless::User::new(crate::base::small(), "FROM base\nRUN exit 7\n");
    let out = user.bench.path("roots-own");
    run("mkdir", &[text(&out)]);
    user.build(&format!("-o {}", text(&out)))
        .assert_failed(1, &["--output", "Permission denied"]);
}

#[test]
fn a_build_that_a_signal_ends_says_which() {
    let bench =
        Bench::with("FROM base\nRUN --mount=type=cache,target=/c touch /c/begun && sleep 1000\n");
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let mut running = bench.command("");
        let mut running = running
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("kiln runs");
        let mark = wait::until_some(|| {
            let caches = bench.store().join("cache-mounts");
            let homes = fs::read_dir(caches).into_iter().flatten().flatten();
            homes
                .map(|home| home.path().join("files/begun"))
                .find(|mark| mark.exists())
        });
        fs::remove_file(mark).expect("removable");
        run("kill", &["-s", signal, &running.id().to_string()]);
        assert_eq!(
            running.wait().expect("it ends").code(),
            Some(code),
            "{signal}"
        );
    }
}
