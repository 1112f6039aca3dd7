//! Imports of cache mounts that mean harm, are damaged or are ended: they are refused whole, and leave nothing.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;

use crate::artifact::Artifact;
use crate::bench::{Bench, text};
use crate::cache_export::{files, filled};
use crate::finished::Finished;
use crate::machine;

impl Bench {
    /// Imports into the second store, which must be refused and change nothing.
    #[track_caller]
    fn import_refused(&self, what: &str, layout: &Path, parts: &[&str]) {
        let second = self.second();
        let line = format!("import --root {} {}", text(&second), text(layout));
        let finished = self.cache(&line);
        assert_eq!(finished.code, Some(1), "{what}: {}", finished.told());
        for part in parts {
            assert!(
                finished.told().contains(part),
                "{what}: {}",
                finished.told()
            );
        }
        let homes = fs::read_dir(second.join("cache-mounts"));
        let left: Vec<_> = homes.into_iter().flatten().flatten().collect();
        assert!(left.is_empty(), "{what}: {left:?}");
        machine::assert_clean(&second);
    }
}

/// An entry of a tar that means harm.
fn entry(kind: tar::EntryType, path: &str, link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = entries.concat();
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

#[test]
fn what_means_harm_is_refused_and_leaves_nothing() {
    use tar::EntryType::{Block, Char, Directory, GNUSparse, Link, Regular, Symlink, XHeader};
    let bench = filled();
    let layout = bench.path("layout");
    let outside = bench.path("outside");
    fs::create_dir(&outside).expect("a directory");
    let away = text(&outside).to_owned();
    let fresh = || {
        let _ = fs::remove_dir_all(&layout);
        bench.cache_says(&format!("export --id stuff {}", text(&layout)));
        Artifact::of(&layout)
    };
    let directory = |path: &str| entry(Directory, path, "", b"");
    let regular = |path: &str| entry(Regular, path, "", b"x");
    let huge_header = {
        let mut header = entry(XHeader, "PaxHeaders/", "", b"");
        header[124..136].copy_from_slice(b"77777777777\0");
        let mut header = tar::Header::from_byte_slice(&header).clone();
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    let nobody = {
        let mut header = tar::Header::from_byte_slice(&regular("x")[..512]).clone();
        header.set_uid(u32::MAX.into());
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    let cases: Vec<(&str, Vec<Vec<u8>>, &str)> = vec![
        ("a path that goes up", vec![regular("../x")], "\"..\""),
        (
            "one that goes up and down",
            vec![directory("d/"), regular("d/../../x")],
            "\"..\"",
        ),
        (
            "a file below a link",
            vec![entry(Symlink, "l", &away, b""), regular("l/x")],
            "l/x is in no directory",
        ),
        (
            "a directory below a link",
            vec![
                entry(Symlink, "l", &away, b""),
                directory("l/d/"),
                regular("l/d/x"),
            ],
            "l/d is in no directory",
        ),
        (
            "a link that becomes a directory",
            vec![
                entry(Symlink, "l", &away, b""),
                directory("l/"),
                regular("l/x"),
            ],
            "l is out of order",
        ),
        (
            "a hard link out of it",
            vec![entry(Link, "l", "../../../index.db", b"")],
            "/l is a hard link to /index.db, which does not come before it",
        ),
        (
            "a hard link to nothing",
            vec![entry(Link, "l", "/etc/passwd", b"")],
            "does not come before it",
        ),
        (
            "a hard link through a link",
            vec![
                entry(Symlink, "l", &away, b""),
                entry(Link, "m", "l/x", b""),
            ],
            "does not come before it",
        ),
        (
            "no directory above",
            vec![regular("d/x")],
            "d/x is in no directory",
        ),
        (
            "a path twice",
            vec![regular("x"), regular("x")],
            "x is out of order",
        ),
        ("the root", vec![directory("./")], "is out of order"),
        (
            "a device",
            vec![entry(Char, "null", "", b"")],
            "no cache mount has",
        ),
        (
            "a disk",
            vec![entry(Block, "disk", "", b"")],
            "no cache mount has",
        ),
        (
            "a sparse file",
            vec![entry(GNUSparse, "s", "", b"x")],
            "no cache mount has",
        ),
        ("a header without end", vec![huge_header], "are allowed"),
        ("a file of nobody", vec![nobody], "x belongs to 4294967295"),
    ];
    for (what, entries, part) in cases {
        fresh().replace_layer(&archive(&entries));
        bench.import_refused(what, &layout, &["refused", part]);
        assert_eq!(
            fs::read_dir(&outside).expect("a directory").count(),
            0,
            "{what}"
        );
    }
    let cut = archive(&[regular("x")]);
    fresh().replace_layer(&cut[..700]);
    bench.import_refused("a tar that is cut off", &layout, &["refused"]);
    fresh().damage_layer();
    bench.import_refused("a flipped bit", &layout, &["expected digest"]);
    let artifact = fresh();
    fs::remove_file(artifact.blob(&artifact.manifest()["layers"][0]["digest"])).expect("a blob");
    bench.import_refused("a blob that is gone", &layout, &["is missing"]);
    type Change = fn(&mut serde_json::Value, &mut serde_json::Value);
    let changes: [(&str, Change, &str); 9] = [
        (
            "another content",
            |_, config| config["caches"][0]["diffId"] = format!("sha256:{}", "0".repeat(64)).into(),
            "diff id",
        ),
        (
            "a size beyond any disk",
            |_, config| config["caches"][0]["size"] = (1_u64 << 60).into(),
            "disk has",
        ),
        (
            "a size that is too small",
            |_, config| config["caches"][0]["size"] = 512.into(),
            "refused",
        ),
        (
            "another's name",
            |_, config| config["caches"][0]["name"] = "../../layers".into(),
            "is called ../../layers",
        ),
        (
            "another's id",
            |_, config| config["caches"][0]["id"] = "/root/.npm".into(),
            "is called",
        ),
        (
            "a version to come",
            |_, config| config["version"] = 2.into(),
            "only 1 is known",
        ),
        (
            "a layer too few",
            |manifest, _| manifest["layers"] = serde_json::json!([]),
            "names 1 caches",
        ),
        (
            "a mode that is none",
            |_, config| config["caches"][0]["root"]["mode"] = 0o100_755.into(),
            "out of range",
        ),
        (
            "nobody's directory",
            |_, config| config["caches"][0]["root"]["gid"] = u32::MAX.into(),
            "out of range",
        ),
    ];
    for (what, change, part) in changes {
        fresh().change(change);
        bench.import_refused(what, &layout, &[part]);
    }
    fs::write(layout.join("index.json"), "{").expect("writable");
    bench.import_refused("an index that is none", &layout, &["not a valid"]);
    bench.import_refused(
        "a layout of something else",
        crate::base::small(),
        &["there are no cache mounts"],
    );
    let second = bench.second();
    let verify = Finished::of(bench.kiln().args(["store", "verify", "--root"]).arg(second));
    verify.assert_well();
}

/// The second of two caches is bad: the first is not taken either.
#[test]
fn one_bad_cache_is_reason_to_take_none() {
    let bench = filled();
    let layout = bench.path("layout");
    bench.cache_says(&format!("export {}", text(&layout)));
    Artifact::of(&layout).change(|_, config| {
        config["caches"][1]["diffId"] = format!("sha256:{}", "0".repeat(64)).into();
    });
    bench.import_refused("the second", &layout, &["diff id"]);
}

#[test]
fn an_import_that_is_killed_leaves_nothing() {
    let bench = filled();
    let layout = bench.path("layout");
    bench.cache_says(&format!("export {}", text(&layout)));
    let second = bench.second();
    // It waits for the first of its caches with all of it unpacked beside.
    bench.cache_says(&format!(
        "import --root {} {}",
        text(&second),
        text(&layout)
    ));
    let used = files(&second, "stuff");
    fs::write(used.join("mine"), "mine").expect("writable");
    let locks: Vec<File> = ["stuff", "other"]
        .map(|id| {
            let lock = File::open(files(&second, id).with_file_name("lock")).expect("a lock");
            rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockShared).expect("a lock");
            lock
        })
        .into();
    let mut command = bench.kiln();
    command
        .args(["cache", "import", "--replace", "--root"])
        .arg(&second)
        .arg(&layout);
    let mut import = command
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("kiln runs");
    let mut said = std::io::BufReader::new(import.stderr.take().expect("it is piped"));
    let mut first = String::new();
    std::io::BufRead::read_line(&mut said, &mut first).expect("text");
    assert!(first.contains("waiting"), "{first}");
    import.kill().expect("it runs");
    import.wait().expect("it was started");
    drop(locks);
    assert_eq!(
        fs::read_to_string(used.join("mine")).ok().as_deref(),
        Some("mine")
    );
    // What it left in passing goes with the next process.
    bench.cache_says(&format!("ls --root {}", text(&second)));
    machine::assert_clean(&second);
    bench.cache_says(&format!(
        "import --replace --root {} {}",
        text(&second),
        text(&layout)
    ));
    assert!(!used.join("mine").exists());
    assert_eq!(
        fs::metadata(&used).expect("it is there").mode() & 0o7777,
        0o1770
    );
}
