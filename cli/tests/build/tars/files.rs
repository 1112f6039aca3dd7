//! What members are called, what they link to, and what is there already.

use super::archive::Form::Ustar;
use super::archive::{Member, archive, directory, file, hard_link, symlink};
use super::cases::{Case, PYTHON_REPLACES, same};

const PYTHON_ROOT: &str = "Python's checks take it for a file of the machine";
const SECOND: &str = "it becomes a second one, since a layer's hard links are files";
const ITSELF: &str = "to replace a file by a link to itself is to lose it, as in BuildKit";
const THROUGH: &str = "as in BuildKit, what is unpacked to is the root, out of which no link leads";
const UP: &str = "as in Go, `..` takes back the name before it";
const FULL: &str = "what comes later replaces what was there, as in BuildKit";

pub(super) fn cases() -> Vec<Case> {
    let groups = [links(), names(), repeated(), escapes()];
    groups.into_iter().flatten().collect()
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
