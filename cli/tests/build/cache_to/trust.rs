//! Caches of those who mean harm: what they may say of steps, and what is left of it in the store.

use std::fs;
use std::path::Path;

use kiln_worker::store::{Store, sha256};
use serde_json::{Value, json};

use super::{build_in, saved, verify};
use crate::artifact::Artifact;
use crate::bench::{Bench, text};
use crate::finished::Finished;
use crate::servers::{Answer, HttpServer};

const EVIL: &str = "FROM base\nRUN echo evil >/v\n";
const HONEST: &str = "FROM base\nRUN echo honest >/v\n";

/// The record of a step, told by a word of its explanation.
fn step(config: &mut Value, word: &str) -> Value {
    let steps = config["steps"].as_array().expect("steps");
    let has_word = |step: &&Value| step["explanation"].to_string().contains(word);
    steps.iter().find(has_word).expect(word).clone()
}

/// A cache that knows the steps of a Dockerfile, and what an evil command makes of the same base.
fn cache_of(bench: &Bench, dockerfile: &str, change: impl FnOnce(&mut Value)) -> String {
    let evil = EVIL.replace("base", "base AS evil");
    let both = format!("{evil}{dockerfile}COPY --from=evil /v /evil\n");
    bench.file("Dockerfile", both);
    let cache = saved(bench, ",mode=max");
    Artifact::of(&cache).change(|_, config| change(config));
    format!("--cache-from type=local,src={}", text(&cache))
}

/// What a Dockerfile makes of a file in a store.
fn file_of(bench: &Bench, store: &str, dockerfile: &str, name: &str, line: &str) -> String {
    bench.file("Dockerfile", dockerfile);
    let out = bench.path(&format!("out-{store}"));
    let _ = fs::remove_dir_all(&out);
    build_in(bench, store, &format!("{line} -o {}", text(&out))).assert_well();
    verify(bench, &bench.path(store));
    fs::read_to_string(out.join(name)).expect("it was built")
}

/// The last layer of one step's result takes the place of another's.
fn swap_result(config: &mut Value, word: &str, by: &Value) {
    let steps = config["steps"].as_array_mut().expect("steps");
    for step in steps {
        if step["explanation"].to_string().contains(word) {
            let result = step["result"].as_array_mut().expect("positions");
            *result.last_mut().expect("it made a layer") = by.clone();
        }
    }
}

fn last_layer(step: &Value) -> Value {
    let result = step["result"].as_array().expect("positions");
    result.last().expect("it made a layer").clone()
}

/// With the cache and, what is worse to get wrong, for ever after.
fn assert_honest(bench: &Bench, store: &str, dockerfile: &str, from: &str) {
    for line in [from, ""] {
        let found = file_of(bench, store, dockerfile, "v", line);
        assert_eq!(found, "honest\n", "{store} {line}");
    }
}

#[test]
fn what_nobody_asked_for_is_not_recorded() {
    let bench = Bench::new();
    // The layer of the evil step comes, for it is asked for; with it came what was said of the honest one.
    for (store, is_under_content_key) in [("steps", false), ("keys", true)] {
        let from = cache_of(&bench, HONEST, |config| {
            let honest = step(config, "echo honest");
            let mut evil = step(config, "echo evil");
            let layer = last_layer(&evil);
            if is_under_content_key {
                evil["content"] = honest["content"].clone();
                config["steps"] = json!([evil]);
            } else {
                swap_result(config, "echo honest", &layer);
            }
        });
        assert_eq!(file_of(&bench, store, EVIL, "v", &from), "evil\n");
        assert_eq!(
            file_of(&bench, store, HONEST, "v", ""),
            "honest\n",
            "{store}"
        );
    }
}

/// What is said to be made on a base begins with that base.
#[test]
fn a_result_begins_with_what_the_step_stands_on() {
    let bench = Bench::new();
    for (store, length) in [("nothing", 0), ("base", 1)] {
        let from = cache_of(&bench, HONEST, |config| {
            let steps = config["steps"].as_array_mut().expect("steps");
            for step in steps {
                let result = step["result"].as_array_mut().expect("positions");
                match length {
                    0 => result.clear(),
                    _ => drop(result.pop()),
                }
            }
        });
        assert_honest(&bench, store, HONEST, &from);
    }
}

