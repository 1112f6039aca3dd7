//! Archives of all forms, and where Kiln reads them as other programs do not.

use super::archive::Form::{Gnu, Old, Ustar};
use super::archive::{
    BLOCK, Member, archive, directory, file, hard_link, long, pax, symlink, without_end,
};
use super::written;

/// An archive that everybody unpacks.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) archive: Vec<u8>,
    pub(super) kiln: Kiln,
    /// The programs that yield something else than Kiln or nothing, and why Kiln is right to differ.
    pub(super) differs: &'static [(&'static str, &'static str)],
    /// A program whose answer says nothing, and why.
    pub(super) unasked: Option<(&'static str, &'static str)>,
}

/// What Kiln makes of an archive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kiln {
    Unpacks,
    /// Says these words.
    Refuses(&'static str),
    /// Copies it as it is: it is no archive to Kiln.
    Copies,
}

const ALL: [&str; 3] = ["gnu", "libarchive", "python"];

pub(super) fn same(name: &'static str, archive: Vec<u8>) -> Case {
    Case {
        name,
        archive,
        kiln: Kiln::Unpacks,
        differs: &[],
        unasked: None,
    }
}

impl Case {
    pub(super) fn differs(self, differs: &'static [(&'static str, &'static str)]) -> Self {
        assert!(differs.iter().all(|(tool, _)| ALL.contains(tool)));
        Self { differs, ..self }
    }

    fn without(self, tool: &'static str, why: &'static str) -> Self {
        Self {
            unasked: Some((tool, why)),
            ..self
        }
    }

    pub(super) fn refused(self, says: &'static str) -> Self {
        Self {
            kiln: Kiln::Refuses(says),
            ..self
        }
    }

    fn copied(self) -> Self {
        Self {
            kiln: Kiln::Copies,
            ..self
        }
    }
}

pub(super) fn cases() -> Vec<Case> {
    let groups = [
        forms(),
        fields(),
        kinds(),
        long_names(),
        pax_headers(),
        global_headers(),
        links(),
        names(),
        repeated(),
        ends(),
        checksums(),
        escapes(),
        written::cases(),
    ];
    groups.into_iter().flatten().collect()
}

fn forms() -> Vec<Case> {
    let everything = |form| {
        archive([
            directory(form, "d/"),
            file(form, "d/f", "content\n"),
            file(form, "d/empty", ""),
            symlink(form, "d/s", "f"),
            hard_link(form, "d/h", "d/f"),
        ])
    };
    vec![
        same("old", everything(Old)),
        same("ustar", everything(Ustar)),
        same("gnu", everything(Gnu)),
        same(
            "old: a directory is a file whose name ends with a slash",
            archive([
                Member::new(Old, 0, b"d/"),
                Member::new(Old, 0, b"d/f").data("x"),
            ]),
        ),
        same(
            "ustar: such a directory",
            archive([Member::new(Ustar, b'0', b"d/"), file(Ustar, "d/f", "x")]),
        )
        .differs(&[("python", PYTHON_OLD_DIRECTORY)]),
        same(
            "ustar: no kind is a file",
            archive([Member::new(Ustar, 0, b"f").data("x")]),
        ),
        same(
            "a directory without a slash",
            archive([directory(Ustar, "d"), file(Ustar, "d/f", "x")]),
        ),
        same(
            "a directory with many slashes",
            archive([directory(Ustar, "d///")]),
        ),
        same(
            "ustar: a prefix",
            archive([file(Ustar, "name", "x").prefix(b"some/where")]),
        ),
        same(
            "ustar: fields that are full to the last byte",
            archive([Member::new(Ustar, b'0', &[b'n'; 100])
                .data("x")
                .prefix(&[b'p'; 155])]),
        ),
        same(
            "gnu: times where the prefix would be",
            archive([file(Gnu, "f", "x").field(345, b"14000000000\x0014000000000\0")]),
        )
        .differs(&[("python", PYTHON_PREFIX)]),
        same(
            "old: junk where the prefix would be",
            archive([file(Old, "f", "x").field(345, b"junk")]),
        )
        .differs(&[("python", PYTHON_PREFIX)]),
        same(
            "a full name and a full link",
            archive([symlink(Ustar, &"n".repeat(100), &"l".repeat(100))]),
        ),
    ]
}

