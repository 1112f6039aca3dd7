//! Who a step is: on the host's disk, in its own files, and by the name that a Dockerfile gives.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use kiln_worker::sandbox::{Error, Failure, Identity};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::Role;
use crate::bench::Bench;

crate::cases![
    ids_are_mapped_as_promised,
    files_have_the_steps_owners_on_disk,
    file_capabilities_work_and_read_as_plain_ones,
    users_are_found_in_the_root,
    account_files_are_the_roots_own,
    a_user_may_start_where_only_he_may_go,
    #[root]
    processes_are_nobody_on_the_host,
    #[root]
    ids_can_be_the_hosts,
    #[root]
    a_file_system_without_id_mapping_is_found_out,
    #[root]
    ordinary_users_are_told_what_is_missing,
];

fn ids_are_mapped_as_promised(bench: &Bench) {
    let text = bench.output("cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups");
    let words: Vec<_> = text.split_ascii_whitespace().collect();
    let (expected, identity): (&[_], _) = match bench.role {
        Role::Root => (&["0", "1879048192", "268304384"], Identity::Shifted),
        Role::User => (&["0", "0", "1", "1", "1", "65536"], Identity::Same),
    };
    assert_eq!(words, [expected, expected, &["allow"]].concat());
    assert_eq!(bench.sandbox.identity(), identity);
}

fn files_have_the_steps_owners_on_disk(bench: &Bench) {
    let root = bench.root();
    let script = "cd /srv; for i in 0:0 33:34 1000:1001 65534:65534; do
            echo x > f$i; mkdir d$i; ln -s x l$i; chown -h $i f$i d$i l$i; done
        cp /bin/su .; chmod 4755 su; chmod 2775 d33:34; mkfifo p; chown 7:8 /etc/issue
        stat -c '%n %u %g %a' f* d* l* su | sort > /tmp/inside; cat /tmp/inside";
    let inside = bench.run(&bench.script(&root, script)).text().to_owned();
    let mut outside: Vec<_> = fs::read_dir(root.upper.join("srv"))
        .expect("a directory")
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.file_name() != "p")
        .map(|entry| {
            let stat = entry.path().symlink_metadata().expect("metadata");
            let name = entry.file_name().into_string().expect("UTF-8");
            format!(
                "{name} {} {} {:o}\n",
                stat.uid(),
                stat.gid(),
                stat.mode() & 0o7777
            )
        })
        .collect();
    outside.sort();
    assert_eq!(inside, outside.concat());
    assert!(
        inside.contains("su 0 0 4755\n") && inside.contains("d33:34 33 34 2775\n"),
        "{inside}"
    );
    let issue = fs::metadata(root.upper.join("etc/issue")).expect("metadata");
    assert_eq!((issue.uid(), issue.gid()), (7, 8));
    // Read back through the mount, as the next step does.
    let next = bench.root_of([bench.debian.clone(), root.upper]);
    let script = "cd /srv; stat -c '%n %u %g %a' f* d* l* su | sort";
    assert_eq!(bench.run(&bench.script(&next, script)).text(), inside);
}

