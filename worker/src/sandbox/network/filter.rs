//! The packet filter for the steps of this process: a table of nftables that the kernel takes away when the
//! process ends, however it ends. It gives what steps send the host's address, lets nobody begin to speak
//! to a step, and keeps steps from one another.
//!
//! There is one for all steps, since the kernel takes a while for each change of its tables.
//!
//! Messages are those of `linux/netfilter/nf_tables.h`; expressions work on registers of 16 bytes.

use std::io;
use std::net::Ipv4Addr;

use super::cable;
use super::netlink::{Attributes, Message, Socket, attribute, terminated};
use super::routes;

/// `NFPROTO_IPV4`
const IPV4: u8 = 2;
/// `NFNL_SUBSYS_NFTABLES`
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;
/// `NLM_F_CREATE`, and `NLM_F_APPEND` for rules in their order.
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
/// `NFT_TABLE_F_OWNER`: the table is its socket's, since Linux 5.12.
const OWNED: u32 = 2;

const REGISTER: u32 = 1;
const VERDICT: u32 = 0;
const DROP: u32 = 0;

/// An established filter, which lives as long as this value.
#[derive(Debug)]
pub(in super::super) struct Filter {
    /// The network of which steps have their addresses.
    pub(in super::super) range: Ipv4Addr,
    #[expect(dead_code, reason = "the table is gone when it is closed")]
    socket: Socket,
}

