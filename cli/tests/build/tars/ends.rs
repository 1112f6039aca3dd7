//! How archives end, and where they break off.

use super::archive::Form::Ustar;
use super::archive::{BLOCK, archive, file, without_end};
use super::cases::{Case, DAMAGE, same};

const NO_MEMBER: &str = "as to BuildKit, only what begins with a member is an archive";

pub(super) fn cases() -> Vec<Case> {
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
