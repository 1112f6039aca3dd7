//! The files of a step: layers, changes, mounts, and the mount points that are not to be seen.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use kiln_worker::sandbox::{Error, Failure, Mount, Overlay, Source, Spec};
use kiln_worker::secret::Secret;

use crate::Role;
use crate::bench::{Bench, Root, tree};

crate::cases![
    changes_are_whiteouts_and_opaque_directories,
    layers_lie_over_one_another,
    many_layers_work,
    a_root_needs_no_layer,
    nothing_of_the_mounts_shows_in_the_changes,
    stubs_are_made_behind_links,
    directories_that_the_step_changed_keep_their_time,
    stubs_that_the_step_used_stay,
    a_failed_setup_leaves_no_stub_in_a_cache,
    mounts_show_what_they_should,
    sources_stay_within_their_directory,
    other_roots_can_be_mounted,
    bad_targets_are_refused,
    #[root]
    device_nodes_of_an_image_do_not_work,
];

fn touch(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
    fs::write(path, content).expect("write");
}

fn overlay_xattr(bench: &Bench, path: &Path, name: &str) -> Option<Vec<u8>> {
    let prefix = if bench.role == Role::Root {
        "trusted"
    } else {
        "user"
    };
    let mut value = vec![0; 64];
    let length =
        rustix::fs::lgetxattr(path, format!("{prefix}.overlay.{name}"), &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

fn changes_are_whiteouts_and_opaque_directories(bench: &Bench) {
    let root = bench.root();
    let script = "rm /etc/issue; rm -r /etc/apt; mkdir /etc/apt; echo new > /etc/apt/new; echo x >> /etc/hostname";
    bench.run(&bench.script(&root, script)).text();
    let found = tree(&root.upper);
    assert_eq!(
        found,
        [
            "c etc/issue",
            "d etc",
            "d etc/apt",
            "f etc/apt/new",
            "f etc/hostname"
        ]
    );
    assert_eq!(
        fs::symlink_metadata(root.upper.join("etc/issue"))
            .expect("whiteout")
            .rdev(),
        0
    );
    let opaque = |path| overlay_xattr(bench, &root.upper.join(path), "opaque");
    assert_eq!(opaque("etc/apt").as_deref(), Some(&b"y"[..]));
    assert_eq!(opaque("etc"), None);
    assert_eq!(overlay_xattr(bench, &root.upper, "uuid"), None);
}

fn layers_lie_over_one_another(bench: &Bench) {
    let one = bench.root();
    bench.run(&bench.script(
        &one,
        "echo 1 > /a; echo 1 > /b; mkdir /d; echo 1 > /d/x; rm /etc/issue",
    ));
    let two = bench.root_of([bench.debian.clone(), one.upper.clone()]);
    let script = "echo 2 > /b; rm -r /d; mkdir /d; echo 2 > /d/y; [ ! -e /etc/issue ] && echo gone";
    assert_eq!(bench.run(&bench.script(&two, script)).text(), "gone\n");
    let three = bench.root_of([bench.debian.clone(), one.upper, two.upper]);
    let script = "cat /a /b; ls /d; [ ! -e /etc/issue ] && echo gone";
    assert_eq!(
        bench.run(&bench.script(&three, script)).text(),
        "1\n2\ny\ngone\n"
    );
}

fn many_layers_work(bench: &Bench) {
    let layers = bench.fresh();
    let names: Vec<_> = (0..200)
        .map(|number| format!("layer with: a, name\\{number}"))
        .collect();
    let paths = names.iter().map(|name| {
        let path = layers.path().join(name);
        touch(&path.join(format!("many/{name}")), "x");
        touch(&path.join("last"), name);
        path
    });
    let root = bench.root_of([bench.debian.clone()].into_iter().chain(paths));
    let text = bench
        .run(&bench.script(&root, "ls /many | wc -l; cat /last"))
        .text()
        .to_owned();
    assert_eq!(text, "200\nlayer with: a, name\\199");
}

fn a_root_needs_no_layer(bench: &Bench) {
    let root = bench.root_of([]);
    let status = std::process::Command::new("cp")
        .arg("-a")
        .arg(bench.debian.join("."))
        .arg(&root.upper)
        .status();
    assert!(status.expect("cp runs").success());
    assert_eq!(
        bench
            .run(&bench.script(&root, "echo x > /x; cat /x"))
            .text(),
        "x\n"
    );
    assert!(root.upper.join("x").is_file());
    let nothing = Spec::new(
        Overlay {
            layers: Vec::new(),
            writable: None,
        },
        ["true"],
    );
    assert!(matches!(
        bench.try_run(&nothing),
        Err(Error::Step(Failure::Invalid { .. }))
    ));
}

/// A layer without mount points, and with old directories.
fn bare_layer(bench: &Bench) -> tempfile::TempDir {
    let layer = bench.fresh();
    fs::set_permissions(layer.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    for name in ["usr", "etc", "var", "run"] {
        fs::create_dir(layer.path().join(name)).expect("mkdir");
    }
    for (name, target) in [
        ("bin", "usr/bin"),
        ("lib", "usr/lib"),
        ("lib64", "usr/lib64"),
    ] {
        symlink(target, layer.path().join(name)).expect("symlink");
    }
    for name in ["usr", "etc", "var", "run", "."] {
        age(&layer.path().join(name));
    }
    layer
}

fn long_ago() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(1_234_567_890_123_456_789)
}

fn age(path: &Path) {
    fs::File::open(path)
        .expect("open")
        .set_modified(long_ago())
        .expect("utimens");
}

fn is_old(path: &Path) -> bool {
    fs::metadata(path)
        .expect("metadata")
        .modified()
        .expect("mtime")
        == long_ago()
}

/// The bare layer with Debian's programs mounted, and a secret where nothing is.
fn bare_root(bench: &Bench, layer: &Path) -> (Root, Vec<Mount>) {
    let root = bench.root_of([layer.to_owned()]);
    age(&root.upper);
    let mounts = vec![
        Mount {
            target: "/usr".into(),
            source: host(&bench.debian, "usr"),
            readonly: true,
        },
        Mount {
            target: "/run/secrets/deep/key".into(),
            source: secret("s3cret"),
            readonly: true,
        },
        Mount {
            target: "/var/cache/a/b".into(),
            source: Source::Tmpfs { size: None },
            readonly: false,
        },
    ];
    (root, mounts)
}

fn host(directory: &Path, path: &str) -> Source {
    if path.is_empty() {
        return Source::Host(directory.to_owned());
    }
    Source::Within {
        directory: directory.to_owned(),
        path: path.into(),
    }
}

fn secret(text: &str) -> Source {
    Source::File {
        content: Secret(text.into()),
        mode: 0o400,
        uid: 0,
        gid: 0,
    }
}

fn nothing_of_the_mounts_shows_in_the_changes(bench: &Bench) {
    let layer = bare_layer(bench);
    let (root, mounts) = bare_root(bench, layer.path());
    let script = "cat /run/secrets/deep/key; echo; ls /; touch /var/cache/a/b/x /dev/shm/x; cat /etc/hosts | wc -l";
    let spec = Spec {
        mounts,
        ..bench.script(&root, script)
    };
    let text = bench.run(&spec).text().to_owned();
    assert_eq!(
        text,
        "s3cret\nbin\ndev\netc\nlib\nlib64\nproc\nrun\nsys\nusr\nvar\n2\n"
    );
    // Directories in which a stub was are copied up, which a comparison with the layer finds equal. Those
    // that every runtime wants stay, as with BuildKit.
    let left = tree(&root.upper);
    assert_eq!(
        left,
        ["d dev", "d etc", "d proc", "d run", "d sys", "d var"]
    );
    for name in ["etc", "run", "var"] {
        assert!(is_old(&root.upper.join(name)), "{name}");
    }
}

fn stubs_are_made_behind_links(bench: &Bench) {
    let layer = bare_layer(bench);
    let link =
        |target: &str, name: &str| symlink(target, layer.path().join(name)).expect("symlink");
    link("/run/resolve/../resolve/./stub.conf", "etc/resolv.conf");
    link("../../../../../../etc/real-hosts", "etc/hosts");
    link("loop", "loop");
    age(&layer.path().join("etc"));
    let (root, mounts) = bare_root(bench, layer.path());
    let spec = Spec {
        mounts,
        ..bench.script(&root, "ls /run/resolve /etc; wc -l < /etc/hosts")
    };
    let text = bench.run(&spec).text().to_owned();
    assert_eq!(
        text,
        "/etc:\nhosts\nreal-hosts\nresolv.conf\n\n/run/resolve:\nstub.conf\n2\n"
    );
    assert_eq!(
        tree(&root.upper),
        ["d dev", "d etc", "d proc", "d run", "d sys", "d var"]
    );
    assert!(is_old(&root.upper.join("etc")) && is_old(&root.upper.join("run")));

    let (root, mut mounts) = bare_root(bench, layer.path());
    mounts.push(Mount {
        target: "/loop/x".into(),
        source: secret("x"),
        readonly: true,
    });
    match bench.try_run(&Spec {
        mounts,
        ..bench.script(&root, "true")
    }) {
        Err(Error::Step(Failure::System { path, .. })) => assert_eq!(path, "/loop/x"),
        other => panic!("{:?}", other.map(|done| done.outcome)),
    }
    assert_eq!(
        tree(&root.upper),
        ["d dev", "d etc", "d proc", "d run", "d sys", "d var"]
    );
}

fn directories_that_the_step_changed_keep_their_time(bench: &Bench) {
    let layer = bare_layer(bench);
    let (root, mounts) = bare_root(bench, layer.path());
    let script = "echo x > /etc/mine; touch -d @1000000000 /etc; stat -c %Y /var /run";
    bench
        .run(&Spec {
            mounts,
            ..bench.script(&root, script)
        })
        .text();
    let etc = fs::metadata(root.upper.join("etc")).expect("metadata");
    assert_eq!(etc.mtime(), 1_000_000_000);
    assert_eq!(
        tree(&root.upper),
        [
            "d dev",
            "d etc",
            "d proc",
            "d run",
            "d sys",
            "d var",
            "f etc/mine"
        ]
    );
    assert!(is_old(&root.upper.join("run")));
}

fn stubs_that_the_step_used_stay(bench: &Bench) {
    let layer = bare_layer(bench);
    let (root, mounts) = bare_root(bench, layer.path());
    let script = "echo x > /run/secrets/mine; mv /var/cache /var/moved";
    bench
        .run(&Spec {
            mounts,
            ..bench.script(&root, script)
        })
        .text();
    assert_eq!(
        tree(&root.upper),
        [
            "d dev",
            "d etc",
            "d proc",
            "d run",
            "d run/secrets",
            "d sys",
            "d var",
            "d var/moved",
            "f run/secrets/mine"
        ],
        "only what the step itself made or moved is left"
    );
}

fn a_failed_setup_leaves_no_stub_in_a_cache(bench: &Bench) {
    let cache = bench.fresh();
    let root = bench.root();
    let mount = |target: &str, source| Mount {
        target: target.into(),
        source,
        readonly: false,
    };
    let mut spec = bench.script(&root, "true");
    spec.mounts = vec![
        mount("/cache", host(cache.path(), "")),
        mount("/cache/deep/down", Source::Tmpfs { size: None }),
        mount("/etc/passwd/x", Source::Tmpfs { size: None }),
    ];
    assert!(bench.try_run(&spec).is_err());
    assert_eq!(tree(cache.path()), [""; 0]);
}

fn mounts_show_what_they_should(bench: &Bench) {
    let (context, cache, file) = (bench.fresh(), bench.fresh(), bench.fresh());
    for directory in [&context, &cache] {
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    touch(&context.path().join("sub/file"), "context");
    touch(&file.path().join("one"), "one");
    let root = bench.root();
    let script = "
        cat /src/sub/file /opt/one; echo; stat -c %u:%g /src/sub/file
        (echo x > /src/new) 2>/dev/null || echo refused
        echo kept > /root/.cache/kept; chown 33:33 /root/.cache/kept
        df -k --output=size /tmpfs | tail -1; stat -c %a /tmpfs
        (head -c 2M /dev/zero > /tmpfs/big) 2>/dev/null || echo full
        stat -c '%a %u:%g' /run/secrets/key; cat /run/secrets/key
        (echo x >> /run/secrets/key) 2>/dev/null || echo refused
        cp /bin/true /root/.cache/ && /root/.cache/true && echo ran";
    let mut spec = bench.script(&root, script);
    let mount = |target: &str, source, readonly| Mount {
        target: target.into(),
        source,
        readonly,
    };
    let key = Source::File {
        content: Secret(b"k\n".into()),
        mode: 0o440,
        uid: 33,
        gid: 34,
    };
    spec.mounts = vec![
        mount("/src", host(context.path(), "."), true),
        mount("/opt/one", host(file.path(), "one"), true),
        mount("/root/.cache", host(cache.path(), ""), false),
        mount(
            "/tmpfs",
            Source::Tmpfs {
                size: Some(1 << 20),
            },
            false,
        ),
        mount("/run/secrets/key", key, true),
    ];
    let done = bench.run(&spec);
    let words: Vec<_> = done.text().split_ascii_whitespace().collect();
    assert_eq!(
        words,
        [
            "contextone",
            "0:0",
            "refused",
            "1024",
            "1777",
            "full",
            "440",
            "33:34",
            "k",
            "refused",
            "ran"
        ]
    );
    let kept = fs::metadata(cache.path().join("kept")).expect("metadata");
    assert_eq!((kept.uid(), kept.gid()), (33, 33));
    assert_eq!(tree(&root.upper), ["d etc", "d opt", "d root", "d run"]);
}

fn sources_stay_within_their_directory(bench: &Bench) {
    let (context, outside) = (bench.fresh(), bench.fresh());
    fs::set_permissions(context.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    touch(&outside.path().join("file"), "outside");
    touch(&context.path().join("file"), "inside");
    symlink("/file", context.path().join("absolute")).expect("symlink");
    symlink(outside.path(), context.path().join("away")).expect("symlink");
    let show = |path: &str| {
        let root = bench.root();
        let mut spec = bench.script(&root, "cat /shown");
        let source = host(context.path(), path);
        spec.mounts = vec![Mount {
            target: "/shown".into(),
            source,
            readonly: true,
        }];
        bench.try_run(&spec).map(|done| done.text().to_owned())
    };
    for path in ["file", "/file", "absolute", "../../file"] {
        assert_eq!(show(path).expect("it runs"), "inside", "{path}");
    }
    for path in ["away/file", "missing", "/proc/self/root"] {
        assert!(
            matches!(show(path), Err(Error::Step(Failure::System { .. }))),
            "{path}"
        );
    }
}

fn other_roots_can_be_mounted(bench: &Bench) {
    let stage = bench.root();
    bench.run(&bench.script(
        &stage,
        "mkdir -p /out/deep; echo built > /out/deep/file; ln -s /out/deep /link; rm /etc/issue",
    ));
    let layers = vec![bench.debian.clone(), stage.upper.clone()];
    let scratch = bench.root();
    let (root, from) = (bench.root(), |overlay: &Overlay, path: &str| {
        Source::Overlay {
            overlay: overlay.clone(),
            path: path.into(),
        }
    });
    let frozen = Overlay {
        layers,
        writable: None,
    };
    let thawed = Overlay {
        writable: scratch.overlay.writable,
        ..frozen.clone()
    };
    let alone = Overlay {
        layers: vec![stage.upper.clone()],
        writable: None,
    };
    let mount = |target: &str, source, readonly| Mount {
        target: target.into(),
        source,
        readonly,
    };
    let script = "ls /all/etc/issue 2>/dev/null; cat /all/out/deep/file /linked/file /file /rw/file
        (echo x > /all/x) 2>/dev/null || echo refused; (echo x > /one/x) 2>/dev/null || echo refused
        echo changed > /rw/file; cat /rw/file; cat /one/out/deep/file";
    let mut spec = bench.script(&root, script);
    spec.mounts = vec![
        mount("/all", from(&frozen, "/"), true),
        mount("/linked", from(&frozen, "/link"), true),
        mount("/file", from(&frozen, "out/../../out/deep/file"), true),
        mount("/rw", from(&thawed, "/out/deep"), false),
        mount("/one", from(&alone, "."), true),
    ];
    let built = "built\n";
    assert_eq!(
        bench.run(&spec).text(),
        format!("{}refused\nrefused\nchanged\n{built}", built.repeat(4))
    );
    assert_eq!(
        fs::read_to_string(stage.upper.join("out/deep/file")).expect("read"),
        built
    );
    assert_eq!(
        tree(&root.upper),
        ["d etc"],
        "the other stubs were in the root directory"
    );
}

fn bad_targets_are_refused(bench: &Bench) {
    for target in ["/", "relative", "", "//.", "/./", "/proc", "/./proc/acpi"] {
        let root = bench.root();
        let mut spec = bench.script(&root, "true");
        spec.mounts = vec![Mount {
            target: target.into(),
            source: Source::Tmpfs { size: None },
            readonly: false,
        }];
        match bench.try_run(&spec) {
            Err(Error::Step(Failure::Invalid { value, .. })) => assert_eq!(value, target),
            other => panic!("{target:?}: {:?}", other.map(|done| done.outcome)),
        }
    }
}

/// Only root can put such a node into a layer; every image could bring one.
fn device_nodes_of_an_image_do_not_work(bench: &Bench) {
    let root = bench.root();
    let node = root.upper.join("node");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &node,
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::from_raw_mode(0o666),
        rustix::fs::makedev(1, 5),
    )
    .expect("mknod");
    let script = "(head -c1 /node > /dev/null) 2>/dev/null || echo refused; stat -c %t:%T /node";
    assert_eq!(
        bench.run(&bench.script(&root, script)).text(),
        "refused\n1:5\n"
    );
}
