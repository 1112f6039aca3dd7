//! Networks of a step's own: what is reached from them, by whatever way there is, and what is not.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::time::Duration;

use kiln_worker::sandbox::{Network, Spec, WayOut};

use crate::bench::{Bench, Done, Root};
use crate::outside::{HERE, SOMEBODY};

crate::cases![
    a_private_network_leads_where_the_hosts_does,
    each_way_out_leads_there,
    without_a_way_out_it_is_the_hosts,
    the_hosts_loopback_interface_is_out_of_reach,
    steps_do_not_reach_one_another,
    #[root]
    a_step_that_lies_about_its_address_is_not_heard,
    #[root]
    nobody_outside_begins_to_speak_to_a_step,
    nothing_is_left_of_a_network,
];

/// A script for bash with a private network.
fn private(bench: &Bench, root: &Root, script: &str) -> Spec {
    let mut spec = bench.script(root, script);
    spec.command.args[0] = "/bin/bash".into();
    spec.network = Network::Private;
    spec
}

fn run(bench: &Bench, script: &str) -> Done {
    bench.run(&private(bench, &bench.root(), script))
}

/// Connects, and says what comes.
fn hear(address: &str) -> String {
    format!("exec 3<>{address} && cat <&3")
}

fn a_private_network_leads_where_the_hosts_does(bench: &Bench) {
    let done = run(bench, &hear(SOMEBODY));
    assert!(done.outcome.way_out.is_some());
    assert_eq!(done.text(), format!("{HERE}\n"));
    let interfaces = run(bench, "ls /sys/class/net").text().to_owned();
    assert_eq!(interfaces.lines().count(), 2, "{interfaces}");
    assert!(interfaces.contains("lo\n"), "{interfaces}");
}

fn each_way_out_leads_there(bench: &Bench) {
    let usual = bench.sandbox.way_out();
    for way in [WayOut::Routed, WayOut::Pasta, WayOut::Slirp4netns] {
        bench.sandbox.set_ways_out(vec![way]);
        let done = run(bench, &hear(SOMEBODY));
        assert_eq!(done.text(), format!("{HERE}\n"), "{way}");
        // Not everybody may make interfaces, and not every version of pasta comes so far.
        let must = Some(way) == usual || way == WayOut::Slirp4netns;
        assert!(!must || done.outcome.way_out == Some(way), "{way}");
    }
    bench.sandbox.set_ways_out(usual.into_iter().collect());
}

fn without_a_way_out_it_is_the_hosts(bench: &Bench) {
    let usual = bench.sandbox.way_out();
    bench.sandbox.set_ways_out(Vec::new());
    let done = run(bench, "readlink /proc/self/ns/net");
    bench.sandbox.set_ways_out(usual.into_iter().collect());
    assert_eq!(done.outcome.way_out, None);
    let ours = fs::read_link("/proc/self/ns/net").expect("a link");
    assert_eq!(ours.to_str(), Some(done.text().trim()));
}

fn the_hosts_loopback_interface_is_out_of_reach(bench: &Bench) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    // The gateway's address is the fourth to the eighth byte of a route's line, lowest byte first.
    let script = format!(
        "try() {{ timeout 2 bash -c \"exec 3<>/dev/tcp/$1/{port}\" 2>/dev/null && echo $1; }}
        gateway=$(awk '$2 == \"00000000\" {{ print $3 }}' /proc/net/route)
        try 127.0.0.1; try $(printf '%d.%d.%d.%d' 0x${{gateway:6:2}} 0x${{gateway:4:2}} 0x${{gateway:2:2}} 0x${{gateway:0:2}})
        true"
    );
    assert_eq!(run(bench, &script).text(), "");
    let root = bench.root();
    let mut host = private(
        bench,
        &root,
        &format!("exec 3<>/dev/tcp/127.0.0.1/{port} && echo there"),
    );
    host.network = Network::Host;
    assert_eq!(bench.run(&host).text(), "there\n");
}

/// Listens and says at what address, then waits to be cancelled.
const LISTENER: &str = r#"
    awk '/\|-- / { address = $2 } /host LOCAL/ && address !~ /^127/ { print address; exit }' /proc/net/fib_trie
    exec perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(Listen => 9, LocalPort => 7001) or die; while (1) { sleep 9 }'"#;

/// Runs `other` with the address of a step that listens meanwhile.
fn beside_a_listener<T>(bench: &Bench, other: impl AsyncFnOnce(&Bench, Ipv4Addr) -> T) -> T {
    let root = bench.root();
    let listener = private(bench, &root, LISTENER);
    let (says, said) = tokio::sync::oneshot::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut says = Some(says);
    let mut text = String::new();
    let log = |_, bytes: &[u8]| {
        text.push_str(&String::from_utf8_lossy(bytes));
        if let (true, Some(says)) = (text.ends_with('\n'), says.take()) {
            says.send(text.clone()).expect("somebody waits");
        }
    };
    let listening = bench.sandbox.run(&listener, log, async {
        let _ = stopped.await;
    });
    let other = async {
        let address = said.await.expect("it speaks");
        // Perl needs a moment.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let result = other(bench, address.trim().parse().expect("an address")).await;
        drop(stop);
        result
    };
    bench.block_on(async { tokio::join!(listening, other).1 })
}