fn fields() -> Vec<Case> {
    let f = || file(Ustar, "f", "abc");
    vec![
        same(
            "blanks before digits",
            archive([f().field(100, b"   644 \0").field(124, b"          3 ")]),
        ),
        same(
            "blanks behind digits",
            archive([f().field(100, b"644    \0")]),
        ),
        same(
            "digits to the end of the field",
            archive([f().field(124, b"000000000003").field(136, b"013727472000")]),
        ),
        same("empty owners", archive([f().field(108, &[0; 16])])),
        same(
            "blank owners",
            archive([f().field(108, b"        ").field(116, b"        ")]),
        )
        .differs(&[("gnu", BLANKS)]),
        same("a mode with its kind", archive([f().mode(0o100_640)])),
        same(
            "special bits",
            archive([f().mode(0o6755), directory(Ustar, "d").mode(0o1777)]),
        ),
        same(
            "no rights",
            archive([
                f().mode(0),
                directory(Ustar, "d").mode(0),
                file(Ustar, "d/f", "x"),
            ]),
        ),
        same(
            "owners",
            archive([
                f().owner(0o7_777_777, 5),
                directory(Ustar, "d").owner(1, 2),
                symlink(Ustar, "l", "f").owner(3, 4),
            ]),
        ),
        same(
            "large owners in binary",
            archive([f().binary(108, 8, 4_000_000).binary(116, 8, 2_147_483_647)]),
        ),
        same(
            "owners above 2^31",
            archive([f().binary(108, 8, 4_294_967_294)]),
        ),
        same("a size in binary", archive([f().binary(124, 12, 3)])),
        same(
            "a time in binary",
            archive([f().binary(136, 12, 8_000_000_000)]),
        ),
        same("1970", archive([f().time(0)])),
        same(
            "before 1970, in binary",
            archive([f().binary(136, 12, -1000)]),
        )
        .differs(&[
            ("gnu", BEFORE_1970),
            ("libarchive", BEFORE_1970),
            ("python", BEFORE_1970),
        ]),
        same(
            "the last time of 33 bits",
            archive([f().time(0o77_777_777_777)]),
        ),
        same(
            "names of owners",
            archive([f().field(265, b"daemon").field(297, b"daemon")]),
        ),
        same(
            "an id that nobody has",
            archive([f().binary(108, 8, 4_294_967_295)]),
        )
        .refused("belongs to 4294967295")
        .differs(&[("gnu", NO_ID), ("libarchive", NO_ID), ("python", NO_ID)]),
        same(
            "a size that is negative",
            archive([f().binary(124, 12, -1)]),
        )
        .refused("out of range"),
    ]
}

const PYTHON_OLD_DIRECTORY: &str = "Python knows such directories in the oldest headers only";
const PYTHON_PREFIX: &str = "Python reads a prefix where other headers have none";
pub(super) const PYTHON_KINDS: &str = "Python takes whatever it does not know for a file";
const PYTHON_ROOT: &str = "Python's checks take it for a file of the machine";
pub(super) const PYTHON_REPLACES: &str =
    "Python writes through what is there instead of replacing it";
const BLANKS: &str = "GNU's tar says that blanks are no number; to others, and to Go, they are 0";
const UNKNOWN: &str = "BuildKit refuses it: an image has no such file";
const TAKEN_BACK: &str = "Go takes what stands in the header then, and not an empty name";
const GNU_FIRST: &str = "Go takes GNU's name before PAX'";
const TWO_SIZES: &str = "two programs would see two different archives";
const GLOBAL: &str = "Go does not heed headers for all members";
const SECOND: &str = "it becomes a second one, since a layer's hard links are files";
const ITSELF: &str = "to replace a file by a link to itself is to lose it, as in BuildKit";
const THROUGH: &str = "as in BuildKit, what is unpacked to is the root, out of which no link leads";
const UP: &str = "as in Go, `..` takes back the name before it";
const FULL: &str = "what comes later replaces what was there, as in BuildKit";
const NO_MEMBER: &str = "as to BuildKit, only what begins with a member is an archive";
const DAMAGE: &str = "what is damaged is not half unpacked";
const BEFORE_1970: &str = "BuildKit gives 1970 to what is before it";
const NO_ID: &str = "chown(2) takes it for leaving the owner as it is";

