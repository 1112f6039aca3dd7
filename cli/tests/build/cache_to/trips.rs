//! What one store has learned, another one knows: with layers, with cache mounts, over several stores.

use std::fs;
use std::path::Path;

use super::{APP, app, build_in, layers, saved, verify};
use crate::artifact::Artifact;
use crate::bench::{Bench, run, text};
use crate::finished::Finished;

#[test]
fn an_empty_store_hits_all_that_another_one_built() {
    for attributes in [
        "",
        ",mode=max",
        ",mode=max,compression=gzip",
        ",compression=uncompressed",
    ] {
        let bench = app();
        let expected = bench.text("sum", "");
        let cache = saved(&bench, attributes);
        let from = format!("--cache-from type=local,src={}", text(&cache));
        let out = bench.path("out");
        let built = build_in(&bench, "second", &format!("{from} -o {}", text(&out)));
        built.assert_well();
        assert_eq!(built.ran(), [""; 0], "{attributes}");
        assert_eq!(
            fs::read_to_string(out.join("sum")).expect("it was built"),
            expected
        );
        let second = bench.path("second");
        verify(&bench, &second);
        // What came whole is known from then on, without the cache.
        fs::remove_dir_all(&cache).expect("removable");
        let again = build_in(&bench, "second", "");
        again.assert_well();
        assert_eq!(again.ran(), [""; 0], "{attributes}");
    }
}

/// The image is the one that was built, whatever the cache's layers are compressed with.
#[test]
fn the_image_is_the_same() {
    let bench = app();
    let cache = saved(&bench, ",mode=max");
    let digest = |store: &str, line: &str| {
        let file = bench.path("iid");
        let layout = bench.path("image");
        let to = format!(
            "-o type=oci,dest={} --iidfile {}",
            text(&layout),
            text(&file)
        );
        build_in(&bench, store, &format!("{to} {line}")).assert_well();
        let archive = fs::read(&layout).expect("an archive");
        (
            fs::read_to_string(file).expect("an id"),
            kiln_worker::store::sha256(&archive),
        )
    };
    let from = format!("--cache-from type=local,src={}", text(&cache));
    assert_eq!(digest("second", &from), digest("store", ""));
}

#[test]
fn the_least_mode_has_the_result_only() {
    let bench = app();
    let cache = saved(&bench, "");
    let least = Artifact::of(&cache).manifest()["layers"]
        .as_array()
        .map_or(0, Vec::len);
    assert_eq!(least, 3);
    // One more argument for the first stage: its steps run, and what it yields has changed.
    let from = format!(
        "--cache-from type=local,src={} --build-arg N=2",
        text(&cache)
    );
    let ran = build_in(&bench, "second", &from).ran();
    assert!(ran.contains(&"COPY source /source".to_owned()), "{ran:?}");
    assert!(!ran.contains(&"RUN mkdir /app".to_owned()), "{ran:?}");
    let cache = saved(&bench, ",mode=max");
    let most = Artifact::of(&cache).manifest()["layers"]
        .as_array()
        .map_or(0, Vec::len);
    assert!(most > least, "{most}");
    let ran = build_in(&bench, "third", &from).ran();
    assert!(!ran.contains(&"COPY source /source".to_owned()), "{ran:?}");
    assert!(
        ran.iter().any(|step| step.starts_with("RUN --mount")),
        "{ran:?}"
    );
    verify(&bench, &bench.path("third"));
}

#[test]
fn layers_come_when_they_are_needed() {
    let bench = app();
    let cache = saved(&bench, ",mode=max");
    let from = format!(
        "--cache-from type=local,src={} --target build",
        text(&cache)
    );
    bench.file(
        "Dockerfile",
        format!("{APP}FROM scratch AS only\nCOPY --from=build /unneeded /\n"),
    );
    bench.build(&format!(
        "--cache-to type=local,dest={},mode=max --target only",
        text(&cache)
    ));
    // The one layer of the target, and none of those below.
    let out = bench.path("out");
    let line = format!("{from} --target only -o {}", text(&out)).replace("--target build", "");
    let built = build_in(&bench, "second", &line);
    built.assert_well();
    assert_eq!(built.ran(), [""; 0]);
    assert!(out.join("unneeded").exists());
    assert_eq!(layers(&bench.path("second")), 1);
}

#[test]
fn caches_are_handed_on_from_store_to_store() {
    let bench = app();
    let first = saved(&bench, ",mode=max");
    let (second, third) = (bench.path("handed"), bench.path("again"));
    for (from, to, store) in [(&first, &second, "second"), (&second, &third, "third")] {
        let line = format!(
            "--cache-from type=local,src={} --cache-to type=local,dest={},mode=max",
            text(from),
            text(to)
        );
        let built = build_in(&bench, store, &line);
        built.assert_well();
        assert_eq!(built.ran(), [""; 0]);
    }
    let layers = |cache: &Path| Artifact::of(cache).manifest()["layers"].clone();
    assert_eq!(layers(&third), layers(&first));
    // One directory for both, as it stands in the settings of many a build server.
    let line = format!(
        "--cache-from type=local,src={0} --cache-to type=local,dest={0},mode=max",
        text(&third)
    );
    let built = build_in(&bench, "fourth", &line);
    built.assert_well();
    assert_eq!(built.ran(), [""; 0]);
    assert_eq!(layers(&third), layers(&first));
}

