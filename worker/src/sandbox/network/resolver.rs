//! Passes questions about names on to the host's resolver where that listens on the loopback interface only,
//! which steps do not reach: datagrams and connections to port 53 of the host's end of the cable.
//!
//! A process of its own, with threads; it ends with the one that started it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use super::super::process;

/// The port of resolvers.
const PORT: u16 = 53;
/// How long an answer is waited for; clients ask again after five seconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest datagram.
const LARGEST: usize = 65_535;
/// How many questions are open at once; more are dropped.
const MOST_QUESTIONS: usize = 64;

/// A running one; ends when dropped.
pub(super) struct Resolver(Pid);

impl Resolver {
    /// Listens on an address of the host's, and asks `servers` in their order.
    pub(super) fn start(address: Ipv4Addr, servers: &[IpAddr]) -> io::Result<Self> {
        let datagrams = UdpSocket::bind((address, PORT))?;
        let connections = TcpListener::bind((address, PORT))?;
        match process::fork(0)? {
            Some((pid, _)) => Ok(Self(pid)),
            None => {
                let doomed = set_parent_process_death_signal(Some(Signal::KILL));
                if doomed.is_ok() {
                    serve(datagrams, connections, servers);
                }
                std::process::exit(1);
            }
        }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        // It fails only if the process is dead already.
        let _ = kill_process(self.0, Signal::KILL);
        let _ = process::wait(Some(self.0));
    }
}

fn serve(datagrams: UdpSocket, connections: TcpListener, servers: &[IpAddr]) {
    let servers: Arc<[SocketAddr]> = servers
        .iter()
        .map(|&server| (server, PORT).into())
        .collect();
    let for_connections = Arc::clone(&servers);
    thread::spawn(move || {
        for connection in connections.incoming().flatten() {
            let servers = Arc::clone(&for_connections);
            thread::spawn(move || pass_connection(&connection, &servers));
        }
    });
    let datagrams = Arc::new(datagrams);
    let open = Arc::new(());
    let mut buffer = vec![0; LARGEST];
    while let Ok((length, asker)) = datagrams.recv_from(&mut buffer) {
        if Arc::strong_count(&open) > MOST_QUESTIONS {
            continue;
        }
        let question = buffer[..length].to_vec();
        let (datagrams, servers) = (Arc::clone(&datagrams), Arc::clone(&servers));
        let open = Arc::clone(&open);
        thread::spawn(move || {
            if let Some(answer) = ask(&question, &servers) {
                let _ = datagrams.send_to(&answer, asker);
            }
            drop(open);
        });
    }
}

/// The first answer that comes.
fn ask(question: &[u8], servers: &[SocketAddr]) -> Option<Vec<u8>> {
    let patience = PATIENCE / servers.len() as u32;
    servers.iter().find_map(|server| {
        let socket = UdpSocket::bind(any_of(server)).ok()?;
        socket.connect(server).ok()?;
        socket.set_read_timeout(Some(patience)).ok()?;
        socket.send(question).ok()?;
        let mut answer = vec![0; LARGEST];
        let length = socket.recv(&mut answer).ok()?;
        answer.truncate(length);
        Some(answer)
    })
}

fn any_of(server: &SocketAddr) -> SocketAddr {
    match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

fn pass_connection(asker: &TcpStream, servers: &[SocketAddr]) {
    let connect = |server| TcpStream::connect_timeout(server, PATIENCE).ok();
    let Some(server) = servers.iter().find_map(connect) else {
        return;
    };
    for end in [asker, &server] {
        let _ = end.set_read_timeout(Some(PATIENCE));
    }
    thread::scope(|scope| {
        scope.spawn(|| pass(asker, &server));
        pass(&server, asker);
    });
}

fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