#[test]
fn what_a_digest_names_is_not_believed() {
    let server = HttpServer::start(|_| Answer::ok("honest\n"));
    let digest = sha256(b"honest\n");
    let add = format!(
        "FROM base\nADD --checksum={digest} {} /v\n",
        server.url("/f")
    );
    let inline = "FROM base\nCOPY <<END /v\nhonest\nEND\n".to_owned();
    let bench = Bench::new();
    for (store, honest) in [("add", &add), ("inline", &inline)] {
        let from = cache_of(&bench, honest, |config| {
            let evil = last_layer(&step(config, "echo evil"));
            swap_result(config, "op.file.", &evil);
        });
        let above = format!("{honest}RUN cat /v >/w\n");
        assert_honest(&bench, store, honest, &from);
        assert_eq!(
            file_of(&bench, store, &above, "w", ""),
            "honest\n",
            "{store}"
        );
    }
}

/// What is used of a cache belongs to the store from then on, and the index says where it is from.
#[test]
fn what_is_used_is_kept_and_marked() {
    let bench = Bench::new();
    bench.file("Dockerfile", HONEST);
    let cache = saved(&bench, ",mode=max");
    let from = format!("--cache-from type=local,src={}", text(&cache));
    assert_eq!(file_of(&bench, "second", HONEST, "v", &from), "honest\n");
    fs::remove_dir_all(&cache).expect("removable");
    let again = build_in(&bench, "second", "");
    again.assert_well();
    assert_eq!(again.ran(), [""; 0]);
    let store = Store::open(&bench.path("second")).expect("a store");
    let keys = store.index().records().expect("readable");
    let origin = |key| {
        store
            .index()
            .recorded(key)
            .expect("readable")
            .and_then(|found| found.origin)
    };
    let origins: Vec<_> = keys
        .iter()
        .filter_map(|record| origin(&record.key))
        .collect();
    assert_eq!(origins, [text(&cache).to_owned()]);
    // A later build tells it, too.
    let inspect = Finished::of(
        bench
            .kiln()
            .args(["builds", "inspect", "--root"])
            .arg(bench.path("second")),
    );
    let told = String::from_utf8_lossy(&inspect.stdout).into_owned();
    assert!(
        told.contains(&format!("by the cache in {}", text(&cache))),
        "{told}"
    );
}

/// A cache that knows very many steps leaves nothing of those that nobody asks for.
#[test]
fn steps_that_nobody_asks_for_leave_nothing() {
    let bench = Bench::new();
    let from = cache_of(&bench, HONEST, |config| {
        let honest = step(config, "echo honest");
        let steps = (0..20_000).map(|number: u32| {
            let mut step = honest.clone();
            let key = |what: &str| {
                json!(format!(
                    "blake3:{}",
                    sha256(format!("{what}{number}").as_bytes()).hex()
                ))
            };
            step["definition"] = key("definition");
            step["content"] = key("content");
            step["explanation"] = json!([]);
            step
        });
        let steps: Vec<Value> = steps.collect();
        config["steps"].as_array_mut().expect("steps").extend(steps);
    });
    assert_eq!(file_of(&bench, "second", HONEST, "v", &from), "honest\n");
    let store = Store::open(&bench.path("second")).expect("a store");
    let records = store.index().records().expect("readable").len();
    assert!(records < 10, "{records}");
}

/// All blobs of a layout are what their names say, and the layers what the config says.
fn assert_whole(layout: &Path) {
    for entry in fs::read_dir(layout.join("blobs/sha256")).expect("blobs") {
        let path = entry.expect("a blob").path();
        let found = sha256(&fs::read(&path).expect("readable")).hex();
        assert_eq!(
            path.file_name().and_then(|name| name.to_str()),
            Some(&*found)
        );
    }
    let image = Artifact::of(layout);
    let (manifest, config) = (image.manifest(), image.config());
    let layers = manifest["layers"].as_array().expect("layers");
    let diff_ids = config["rootfs"]["diff_ids"].as_array().expect("diff ids");
    assert_eq!(layers.len(), diff_ids.len());
    for (layer, diff_id) in layers.iter().zip(diff_ids) {
        let blob = fs::File::open(image.blob(&layer["digest"])).expect("a blob");
        let tar = kiln_worker::layer::decompress(blob).expect("a tar");
        let (found, _) = kiln_worker::store::sha256_of(tar).expect("readable");
        assert_eq!(json!(found.to_string()), *diff_id);
    }
}