fn file_capabilities_work_and_read_as_plain_ones(bench: &Bench) {
    let root = bench.root();
    let script = "cp /bin/cat /cat && setcap cap_chown,cap_kill+ep /cat && getcap /cat";
    assert_eq!(
        bench.run(&bench.script(&root, script)).text(),
        "/cat cap_chown,cap_kill=ep\n"
    );
    let mut value = [0; 64];
    let length = rustix::fs::lgetxattr(
        root.upper.join("cat"),
        "security.capability",
        &mut value[..],
    )
    .expect("the attribute");
    // Version 2, effective; permitted are numbers 0 and 5; no root id, which version 3 would add.
    let expected = [
        1, 0, 0, 2, 0b10_0001, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    assert_eq!(value[..length], expected);
    let next = bench.root_of([bench.debian.clone(), root.upper]);
    let mut spec = bench.script(&next, "/cat /proc/self/status | grep CapEff; getcap /cat");
    spec.command.user = "www-data".into();
    assert_eq!(
        bench.run(&spec).text(),
        "CapEff:\t0000000000000021\n/cat cap_chown,cap_kill=ep\n"
    );
}

fn users_are_found_in_the_root(bench: &Bench) {
    let one = bench.root();
    bench.run(&bench.script(
        &one,
        "useradd -u 1500 -m -G audio,video app && groupadd -g 777 extra",
    ));
    for (user, ids) in [
        ("", "0 0 0"),
        ("root", "0 0 0"),
        ("app", "1500 1500 1500 29 44"),
        ("1500", "1500 1500 1500 29 44"),
        ("1500:1500", "1500 1500 1500"),
        ("app:extra", "1500 777 777"),
        ("app:778", "1500 778 778"),
        ("4242", "4242 0 0"),
        ("4242:4243", "4242 4243 4243"),
        ("www-data", "33 33 33"),
    ] {
        let root = bench.root_of([bench.debian.clone(), one.upper.clone()]);
        let mut spec = bench.script(&root, "echo $(id -u; id -g; id -G); touch /tmp/x");
        spec.command.user = user.into();
        assert_eq!(bench.run(&spec).text().trim(), ids, "{user:?}");
        let made = fs::metadata(root.upper.join("tmp/x")).expect("metadata");
        assert_eq!(
            made.uid().to_string(),
            ids.split(' ').next().unwrap_or_default()
        );
    }
    let root = bench.root();
    let mut spec = bench.script(&root, "true");
    spec.command.user = "app".into();
    assert!(matches!(
        bench.try_run(&spec),
        Err(Error::Step(Failure::Unknown { .. }))
    ));
}

fn account_files_are_the_roots_own(bench: &Bench) {
    let secret = bench.fresh();
    let outside = secret.path().join("passwd");
    fs::write(&outside, "outsider:x:1234:1234::/:/bin/sh\n").expect("write");
    let attempt = |prepare: &dyn Fn(&std::path::Path)| {
        let root = bench.root();
        fs::create_dir(root.upper.join("etc")).expect("mkdir");
        prepare(&root.upper.join("etc/passwd"));
        let mut spec = bench.script(&root, "id -u");
        spec.command.user = "outsider".into();
        match bench.try_run(&spec) {
            Err(Error::Step(failure)) => failure.to_string(),
            Err(other) => panic!("{other}"),
            Ok(done) => done.text().to_owned(),
        }
    };
    let unknown = "user \"outsider\" is not in /etc/passwd";
    assert_eq!(
        attempt(&|path| symlink(&outside, path).expect("symlink")),
        unknown
    );
    let climbing = format!("../../../../../../../../../..{}", outside.display());
    assert_eq!(
        attempt(&|path| symlink(&climbing, path).expect("symlink")),
        unknown
    );
    let fifo = |path: &std::path::Path| {
        mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).expect("mkfifo");
    };
    assert!(attempt(&fifo).contains("must be a regular file"));
    assert!(
        attempt(&|path| fs::create_dir(path).expect("mkdir")).contains("must be a regular file")
    );
    assert!(attempt(&|path| symlink("/dev/zero", path).expect("symlink")).contains("regular file"));
    let magic = attempt(&|path| symlink("/proc/1/root/etc/passwd", path).expect("symlink"));
    assert!(
        magic.contains("cannot open the step's /etc/passwd"),
        "{magic}"
    );
    let huge = |path: &std::path::Path| {
        fs::File::create(path)
            .and_then(|file| file.set_len(1 << 40))
            .expect("a sparse file");
    };
    assert!(attempt(&huge).contains("is too large"));
    // Who needs no file is not held up by one.
    let root = bench.root();
    fs::create_dir(root.upper.join("etc")).expect("mkdir");
    fifo(&root.upper.join("etc/passwd"));
    assert_eq!(bench.run(&bench.script(&root, "echo $HOME")).text(), "/\n");
    // A link within the root is fine.
    let within = |path: &std::path::Path| {
        symlink("/etc/other", path).expect("symlink");
        fs::write(path.with_file_name("other"), "outsider:x:77:1::/:/bin/sh\n").expect("write");
    };
    assert_eq!(attempt(&within), "77\n");
}

