//! Mounts whose options, sources and mount points want to lead elsewhere, and their honest twins.

use std::fs;
use std::process::Stdio;

use crate::bench::{Bench, text};
use crate::finished::Finished;
use crate::listing::of_directory;
use crate::machine;

/// Options of a cache, what a step does with it, and nothing that is made anywhere but in its own directory.
const CACHES: &[(&str, &str)] = &[
    ("id=../../x", "touch /c/f"),
    ("id=../../x", "test -e /c/f"),
    ("id=x", "test ! -e /c/f"),
    ("id=/../../../../tmp/kiln-was-here", "touch /c/g"),
    ("id=.", "touch /c/dot"),
    ("id=..", "test ! -e /c/dot && touch /c/dots"),
    ("id=a/b", "touch /c/slash"),
    ("id=a%2fb", "test ! -e /c/slash"),
    ("\"id=a,b\"", "touch /c/comma"),
    ("\"id=a,b\"", "test -e /c/comma"),
    ("id=a", "test ! -e /c/comma"),
    ("id=$(touch /tmp/kiln-was-here)", "test ! -e /c/f"),
    ("id=-rf", "touch /c/option"),
    ("id=..\\files", "touch /c/backslash"),
];

#[test]
fn no_name_of_a_cache_leads_out_of_the_store() {
    let bench = Bench::new();
    let beside = bench.path("x");
    for (options, script) in CACHES {
        bench.file(
            "Dockerfile",
            format!("FROM base\nRUN --mount='type=cache,target=/c,{options}' {script}\n"),
        );
        bench.build("--no-cache");
    }
    // What a variable holds is one option's value, whatever stands in it.
    bench.file(
        "Dockerfile",
        "FROM base\nARG ID\nRUN --mount=type=cache,target=/c,id=$ID test ! -e /c/passwd && touch /c/f\n",
    );
    for value in [
        "a,source=/etc",
        "a\n,source=/etc,target=/etc\nRUN touch /etc/x",
        "../../x\t\u{1b}[2J",
    ] {
        let mut command = bench.command("--no-cache");
        Finished::of(command.args(["--build-arg", &format!("ID={value}")])).assert_well();
    }
    assert!(!beside.exists() && !bench.store().join("x").exists());
    assert!(!std::path::Path::new("/tmp/kiln-was-here").exists());
    let homes = fs::read_dir(bench.store().join("cache-mounts")).expect("it is there");
    for home in homes.flatten() {
        let name = home.file_name().into_string().expect("a plain name");
        assert!(
            name.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "{name}"
        );
    }
    machine::assert_clean(&bench.store());
}

/// Options that make no sense are errors, and none of them slips into another one.
#[test]
fn options_that_make_no_sense_are_refused() {
    let bench = Bench::new();
    for (options, says) in [
        ("type=cache,target=/c,id=a\"b", "quote"),
        ("type=cache,target=/c,\"id=a", "quote"),
        ("type=cache,target=/c,\"id=a\"\"b\"", "quote"),
        (
            "type=bind,source=/,target=/c,rw,rw=false,upperdir=/etc",
            "upperdir",
        ),
        ("type=bind,target=/c,source=x,lowerdir=/:/etc", "lowerdir"),
        ("type=tmpfs,target=/c,size=1m:nosuid", "size"),
        ("type=cache,target=/c,mode=0755,dev", "dev"),
        ("type=cache,target=/c,sharing=shared;private", "sharing"),
    ] {
        bench.file(
            "Dockerfile",
            format!("FROM base\nRUN --mount='{options}' true\n"),
        );
        let finished = bench.try_build("");
        assert_eq!(finished.code, Some(1), "{options}");
        assert!(finished.told().contains(says), "{}", finished.told());
    }
}

#[test]
fn what_is_written_to_a_bind_mount_goes_nowhere() {
    let bench = Bench::with(
        "FROM base AS stage\nRUN mkdir /d && echo old >/d/f\n\
         FROM base AS first\n\
         RUN --mount=type=bind,target=/c,rw --mount=type=bind,from=stage,source=/d,target=/s,rw \
         echo new >/c/f && rm -r /c/dir && ln -s /etc /c/etc && echo new >/s/f && chmod 0 /s && test $(cat /s/f) = new\n\
         FROM base\n\
         COPY --from=first /bin/true /made\n\
         RUN --mount=type=bind,target=/c --mount=type=bind,from=stage,source=/d,target=/s \
         test $(cat /c/f) = old && test -e /c/dir/g && test ! -e /c/etc && test $(cat /s/f) = old && ! touch /c/x && ! touch /s/x\n\
         COPY --from=stage /d /d\nCOPY f dir/g /\n",
    );
    bench.file("f", "old\n");
    bench.file("dir/g", "old\n");
    let before = of_directory(&bench.context(""));
    let files = bench.files("files", "");
    assert_eq!(of_directory(&bench.context("")), before);
    for name in ["d/f", "f", "g"] {
        assert_eq!(fs::read_to_string(files.join(name)).expect(name), "old\n");
    }
    // Once more, where the directories of layers are there already.
    bench.build("--no-cache");
    assert_eq!(of_directory(&bench.context("")), before);
    machine::assert_clean(&bench.store());
}

