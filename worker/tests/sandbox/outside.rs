//! Another machine, as far as steps can tell: a network namespace behind a cable, with somebody in it who
//! tells whoever connects by what address he came.

use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::mpsc;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The other machine's address, and this one's on the way there (RFC 5737).
const THERE: &str = "198.51.100.1";
pub(crate) const HERE: &str = "198.51.100.2";
const PORT: u16 = 7000;
/// What a step connects to, as bash calls it.
pub(crate) const SOMEBODY: &str = "/dev/tcp/198.51.100.1/7000";

pub(crate) struct Outside {
    name: String,
}

impl Outside {
    /// Only root can make it.
    pub(crate) fn make() -> Self {
        let outside = Self {
            name: format!("kt{}", std::process::id()),
        };
        let name = &outside.name;
        ip(&format!("netns add {name}"));
        ip(&format!(
            "link add {name} type veth peer name in netns {name}"
        ));
        ip(&format!("address add {HERE}/24 dev {name}"));
        ip(&format!("link set {name} up"));
        ip(&format!("-n {name} address add {THERE}/24 dev in"));
        ip(&format!("-n {name} link set in up"));
        outside.listen();
        outside
    }

    fn listen(&self) {
        let namespace = File::open(format!("/run/netns/{}", self.name)).expect("it was made");
        let (listens, listening) = mpsc::channel();
        std::thread::spawn(move || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), kind).expect("root may");
            let listener = TcpListener::bind((THERE, PORT)).expect("a port");
            listens.send(()).expect("somebody waits");
            for mut connection in listener.incoming().flatten() {
                let from = connection.peer_addr().expect("an address").ip();
                let _ = writeln!(connection, "{from}");
            }
        });
        listening.recv().expect("it listens");
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        ip(&format!("link del {}", self.name));
        ip(&format!("netns del {}", self.name));
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(
        status.expect("the package iproute2").success(),
        "{arguments}"
    );
}