fn a_user_may_start_where_only_he_may_go(bench: &Bench) {
    let one = bench.root();
    bench.run(&bench.script(&one, "install -d -m 700 -o 1500 -g 1500 /home/private"));
    let root = bench.root_of([bench.debian.clone(), one.upper]);
    let mut spec = bench.script(&root, "pwd");
    spec.command.cwd = "/home/private".into();
    spec.command.user = "1500:1500".into();
    assert_eq!(bench.run(&spec).text(), "/home/private\n");
}

fn processes_are_nobody_on_the_host(bench: &Bench) {
    let root = bench.root();
    let mark = format!("0.5{}", std::process::id());
    let spec = bench.script(&root, &format!("sleep {mark}; :"));
    let seen = std::sync::Mutex::new(Vec::new());
    let look = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        *seen.lock().expect("lock") = crate::death::processes_with(&mark);
        std::future::pending::<()>().await;
    };
    bench.run_until(&spec, look).expect("it runs");
    let seen = seen.into_inner().expect("lock");
    assert!(
        seen.iter().any(|process| process.name == "sleep"),
        "{seen:?}"
    );
    assert!(
        seen.iter().all(|process| process.uid == 1_879_048_192),
        "{seen:?}"
    );
}

fn ids_can_be_the_hosts(bench: &Bench) {
    bench.sandbox.set_identity(Identity::Same);
    let root = bench.root();
    let script = "cat /proc/self/uid_map; touch /x; chown 5:6 /x; (cat /proc/kcore | head -c1; echo x > /proc/sysrq-trigger) 2>/dev/null; id -u";
    let done = bench.try_run(&bench.script(&root, script));
    bench.sandbox.set_identity(Identity::Shifted);
    let done = done.expect("it runs");
    let words: Vec<_> = done.text().split_ascii_whitespace().collect();
    assert_eq!(words, ["0", "0", "4294967295", "0"]);
    let made = fs::metadata(root.upper.join("x")).expect("metadata");
    assert_eq!((made.uid(), made.gid()), (5, 6));
    assert_eq!(done.outcome.identity, Identity::Same);
}

fn a_file_system_without_id_mapping_is_found_out(bench: &Bench) {
    // Overlay itself is such a file system.
    let (merged, other) = (bench.fresh(), bench.fresh());
    let options = format!(
        "lowerdir={}:{}",
        other.path().display(),
        bench.debian.display()
    );
    let mount = |args: &[&str]| {
        let done = std::process::Command::new(args[0])
            .args(&args[1..])
            .status();
        assert!(done.expect("it runs").success(), "{args:?}");
    };
    let point = merged.path().to_str().expect("UTF-8");
    mount(&["mount", "-t", "overlay", "overlay", "-o", &options, point]);
    let root = bench.root_of([merged.path().to_owned()]);
    let done = bench.try_run(&bench.script(&root, "cat /proc/self/uid_map; touch /x"));
    mount(&["umount", point]);
    let identity = bench.sandbox.identity();
    bench.sandbox.set_identity(Identity::Shifted);
    assert_eq!(identity, Identity::Same, "the answer is remembered");
    let done = done.expect("it runs");
    assert_eq!(
        done.text().split_ascii_whitespace().last(),
        Some("4294967295")
    );
    assert_eq!(
        fs::metadata(root.upper.join("x")).expect("metadata").uid(),
        0
    );
}

fn ordinary_users_are_told_what_is_missing(_: &Bench) {
    let program = crate::bench::Program::new();
    for (user, path, message) in [
        (
            crate::bench::ACCOUNT,
            "/nonexistent",
            "newuidmap is not installed",
        ),
        (
            "65533",
            "/usr/bin",
            "user 65533 has no subordinate ids in /etc/subuid",
        ),
    ] {
        let mut command = program.command_as(user);
        let output = command
            .env("PATH", path)
            .arg("--list")
            .output()
            .expect("setpriv runs");
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(message), "{said}");
    }
}
