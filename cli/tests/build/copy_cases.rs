//! COPY and ADD case by case: a Dockerfile and what must come of it below `/x`.

/// Instructions after `FROM base`, and the lines of the listing of `/x`; or parts of the error.
pub(crate) struct Case {
    pub(crate) what: &'static str,
    pub(crate) dockerfile: &'static str,
    pub(crate) expected: Result<&'static [&'static str], &'static [&'static str]>,
}

const fn well(
    what: &'static str,
    dockerfile: &'static str,
    expected: &'static [&'static str],
) -> Case {
    Case {
        what,
        dockerfile,
        expected: Ok(expected),
    }
}

const fn refused(
    what: &'static str,
    dockerfile: &'static str,
    parts: &'static [&'static str],
) -> Case {
    Case {
        what,
        dockerfile,
        expected: Err(parts),
    }
}

/// The context of all cases.
pub(crate) const CONTEXT: &str = "
umask 022
echo f >f; echo g >g; mkdir -p d/sub; echo 1 >d/one; echo 22 >d/sub/two; chmod 750 d/sub; chmod 600 d/one
ln -s f link; ln -s d dirlink; ln -s ../f d/nested; ln -s nowhere d/dangling
echo h >hard1; ln hard1 hard2; mkdir hards; mv hard1 hard2 hards
mkdir logs; echo a >logs/a.log; echo b >logs/b.log; echo c >logs/c.txt; mkdir logs/deep; echo d >logs/deep/d.log
mkdir packed; echo p >packed/p; chown 12:34 packed/p; chmod 640 packed/p; chmod 710 packed
for c in gzip bzip2 xz zstd; do tar --$c -cf packed.$c packed; done; tar -cf packed.plain packed
mv packed.gzip looks-like-nothing
echo 'no archive' >fake.tar.gz; echo text | gzip >text.gz
touch '[odd]' 'a b'
";