fn kinds() -> Vec<Case> {
    let device = |kind, name: &[u8]| Member::new(Ustar, kind, name).device(1, 3);
    vec![
        same(
            "devices and a pipe",
            archive([
                device(b'3', b"c"),
                device(b'4', b"b"),
                Member::new(Ustar, b'6', b"p"),
            ]),
        ),
        same(
            "a contiguous file",
            archive([Member::new(Ustar, b'7', b"f").data("x")]),
        ),
        same(
            "a pipe that says it had data",
            archive([
                Member::new(Ustar, b'6', b"p").size(512),
                file(Ustar, "f", "x"),
            ]),
        ),
        same(
            "a directory that says it had data",
            archive([directory(Ustar, "d").size(512), file(Ustar, "f", "x")]),
        ),
        same(
            "a link that says it had data",
            archive([symlink(Ustar, "l", "x").size(512), file(Ustar, "f", "x")]),
        ),
        same(
            "a volume's label",
            archive([Member::new(Gnu, b'V', b"label"), file(Gnu, "f", "x")]),
        )
        .differs(&[("python", PYTHON_KINDS)]),
        same(
            "a kind that nobody knows",
            archive([
                Member::new(Ustar, b'Q', b"q").data("q"),
                file(Ustar, "f", "x"),
            ]),
        )
        .refused("kind 'Q'")
        .differs(&[
            ("gnu", UNKNOWN),
            ("libarchive", UNKNOWN),
            ("python", UNKNOWN),
        ]),
        same(
            "GNU's list of a directory",
            archive([
                Member::new(Gnu, b'D', b"d/").data("Yf\0\0"),
                file(Gnu, "d/f", "x"),
            ]),
        )
        .refused("kind 'D'")
        .differs(&[("gnu", UNKNOWN), ("libarchive", UNKNOWN)]),
    ]
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

fn links() -> Vec<Case> {
    let f = || file(Ustar, "d/f", "content");
    vec![
        same(
            "hard links in a chain",
            archive([
                f(),
                hard_link(Ustar, "g", "d/f"),
                hard_link(Ustar, "h", "g"),
            ]),
        ),
        same(
            "a hard link to a dotted name",
            archive([f(), hard_link(Ustar, "g", "./d/./f")]),
        ),
        same(
            "a hard link to a symbolic link",
            archive([symlink(Ustar, "l", "nowhere"), hard_link(Ustar, "g", "l")]),
        )
        .differs(&[("gnu", SECOND), ("libarchive", SECOND)]),
        same(
            "a hard link to a pipe",
            archive([Member::new(Ustar, b'6', b"p"), hard_link(Ustar, "g", "p")]),
        )
        .differs(&[("gnu", SECOND), ("libarchive", SECOND), ("python", SECOND)]),
        same(
            "a hard link that says the size of its file",
            archive([f(), hard_link(Ustar, "g", "d/f").size(7)]),
        ),
        same(
            "a hard link to nothing",
            archive([hard_link(Ustar, "g", "nowhere")]),
        )
        .refused("does not come before"),
        same(
            "a hard link before its file",
            archive([hard_link(Ustar, "g", "d/f"), f()]),
        )
        .refused("does not come before"),
        same(
            "a hard link to itself",
            archive([f(), hard_link(Ustar, "d/f", "d/f")]),
        )
        .refused("does not come before")
        .differs(&[("gnu", ITSELF), ("python", ITSELF)]),
        same(
            "a hard link from the root",
            archive([f(), hard_link(Ustar, "g", "/d/f")]),
        )
        .differs(&[("python", PYTHON_ROOT)]),
        same(
            "links that lead anywhere",
            archive([
                symlink(Ustar, "a", "/etc/passwd"),
                symlink(Ustar, "b", "../../x"),
                symlink(Ustar, "c", "c"),
            ]),
        ),
        same(
            "a file through a link to a directory",
            archive([
                directory(Ustar, "d"),
                symlink(Ustar, "l", "d"),
                file(Ustar, "l/f", "x"),
            ]),
        )
        .differs(&[
            (
                "gnu",
                "it sets the time of the directory before it puts the file there",
            ),
            ("libarchive", THROUGH),
        ]),
    ]
}

fn names() -> Vec<Case> {
    let named = |name: &str| archive([file(Ustar, name, "x")]);
    vec![
        same(
            "a dot first",
            archive([
                directory(Ustar, "./"),
                directory(Ustar, "./d"),
                file(Ustar, "./d/f", "x"),
            ]),
        ),
        same("a dot within", named("a/./b")),
        same("two slashes", named("a//b")),
        same("odd letters", named(" a\n\\b*?[c]'\"\t$(x)~")),
        same("a name that begins like an option", named("-rf")),
        same(
            "no UTF-8",
            archive([Member::new(Ustar, b'0', b"\xff\xfe").data("x")]),
        ),
        same("parents that are left out", named("a/b/c")),
        same(
            "a parent behind its file",
            archive([file(Ustar, "d/f", "x"), directory(Ustar, "d").mode(0o711)]),
        ),
        same(
            "names of deletions",
            archive([file(Ustar, ".wh.f", ""), file(Ustar, "d/.wh..wh..opq", "")]),
        ),
        same("the root", named("/abs")),
        same(
            "up and down again",
            archive([directory(Ustar, "a"), file(Ustar, "a/../b", "x")]),
        )
        .differs(&[("gnu", UP), ("libarchive", UP)]),
    ]
}

fn repeated() -> Vec<Case> {
    vec![
        same(
            "a file twice",
            archive([file(Ustar, "f", "one"), file(Ustar, "f", "two").mode(0o600)]),
        ),
        same(
            "a directory twice",
            archive([
                directory(Ustar, "d"),
                file(Ustar, "d/f", "x"),
                directory(Ustar, "d").mode(0o700),
            ]),
        )
        .without("python", "which of the two counts depends on its version"),
        same(
            "a link instead of a file",
            archive([file(Ustar, "f", "x"), symlink(Ustar, "f", "g")]),
        ),
        same(
            "a file instead of a link",
            archive([
                file(Ustar, "g", "g"),
                symlink(Ustar, "f", "g"),
                file(Ustar, "f", "x"),
            ]),
        )
        .differs(&[("python", PYTHON_REPLACES)]),
        same(
            "a file instead of an empty directory",
            archive([directory(Ustar, "d"), file(Ustar, "d", "x")]),
        )
        .differs(&[("python", PYTHON_REPLACES)]),
        same(
            "a directory instead of a file",
            archive([
                file(Ustar, "d", "x"),
                directory(Ustar, "d"),
                file(Ustar, "d/f", "x"),
            ]),
        )
        .differs(&[("python", PYTHON_REPLACES)]),
        same(
            "a file instead of a full directory",
            archive([file(Ustar, "d/f", "x"), file(Ustar, "d", "x")]),
        )
        .differs(&[("gnu", FULL), ("libarchive", FULL), ("python", FULL)]),
        same(
            "a directory instead of a link to one",
            archive([
                directory(Ustar, "e"),
                symlink(Ustar, "d", "e"),
                directory(Ustar, "d"),
                file(Ustar, "d/f", "x"),
            ]),
        )
        .differs(&[("python", PYTHON_REPLACES)]),
        same(
            "a new file under a linked name",
            archive([
                file(Ustar, "f", "one"),
                hard_link(Ustar, "g", "f"),
                file(Ustar, "f", "two"),
            ]),
        )
        .differs(&[("python", PYTHON_REPLACES)]),
    ]
}

fn ends() -> Vec<Case> {
    let f = || file(Ustar, "f", "x");
    let then = |more: &[u8]| [archive([f()]), more.to_vec()].concat();
    let one_block = |more: Vec<u8>| [without_end([f()]), vec![0; BLOCK], more].concat();
    let cut = |length: usize| without_end([file(Ustar, "f", &"x".repeat(2000))])[..length].to_vec();
    vec![
        same("no end", without_end([f()])),
        same("half an end", one_block(Vec::new())),
        same(
            "more behind half an end",
            one_block(archive([file(Ustar, "g", "x")])),
        ),
        same(
            "more behind the end",
            then(&archive([file(Ustar, "g", "x")])),
        ),
        same("junk behind the end", then(&[7; 700])),
        same("filled up to a record", then(&[0; 20 * BLOCK])),
        same(
            "junk behind data",
            archive([f().padded_with(0xaa), file(Ustar, "g", "x")]),
        ),
        same(
            "data that fill a block",
            archive([
                file(Ustar, "f", &"x".repeat(BLOCK)),
                file(Ustar, "g", &"x".repeat(BLOCK + 1)),
            ]),
        ),
        same("nothing but an end", vec![0; 2 * BLOCK])
            .copied()
            .differs(&[
                ("gnu", NO_MEMBER),
                ("libarchive", NO_MEMBER),
                ("python", NO_MEMBER),
            ]),
        same("cut off in the data", cut(BLOCK + 1000)).refused("damaged"),
        same(
            "cut off in a header",
            [without_end([f()]), f().bytes()[..300].to_vec()].concat(),
        )
        .refused("cut off")
        .differs(&[("gnu", DAMAGE), ("python", DAMAGE)]),
        same(
            "cut off in what fills a block up",
            without_end([f()])[..BLOCK + 1].to_vec(),
        )
        .refused("damaged"),
        same(
            "junk instead of a header",
            [without_end([f()]), vec![b'j'; BLOCK]].concat(),
        )
        .refused("checksum")
        .differs(&[("libarchive", DAMAGE), ("python", DAMAGE)]),
    ]
}

fn checksums() -> Vec<Case> {
    let high = || Member::new(Ustar, b'0', b"\xe9t\xe9").data("x");
    let signed = format!("{:06o}\0 ", high().signed_sum());
    let plain = || file(Ustar, "f", "x");
    let sum = plain().unsigned_sum();
    vec![
        same(
            "a sum of signed bytes",
            archive([high().checksum(signed.as_bytes())]),
        ),
        same(
            "a sum with blanks",
            archive([plain().checksum(format!("{sum:6o} \0").as_bytes())]),
        ),
        same(
            "a sum with all digits",
            archive([plain().checksum(format!("{sum:07o}\0").as_bytes())]),
        ),
        same(
            "a wrong sum behind a right one",
            archive([plain(), file(Ustar, "g", "x").checksum(b"000001\0 ")]),
        )
        .refused("checksum")
        .differs(&[("libarchive", DAMAGE), ("python", DAMAGE)]),
    ]
}

fn escapes() -> Vec<Case> {
    vec![
        same(
            "out of the root",
            archive([file(Ustar, "../f", "x"), file(Ustar, "g", "x")]),
        )
        .refused("contains \"..\""),
        same(
            "out of the root, further within",
            archive([file(Ustar, "a/../../f", "x"), file(Ustar, "g", "x")]),
        )
        .refused("contains \"..\""),
        same(
            "a file through a link out of the root",
            archive([symlink(Ustar, "l", "../.."), file(Ustar, "l/f", "x")]),
        )
        .differs(&[
            ("gnu", THROUGH),
            ("libarchive", THROUGH),
            ("python", THROUGH),
        ]),
        same(
            "a file through a link to the root",
            archive([symlink(Ustar, "l", "/"), file(Ustar, "l/f", "x")]),
        )
        .differs(&[
            ("gnu", THROUGH),
            ("libarchive", THROUGH),
            ("python", THROUGH),
        ]),
        same(
            "a hard link out of the root",
            archive([hard_link(Ustar, "h", "../../../etc/passwd")]),
        )
        .refused("does not come before"),
    ]
}
