//! What a file system can hold survives the way from a step to a layer to an unpacked tree.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::bench::{Bench, run, text};
use crate::listing::{Listing, below, of_directory, of_tar_file};

/// The built files in four ways: as a tar, in a directory, as umoci unpacks them, and as a following
/// stage copies them. Fails unless all are the same; gives what is below `/d`.
#[track_caller]
fn everywhere(bench: &Bench) -> Listing {
    let (tar, layout, bundle) = (bench.path("t.tar"), bench.path("l"), bench.path("b"));
    let outputs = format!(
        "-t it:1 -o type=tar,dest={} -o type=oci,tar=false,dest={}",
        text(&tar),
        text(&layout)
    );
    bench.build(&outputs);
    let expected = below(&of_tar_file(&tar), "d");
    let local = bench.files("local", "");
    assert_eq!(below(&of_directory(&local), "d"), expected, "type=local");
    run(
        "umoci",
        &[
            "unpack",
            "--image",
            &format!("{}:1", text(&layout)),
            text(&bundle),
        ],
    );
    let rootfs = bundle.join("rootfs");
    assert_eq!(below(&of_directory(&rootfs), "d"), expected, "umoci");

    let dockerfile = fs::read_to_string(bench.context("Dockerfile")).expect("it is there");
    let copied = format!("{dockerfile}\nFROM scratch\nCOPY --from=result /d /d\n");
    fs::write(bench.context("Copied"), copied).expect("writable");
    let copied = bench.files("copied", &format!("-f {}", text(&bench.context("Copied"))));
    assert_eq!(below(&of_directory(&copied), "d"), expected, "COPY --from");
    for root in [local, rootfs, copied] {
        assert!(root.exists());
    }
    expected
}

/// Builds one RUN of a script on what another left in `/d`, and a third step that must find the
/// same as is unpacked.
#[track_caller]
fn steps(before: &str, script: &str, after: &str) -> Listing {
    let bench = Bench::new();
    bench.file(
        "before.sh",
        format!("set -e\nmkdir -p /d && cd /d\n{before}"),
    );
    bench.file("script.sh", format!("set -e\ncd /d\n{script}"));
    bench.file("after.sh", format!("set -ex\ncd /d\n{after}"));
    let mount = "RUN --mount=target=/mnt sh /mnt";
    bench.file(
        "Dockerfile",
        format!("FROM base AS result\n{mount}/before.sh\n{mount}/script.sh\n{mount}/after.sh\n"),
    );
    everywhere(&bench)
}

fn assert_listing(listing: &Listing, expected: &[(&str, &str)]) {
    let expected: Listing = expected
        .iter()
        .map(|(path, line)| ((*path).to_owned(), (*line).to_owned()))
        .collect();
    assert_eq!(*listing, expected);
}

#[test]
fn deletions() {
    let listing = steps(
        "mkdir -p a/b/c e; echo 1 >a/b/c/f; echo 2 >a/g; echo 3 >h; ln -s h s; mkfifo p",
        "rm -r a/b h s p e",
        "test ! -e a/b && test ! -e h && test ! -L s && test ! -e p && test -e a/g && test ! -e e",
    );
    assert_listing(&listing, &[("a", "d 755 0:0"), ("a/g", "f 644 0:0 2")]);
}

#[test]
fn replaced_types() {
    let listing = steps(
        "echo 1 >file_dir; mkdir dir_file dir_link; echo 2 >dir_file/x; echo 3 >dir_link/y
         mkdir target; echo 4 >target/z; ln -s target link_dir; ln -s target link_file; echo 5 >file_link; mkfifo fifo_file",
        "rm file_dir; mkdir file_dir; echo a >file_dir/in
         rm -r dir_file; echo b >dir_file
         rm -r dir_link; ln -s target dir_link
         rm link_dir; mkdir link_dir; echo c >link_dir/in
         rm link_file; echo d >link_file
         rm file_link; ln -s nowhere file_link; rm fifo_file; echo e >fifo_file",
        "test \"$(cat file_dir/in dir_file link_dir/in link_file fifo_file)\" = \"$(printf 'a\\nb\\nc\\nd\\ne')\"
         test -L dir_link && test -L file_link && test ! -L link_dir && test ! -e dir_link/y && test -e dir_link/z && test ! -e target/in",
    );
    assert_listing(
        &listing,
        &[
            ("dir_file", "f 644 0:0 2"),
            ("dir_link", "l 777 0:0 target"),
            ("fifo_file", "f 644 0:0 2"),
            ("file_dir", "d 755 0:0"),
            ("file_dir/in", "f 644 0:0 2"),
            ("file_link", "l 777 0:0 nowhere"),
            ("link_dir", "d 755 0:0"),
            ("link_dir/in", "f 644 0:0 2"),
            ("link_file", "f 644 0:0 2"),
            ("target", "d 755 0:0"),
            ("target/z", "f 644 0:0 2"),
        ],
    );
}

