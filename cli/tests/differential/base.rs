//! The image that cases build on: Debian's busybox and some accounts. Nothing in it tells the time, so
//! that what is recorded does not depend on when it was made.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::builder::Builder;
use crate::layout;

const DOCKERFILE: &str = "FROM scratch\nADD base.tar /\nCMD [\"/bin/sh\"]\n";

/// When the files of the base were made, in seconds since 1970.
const MADE: u64 = 1_000_000_000;

const SCRIPT: &str = r"
umask 022
mkdir -p root/bin root/etc root/root root/home/app root/var/lib root/usr/share root/dev root/proc root/sys && mkdir -m 1777 root/tmp
cp /bin/busybox root/bin/busybox
for name in $(root/bin/busybox --list); do
    [ $name = busybox ] || ln -s busybox root/bin/$name
done
printf 'root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\nlone:x:1002:1002::/:/bin/sh\n' >root/etc/passwd
printf 'root:x:0:\nstaff:x:50:app\napp:x:1001:\nlone:x:1002:\nextra:x:60:app\n' >root/etc/group
chown 1000:1001 root/home/app
tar --sort=name --mtime=@1000000000 -C root -cf base.tar bin dev etc home proc root sys tmp usr var
";

/// A layout, and the layers that it has.
pub(crate) struct Base {
    directory: tempfile::TempDir,
    /// Diff ids of its layers.
    pub(crate) layers: Vec<String>,
}

impl Base {
    pub(crate) fn make() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let context = directory.path().join("context");
        fs::create_dir(&context).expect("a directory");
        fs::write(context.join("Dockerfile"), DOCKERFILE).expect("writable");
        let status = Command::new("bash")
            .args(["-euc", SCRIPT])
            .current_dir(&context)
            .status()
            .expect("bash runs");
        assert!(status.success(), "the package busybox-static is needed");

        let finished = Builder::kiln()
            .command(&context)
            .args(["--build-arg=SOURCE_DATE_EPOCH=1000000000", "--tag=base"])
            .args([
                "--output",
                "type=oci,tar=false,compression=uncompressed,dest=../layout",
            ])
            .output()
            .expect("kiln runs");
        let told = String::from_utf8_lossy(&finished.stderr);
        assert!(finished.status.success(), "{told}");
        let layer = layout::give_root_entry(&directory.path().join("layout"), MADE);
        Self {
            directory,
            layers: vec![layer],
        }
    }

    /// An OCI layout with the tag `latest`.
    pub(crate) fn layout(&self) -> PathBuf {
        self.directory.path().join("layout")
    }
}