fn steps_do_not_reach_one_another(bench: &Bench) {
    let exit = beside_a_listener(bench, async |bench, address| {
        let root = bench.root();
        let script = format!("timeout 2 bash -c 'exec 3<>/dev/tcp/{address}/7001'");
        let spec = private(bench, &root, &script);
        let outcome = bench
            .sandbox
            .run(&spec, |_, _| {}, std::future::pending())
            .await;
        outcome.expect("it runs").exit
    });
    assert_ne!(exit, kiln_worker::sandbox::Exit::Code(0));
}

fn a_step_that_lies_about_its_address_is_not_heard(bench: &Bench) {
    // A datagram whose header says that the host itself sent it, to somebody who would answer.
    let script = r#"perl -MSocket -e '
        socket(my $raw, PF_INET, SOCK_RAW, 255) or die "raw: $!";
        my $source = inet_aton($ARGV[0]); my $to = inet_aton("198.51.100.1");
        my $packet = pack("CCnnnCCna4a4", 0x45, 0, 28, 1, 0, 64, 17, 0, $source, $to) . pack("nnnn", 9, 9, 8, 0);
        setsockopt($raw, 0, 3, pack("i", 1)) or die "hdrincl: $!";
        send($raw, $packet, 0, sockaddr_in(0, $to)) or die "send: $!";' "#;
    let sent = || {
        let text = fs::read_to_string("/proc/net/dev").expect("counters");
        let line = text
            .lines()
            .find(|line| line.trim_start().starts_with("kt"));
        let line = line.expect("the cable to the outside").replace(':', " ");
        let sent = line.split_ascii_whitespace().nth(10).expect("packets sent");
        sent.parse::<u64>().expect("a number")
    };
    let mut counts = Vec::new();
    for source in ["10.99.99.99", "own"] {
        let own = "$(awk '/\\|-- / { a = $2 } /host LOCAL/ && a !~ /^127/ { print a; exit }' /proc/net/fib_trie)";
        let source = if source == "own" { own } else { source };
        // Whoever is asked for his link address answers before.
        run(bench, &hear(SOMEBODY));
        let before = sent();
        run(bench, &format!("{script}{source}; sleep 0.2"));
        counts.push(sent() - before);
    }
    assert!(counts[0] == 0 && counts[1] >= 1, "{counts:?}");
}

fn nobody_outside_begins_to_speak_to_a_step(bench: &Bench) {
    let reached = beside_a_listener(bench, async |_, address| {
        let namespace = format!("kt{}", std::process::id());
        let ip = |line: &str| {
            let status = Command::new("ip").args(line.split(' ')).status();
            status.expect("ip runs").success()
        };
        assert!(ip(&format!(
            "-n {namespace} route add {address}/32 via {HERE}"
        )));
        let connect = format!("exec 3<>/dev/tcp/{address}/7001");
        let reached = ip_exec(&namespace, &connect);
        assert!(ip(&format!("-n {namespace} route del {address}/32")));
        // The host itself is no outsider.
        let here = Command::new("timeout")
            .args(["2", "bash", "-c", &connect])
            .status();
        (reached, here.expect("bash runs").success())
    });
    assert_eq!(reached, (false, true));
}

fn ip_exec(namespace: &str, script: &str) -> bool {
    let status = Command::new("ip")
        .args([
            "netns", "exec", namespace, "timeout", "2", "bash", "-c", script,
        ])
        .status();
    status.expect("ip runs").success()
}

/// Interfaces, tables and programs of Kiln's that this machine has.
pub(crate) fn leftovers() -> Vec<String> {
    let interfaces = fs::read_to_string("/proc/net/dev").expect("interfaces");
    let tables = Command::new("nft").args(["list", "tables"]).output();
    let tables =
        String::from_utf8_lossy(&tables.expect("the package nftables").stdout).into_owned();
    // This process has steps of its own.
    let own = format!("kiln{}", std::process::id());
    let of_kiln = |line: &&str| {
        line.split_ascii_whitespace()
            .any(|word| word.starts_with("kiln") && word != own)
    };
    let carriers = crate::death::processes_with("/usr/bin/slirp4netns").into_iter();
    let carriers = carriers.chain(crate::death::processes_with("/usr/bin/pasta"));
    interfaces
        .lines()
        .chain(tables.lines())
        .filter(of_kiln)
        .map(str::to_owned)
        .chain(carriers.map(|process| process.name))
        .collect()
}

fn nothing_is_left_of_a_network(bench: &Bench) {
    assert_eq!(run(bench, "grep -c : /proc/net/dev").text(), "2\n");
    crate::death::soon("interfaces and tables are gone", || leftovers().is_empty());
}