/// The mount point that Kiln made is taken away again where it was made, and not where its name leads by then.
#[test]
fn mount_points_are_removed_where_they_were_made() {
    let bench = Bench::new();
    let out = bench.path("machine");
    fs::create_dir_all(out.join("secrets")).expect("directories");
    fs::write(out.join("secrets/key"), "").expect("writable");
    let out = text(&out).to_owned();
    fs::write(bench.path("key"), "value").expect("writable");
    let mount = "--mount=type=secret,id=key,target=/run/deep/secrets/key";
    let cache =
        "--mount=type=cache,target=/c --mount=type=secret,id=key,target=/c/deep/secrets/key";
    let swaps = [
        (mount, "/run", "/victim"),
        (mount, "/run", &*out),
        (cache, "/c", "/victim"),
        (cache, "/c", &*out),
    ];
    for (number, (mounts, parent, target)) in swaps.into_iter().enumerate() {
        // What was moved away keeps its own, or loses what is Kiln's; nothing else does.
        bench.file(
            "Dockerfile",
            format!(
                "FROM base\nRUN mkdir -p /victim/secrets && : >/victim/secrets/key\n\
                 RUN {mounts} test $(cat {parent}/deep/secrets/key) = value && mv {parent}/deep {parent}/moved-{number} && \
                 ln -s {target} {parent}/deep\n\
                 RUN test -e /victim/secrets/key && test ! -s /victim/secrets/key\n\
                 RUN --mount=type=cache,target=/c test $(readlink {parent}/deep) = {target} && rm {parent}/deep\n"
            ),
        );
        bench.build(&format!(
            "--no-cache --secret id=key,src={}",
            text(&bench.path("key"))
        ));
        let left = of_directory(std::path::Path::new(&out));
        assert_eq!(left.len(), 2, "{left:?}");
    }
    machine::assert_clean(&bench.store());
}

/// One build swaps a directory and links in a cache over and over while others mount what is below.
#[test]
fn a_source_that_is_swapped_leads_nowhere_else() {
    let bench = Bench::new();
    let out = bench.path("machine");
    fs::create_dir_all(out.join("b")).expect("directories");
    fs::write(out.join("b/f"), "outside").expect("writable");
    let cache = "--mount=type=cache,target=/c,id=shared";
    bench.file(
        "Dockerfile",
        format!("FROM base\nRUN {cache} mkdir -p /c/a/b /c/stop && echo inside >/c/a/b/f\n"),
    );
    bench.build("--no-cache");
    let swapping = bench.path("swapping");
    fs::create_dir(&swapping).expect("a directory");
    // The step ends when the directory `stop` is gone.
    let links = format!(
        "cd /c && while test -e stop; do mv a kept; ln -s {} a; rm a; ln -s ../../../../../../../../../../..{} a; rm a; mv kept a; done",
        text(&out),
        text(&out)
    );
    fs::write(
        swapping.join("Dockerfile"),
        format!("FROM base\nRUN {cache} {links}\n"),
    )
    .expect("writable");
    let base = format!("base=oci-layout://{}", text(crate::base::small()));
    let mut swapper = bench
        .kiln()
        .args(["build", "--quiet", "--build-context", &base])
        .arg(&swapping)
        .stdout(Stdio::null())
        .spawn()
        .expect("kiln runs");
    let mut shown = 0;
    for number in 0..12 {
        bench.file(
            "Dockerfile",
            format!(
                "FROM base\nARG NUMBER={number}\nRUN --mount=type=cache,target=/m,id=shared,source=a/b {cache} test \"$(cat /m/f)\" = inside\n"
            ),
        );
        let finished = bench.try_build("");
        match finished.code {
            Some(0) => shown += 1,
            // It was not there just then.
            _ => finished.assert_failed(1, &["find, in what a mount shows,", "a/b"]),
        }
    }
    bench.file(
        "Dockerfile",
        format!("FROM base\nRUN {cache} rmdir /c/stop\n"),
    );
    bench.build("");
    assert!(swapper.wait().expect("kiln ends").success());
    bench.file(
        "Dockerfile",
        "FROM base\nRUN --mount=type=cache,target=/m,id=shared,source=a/b test \"$(cat /m/f)\" = inside\n",
    );
    let finished: Finished = bench.build("");
    assert_eq!(finished.ran().len(), 1);
    assert!(shown > 0 || finished.code == Some(0));
    assert_eq!(
        fs::read_to_string(out.join("b/f")).expect("it is there"),
        "outside"
    );
    machine::assert_clean(&bench.store());
}