#[test]
fn cache_mounts_come_along_where_that_is_asked_for() {
    let bench = app();
    bench.file(
        "Dockerfile",
        format!("{APP}RUN --mount=type=cache,id=more,target=/m echo more >/m/f\n"),
    );
    let cache = saved(&bench, ",mounts=true");
    let look = "FROM base\nRUN --mount=type=cache,target=/c cat /c/log >/log; true\nRUN --mount=type=cache,id=more,target=/m cat /m/f >/more; true\n";
    bench.file("Dockerfile", look);
    let from = |store: &str, attributes: &str| {
        let out = bench.path(&format!("out-{store}"));
        let line = format!(
            "--cache-from type=local,src={}{attributes} -o {}",
            text(&cache),
            text(&out)
        );
        build_in(&bench, store, &line).assert_well();
        let read = |name: &str| fs::read_to_string(out.join(name)).expect("it was built");
        (read("log"), read("more"))
    };
    let (log, more) = ("1\n".to_owned(), "more\n".to_owned());
    assert_eq!(from("second", ""), (String::new(), String::new()));
    assert_eq!(from("third", ",mounts=true"), (log, more.clone()));
    assert_eq!(
        from("fourth", ",mounts=more"),
        (String::new(), more.clone())
    );
    // What is there is kept.
    let (_, kept) = from("fourth", ",mounts=true");
    assert_eq!(kept, more);
    let none = saved(&bench, ",mounts=nonesuch;neither");
    assert!(none.join("index.json").exists());
}

#[test]
fn skopeo_carries_caches() {
    let bench = app();
    let cache = saved(&bench, ",mode=max,tag=main");
    let copied = bench.path("copied");
    let (from, to) = (
        format!("oci:{}:main", text(&cache)),
        format!("oci:{}:other", text(&copied)),
    );
    run("skopeo", &["copy", "--quiet", &from, &to]);
    let line = format!("--cache-from type=local,src={}", text(&copied));
    let built = build_in(&bench, "second", &line);
    built.assert_well();
    assert_eq!(built.ran(), [""; 0]);
    // It is saved to again, though the layout does not say of what type it is any more.
    bench.build(&format!(
        "--cache-to type=local,dest={},tag=other",
        text(&copied)
    ));
}

#[test]
fn a_first_build_has_no_cache_and_that_is_no_error() {
    let bench = app();
    let line = format!(
        "--cache-from type=local,src={}",
        text(&bench.path("nowhere"))
    );
    let built = bench.build(&line);
    assert!(
        built
            .everything()
            .contains("there is no cache in this directory yet")
    );
    let told = |typed: &str| {
        let mut quiet = bench.command_shown("-q", typed);
        let quiet = Finished::of(&mut quiet);
        assert!(!quiet.stderr.contains("panicked"), "{}", quiet.stderr);
        (quiet.code, quiet.stderr)
    };
    let nowhere = format!(
        "there is no cache in {} yet\n",
        text(&bench.path("nowhere"))
    );
    assert_eq!(told(&line), (Some(0), format!("WARNING: {nowhere}")));
    // What is in the way of one is an error.
    let file = bench.context("source");
    for line in [
        format!("--cache-from type=local,src={}", text(&file)),
        format!("--cache-from type=local,src={}/x", text(&file)),
    ] {
        let (code, said) = told(&line);
        if code == Some(0) {
            assert!(said.contains("WARNING: there is no cache in "), "{said}");
        } else {
            assert!(said.contains("cannot use the cache in "), "{said}");
            let (code, said) = told(&format!("{line},ignore-error=true"));
            assert_eq!(code, Some(0), "{said}");
            assert!(said.contains("WARNING: cannot use the cache in "), "{said}");
        }
    }
    let (code, _) = told(&format!("--cache-from type=local,src={}", text(&file)));
    assert_eq!(code, Some(1));
    for nonsense in [
        "nonsense",
        "type=nonsense",
        "src=x",
        "type=local,src",
        "=",
        "",
    ] {
        let mut command = bench.command_shown("-q", "");
        command.arg(format!("--cache-from={nonsense}"));
        let finished = Finished::of(&mut command);
        assert_eq!(finished.code, Some(2), "{nonsense}: {}", finished.stderr);
        assert!(
            finished.stderr.contains("--cache-from"),
            "{nonsense}: {}",
            finished.stderr
        );
    }
    for kind in [
        "registry,ref=x",
        "gha",
        "s3,bucket=x",
        "inline",
        "azblob,name=x",
    ] {
        let line = format!("--cache-to type={kind}");
        bench.refused(&line, 2, &["not supported yet", "type=local"]);
    }
    bench.refused("--cache-from type=local", 2, &["src=DIR is missing"]);
}

/// Whether the steps are hits depends on how keys are made, too.
#[test]
fn the_first_version_of_the_format_is_still_read() {
    let bench = Bench::with("FROM scratch\nCOPY f /f\n");
    bench.file("f", "frozen\n");
    bench.shell("chmod 644 f");
    let frozen = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../testdata/frozen/cache-v1.tar"
    );
    let cache = bench.path("cache");
    fs::create_dir(&cache).expect("a directory");
    run("tar", &["-xf", frozen, "-C", text(&cache)]);
    let built = bench.build(&format!("--cache-from type=local,src={}", text(&cache)));
    assert!(
        built.everything().contains("it knows 1 steps"),
        "{}",
        built.everything()
    );
}
