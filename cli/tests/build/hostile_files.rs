//! Files of an image that Kiln itself reads: accounts that are a pipe, a device, a link out, or huge.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::bench::{Bench, text};
use crate::machine;

/// What a step makes of `/etc/passwd`, and whom `--chown=app` and `USER app` mean then: an owner, or an error.
/// `OUT` is a directory of the machine's, whose `passwd` says that `app` is 666.
struct Case {
    made_by: &'static str,
    chown: Result<u32, &'static str>,
    user: Result<u32, &'static str>,
}

const NOBODY: &str = "user \"app\" is not in /etc/passwd";
const NO_FILE: &str = "must be a regular file";

/// As in BuildKit, `--chown` takes whom the image does not know for root, and `USER` does not.
const CASES: &[Case] = &[
    Case {
        made_by: "true",
        chown: Ok(1000),
        user: Ok(1000),
    },
    Case {
        made_by: "ln /etc/passwd /etc/a",
        chown: Ok(1000),
        user: Ok(1000),
    },
    Case {
        made_by: "mv /etc/passwd /etc/real && ln -s ../etc/./real /etc/passwd",
        chown: Ok(1000),
        user: Ok(1000),
    },
    Case {
        made_by: "rm /etc/passwd && mkfifo /etc/passwd",
        chown: Ok(0),
        user: Err(NO_FILE),
    },
    Case {
        made_by: "rm /etc/passwd && mkdir /etc/passwd",
        chown: Ok(0),
        user: Err(NO_FILE),
    },
    Case {
        made_by: "ln -sf OUT/passwd /etc/passwd",
        chown: Ok(0),
        user: Err(NOBODY),
    },
    Case {
        made_by: "ln -sf ../../../../../../../../../..OUT/passwd /etc/passwd",
        chown: Ok(0),
        user: Err(NOBODY),
    },
    Case {
        made_by: "ln -sf /proc/1/root/etc/passwd /etc/passwd",
        chown: Ok(0),
        user: Err("/etc/passwd"),
    },
    Case {
        made_by: "ln -sf /dev/zero /etc/passwd",
        chown: Ok(0),
        user: Err(NO_FILE),
    },
    Case {
        made_by: "ln -sf passwd /etc/passwd",
        chown: Ok(0),
        user: Err("/etc/passwd"),
    },
    Case {
        made_by: "truncate -s 1G /etc/passwd",
        chown: Err("longer than the 16777216 bytes"),
        user: Err("is too large"),
    },
];

#[test]
fn accounts_are_the_images_own() {
    let bench = Bench::new();
    let out = bench.path("machine");
    fs::create_dir(&out).expect("a directory");
    fs::write(out.join("passwd"), "app:x:666:666::/:/bin/sh\n").expect("writable");
    bench.file("f", "x");
    for Case {
        made_by,
        chown,
        user,
    } in CASES
    {
        let made_by = made_by.replace("OUT", text(&out));
        let steps = [
            ("COPY --chown=app f /owned", chown),
            ("USER app\nRUN touch /tmp/owned", user),
        ];
        for (step, expected) in steps {
            bench.file("Dockerfile", format!("FROM base\nRUN {made_by}\n{step}\n"));
            let files = bench.path("files");
            let finished = bench.try_build(&format!("-o {}", text(&files)));
            match expected {
                Ok(uid) => {
                    finished.assert_well();
                    let places = [files.join("owned"), files.join("tmp/owned")];
                    let owned = places.iter().find_map(|place| fs::metadata(place).ok());
                    assert_eq!(
                        owned.map(|owned| owned.uid()),
                        Some(*uid),
                        "{made_by}: {step}"
                    );
                    fs::remove_dir_all(&files).expect("removable");
                }
                Err(says) => finished.assert_failed(1, &[says]),
            }
        }
    }
    machine::assert_clean(&bench.store());
}
