//! The network of steps: what is said of it, and names of the host's own resolver.

use std::net::UdpSocket;
use std::process::Command;

use crate::bench::{Bench, text};
use crate::finished::Finished;
use crate::machine;

#[test]
fn what_steps_use_is_said_once() {
    let bench = Bench::with("FROM base\nRUN true\nRUN --network=none true\nRUN false || true\n");
    let plain =
        |line: &str| Finished::of(&mut bench.command_shown("--progress=plain", line)).told();
    let told = plain("");
    let said = told.matches("network: of the step's own, by").count();
    assert_eq!(said, 1, "{told}");
    // Nobody uses it.
    let none = plain("--no-cache --network=none");
    assert!(!none.contains("network:"), "{none}");
    machine::assert_clean(&bench.store());
}

#[test]
fn the_hosts_network_is_for_whom_it_is_allowed() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let connect = format!("nc -w 1 127.0.0.1 {port} </dev/null");
    let bench = Bench::with(&format!("FROM base\nRUN ! {connect}\n"));
    bench.build("");
    bench.file("Dockerfile", format!("FROM base\nRUN {connect}\n"));
    bench.build("--network=host --allow network.host");
}

/// Answers all questions with one address, on a loopback address of this machine.
fn resolver(address: [u8; 4]) -> String {
    // Port 53 of 127.0.0.1 may be taken, that of another loopback address is not.
    let host = "127.77.0.1";
    let socket = UdpSocket::bind((host, 53)).expect("nobody else is there");
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, asker)) = socket.recv_from(&mut buffer) {
            let question = &buffer[..length];
            // The question with the marks of an answer; its name ends with a zero (RFC 1035, section 4).
            let end = 12
                + question[12..]
                    .iter()
                    .position(|byte| *byte == 0)
                    .expect("a name")
                + 5;
            let is_ipv4 = question[end - 4..end - 2] == [0, 1];
            let mut answer = question[..end].to_vec();
            answer[2..4].copy_from_slice(&[0x81, 0x80]);
            answer[6..12].copy_from_slice(&[0, u8::from(is_ipv4), 0, 0, 0, 0]);
            if is_ipv4 {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                answer.extend(address);
            }
            let _ = socket.send_to(&answer, asker);
        }
    });
    host.to_owned()
}

#[test]
fn names_are_asked_of_a_resolver_that_only_the_host_reaches() {
    let server = resolver([198, 51, 100, 77]);
    let bench = Bench::with(
        "FROM base\nRUN nslookup somebody.example | grep -q 198.51.100.77 && grep -q '^search here.example' /etc/resolv.conf\n\
         RUN ! grep -q 127.77 /etc/resolv.conf\n",
    );
    bench.file(
        "resolv.conf",
        format!("search here.example\nnameserver {server}\n"),
    );
    // Seen by this build alone.
    let script = format!(
        "mount --bind {} /etc/resolv.conf && exec \"$@\"",
        text(&bench.context("resolv.conf"))
    );
    let mut build = Command::new("unshare");
    build.args(["-m", "sh", "-c", &script, "sh"]);
    let command = bench.command("");
    build.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => build.env(name, value),
            None => build.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        build.current_dir(directory);
    }
    Finished::of(&mut build).assert_well();
    machine::assert_clean(&bench.store());
}
