//! From a table of calls to a program of the kernel's filter machine
//! (<https://www.kernel.org/doc/html/latest/userspace-api/seccomp_filter.html>).
//!
//! Numbers with the same fate make ranges, and the ranges a search tree, so that a call is decided by some eight
//! comparisons. The kernel tries the program once for every number as it takes it, and does not ask it again about
//! those that are always allowed (`seccomp_cache_prepare`): the tree makes that cheap, too.

use serde::{Deserialize, Serialize};

use super::policy::{self, Abi, Call, FORBIDDEN, Test, UNKNOWN, Verdict};

/// One instruction; struct sock_filter of `linux/filter.h`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Instruction {
    pub(super) code: u16,
    /// How many of the next instructions are left out if the comparison holds.
    pub(super) when_true: u8,
    pub(super) when_false: u8,
    pub(super) operand: u32,
}

pub(super) const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
pub(super) const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
pub(super) const IF_NOT_LESS: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
pub(super) const IF_ANY_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
pub(super) const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
pub(super) const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Where in struct seccomp_data things are, in bytes. Both processors are little-endian: the lower half of an
/// argument comes first.
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCHITECTURE: u32 = 4;
pub(super) const ARGUMENTS: u32 = 16;

fn plain(code: u16, operand: u32) -> Instruction {
    Instruction {
        code,
        when_true: 0,
        when_false: 0,
        operand,
    }
}

/// `then` if the comparison holds, else what follows it. `then` must not run on into that.
fn branch(code: u16, operand: u32, then: Vec<Instruction>) -> Vec<Instruction> {
    let mut all = skip_unless(code, operand, then.len());
    all.extend(then);
    all
}

/// Leaves out the next `length` instructions unless the comparison holds.
fn skip_unless(code: u16, operand: u32, length: usize) -> Vec<Instruction> {
    match u8::try_from(length) {
        Ok(when_false) => vec![Instruction {
            when_false,
            ..plain(code, operand)
        }],
        Err(_) => vec![
            Instruction {
                when_true: 1,
                ..plain(code, operand)
            },
            plain(JUMP, length as u32),
        ],
    }
}

/// The filter for the kernels of a processor; empty where [`policy::abis`] knows none.
pub(super) fn compile(processor: &str) -> Vec<Instruction> {
    let abis = policy::abis(processor);
    if abis.is_empty() {
        return Vec::new();
    }
    let calls: Vec<Call> = policy::calls().collect();
    let mut program = vec![plain(LOAD, ARCHITECTURE)];
    for same in abis.chunk_by(|one, other| one.architecture == other.architecture) {
        let mut body = vec![plain(LOAD, NUMBER)];
        // Marked numbers are the larger ones.
        for abi in same.iter().rev() {
            let tree = tree(&ranges(&calls, abi));
            match abi.mark {
                0 => body.extend(tree),
                mark => body.extend(branch(IF_NOT_LESS, mark, tree)),
            }
        }
        program.extend(branch(IF_EQUAL, same[0].architecture, body));
    }
    // No other set of calls is known of.
    program.push(plain(RETURN, libc::SECCOMP_RET_KILL_PROCESS));
    program
}

/// Numbers from `first` to the next range.
#[derive(Debug, Clone, Copy)]
struct Range {
    first: u32,
    verdict: Verdict,
}

/// All numbers of a set, from the first to the last.
fn ranges(calls: &[Call], abi: &Abi) -> Vec<Range> {
    let of_call = |call: &Call| Some((call.number(abi)?, call.verdict));
    let mut known: Vec<_> = calls.iter().filter_map(of_call).collect();
    known.sort_unstable_by_key(|(number, _)| *number);
    let mut ranges: Vec<Range> = Vec::new();
    let mut add = |number: u32, verdict| {
        if ranges.last().is_none_or(|last| last.verdict != verdict) {
            let first = number | abi.mark;
            ranges.push(Range { first, verdict });
        }
    };
    let mut next = 0;
    for (number, verdict) in known {
        add_gap(abi.last, next..number, &mut add);
        add(number, verdict);
        next = number + 1;
    }
    add_gap(abi.last, next..u32::MAX, &mut add);
    ranges
}