#[test]
fn directories_that_were_made_anew() {
    let listing = steps(
        "mkdir -p d/deep e f; echo 1 >d/old; echo 2 >d/deep/old; echo 3 >e/old; echo 4 >e/kept; touch f/x",
        "rm -rf d && mkdir d && echo 5 >d/new; rm -rf e && mkdir e && echo 6 >e/kept; mv f g",
        "test ! -e d/old && test ! -e d/deep && test ! -e e/old && test $(cat e/kept) = 6 && test ! -e f && test -e g/x",
    );
    assert_listing(
        &listing,
        &[
            ("d", "d 755 0:0"),
            ("d/new", "f 644 0:0 2"),
            ("e", "d 755 0:0"),
            ("e/kept", "f 644 0:0 2"),
            ("g", "d 755 0:0"),
            ("g/x", "f 644 0:0 0"),
        ],
    );
}

#[test]
fn links_of_all_kinds() {
    let listing = steps(
        "echo old >old; ln old older",
        "echo one >a; ln a b; mkdir z; ln a z/c; ln -s a soft; ln -s /d/a absolute; ln -s nowhere dangling; ln -s ../d/z up; mkfifo -m 622 pipe
         ln old oldest",
        "test $(stat -c %h a) = 3 && test $(cat soft) = one && test -p pipe && test $(cat oldest) = old",
    );
    let expected = [
        ("a", "f 644 0:0 4 =a"),
        ("absolute", "l 777 0:0 /d/a"),
        ("b", "f 644 0:0 4 =a"),
        ("dangling", "l 777 0:0 nowhere"),
        ("old", "f 644 0:0 4 =old"),
        ("older", "f 644 0:0 4"),
        ("oldest", "f 644 0:0 4 =old"),
        ("pipe", "p 622 0:0"),
        ("soft", "l 777 0:0 a"),
        ("up", "l 777 0:0 ../d/z"),
        ("z", "d 755 0:0"),
        ("z/c", "f 644 0:0 4 =a"),
    ];
    assert_listing(&listing, &expected);
}

/// A copy-up breaks the link between two names of a file: see overlayfs's documentation.
#[test]
fn a_link_that_was_broken_stays_broken() {
    let listing = steps(
        "echo A >old; ln old older",
        "echo changed >old; ln old oldest",
        "test $(cat older) = A && test $(cat old) = changed",
    );
    let expected = [
        ("old", "f 644 0:0 8 =old"),
        ("older", "f 644 0:0 2"),
        ("oldest", "f 644 0:0 8 =old"),
    ];
    assert_listing(&listing, &expected);
}

#[test]
fn owners_and_modes() {
    let listing = steps(
        "touch changed kept; mkdir -m 700 closed; touch closed/f",
        "chown 1000:1001 changed; touch su; chown app:staff su; chmod 6755 su; mkdir -m 1777 sticky; touch none; chmod 0 none; mkdir own; chown 65000:65001 own
         ln -s x l; chown -h 7:8 l; chown 3:4 closed",
        "test $(stat -c %u:%g:%a su) = 1000:50:6755 && test -u su && test $(stat -c %u own) = 65000 && test $(stat -c %u l) = 7",
    );
    let expected = [
        ("changed", "f 644 1000:1001 0"),
        ("closed", "d 700 3:4"),
        ("closed/f", "f 644 0:0 0"),
        ("kept", "f 644 0:0 0"),
        ("l", "l 777 7:8 x"),
        ("none", "f 0 0:0 0"),
        ("own", "d 755 65000:65001"),
        ("sticky", "d 1777 0:0"),
        ("su", "f 6755 1000:50 0"),
    ];
    assert_listing(&listing, &expected);
}

#[test]
fn odd_names() {
    let long = "n".repeat(255);
    let deep = vec!["directory-of-some-length"; 14].join("/");
    let script = format!(
        "touch 'with space' \"$(printf 'new\\nline')\" 'ünïcödé' ./-dash 'back\\slash' \"$(printf 'not\\377utf8')\" '*' '.wh' 'a:b=c'
         touch {long}; mkdir -p {deep}; echo x >{deep}/{long}; ln {deep}/{long} hard; ln -s {deep}/{long} soft"
    );
    let after = format!(
        "test -e \"$(printf 'new\\nline')\" && test $(cat {deep}/{long}) = x && test $(cat soft) = x"
    );
    let listing = steps("", &script, &after);
    assert_eq!(listing.len(), 9 + 1 + 14 + 1 + 2, "{listing:#?}");
    assert_eq!(listing["new\\nline"], "f 644 0:0 0");
    assert_eq!(listing["not\\xffutf8"], "f 644 0:0 0");
    assert_eq!(listing["soft"], format!("l 777 0:0 {deep}/{long}"));
    assert!(
        listing["hard"].starts_with("f 644 0:0 2 ="),
        "{}",
        listing["hard"]
    );
}