pub(crate) const CASES: &[Case] = &[
    well(
        "a file to a new path",
        "COPY f /x/new",
        &["new f 644 0:0 2"],
    ),
    well(
        "a file into a new directory",
        "COPY f /x/d/",
        &["d d 755 0:0", "d/f f 644 0:0 2"],
    ),
    well(
        "a file into a directory that is there",
        "RUN mkdir -p /x/d\nCOPY f /x/d",
        &["d d 755 0:0", "d/f f 644 0:0 2"],
    ),
    well(
        "several files",
        "COPY f g /x/",
        &["f f 644 0:0 2", "g f 644 0:0 2"],
    ),
    well(
        "a directory's content",
        "COPY d /x",
        &[
            "dangling l 777 0:0 nowhere",
            "nested l 777 0:0 ../f",
            "one f 600 0:0 2",
            "sub d 750 0:0",
            "sub/two f 644 0:0 3",
        ],
    ),
    well(
        "several directories",
        "COPY d/sub logs/deep /x/",
        &["d.log f 644 0:0 2", "two f 644 0:0 3"],
    ),
    well(
        "a directory over what is there",
        "RUN mkdir -p -m 700 /x/sub && chown 5:6 /x/sub && echo old >/x/one && echo kept >/x/kept\nCOPY d /x",
        &[
            "dangling l 777 0:0 nowhere",
            "kept f 644 0:0 5",
            "nested l 777 0:0 ../f",
            "one f 600 0:0 2",
            "sub d 750 0:0",
            "sub/two f 644 0:0 3",
        ],
    ),
    well(
        "an existing destination keeps its mode and owner",
        "RUN mkdir -p /x/y && chmod 701 /x/y && chown 5:6 /x/y\nCOPY logs/deep /x/y",
        &["y d 701 5:6", "y/d.log f 644 0:0 2"],
    ),
    refused(
        "a directory onto a file",
        "RUN mkdir /x && echo >/x/y\nCOPY d /x/y",
        &["x/y"],
    ),
    refused(
        "a file onto a directory",
        "RUN mkdir -p /x/f/g\nCOPY f /x/",
        &["x/f"],
    ),
    refused(
        "a directory within onto a file",
        "RUN mkdir -p /x && echo >/x/sub\nCOPY d /x",
        &["x/sub"],
    ),
    well(
        "wildcards",
        "COPY logs/*.log /x/",
        &["a.log f 644 0:0 2", "b.log f 644 0:0 2"],
    ),
    well(
        "a wildcard that matches a directory",
        "COPY logs/d* /x/",
        &["d.log f 644 0:0 2"],
    ),
    well(
        "a question mark and a class",
        "COPY logs/?.[tl]* /x/",
        &[
            "a.log f 644 0:0 2",
            "b.log f 644 0:0 2",
            "c.txt f 644 0:0 2",
        ],
    ),
    well(
        "a wildcard that matches nothing, beside a file",
        "COPY f nothing* /x/",
        &["f f 644 0:0 2"],
    ),
    well(
        "an escaped wildcard",
        "COPY [\"[[]odd]\", \"/x/\"]",
        &["[odd] f 644 0:0 0"],
    ),
    well(
        "a name with a space",
        "COPY [\"a b\", \"/x/\"]",
        &["a b f 644 0:0 0"],
    ),
    refused("a missing literal", "COPY f missing /x/", &["missing"]),
    well(
        "paths are kept within the context",
        "COPY ../../f /g /d/ /x/",
        &[
            "dangling l 777 0:0 nowhere",
            "f f 644 0:0 2",
            "g f 644 0:0 2",
            "nested l 777 0:0 ../f",
            "one f 600 0:0 2",
            "sub d 750 0:0",
            "sub/two f 644 0:0 3",
        ],
    ),
    well(
        "a link as source is followed",
        "COPY link /x/",
        &["link f 644 0:0 2"],
    ),
    well(
        "a link to a directory as source is followed",
        "COPY dirlink/sub /x/",
        &["two f 644 0:0 3"],
    ),
    well(
        "hard links stay",
        "COPY hards /x/",
        &["hard1 f 644 0:0 2 =hard1", "hard2 f 644 0:0 2 =hard1"],
    ),
    well(
        "links in the destination are followed",
        "RUN mkdir -p /x/real && ln -s real /x/way && ln -s /x/real/abs /x/real/to\nCOPY f /x/way/\nCOPY f /x/way/to",
        &[
            "real d 755 0:0",
            "real/abs f 644 0:0 2",
            "real/f f 644 0:0 2",
            "real/to l 777 0:0 /x/real/abs",
            "way l 777 0:0 real",
        ],
    ),
    well(
        "links in the destination do not lead out of the root",
        "RUN mkdir -p /x && ln -s ../../../../x/in /x/out\nCOPY f /x/out/",
        &[
            "in d 755 0:0",
            "in/f f 644 0:0 2",
            "out l 777 0:0 ../../../../x/in",
        ],
    ),
    well(
        "--chown of a number is also the group",
        "COPY --chown=7 f /x/new/f",
        &["new d 755 7:7", "new/f f 644 7:7 2"],
    ),
    well(
        "--chown of a name is its group",
        "COPY --chown=app f /x/new/f",
        &["new d 755 1000:1001", "new/f f 644 1000:1001 2"],
    ),
    well(
        "--chown of names",
        "COPY --chown=app:staff d/sub /x/s",
        &["s d 755 1000:50", "s/two f 644 1000:50 3"],
    ),
    well(
        "--chmod of a number",
        "COPY --chmod=4751 f d/nested /x/n/",
        &["n d 751 0:0", "n/f f 4751 0:0 2", "n/nested f 4751 0:0 2"],
    ),
    well(
        "--chmod of words",
        "COPY --chmod=u+x,go-r f /x/n/",
        &["n d 755 0:0", "n/f f 700 0:0 2"],
    ),
    well(
        "--chmod spares links",
        "COPY --chmod=700 d /x",
        &[
            "dangling l 777 0:0 nowhere",
            "nested l 777 0:0 ../f",
            "one f 700 0:0 2",
            "sub d 700 0:0",
            "sub/two f 700 0:0 3",
        ],
    ),
    well(
        "owners of another stage are kept",
        "RUN mkdir /s && echo >/s/a && chown 8:9 /s/a && mkdir /s/d && chown 3:4 /s/d\nFROM base\nCOPY --from=0 /s /x",
        &["a f 644 8:9 1", "d d 755 3:4"],
    ),
    well(
        "owners of the context are not",
        "COPY packed /x",
        &["p f 640 0:0 2"],
    ),
    well(
        "relative destinations start at WORKDIR",
        "WORKDIR /x/w\nCOPY f .\nCOPY g ../",
        &["g f 644 0:0 2", "w d 755 0:0", "w/f f 644 0:0 2"],
    ),
    well(
        "WORKDIR belongs to USER",
        "USER app\nWORKDIR /x/a/b\nCOPY f .",
        &[
            "a d 755 1000:1001",
            "a/b d 755 1000:1001",
            "a/b/f f 644 0:0 2",
        ],
    ),
    well(
        "--exclude",
        "COPY --exclude=*.log --exclude=deep logs /x/",
        &["c.txt f 644 0:0 2"],
    ),
    well(
        "--parents",
        "COPY --parents d/sub/two logs/./deep/*.log /x/",
        &[
            "d d 755 0:0",
            "d/sub d 750 0:0",
            "d/sub/two f 644 0:0 3",
            "deep d 755 0:0",
            "deep/d.log f 644 0:0 2",
        ],
    ),
    well(
        "--link does not follow",
        "COPY --link f /x/y/",
        &["y d 755 0:0", "y/f f 644 0:0 2"],
    ),
    well(
        "heredocs",
        "COPY <<one <<\"two\" /x/\nA=${HOME:-home}\none\n$B\ntwo",
        &["one f 644 0:0 7", "two f 644 0:0 3"],
    ),
    well(
        "ADD unpacks gzip by content",
        "ADD looks-like-nothing /x",
        &["packed d 710 0:0", "packed/p f 640 12:34 2"],
    ),
    well(
        "ADD unpacks bzip2",
        "ADD packed.bzip2 /x",
        &["packed d 710 0:0", "packed/p f 640 12:34 2"],
    ),
    well(
        "ADD unpacks xz",
        "ADD packed.xz /x/",
        &["packed d 710 0:0", "packed/p f 640 12:34 2"],
    ),
    well(
        "ADD unpacks zstd",
        "ADD packed.zstd /x/",
        &["packed d 710 0:0", "packed/p f 640 12:34 2"],
    ),
    well(
        "ADD unpacks tar",
        "ADD packed.plain /x/",
        &["packed d 710 0:0", "packed/p f 640 12:34 2"],
    ),
    well(
        "ADD with --chown",
        "ADD --chown=1:2 --chmod=777 packed.plain /x/y/",
        &[
            "y d 755 1:2",
            "y/packed d 710 1:2",
            "y/packed/p f 640 1:2 2",
        ],
    ),
    well(
        "ADD copies what only looks like an archive",
        "ADD fake.tar.gz text.gz /x/",
        &["fake.tar.gz f 644 0:0 11", "text.gz f 644 0:0 25"],
    ),
    well(
        "COPY does not unpack",
        "COPY packed.plain /x/",
        &["packed.plain f 644 0:0 10240"],
    ),
    well(
        "ADD copies directories",
        "ADD logs/deep /x/",
        &["d.log f 644 0:0 2"],
    ),
];