/// Where in the kernel a chain sees packets: hook number, priority, type.
type Place = (u32, i32, &'static str);

/// Before all else, so that nothing is remembered of what is dropped.
const ARRIVING: (&str, Place) = ("arriving", (0, -300, "filter"));
const PASSING: (&str, Place) = ("passing", (2, 0, "filter"));
const LEAVING: (&str, Place) = ("leaving", (4, 100, "nat"));

/// Makes the table.
pub(in super::super) fn establish() -> io::Result<Filter> {
    let socket = Socket::of_filters()?;
    if drops_what_passes(&socket)? {
        return Err(io::Error::other(
            "another filter of this machine drops what is forwarded",
        ));
    }
    let range = routes::free_range()?;
    let table = &format!("kiln{}", std::process::id());
    let prefix = cable::PREFIX.as_bytes();
    let rules = [
        // A step lies about its address.
        rule(table, ARRIVING.0, |it| {
            meta(it, Meta::FromName);
            compare(it, Equal, prefix);
            sender(it);
            compare_network(it, Unequal, range);
            verdict(it, DROP);
        }),
        // It speaks to another step.
        rule(table, PASSING.0, |it| {
            meta(it, Meta::FromName);
            compare(it, Equal, prefix);
            meta(it, Meta::ToName);
            compare(it, Equal, prefix);
            verdict(it, DROP);
        }),
        // Somebody speaks to one who was not spoken to.
        rule(table, PASSING.0, |it| {
            meta(it, Meta::ToName);
            compare(it, Equal, prefix);
            is_neither_answer_nor_related(it);
            verdict(it, DROP);
        }),
        rule(table, LEAVING.0, |it| {
            sender(it);
            compare_network(it, Equal, range);
            expression(it, "masq", |_| {});
        }),
    ];
    let mut messages = vec![bound(BATCH_BEGIN), new_table(table)];
    messages.extend([ARRIVING, PASSING, LEAVING].map(|chain| new_chain(table, chain)));
    messages.extend(rules);
    messages.push(bound(BATCH_END));
    socket.request(messages)?;
    Ok(Filter { range, socket })
}

/// Whether some chain lets nothing pass that it does not know, as where Docker runs: no other table can let it
/// pass nevertheless.
fn drops_what_passes(socket: &Socket) -> io::Result<bool> {
    const GET_CHAIN: u16 = SUBSYSTEM << 8 | 4;
    const ANY_FAMILY: u8 = 0;
    /// `NFPROTO_INET`: both protocols.
    const BOTH: u8 = 1;
    let forward = PASSING.1.0.to_be_bytes();
    let chains = socket.dump(GET_CHAIN, &[ANY_FAMILY, 0, 0, 0])?;
    Ok(chains.iter().any(|chain| {
        let Some(([family, ..], attributes)) = chain.split_first_chunk::<4>() else {
            return false;
        };
        let hook = attribute(attributes, 4).and_then(|hook| attribute(hook, 1));
        let policy = attribute(attributes, 5);
        [IPV4, BOTH].contains(family)
            && hook == Some(&forward[..])
            && policy == Some(&DROP.to_be_bytes()[..])
    }))
}

/// `struct nfgenmsg`: family, version, and for the bounds of a batch whose it is.
fn bound(kind: u16) -> Message {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    Message::unanswered(kind, &[0, 0, high, low])
}

fn message(kind: u16, flags: u16) -> Message {
    Message::new(kind, flags, &[IPV4, 0, 0, 0])
}

fn new_table(name: &str) -> Message {
    message(NEW_TABLE, CREATE)
        .with_attribute(1, &terminated(name))
        .with_attribute(2, &OWNED.to_be_bytes())
}

fn new_chain(table: &str, (name, (hook, priority, kind)): (&str, Place)) -> Message {
    message(NEW_CHAIN, CREATE)
        .with_attribute(1, &terminated(table))
        .with_attribute(3, &terminated(name))
        .with_nested(4, |it| {
            it.add(1, &hook.to_be_bytes());
            it.add(2, &priority.to_be_bytes());
        })
        .with_attribute(7, &terminated(kind))
}

fn rule(table: &str, chain: &str, fill: impl FnOnce(&mut Attributes<'_>)) -> Message {
    message(NEW_RULE, CREATE | APPEND)
        .with_attribute(1, &terminated(table))
        .with_attribute(2, &terminated(chain))
        .with_nested(4, fill)
}

fn expression(it: &mut Attributes<'_>, name: &str, fill: impl FnOnce(&mut Attributes<'_>)) {
    it.nest(1, &[], |it| {
        it.text(1, name);
        it.nest(2, &[], fill);
    });
}

/// What is known of a packet beside its bytes: `enum nft_meta_keys`.
#[derive(Clone, Copy)]
enum Meta {
    FromName = 6,
    ToName = 7,
}

fn meta(it: &mut Attributes<'_>, key: Meta) {
    expression(it, "meta", |it| {
        it.add(1, &REGISTER.to_be_bytes());
        it.add(2, &(key as u32).to_be_bytes());
    });
}

/// The address of the sender, in the header of the packet.
fn sender(it: &mut Attributes<'_>) {
    const NETWORK_HEADER: u32 = 1;
    expression(it, "payload", |it| {
        it.add(1, &REGISTER.to_be_bytes());
        it.add(2, &NETWORK_HEADER.to_be_bytes());
        it.add(3, &12u32.to_be_bytes());
        it.add(4, &4u32.to_be_bytes());
    });
}

#[derive(Clone, Copy)]
enum Comparison {
    Equal = 0,
    Unequal = 1,
}
use Comparison::{Equal, Unequal};

/// Goes on only if the register begins so.
fn compare(it: &mut Attributes<'_>, how: Comparison, value: &[u8]) {
    expression(it, "cmp", |it| {
        it.add(1, &REGISTER.to_be_bytes());
        it.add(2, &(how as u32).to_be_bytes());
        it.nest(3, &[], |it| it.add(1, value));
    });
}

/// Goes on only if the address in the register is of a network, or of another one.
fn compare_network(it: &mut Attributes<'_>, how: Comparison, network: Ipv4Addr) {
    let mask = u32::MAX << (32 - routes::RANGE_PREFIX);
    keep(it, &mask.to_be_bytes());
    compare(it, how, &network.octets());
}

/// Clears all bits of the register but those of a mask.
fn keep(it: &mut Attributes<'_>, mask: &[u8; 4]) {
    expression(it, "bitwise", |it| {
        it.add(1, &REGISTER.to_be_bytes());
        it.add(2, &REGISTER.to_be_bytes());
        it.add(3, &4u32.to_be_bytes());
        it.nest(4, &[], |it| it.add(1, mask));
        it.nest(5, &[], |it| it.add(1, &[0; 4]));
    });
}

fn is_neither_answer_nor_related(it: &mut Attributes<'_>) {
    const STATE: u32 = 0;
    const ESTABLISHED_OR_RELATED: u32 = 1 << 1 | 1 << 2;
    expression(it, "ct", |it| {
        it.add(1, &REGISTER.to_be_bytes());
        it.add(2, &STATE.to_be_bytes());
    });
    keep(it, &ESTABLISHED_OR_RELATED.to_ne_bytes());
    compare(it, Equal, &[0; 4]);
}

fn verdict(it: &mut Attributes<'_>, code: u32) {
    expression(it, "immediate", |it| {
        it.add(1, &VERDICT.to_be_bytes());
        it.nest(2, &[], |it| {
            it.nest(2, &[], |it| it.add(1, &code.to_be_bytes()));
        });
    });
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::thread::{UnshareFlags, unshare_unsafe};

    use super::*;

    /// As root, in a network namespace of its own.
    #[test]
    fn a_machine_that_drops_what_passes_is_told() {
        let tried = std::thread::spawn(|| {
            // SAFETY: nobody else depends on this thread's network namespace.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("root may");
            let drops = || drops_what_passes(&Socket::of_filters().expect("a socket"));
            assert!(!drops().expect("it can be asked"));
            for (policy, expected) in [("accept", false), ("drop", true)] {
                let chain = format!(
                    "add chain ip filter FORWARD {{ type filter hook forward priority 0; policy {policy}; }}"
                );
                for line in ["add table ip filter", &chain] {
                    let status = Command::new("nft").arg(line).status();
                    assert!(status.expect("the package nftables").success());
                }
                assert_eq!(drops().expect("it can be asked"), expected, "{policy}");
            }
            assert!(establish().is_err());
        });
        tried.join().expect("it ends well");
    }
}
