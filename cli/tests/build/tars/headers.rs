//! Headers of all forms: their fields, kinds of members, and checksums.

use super::archive::Form::{Gnu, Old, Ustar};
use super::archive::{Member, archive, directory, file, hard_link, symlink};
use super::cases::{Case, DAMAGE, PYTHON_KINDS, UNKNOWN, same};

const PYTHON_OLD_DIRECTORY: &str = "Python knows such directories in the oldest headers only";
const PYTHON_PREFIX: &str = "Python reads a prefix where other headers have none";
const BLANKS: &str = "GNU's tar says that blanks are no number; to others, and to Go, they are 0";
const BEFORE_1970: &str = "BuildKit gives 1970 to what is before it";
const NO_ID: &str = "chown(2) takes it for leaving the owner as it is";

pub(super) fn cases() -> Vec<Case> {
    let groups = [forms(), fields(), kinds(), checksums()];
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