/// Numbers of which the table says nothing.
fn add_gap(last: u32, gap: std::ops::Range<u32>, add: &mut impl FnMut(u32, Verdict)) {
    if gap.start <= last && !gap.is_empty() {
        add(gap.start, FORBIDDEN);
    }
    if gap.end > last + 1 {
        add(gap.start.max(last + 1), UNKNOWN);
    }
}

/// Where a comparison leads.
#[derive(Debug, Clone, Copy)]
enum Target {
    /// To another, by its position.
    Node(usize),
    /// To the end of the search.
    Leaf(Verdict),
}

/// A comparison of the loaded number.
struct Node {
    pivot: u32,
    not_less: Target,
    less: Target,
}

/// Finds the range of the loaded number: all comparisons, then what they lead to, each but once. That halves the
/// program, which the kernel checks and translates for every step.
fn tree(ranges: &[Range]) -> Vec<Instruction> {
    let mut nodes = Vec::new();
    grow(&mut nodes, ranges);
    let mut leaves: Vec<(Verdict, usize)> = Vec::new();
    let mut ends = Vec::new();
    for target in nodes.iter().flat_map(|node| [node.not_less, node.less]) {
        if let Target::Leaf(verdict) = target
            && leaves.iter().all(|(known, _)| *known != verdict)
        {
            leaves.push((verdict, nodes.len() + ends.len()));
            ends.extend(leaf(verdict));
        }
    }
    let position = |target| match target {
        Target::Node(position) => Some(position),
        Target::Leaf(verdict) => leaves
            .iter()
            .find_map(|(known, position)| (*known == verdict).then_some(*position)),
    };
    let jump = |from: usize, target| {
        let distance = position(target).map(|position| position - from - 1);
        let distance = distance.and_then(|distance| u8::try_from(distance).ok());
        distance.expect("no table of calls has half as many ranges as a jump can pass")
    };
    let comparisons = nodes.iter().enumerate().map(|(from, node)| Instruction {
        when_true: jump(from, node.not_less),
        when_false: jump(from, node.less),
        ..plain(IF_NOT_LESS, node.pivot)
    });
    comparisons.chain(ends).collect()
}

/// Adds the comparisons that tell `ranges` apart, the first of them first.
fn grow(nodes: &mut Vec<Node>, ranges: &[Range]) -> Target {
    if let [only] = ranges {
        return Target::Leaf(only.verdict);
    }
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let position = nodes.len();
    nodes.push(Node {
        pivot: upper[0].first,
        not_less: Target::Node(position),
        less: Target::Node(position),
    });
    nodes[position].not_less = grow(nodes, upper);
    nodes[position].less = grow(nodes, lower);
    Target::Node(position)
}

fn leaf(verdict: Verdict) -> Vec<Instruction> {
    let allow = || vec![plain(RETURN, libc::SECCOMP_RET_ALLOW)];
    let refuse = |errno: u16| {
        let answer = libc::SECCOMP_RET_ERRNO | u32::from(errno);
        vec![plain(RETURN, answer)]
    };
    match verdict {
        Verdict::Allowed => allow(),
        Verdict::Refused(errno) => refuse(errno),
        Verdict::Depends(argument, test) => {
            let forbid = || leaf(FORBIDDEN);
            let mut all = vec![plain(LOAD, ARGUMENTS + 8 * u32::from(argument))];
            let mut each = |values: &[u32], then: &dyn Fn() -> Vec<Instruction>| {
                for value in values {
                    all.extend(branch(IF_EQUAL, *value, then()));
                }
            };
            let otherwise = match test {
                Test::OneOf(values) => {
                    each(values, &allow);
                    forbid()
                }
                Test::NoneOf(values) => {
                    each(values, &forbid);
                    allow()
                }
                Test::WithoutBits(bits) => {
                    all.extend(branch(IF_ANY_BIT, bits, forbid()));
                    allow()
                }
            };
            all.extend(otherwise);
            all
        }
    }
}
