//! Base images that try to write, read or delete what is not theirs, and their honest twins.

use std::fs;

use crate::bench::{Bench, text};
use crate::listing::of_directory;
use crate::machine;
use crate::tars::archive::Form::Ustar;
use crate::tars::archive::{Member, archive, directory, file, hard_link, pax, symlink};
use crate::tars::layout::write_layout;

/// What a step finds in the image, or why there is none.
enum Outcome {
    /// Everything that this command tests.
    Shows(&'static str),
    Refused(&'static str),
}
use Outcome::{Refused, Shows};

struct Case {
    name: &'static str,
    /// Over a layer with a shell. `OUT` is a directory of the machine's that holds a file `f`.
    layers: fn(&str) -> Vec<Vec<u8>>,
    outcome: Outcome,
}

fn f(name: &str) -> Member {
    file(Ustar, name, "x")
}

fn link(name: &str, target: &str) -> Member {
    symlink(Ustar, name, target)
}

const CASES: &[Case] = &[
    Case {
        name: "a file through a link",
        layers: |out| vec![archive([link("a", out), f("a/new")])],
        outcome: Shows("test -e /a/new && test ! -e /a/f"),
    },
    Case {
        name: "a file through a link of the layer below",
        layers: |out| vec![archive([link("a", out)]), archive([f("a/new")])],
        outcome: Shows("test -e /a/new && test ! -e /a/f"),
    },
    Case {
        name: "a file through a link that climbs",
        layers: |out| {
            let climbing = format!("{}{out}", "../".repeat(20));
            vec![archive([link("a", &climbing), f("a/new")])]
        },
        outcome: Shows("test -e /a/new && test ! -e /a/f"),
    },
    // In the image nobody knows where the link leads, on the machine everybody does.
    Case {
        name: "a file through a link into a loop",
        layers: |out| vec![archive([link("tmp", "tmp"), link("a", out), f("a/new")])],
        outcome: Refused("cannot unpack /a/new"),
    },
    Case {
        name: "a directory through a link into a loop",
        layers: |out| {
            vec![archive([
                link("tmp", "tmp"),
                link("a", out),
                directory(Ustar, "a/new"),
            ])]
        },
        outcome: Refused("cannot unpack /a/new"),
    },
    Case {
        name: "a link through a link into a loop",
        layers: |out| {
            vec![archive([
                link("tmp", "tmp"),
                link("a", out),
                link("a/new", "/etc/passwd"),
            ])]
        },
        outcome: Refused("cannot unpack /a/new"),
    },
    Case {
        name: "a loop that nothing leads through",
        layers: |_| vec![archive([link("tmp", "tmp"), f("new")])],
        outcome: Shows("test -e /new && test -L /tmp"),
    },
    Case {
        name: "a file through forty links",
        layers: |out| {
            let chain =
                (0..45).map(|number| link(&format!("l{number}"), &format!("l{}", number + 1)));
            vec![archive(chain.chain([link("l45", out), f("l0/new")]))]
        },
        outcome: Refused("cannot unpack /l0/new"),
    },
    Case {
        name: "out of the root",
        layers: |_| vec![archive([f("../../../../../../tmp/kiln-was-here")])],
        outcome: Refused("contains \"..\""),
    },
    Case {
        name: "from the root",
        layers: |_| vec![archive([f("/new")])],
        outcome: Shows("test -e /new"),
    },
    Case {
        name: "a hard link out of the root",
        layers: |out| {
            vec![archive([hard_link(
                Ustar,
                "h",
                &format!("../../../../../..{out}/f"),
            )])]
        },
        outcome: Refused("does not come before it"),
    },
    Case {
        name: "a hard link through a link",
        layers: |out| vec![archive([link("a", out), hard_link(Ustar, "h", "a/f")])],
        outcome: Refused("does not come before it"),
    },
    Case {
        name: "a hard link to a file",
        layers: |_| vec![archive([f("d/f"), hard_link(Ustar, "h", "d/f")])],
        outcome: Shows("test $(stat -c %h /h) = 2"),
    },
    Case {
        name: "a deletion out of the root",
        layers: |_| vec![archive([file(Ustar, "../.wh.f", "")])],
        outcome: Refused("contains \"..\""),
    },
    Case {
        name: "a deletion of the directory above",
        layers: |_| {
            vec![
                archive([f("d/f")]),
                archive([
                    file(Ustar, "d/.wh...", ""),
                    file(Ustar, "d/.wh..", ""),
                    file(Ustar, "d/.wh.", ""),
                ]),
            ]
        },
        outcome: Shows("test -e /d/f && test -e /bin/sh"),
    },
    Case {
        name: "a deletion through a link",
        layers: |out| {
            vec![
                archive([link("a", out)]),
                archive([file(Ustar, "a/.wh.f", "")]),
            ]
        },
        outcome: Shows("test -L /a"),
    },
    Case {
        name: "a deletion of all through a link",
        layers: |out| {
            vec![
                archive([link("a", out)]),
                archive([file(Ustar, "a/.wh..wh..opq", "")]),
            ]
        },
        // What it names is a directory of its own.
        outcome: Shows("test -d /a && test ! -L /a"),
    },
    Case {
        name: "a deletion through a link into a loop",
        layers: |out| {
            vec![
                archive([link("tmp", "tmp"), link("a", out)]),
                archive([file(Ustar, "a/.wh.f", "")]),
            ]
        },
        outcome: Shows("test -e /bin/sh"),
    },
    Case {
        name: "a deletion",
        layers: |_| {
            vec![
                archive([f("d/f"), f("d/g")]),
                archive([file(Ustar, "d/.wh.f", "")]),
            ]
        },
        outcome: Shows("test ! -e /d/f && test -e /d/g"),
    },
    Case {
        name: "a deletion of all",
        layers: |_| {
            vec![
                archive([f("d/f")]),
                archive([
                    directory(Ustar, "d"),
                    file(Ustar, "d/.wh..wh..opq", ""),
                    f("d/g"),
                ]),
            ]
        },
        outcome: Shows("test ! -e /d/f && test -e /d/g"),
    },
    Case {
        name: "the machine's memory as a device",
        layers: |_| {
            vec![archive([
                Member::new(Ustar, b'3', b"memory").device(1, 1),
                Member::new(Ustar, b'4', b"disk").device(8, 0),
            ])]
        },
        outcome: Shows("! head -c 1 /memory && ! head -c 1 /disk"),
    },
    Case {
        name: "two sizes",
        layers: |_| {
            vec![archive([
                pax(b'x', &[("size", b"0")]),
                file(Ustar, "f", "hidden"),
            ])]
        },
        outcome: Refused("by one header and 0 by another"),
    },
    Case {
        name: "a header of 2 MB",
        layers: |_| {
            vec![archive([
                pax(b'x', &[("comment", &[b'x'; 2 << 20])]),
                f("f"),
            ])]
        },
        outcome: Refused("1048576 are allowed"),
    },
    Case {
        name: "a header of half a MB",
        layers: |_| {
            vec![archive([
                pax(b'x', &[("comment", &[b'x'; 1 << 19])]),
                f("f"),
            ])]
        },
        outcome: Shows("test -e /f"),
    },
    Case {
        name: "a file of 10 GB that is not there",
        layers: |_| vec![archive([f("f").binary(124, 12, 10 << 30)])],
        outcome: Refused("damaged"),
    },
    Case {
        name: "one name many times",
        layers: |_| {
            vec![archive(
                (0..2000).map(|number| file(Ustar, "f", &number.to_string())),
            )]
        },
        outcome: Shows("test $(cat /f) = 1999"),
    },
];

#[test]
fn no_layer_reaches_out_of_its_image() {
    let bench = Bench::new();
    let out = bench.path("out");
    fs::create_dir(&out).expect("a directory");
    fs::write(out.join("f"), "the machine's").expect("writable");
    let shell = [
        directory(Ustar, "bin"),
        Member::new(Ustar, b'0', b"bin/busybox")
            .mode(0o755)
            .data(fs::read("/bin/busybox").expect("the package busybox-static")),
    ];
    let programs =
        ["sh", "test", "stat", "cat", "head"].map(|name| link(&format!("bin/{name}"), "busybox"));
    let shell = archive(shell.into_iter().chain(programs));
    let before = of_directory(&out);
    for (
        number,
        Case {
            name,
            layers,
            outcome,
        },
    ) in CASES.iter().enumerate()
    {
        let layout = bench.path(&format!("image-{number}"));
        let mut all = vec![shell.clone()];
        all.extend(layers(text(&out)));
        write_layout(&layout, &all);
        let script = match outcome {
            Shows(script) => script,
            Refused(_) => "true",
        };
        bench.file("Dockerfile", format!("FROM image\nRUN {script}\n"));
        let line = format!(
            "--no-cache --build-context image=oci-layout://{}",
            text(&layout)
        );
        let finished = bench.try_build(&line);
        match outcome {
            Shows(_) => assert_eq!(finished.code, Some(0), "{name}: {}", finished.everything()),
            Refused(says) => {
                assert_eq!(finished.code, Some(1), "{name}");
                assert!(
                    finished.told().contains(says),
                    "{name}: {}",
                    finished.told()
                );
            }
        }
        assert_eq!(of_directory(&out), before, "{name}");
    }
    assert!(!std::path::Path::new("/tmp/kiln-was-here").exists());
    machine::assert_clean(&bench.store());
}

/// Two MB that become two GB, and their twin that becomes two MB.
#[test]
fn an_archive_becomes_no_larger_than_a_step_may_write() {
    let bench = Bench::new();
    bench.shell(
        "for size in 2M 2G; do truncate -s $size zeros; tar -cf - zeros | gzip -1 >$size.tar.gz; done; rm zeros",
    );
    let write = |size: &str| {
        bench.file(
            "Dockerfile",
            format!("FROM scratch\nADD {size}.tar.gz /x/\n"),
        )
    };
    write("2G");
    bench.refused(
        "--max-step-disk 10m",
        1,
        &["too much on disk", "--max-step-disk", ">>> ADD"],
    );
    write("2M");
    let out = bench.files("files", "--max-step-disk 10m");
    assert_eq!(
        fs::metadata(out.join("x/zeros"))
            .expect("it is there")
            .len(),
        2 << 20
    );
}
