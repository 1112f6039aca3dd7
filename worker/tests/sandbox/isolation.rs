//! What a step sees and reaches beside its files: namespaces, rights, processes, network, descriptors.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use kiln_worker::sandbox::{Host, Network, can_scope_sockets};

use crate::bench::Bench;

crate::cases![
    namespaces_are_new,
    the_old_root_is_gone,
    capabilities_are_dockers,
    init_is_out_of_reach,
    orphans_are_reaped,
    only_three_descriptors_are_left,
    signals_are_default,
    output_can_be_opened_anew,
    the_hosts_network_is_there_when_asked_for,
    no_network_is_a_loopback_interface_only,
    abstract_sockets_of_the_host_are_out_of_reach,
    names_are_as_given,
    devices_are_few_and_work,
    kernel_files_are_masked,
    what_docker_masks_is_covered,
    no_setting_of_the_kernel_can_be_written,
    no_descriptor_leads_out_of_the_root,
    packages_can_be_installed,
];

fn namespaces_are_new(bench: &Bench) {
    for (network, shared) in [(Network::Host, true), (Network::None, false)] {
        for kind in ["user", "mnt", "pid", "ipc", "uts", "cgroup", "net"] {
            let root = bench.root();
            let mut spec = bench.script(&root, &format!("readlink /proc/self/ns/{kind}"));
            spec.network = network;
            let theirs = bench.run(&spec).text().trim().to_owned();
            let ours = fs::read_link(format!("/proc/self/ns/{kind}")).expect("a link");
            let same = ours.to_str() == Some(&theirs);
            assert_eq!(same, kind == "net" && shared, "{kind} with {network:?}");
        }
    }
}

fn the_old_root_is_gone(bench: &Bench) {
    let text = bench.output("cat /proc/self/mountinfo; stat -c %i,%d / /.. /../..");
    let roots = text
        .lines()
        .filter(|line| line.split(' ').nth(4) == Some("/"))
        .count();
    assert_eq!(roots, 1, "{text}");
    let points = text.lines().filter_map(|line| line.split(' ').nth(4));
    for point in points {
        let known = ["/proc", "/sys", "/dev", "/etc/hosts", "/etc/resolv.conf"];
        assert!(
            point == "/" || known.iter().any(|known| point.starts_with(known)),
            "{point}"
        );
    }
    let inodes: Vec<_> = text.lines().rev().take(3).collect();
    assert!(
        inodes[0] == inodes[1] && inodes[1] == inodes[2],
        "{inodes:?}"
    );
    assert!(
        !text.contains(&*bench.debian.to_string_lossy()),
        "no host path shows: {text}"
    );
}

