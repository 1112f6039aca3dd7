//! Caches that are damaged, or lie.

use std::fs;
use std::path::Path;

use super::{app, build_in, forget_records, saved, verify};
use crate::artifact::Artifact;
use crate::bench::text;

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
WORKDIR /deep/down
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
