//! `--cache-to` and `--cache-from`: a store that knows nothing builds with what another one learned.

use std::fs;
use std::path::{Path, PathBuf};

use kiln_worker::store::Store;

use crate::artifact::Artifact;
use crate::bench::{Bench, run, text};
use crate::finished::Finished;
use crate::machine;

/// Two stages, a copy between them, and a cache mount.
const APP: &str = "FROM base AS build
ARG N=1
COPY source /source
RUN --mount=type=cache,target=/c echo $N >>/c/log; cat /source >/made; echo $N >>/made
RUN echo unneeded >/unneeded
FROM base
RUN mkdir /app
COPY --from=build /made /app/made
RUN cat /app/made >/sum
";

fn app() -> Bench {
    let bench = Bench::with(APP);
    bench.file("source", "some source\n");
    bench
}

/// A build in a store of that name.
fn build_in(bench: &Bench, store: &str, line: &str) -> Finished {
    let store = bench.path(store);
    let finished = bench.try_build(&format!("--root {} {line}", text(&store)));
    machine::assert_clean(&store);
    finished
}

fn verify(bench: &Bench, store: &Path) {
    let verify = Finished::of(bench.kiln().args(["store", "verify", "--root"]).arg(store));
    assert_eq!(
        verify.code,
        Some(0),
        "{}",
        String::from_utf8_lossy(&verify.stdout)
    );
}

/// How many layers a store has in any form.
fn layers(store: &Path) -> usize {
    let count = |kind: &str| fs::read_dir(store.join(kind)).map_or(0, Iterator::count);
    count("layers")
}

/// Forgets what each step came to; the layers stay.
fn forget_records(store: &Path) {
    let store = Store::open(store).expect("a store");
    let records = store.index().records().expect("they can be read");
    let keys: Vec<_> = records.iter().map(|record| record.key).collect();
    store
        .index()
        .forget(&keys, &[])
        .expect("they can be forgotten");
}

fn saved(bench: &Bench, attributes: &str) -> PathBuf {
    let directory = bench.path("cache");
    let to = format!(
        "--cache-to type=local,dest={}{attributes}",
        text(&directory)
    );
    bench.build(&to);
    machine::assert_clean(&bench.store());
    directory
}

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