#[test]
fn empty_and_sparse_files() {
    let listing = steps(
        "",
        "touch empty; truncate -s 50M sparse; printf x | dd of=sparse bs=1 seek=30000000 conv=notrunc 2>/dev/null; mkdir e",
        "test $(stat -c %s sparse) = 52428800 && test ! -s empty",
    );
    let expected = [
        ("e", "d 755 0:0"),
        ("empty", "f 644 0:0 0"),
        ("sparse", "f 644 0:0 52428800"),
    ];
    assert_listing(&listing, &expected);
}

#[test]
fn times_stay_whole() {
    let bench = Bench::with(
        "FROM base AS result\nRUN mkdir /d; touch -d @1000000000 /d/f /d/g; touch -d @1100000000 /d\nRUN touch -d @1200000000 /d/g\nCOPY c /d/c\n",
    );
    bench.file("c", "x");
    bench.shell("touch -d @1300000000 c");
    let local = bench.files("local", "");
    let time = |name: &str| fs::metadata(local.join(name)).expect(name).mtime();
    assert_eq!(
        [time("d/f"), time("d/g"), time("d/c")],
        [1_000_000_000, 1_200_000_000, 1_300_000_000]
    );
}

/// Capabilities are set by a step, other attributes come with an archive.
#[test]
fn extended_attributes() {
    let bench = Bench::debian();
    bench.shell("mkdir made; echo x >made/file; setfattr -n user.kiln -v hello made/file; setfattr -n user.dir -v there made; tar --xattrs -cf made.tar made; rm -r made");
    bench.file("Dockerfile", "FROM base AS result\nADD made.tar /d/\nRUN cp /bin/true /d/capable && setcap cap_net_raw+ep /d/capable\nRUN getcap /d/capable | grep -q cap_net_raw && touch /d/seen\nRUN chmod 600 /d/made/file\n");
    everywhere(&bench);
    for root in ["local", "b/rootfs", "copied"] {
        let root = bench.path(root).join("d");
        let dump = |path: &Path| {
            run(
                "getfattr",
                &["-d", "-m", "-", "--absolute-names", text(path)],
            )
        };
        assert!(
            dump(&root.join("capable")).contains("security.capability"),
            "{root:?}"
        );
        assert!(
            dump(&root.join("made/file")).contains("user.kiln=\"hello\""),
            "{root:?}"
        );
        assert!(
            dump(&root.join("made")).contains("user.dir=\"there\""),
            "{root:?}"
        );
        assert!(run("getcap", &[text(&root.join("capable"))]).contains("cap_net_raw=ep"));
    }
}

#[test]
fn overlays_leave_no_trace() {
    let bench = Bench::with(
        "FROM base AS result\nRUN mkdir -p /d/a && touch /d/a/f\nRUN rm -r /d/a && mkdir /d/a && touch /d/a/g\n",
    );
    everywhere(&bench);
    let layout = bench.path("l");
    for entry in fs::read_dir(layout.join("blobs/sha256"))
        .expect("blobs")
        .flatten()
    {
        let bytes = fs::read(entry.path()).expect("a blob");
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let list = run("tar", &["-tzvf", text(&entry.path())]);
            assert!(!list.lines().any(|line| line.starts_with('c')), "{list}");
        }
    }
    let attributes = run(
        "getfattr",
        &[
            "-R",
            "-d",
            "-m",
            "overlay",
            "--absolute-names",
            text(&bench.path("local")),
        ],
    );
    assert_eq!(attributes, "");
}

/// A real distribution, with what its packages bring: setuid programs, hard links, owners.
#[test]
fn apt_installs_into_debian() {
    let bench = Bench::debian();
    bench.file("Dockerfile", "FROM base AS result\nRUN apt-get update -qq && apt-get install -qq -y --no-install-recommends sudo file >/dev/null && rm -r /var/lib/apt/lists/*\nRUN file -b /usr/bin/sudo | grep -q setuid && mkdir /d && cp -a /usr/bin/sudo /d/\n");
    let listing = everywhere(&bench);
    assert!(
        listing["sudo"].starts_with("f 4755 0:0 "),
        "{}",
        listing["sudo"]
    );
    let whole = |root: &str| of_directory(&bench.path(root));
    assert_eq!(whole("local"), whole("b/rootfs"));
}

/// Its time and its bytes are those of the file that was there before, but that one is hidden.
#[test]
fn a_file_that_is_put_back_into_a_directory_made_anew_stays_in_the_image() {
    let bench = Bench::with(
        "FROM base
RUN mkdir /d && echo x >/d/f && touch -d @1000000000 /d/f
RUN cp -a /d /e && rm -r /d && mkdir /d && cp -a /e/f /d/f
",
    );
    assert_eq!(bench.text("d/f", ""), "x\n");
}