fn capabilities_are_dockers(bench: &Bench) {
    let sets = |user: &str| {
        let root = bench.root();
        let mut spec = bench.script(&root, "grep ^Cap /proc/self/status");
        spec.command.user = user.into();
        bench
            .run(&spec)
            .text()
            .split_ascii_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (docker, none) = ("00000000a80425fb", "0000000000000000");
    let of = |effective| {
        [
            "CapInh:", none, "CapPrm:", effective, "CapEff:", effective, "CapBnd:", docker,
            "CapAmb:", none,
        ]
    };
    assert_eq!(sets(""), of(docker));
    assert_eq!(sets("www-data"), of(none));
    // A program that is set-uid still works, as `RUN su` needs.
    let root = bench.root();
    let script = "printf 'root:x\\n' | chpasswd 2>/dev/null; su -s /bin/sh www-data -c 'id -un'";
    assert_eq!(bench.run(&bench.script(&root, script)).text(), "www-data\n");
}

fn init_is_out_of_reach(bench: &Bench) {
    let text = bench.output(
        "for f in environ maps mem; do head -c1 /proc/1/$f >/dev/null 2>&1 && echo read $f; done
         readlink /proc/1/exe /proc/1/root /proc/1/cwd /proc/1/fd/*
         kill -9 1; kill -TERM 1; kill -STOP 1; kill -HUP 1; echo alive",
    );
    assert_eq!(text, "alive\n");
}

fn orphans_are_reaped(bench: &Bench) {
    let text = bench.output(
        "for i in 1 2 3; do (sleep 0.05 &) ; done; sleep 0.4
         cat /proc/[0-9]*/stat | grep -c ' Z '; cat /proc/[0-9]*/comm | sort | uniq -c | grep -c sleep
         true",
    );
    assert_eq!(text, "0\n0\n");
}

fn only_three_descriptors_are_left(bench: &Bench) {
    let script = "for n in $(seq 0 99); do [ -e /proc/$$/fd/$n ] && echo $n; done; true";
    assert_eq!(bench.output(script), "0\n1\n2\n");
    assert_eq!(bench.output("readlink /proc/$$/fd/0; cat"), "/dev/null\n");
}

fn signals_are_default(bench: &Bench) {
    let text = bench.output("exec grep -E '^Sig(Blk|Ign)' /proc/self/status");
    assert_eq!(
        text,
        "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
    );
}

fn output_can_be_opened_anew(bench: &Bench) {
    for user in ["", "www-data", "4321:4321"] {
        let root = bench.root();
        let mut spec = bench.script(&root, "echo out > /dev/stdout; echo err > /dev/stderr");
        spec.command.user = user.into();
        let done = bench.run(&spec);
        assert_eq!((done.text(), &*done.stderr), ("out\n", "err\n"), "{user:?}");
    }
}

fn the_hosts_network_is_there_when_asked_for(bench: &Bench) {
    let routes = fs::read_to_string("/proc/net/route").expect("routes");
    // Cables of steps that have just ended may come off meanwhile.
    let lasting = |routes: &str| {
        let lines = routes.lines().filter(|line| !line.starts_with("kiln"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let seen = bench.output("cat /proc/net/route");
    assert_eq!(lasting(&seen), lasting(&routes));
    let resolvers = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    assert_eq!(bench.output("cat /etc/resolv.conf"), resolvers);
}

fn no_network_is_a_loopback_interface_only(bench: &Bench) {
    let root = bench.root();
    let script =
        "tail -n +2 /proc/net/route; tail -n +3 /proc/net/dev | cut -d: -f1; ls /sys/class/net
        cat /sys/class/net/lo/flags /etc/resolv.conf";
    let mut spec = bench.script(&root, script);
    spec.network = Network::None;
    let done = bench.run(&spec);
    let words: Vec<_> = done.text().split_ascii_whitespace().collect();
    // IFF_UP is 1, IFF_LOOPBACK 8.
    assert_eq!(words, ["lo", "lo", "0x9"]);
}

/// They have no files, and go by the network namespace, which is the host's.
fn abstract_sockets_of_the_host_are_out_of_reach(bench: &Bench) {
    let name = format!("kiln-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("an address");
    let listener = UnixListener::bind_addr(&address).expect("a socket");
    UnixStream::connect_addr(&address).expect("it can be reached from here");
    let connect = |name: &str, before: &str| {
        format!(
            "perl -MSocket -e 'my $a = pack_sockaddr_un(qq({name})); {before}
             socket(my $s, PF_UNIX, SOCK_STREAM, 0); print connect($s, $a) ? qq(reached\\n) : qq($!\\n)'"
        )
    };
    let own = "socket(my $l, PF_UNIX, SOCK_STREAM, 0); bind($l, $a); listen($l, 1);";
    let (theirs, ours) = (format!("\\0{name}"), format!("\\0{name}-own"));
    let calls = [(&*theirs, ""), (&*ours, own), ("/tmp/s", own)];
    let script = calls.map(|(name, before)| connect(name, before)).join("; ");
    let expected = match can_scope_sockets() {
        true => "Operation not permitted\nreached\nreached\n",
        false => "reached\nreached\nreached\n",
    };
    assert_eq!(bench.output(&script), expected);
    drop(listener);
}

fn names_are_as_given(bench: &Bench) {
    assert_eq!(bench.output("hostname"), "buildkitsandbox\n");
    let root = bench.root();
    let mut spec = bench.script(
        &root,
        "hostname; cat /etc/hosts; getent hosts db | tr -s ' '",
    );
    spec.hostname = "else".into();
    spec.hosts = vec![Host {
        name: "db".into(),
        address: "10.1.2.3".parse().expect("address"),
    }];
    assert_eq!(
        bench.run(&spec).text(),
        "else\n127.0.0.1\tlocalhost else\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         10.1.2.3\tdb\n10.1.2.3 db\n"
    );
    let ours = rustix::system::uname();
    assert_ne!(ours.nodename().to_bytes(), b"else");
}

fn devices_are_few_and_work(bench: &Bench) {
    let text = bench.output(
        "cd /dev; echo *; echo x > null; head -c4 zero | od -An -tx1; head -c8 urandom | wc -c
         exec 3<>ptmx && ls pts; touch shm/x mqueue/x; df -k shm | tail -1 | tr -s ' ' | cut -d' ' -f2
         stat -c %a /dev /dev/shm /dev/mqueue",
    );
    assert_eq!(
        text,
        "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero\n \
         00 00 00 00\n8\n0\nptmx\n65536\n755\n1777\n1777\n"
    );
}

fn kernel_files_are_masked(bench: &Bench) {
    let text = bench.output(
        "cd /proc; for f in kcore keys timer_list interrupts; do
            [ -e $f ] && head -c1 $f 2>/dev/null | wc -c; done | sort -u
         ls /sys/firmware /proc/acpi /proc/scsi 2>/dev/null | grep -v : | wc -w
         (echo 1 > sys/kernel/shmmax) 2>/dev/null || echo refused
         (echo b > sysrq-trigger) 2>/dev/null || echo refused
         (mkdir /sys/fs/cgroup/x) 2>/dev/null || echo refused
         ls /sys/fs/cgroup | wc -l; mount -t tmpfs x /mnt 2>/dev/null || echo refused
         umount /proc/keys 2>/dev/null || echo refused; unshare -m true 2>/dev/null || echo refused",
    );
    let groups = text.split_ascii_whitespace().nth(5);
    let unified = fs::metadata("/sys/fs/cgroup/cgroup.controllers").is_ok();
    assert_eq!(groups == Some("0"), !unified, "{text}");
    let rest: Vec<_> = text.split_ascii_whitespace().collect();
    let refused = "refused";
    assert_eq!(
        [&rest[..5], &rest[6..]].concat(),
        [
            "0", "0", refused, refused, refused, refused, refused, refused
        ]
    );
}

/// Paths of Docker's specification, `daemon/pkg/oci/defaults.go` of moby.
fn what_docker_masks_is_covered(bench: &Bench) {
    const MASKED: &str =
        "acpi asound interrupts kcore keys latency_stats timer_list timer_stats sched_debug scsi";
    const READ_ONLY: &str = "bus fs irq sys sysrq-trigger";
    let script = format!(
        "cd /proc; for f in {MASKED} {READ_ONLY}; do [ -e $f ] && echo /proc/$f; done
         for f in /sys/firmware /sys/devices/virtual/powercap; do [ -e $f ] && echo $f; done
         echo; cat /proc/self/mountinfo; echo
         for f in {MASKED}; do [ -f $f ] && cat $f; [ -d $f ] && ls -A $f; done; true"
    );
    let text = bench.output(&script);
    let parts: Vec<_> = text.split("\n\n").collect();
    let mounts: Vec<Vec<_>> = parts[1]
        .lines()
        .map(|line| line.split(' ').collect())
        .collect();
    assert!(parts[0].lines().count() > 6, "{text}");
    for path in parts[0].lines() {
        let mount = mounts.iter().find(|mount| mount[4] == path);
        let options = mount.unwrap_or_else(|| panic!("{path} is not covered"))[5];
        assert!(
            options.split(',').any(|option| option == "ro"),
            "{path}: {options}"
        );
    }
    for mount in mounts.iter().filter(|mount| mount[4].starts_with("/sys")) {
        assert!(mount[5].starts_with("ro,nosuid,nodev,noexec"), "{mount:?}");
    }
    assert_eq!(parts.get(2).copied().unwrap_or("").trim(), "");
}

/// Some belong to the step's own namespaces, of which it is root.
fn no_setting_of_the_kernel_can_be_written(bench: &Bench) {
    let root = bench.root();
    let script = "find /proc/sys /proc/irq /proc/fs /sys -type f -perm /222 2>/dev/null | perl -e '
        while (<STDIN>) { chomp; $tried++; print \"$_\\n\" if open(my $f, \">>\", $_) } print $tried > 100'";
    let mut spec = bench.script(&root, script);
    spec.network = Network::None;
    assert_eq!(bench.run(&spec).text(), "1");
}

/// As `WORKDIR /proc/self/fd/N` once did in other runtimes (CVE-2024-21626).
fn no_descriptor_leads_out_of_the_root(bench: &Bench) {
    for number in 0..64 {
        for user in ["", "www-data"] {
            let root = bench.root();
            let script = "[ $(stat -c %d,%i ../../../../../../../../../../../..) = $(stat -c %d,%i /) ] && pwd -P";
            let mut spec = bench.script(&root, script);
            spec.command.cwd = format!("/proc/self/fd/{number}");
            spec.command.user = user.into();
            if let Ok(done) = bench.try_run(&spec) {
                assert!(done.text().starts_with('/'), "{number}: {}", done.stderr);
            }
        }
    }
}

fn packages_can_be_installed(bench: &Bench) {
    let text = bench.output(
        "export DEBIAN_FRONTEND=noninteractive; apt-get update >/tmp/log 2>&1 &&
         apt-get install -y --no-install-recommends hello sudo >>/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
         hello; sudo -u www-data id -un; stat -c %a /usr/bin/sudo",
    );
    assert_eq!(text, "Hello, world!\nwww-data\n4755\n");
}