/// A directory that a build server saves to every night does not grow for ever.
#[test]
fn what_a_cache_has_no_more_goes_once_nobody_can_want_it() {
    let bench = app();
    let cache = saved(&bench, ",mode=max");
    let blobs = || -> Vec<PathBuf> {
        let entries = fs::read_dir(cache.join("blobs/sha256")).expect("blobs");
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths
    };
    let age = || {
        let yesterday = std::time::SystemTime::now() - std::time::Duration::from_secs(86_400);
        for path in blobs() {
            let file = fs::File::options().write(true).open(path).expect("a file");
            file.set_modified(yesterday).expect("a time");
        }
    };
    // What others put there: an image, and a file that is no blob.
    let (from, to) = (
        format!("oci:{}:latest", text(crate::base::small())),
        format!("oci:{}:image", text(&cache)),
    );
    run("skopeo", &["copy", "--quiet", &from, &to]);
    fs::write(cache.join("blobs/sha256/notes"), "mine").expect("writable");
    let first = blobs();
    let line = format!("--cache-to type=local,dest={},mode=max", text(&cache));
    // All of it may be on its way still.
    bench.file("source", "other source\n");
    bench.build(&line);
    let second = blobs();
    assert!(first.iter().all(|path| second.contains(path)));
    // Somebody reads it.
    age();
    let reader = fs::File::open(cache.join("blobs")).expect("a directory");
    rustix::fs::flock(&reader, rustix::fs::FlockOperation::LockShared).expect("a lock");
    bench.build(&line);
    assert_eq!(blobs(), second);
    drop(reader);
    // The build itself reads it, too.
    bench.build(&format!(
        "{line} --cache-from type=local,src={}",
        text(&cache)
    ));
    let left = blobs();
    assert!(
        left.len() + 3 <= second.len(),
        "{} of {}",
        left.len(),
        second.len()
    );
    assert!(cache.join("blobs/sha256/notes").exists());
    run(
        "skopeo",
        &[
            "copy",
            "--quiet",
            &to,
            &format!("oci:{}", text(&bench.path("copied"))),
        ],
    );
    let from = format!("--cache-from type=local,src={}", text(&cache));
    let built = build_in(&bench, "second", &from);
    built.assert_well();
    assert_eq!(built.ran(), [""; 0]);
    // Nothing is left to do.
    age();
    bench.build(&line);
    assert_eq!(blobs(), left);
    // Nor does the number of tags that are read, or a pipe under the name of a blob, hold it up.
    let pipe = cache.join("blobs/sha256").join("e".repeat(64));
    run("mkfifo", &[text(&pipe)]);
    let digest = format!("sha256:{}", "e".repeat(64));
    let index = cache.join("index.json");
    let mut document: serde_json::Value =
        serde_json::from_slice(&fs::read(&index).expect("an index")).expect("JSON");
    let entry =
        serde_json::json!({"digest": digest, "size": 7, "mediaType": "application/octet-stream"});
    let entries = document["manifests"].as_array_mut().expect("entries");
    entries.push(entry);
    fs::write(&index, document.to_string()).expect("writable");
    bench.build(&format!("{line},tag=other"));
    bench.file("source", "yet another\n");
    let tags =
        ["", ",tag=other"].map(|tag| format!("--cache-from type=local,src={}{tag}", text(&cache)));
    bench.build(&format!("{} {line},tag=other", tags.join(" ")));
    fs::remove_file(pipe).expect("removable");
    let before = blobs();
    age();
    bench.file("source", "and another\n");
    bench.build(&format!("{} {line},tag=other", tags.join(" ")));
    let left = blobs();
    assert!(before.iter().any(|path| !left.contains(path)));
}

