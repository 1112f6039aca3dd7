//! What stands before a member and says more of it than its header can: GNU's long names, PAX headers.

use super::archive::Form::{Gnu, Ustar};
use super::archive::{Member, archive, directory, file, hard_link, long, pax, symlink};
use super::cases::{Case, UNKNOWN, same};

const TAKEN_BACK: &str = "Go takes what stands in the header then, and not an empty name";
const GNU_FIRST: &str = "Go takes GNU's name before PAX'";
const TWO_SIZES: &str = "two programs would see two different archives";
const GLOBAL: &str = "Go does not heed headers for all members";

pub(super) fn cases() -> Vec<Case> {
    let groups = [long_names(), pax_headers(), global_headers()];
    groups.into_iter().flatten().collect()
}

fn long_names() -> Vec<Case> {
    let deep = "directory/".repeat(20) + "f";
    let name = |text: &str| long(b'L', text.as_bytes());
    vec![
        same(
            "gnu: a long name",
            archive([name(&deep), file(Gnu, &deep[..100], "x")]),
        ),
        same(
            "gnu: a name of 255 bytes",
            archive([name(&"n".repeat(255)), file(Gnu, "n", "x")]),
        ),
        same(
            "gnu: a long directory",
            archive([name(&("directory/".repeat(20))), directory(Gnu, "d/")]),
        ),
        same(
            "gnu: a long link",
            archive([long(b'K', deep.as_bytes()), symlink(Gnu, "l", "short")]),
        ),
        same(
            "gnu: a long hard link",
            archive([
                name(&deep),
                file(Gnu, "n", "x"),
                long(b'K', deep.as_bytes()),
                hard_link(Gnu, "h", "short"),
            ]),
        ),
        same(
            "gnu: both",
            archive([
                long(b'K', b"target"),
                name(&deep),
                symlink(Gnu, "l", "short"),
            ]),
        ),
        same(
            "gnu: a long name that does not end",
            archive([
                Member::new(Gnu, b'L', b"././@LongLink").data(deep.clone()),
                file(Gnu, "n", "x"),
            ]),
        ),
        same(
            "gnu: a long name that ends early",
            archive([
                Member::new(Gnu, b'L', b"././@LongLink").data("name\0rest\0"),
                file(Gnu, "n", "x"),
            ]),
        ),
        same(
            "gnu: a short long name",
            archive([name("s"), file(Gnu, "other", "x")]),
        ),
    ]
}

fn pax_headers() -> Vec<Case> {
    let f = || file(Ustar, "f", "abc");
    let with = |records: &[(&str, &[u8])], member: Member| archive([pax(b'x', records), member]);
    let deep = "directory/".repeat(20) + "f";
    vec![
        same("pax: a path", with(&[("path", deep.as_bytes())], f())),
        same(
            "pax: a path that is a directory's",
            with(&[("path", b"d/")], directory(Ustar, "x")),
        ),
        same(
            "pax: a link",
            with(&[("linkpath", deep.as_bytes())], symlink(Ustar, "l", "x")),
        ),
        same(
            "pax: a path in UTF-8",
            with(&[("path", "\u{e9}t\u{e9}".as_bytes())], f()),
        ),
        same(
            "pax: a path in another encoding",
            with(&[("hdrcharset", b"BINARY"), ("path", b"\xff\xfe")], f()),
        ),
        same("pax: the size again", with(&[("size", b"3")], f())),
        same(
            "pax: owners",
            with(&[("uid", b"3000000"), ("gid", b"7")], f()),
        ),
        same(
            "pax: a time with a fraction",
            with(&[("mtime", b"1500000000.75")], f()),
        ),
        same(
            "pax: a time of nine digits and more",
            with(&[("mtime", b"1500000000.1234567891")], f()),
        ),
        same("pax: a whole time", with(&[("mtime", b"1500000000")], f())),
        same(
            "pax: times of other kinds",
            with(&[("atime", b"1400000000"), ("ctime", b"1400000000")], f()),
        ),
        same(
            "pax: names of owners",
            with(&[("uname", b"daemon"), ("gname", b"daemon")], f()),
        ),
        same("pax: a comment", with(&[("comment", b"x=y\n=")], f())),
        same(
            "pax: the same twice",
            with(&[("path", b"a"), ("path", b"b")], f()),
        ),
        same(
            "pax: taken back",
            with(&[("path", b"a"), ("path", b"")], f()),
        )
        .differs(&[("gnu", TAKEN_BACK), ("python", TAKEN_BACK)]),
        same("pax: nothing", with(&[], f())),
        same(
            "pax: of one member only",
            archive([
                pax(b'x', &[("path", b"a"), ("uid", b"9")]),
                f(),
                file(Ustar, "g", "x"),
            ]),
        ),
        same(
            "pax: of a file with a prefix",
            with(&[("path", b"a")], f().prefix(b"p")),
        ),
        same(
            "pax: and GNU's name",
            archive([pax(b'x', &[("path", b"a")]), long(b'L', b"b"), f()]),
        )
        .differs(&[
            ("gnu", GNU_FIRST),
            ("libarchive", GNU_FIRST),
            ("python", GNU_FIRST),
        ]),
        same(
            "pax: of Sun's",
            archive([pax(b'X', &[("path", b"a")]), f()]),
        )
        .refused("kind 'X'")
        .differs(&[
            ("gnu", UNKNOWN),
            ("libarchive", UNKNOWN),
            ("python", UNKNOWN),
        ]),
        same("pax: a size that hides", with(&[("size", b"0")], f()))
            .refused("by one header")
            .differs(&[("libarchive", TWO_SIZES), ("python", TWO_SIZES)]),
    ]
}

fn global_headers() -> Vec<Case> {
    let f = || file(Ustar, "f", "abc");
    vec![
        same(
            "global: a comment, as of git archive",
            archive([pax(b'g', &[("comment", b"0123456789")]), f()]),
        ),
        same(
            "global: a time",
            archive([pax(b'g', &[("mtime", b"1400000000")]), f()]),
        )
        .differs(&[("gnu", GLOBAL), ("python", GLOBAL)]),
        same(
            "global: a path",
            archive([pax(b'g', &[("path", b"elsewhere")]), f()]),
        )
        .differs(&[("gnu", GLOBAL), ("python", GLOBAL)]),
    ]
}