/// Exports an image in every form, and looks at what came of it.
fn assert_exports(bench: &Bench, store: &str, dockerfile: &str) {
    bench.file("Dockerfile", dockerfile);
    for compression in ["uncompressed", "gzip", "zstd"] {
        let out = bench.path(&format!("image-{store}-{compression}"));
        let line = format!(
            "-o type=oci,tar=false,compression={compression},dest={}",
            text(&out)
        );
        build_in(bench, store, &line).assert_well();
        assert_whole(&out);
    }
}

#[test]
fn a_cache_that_swaps_layers_spoils_no_image() {
    let bench = Bench::new();
    let dockerfile = format!("{HONEST}RUN cat /v >/w\nRUN echo third >/x\n");
    bench.file("Dockerfile", &dockerfile);
    let cache = saved(&bench, ",mode=max");
    Artifact::of(&cache).change(|manifest, _| {
        let layers = manifest["layers"].as_array_mut().expect("layers");
        layers.rotate_left(1);
    });
    for (store, ignores) in [("second", ""), ("third", ",ignore-error=true")] {
        let from = format!("--cache-from type=local,src={}{ignores}", text(&cache));
        let built = build_in(&bench, store, &from);
        assert_eq!(
            built.code == Some(0),
            !ignores.is_empty(),
            "{}",
            built.told()
        );
        verify(&bench, &bench.path(store));
        assert_exports(&bench, store, &dockerfile);
        verify(&bench, &bench.path(store));
    }
}

/// An image says that a layer of it is one that an honest build makes.
#[test]
fn an_image_that_lies_about_a_layer_spoils_no_other() {
    let bench = Bench::new();
    let honest = "FROM base\nRUN echo honest >/v; touch -d @5 /v\n";
    bench.file("Dockerfile", honest);
    let (image, evil) = (bench.path("image"), bench.path("evil"));
    bench.build(&format!("-o type=oci,tar=false,dest={}", text(&image)));
    let config = Artifact::of(&image).config();
    let diff_ids = config["rootfs"]["diff_ids"].as_array().expect("diff ids");
    let claimed = diff_ids.last().expect("a layer").clone();
    bench.file("Dockerfile", "FROM scratch\nCOPY <<END /evil\nevil\nEND\n");
    bench.build(&format!("-o type=oci,tar=false,dest={}", text(&evil)));
    Artifact::of(&evil).change(|_, config| config["rootfs"]["diff_ids"] = json!([claimed]));
    let line = format!("--build-context evil=oci-layout://{}", text(&evil));
    for (store, comes_first) in [("second", true), ("third", false)] {
        let build = |dockerfile: &str| {
            bench.file("Dockerfile", dockerfile);
            build_in(&bench, store, &line).assert_well();
        };
        if comes_first {
            build("FROM evil\nENV A=1\n");
            build(honest);
        } else {
            build(honest);
            build("FROM evil\nENV A=1\n");
        }
        assert_exports(&bench, store, honest);
    }
}

#[test]
fn layers_that_cannot_be_had_are_done_without_where_errors_are_ignored() {
    let bench = Bench::new();
    bench.file("Dockerfile", HONEST);
    let cache = saved(&bench, ",mode=max");
    let from = format!("--cache-from type=local,src={}", text(&cache));
    type Damage = fn(&Artifact);
    let damages: [(&str, Damage, &str); 2] = [
        ("flipped", Artifact::damage_layer, "expected digest"),
        // A file with a hole, which takes no room where it is.
        (
            "large",
            |artifact| {
                artifact.change(|manifest, _| manifest["layers"][0]["size"] = json!(1_u64 << 42));
                let place = artifact.blob(&artifact.manifest()["layers"][0]["digest"]);
                let file = fs::File::options().write(true).open(place).expect("a blob");
                file.set_len(1 << 42).expect("it may have holes");
            },
            "and the store's disk has",
        ),
    ];
    for (name, damage, told) in damages {
        damage(&Artifact::of(&cache));
        let refused = build_in(&bench, name, &from);
        refused.assert_failed(1, &["cannot fetch layers of a cache", told]);
        let ignored = build_in(&bench, name, &format!("{from},ignore-error=true"));
        ignored.assert_well();
        assert_eq!(ignored.ran(), ["RUN echo honest >/v"]);
        let warning = "WARNING: cannot fetch layers of a cache";
        assert!(
            ignored.everything().contains(warning),
            "{}",
            ignored.everything()
        );
        verify(&bench, &bench.path(name));
        let _ = fs::remove_dir_all(bench.path(name));
    }
}