/// Whoever saves over a damaged cache mends it.
#[test]
fn a_blob_that_is_damaged_is_written_again() {
    let bench = app();
    let cache = saved(&bench, ",mode=max");
    for entry in fs::read_dir(cache.join("blobs/sha256")).expect("blobs") {
        let path = entry.expect("a blob").path();
        let length = fs::metadata(&path).expect("a file").len();
        fs::write(&path, vec![0; usize::try_from(length).expect("small")]).expect("writable");
    }
    bench.build(&format!(
        "--cache-to type=local,dest={},mode=max",
        text(&cache)
    ));
    let built = build_in(
        &bench,
        "second",
        &format!("--cache-from type=local,src={}", text(&cache)),
    );
    built.assert_well();
    assert_eq!(built.ran(), [""; 0]);
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

#[test]
fn a_cache_that_is_damaged_is_an_error_and_leaves_the_store_whole() {
    let bench = app();
    let fresh = || {
        let _ = fs::remove_dir_all(bench.path("cache"));
        saved(&bench, ",mode=max")
    };
    let line = format!("--cache-from type=local,src={}", text(&bench.path("cache")));
    let refused = |what: &str, parts: &[&str]| {
        let built = build_in(&bench, "second", &line);
        assert_eq!(built.code, Some(1), "{what}: {}", built.told());
        for part in parts {
            assert!(built.told().contains(part), "{what}: {}", built.told());
        }
        verify(&bench, &bench.path("second"));
    };
    Artifact::of(&fresh()).damage_layer();
    let artifact = Artifact::of(&bench.path("cache"));
    for layer in artifact.manifest()["layers"].as_array().expect("layers") {
        let place = artifact.blob(&layer["digest"]);
        let mut bytes = fs::read(&place).expect("a blob");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(place, bytes).expect("writable");
    }
    refused("flipped bits", &["expected digest"]);
    type Change = fn(&mut serde_json::Value, &mut serde_json::Value);
    let changes: [(&str, Change, &str); 7] = [
        (
            "a version to come",
            |_, config| config["version"] = 2.into(),
            "only 1 is known",
        ),
        (
            "a layer that is not there",
            |_, config| config["steps"][0]["result"] = serde_json::json!([999]),
            "there is no layer 999",
        ),
        (
            "a key that is none",
            |_, config| config["steps"][0]["content"] = "blake3:x".into(),
            "expected 64",
        ),
        (
            "no layers",
            |manifest, _| manifest["layers"] = serde_json::json!([]),
            "has 0 layers",
        ),
        (
            "no time",
            |_, config| {
                let layers = config["layers"].as_array_mut().expect("layers");
                for layer in layers.iter_mut().filter(|layer| layer["carried"] == true) {
                    layer["created"]["nanoseconds"] = u32::MAX.into();
                }
            },
            "out of range",
        ),
        (
            "a time that nobody can write",
            |_, config| {
                let layers = config["layers"].as_array_mut().expect("layers");
                for layer in layers.iter_mut().filter(|layer| layer["carried"] == true) {
                    layer["created"]["seconds"] = i64::MAX.into();
                }
            },
            "out of range",
        ),
        (
            "nothing at all",
            |_, config| *config = serde_json::json!({}),
            "missing field",
        ),
    ];
    for (what, change, part) in changes {
        Artifact::of(&fresh()).change(change);
        refused(what, &["cannot use the cache", part]);
    }
    let ignored = build_in(&bench, "third", &format!("{line},ignore-error=true"));
    ignored.assert_well();
    assert!(
        ignored
            .everything()
            .contains("WARNING: cannot use the cache")
    );
    // Another content than the documents say, with all digests right: what runs on it finds out.
    let artifact = Artifact::of(&fresh());
    artifact.change(|_, config| {
        let layers = config["layers"].as_array_mut().expect("layers");
        for layer in layers.iter_mut().filter(|layer| layer["carried"] == true) {
            layer["diffId"] = format!("sha256:{}", "1".repeat(64)).into();
        }
    });
    refused("another diff id", &["diff id"]);
    // A layer that is gone is not missed before it is needed: its steps run again.
    let artifact = Artifact::of(&fresh());
    for layer in artifact.manifest()["layers"].as_array().expect("layers") {
        let _ = fs::remove_file(artifact.blob(&layer["digest"]));
    }
    let built = build_in(&bench, "fourth", &line);
    built.assert_well();
    assert!(built.ran().len() >= 4, "{:?}", built.ran());
}

/// One of everything that layers hold, made in every way in which layers are made.
const EVERYTHING: &str = r#"FROM base
RUN mkdir -p /d/e /gone/away && echo a >/d/z && ln /d/z /d/a && ln -s z /d/soft && ln /d/soft /d/soft2 && mkfifo /pipe \
 && chown 3000000:65534 /d/z && chmod 6751 /d/z && chmod 1777 /d/e && echo x >/gone/x
RUN rm -rf /gone && mkdir /gone && echo y >/gone/y && rm /d/a /etc/passwd && chmod 0750 / && ln /d/z /d/again
COPY source /implied/parents/of/this
COPY --chown=7:8 --chmod=4711 source /d/copied
ADD archive.tar /unpacked/
RUN N=$(printf '%0150d' 1) && mkdir -p /$N/$N && echo long >/$N/$N/$N
WORKDIR /work/down
"#;

#[test]
fn what_comes_back_holds_what_is_said_of_it() {
    let bench = app();
    bench.shell("mkdir tree && echo attributes >tree/f && setfattr -n user.kiln -v value tree/f && ln tree/f tree/g && ln -s f tree/s");
    bench.shell("tar --xattrs --format=posix --sort=name --mtime=@1.5 -C tree -cf archive.tar . && rm -r tree");
    bench.file("Dockerfile", EVERYTHING);
    let cache = saved(&bench, ",mode=max");
    let line = format!("--cache-from type=local,src={}", text(&cache));
    let built = build_in(&bench, "second", &line);
    built.assert_well();
    assert_eq!(built.ran(), [""; 0], "{}", built.everything());
    assert!(
        !built.everything().contains("WARNING"),
        "{}",
        built.everything()
    );
    verify(&bench, &bench.path("second"));
}

/// A layer that is not what a record says would stand in the keys of what is built on it, and so poison
/// steps of other builds.
#[test]
fn a_record_that_lies_about_a_layer_is_refused() {
    let lie = |cache: &Path| {
        Artifact::of(cache).change(|_, config| {
            let layers = config["layers"].as_array_mut().expect("layers");
            let is_made = |layer: &&mut serde_json::Value| layer["created"].is_object();
            for layer in layers.iter_mut().filter(is_made) {
                layer["content"] = format!("blake3:{}", "1".repeat(64)).into();
            }
        });
    };
    let bench = app();
    let expected = bench.text("sum", "");
    let cache = saved(&bench, ",mode=max");
    lie(&cache);
    let from = format!("--cache-from type=local,src={}", text(&cache));
    // Nothing is there yet, or the layers are and the records are not.
    for store in ["nothing", "layers"] {
        if store == "layers" {
            let honest = bench.path("honest");
            let to = format!("--cache-to type=local,dest={},mode=max", text(&honest));
            bench.build(&to);
            build_in(
                &bench,
                store,
                &format!("--cache-from type=local,src={}", text(&honest)),
            )
            .assert_well();
            forget_records(&bench.path(store));
        }
        let built = build_in(&bench, store, &from);
        built.assert_well();
        assert_eq!(built.ran().len(), 6, "{store}: {:?}", built.ran());
        let told = built.everything();
        assert!(
            told.contains("is not used, for the layer sha256:"),
            "{told}"
        );
        assert!(told.contains("(\"cat /app/made >/sum\")"), "{told}");
        // It is in no record, and not handed on.
        let handed = bench.path(&format!("handed-{store}"));
        let line = format!(
            "{from} --cache-to type=local,dest={},mode=max",
            text(&handed)
        );
        let again = build_in(&bench, store, &line);
        assert_eq!(again.ran(), [""; 0]);
        let config = Artifact::of(&handed).config().to_string();
        assert!(!config.contains(&"1".repeat(64)), "{config}");
        verify(&bench, &bench.path(store));
        let out = bench.path(&format!("out-{store}"));
        build_in(&bench, store, &format!("-o {}", text(&out))).assert_well();
        assert_eq!(
            fs::read_to_string(out.join("sum")).expect("it was built"),
            expected
        );
    }
}

/// What is recorded stays, whatever somebody else says of the same keys.
#[test]
fn a_store_believes_itself_first() {
    let bench = app();
    let expected = bench.text("sum", "");
    let cache = saved(&bench, ",mode=max");
    Artifact::of(&cache).change(|_, config| {
        let steps = config["steps"].as_array_mut().expect("steps");
        let wrong = steps[0]["result"].clone();
        steps
            .iter_mut()
            .for_each(|step| step["result"] = wrong.clone());
    });
    let from = format!("--cache-from type=local,src={}", text(&cache));
    for _ in 0..2 {
        assert_eq!(bench.text("sum", &from), expected);
    }
    assert_eq!(bench.text("sum", ""), expected);
}

#[test]
fn a_cache_that_cannot_be_saved_is_an_error_unless_that_does_not_matter() {
    let bench = app();
    let file = bench.path("file");
    fs::write(&file, "in the way").expect("writable");
    let to = format!("--cache-to type=local,dest={}", text(&file));
    bench.refused(&to, 1, &["cannot save the cache"]);
    let built = bench.build(&format!("{to},ignore-error=true"));
    assert!(
        built
            .everything()
            .contains("WARNING: cannot save the cache")
    );
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
