//! Base images that all tests share: OCI layouts, made once and kept beside the build's other results.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::bench::KILN;

/// A few programs and accounts, 2 MB: what most tests need.
const SMALL: &str = r#"FROM scratch
COPY --chmod=0755 busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN mkdir -p -m 1777 /tmp && mkdir -p /etc /root /var/lib \
 && printf 'root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n' >/etc/passwd \
 && printf 'root:x:0:\nstaff:x:50:app\napp:x:1001:\n' >/etc/group
CMD ["/bin/sh"]
"#;

/// Debian 12 with apt, 120 MB.
const DEBIAN: &str = "FROM scratch\nADD debian-bookworm.tar /\nCMD [\"/bin/bash\"]\n";

/// The layout of a small image of Debian's busybox.
pub(crate) fn small() -> &'static Path {
    static LAYOUT: OnceLock<PathBuf> = OnceLock::new();
    LAYOUT.get_or_init(|| {
        made_once("small", |context| {
            let program = "/bin/busybox";
            fs::copy(program, context.join("busybox")).expect("the package busybox-static");
            SMALL
        })
    })
}

/// The layout of a real Debian.
pub(crate) fn debian() -> &'static Path {
    static LAYOUT: OnceLock<PathBuf> = OnceLock::new();
    LAYOUT.get_or_init(|| {
        made_once("debian", |context| {
            let archive = context.join("debian-bookworm.tar");
            fs::hard_link(debian_archive(), archive).expect("on one file system");
            DEBIAN
        })
    })
}

/// Builds the layout `name` unless an earlier run did. Any number of processes may do so at once: each
/// makes its own, and the first to rename wins.
fn made_once(name: &str, prepare: impl FnOnce(&Path) -> &'static str) -> PathBuf {
    let layout = temporary().join(name);
    if layout.exists() {
        return layout;
    }
    let work = tempfile::tempdir_in(temporary()).expect("a temporary directory");
    let context = work.path().join("context");
    fs::create_dir(&context).expect("a directory");
    fs::write(context.join("Dockerfile"), prepare(&context)).expect("writable");
    let made = work.path().join("layout");
    let output = Command::new(KILN)
        .arg("build")
        .arg(&context)
        .args(["--tag", "base:latest", "--output"])
        .arg(format!("type=oci,tar=false,dest={}", made.display()))
        .env("KILN_ROOT", work.path().join("store"))
        .output()
        .expect("kiln runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} cannot be built:\n{text}");
    if let Err(error) = fs::rename(&made, &layout) {
        assert!(layout.exists(), "cannot keep {name}: {error}");
    }
    layout
}

/// The archive of a small Debian, made from Debian's own packages the first time.
fn debian_archive() -> PathBuf {
    let archive = temporary().join("debian-bookworm.tar");
    if !archive.exists() {
        let half = archive.with_extension(format!("{}.tar", std::process::id()));
        let status = Command::new("mmdebstrap")
            .args(["--quiet", "--variant=minbase", "--include=libcap2-bin"])
            .arg("bookworm")
            .arg(&half)
            .status()
            .expect("mmdebstrap, of the package of that name, runs");
        assert!(status.success());
        fs::rename(half, &archive).expect("rename");
    }
    archive
}

fn temporary() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}
