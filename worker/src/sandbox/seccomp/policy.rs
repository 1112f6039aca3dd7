//! Which system calls a step may make, as a table of numbers for each set of calls that the kernel serves.

/// The numbers of one set of calls, which a process chooses by how it enters the kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Abi {
    /// How the kernel names the set (`AUDIT_ARCH_*` of `linux/audit.h`).
    pub(super) architecture: u32,
    /// Its column in `calls.txt`, from 0.
    column: usize,
    /// Set in every number of this set, to tell it from another of the same architecture.
    pub(super) mark: u32,
    /// The last number that the profile knows of.
    pub(super) last: u32,
}

const X86_64: u32 = 0xc000_003e;
const X86: u32 = 0x4000_0003;
const AARCH64: u32 = 0xc000_00b7;
const ARM: u32 = 0x4000_0028;

/// `__X32_SYSCALL_BIT` of `asm/unistd.h`.
const X32_MARK: u32 = 0x4000_0000;

/// New calls have had the same number everywhere for years.
const LAST_OF_ALL: u32 = 466;

/// x32 has some of its own beyond that gap.
const LAST_OF_X32: u32 = 547;

const fn abi(architecture: u32, column: usize) -> Abi {
    Abi {
        architecture,
        column,
        mark: 0,
        last: LAST_OF_ALL,
    }
}

/// The sets that kernels of a processor serve, as `std::env::consts::ARCH` calls it; none for those that the table
/// knows nothing of. Sets of one architecture stand together, marked ones last.
pub(super) fn abis(processor: &str) -> &'static [Abi] {
    const X86_64_KERNEL: &[Abi] = &[
        abi(X86_64, 0),
        Abi {
            mark: X32_MARK,
            last: LAST_OF_X32,
            ..abi(X86_64, 1)
        },
        abi(X86, 2),
    ];
    const AARCH64_KERNEL: &[Abi] = &[abi(AARCH64, 3), abi(ARM, 4)];
    match processor {
        "x86_64" => X86_64_KERNEL,
        "aarch64" => AARCH64_KERNEL,
        _ => &[],
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The kernel gets it.
    Allowed,
    /// It fails with this error number.
    Refused(u16),
    /// It is allowed if the lower half of an argument, counted from 0, passes, else it fails with EPERM. The
    /// kernel itself looks at no more than that half of the arguments in question, whatever the other holds.
    Depends(u8, Test),
}

/// What an argument must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    OneOf(&'static [u32]),
    NoneOf(&'static [u32]),
    WithoutBits(u32),
}

/// For calls that the profile knows of and does not allow.
pub(super) const FORBIDDEN: Verdict = Verdict::Refused(libc::EPERM as u16);

/// For calls that are younger than the profile, as runc has it, and for those that programs do without when they are
/// told that there is no such call: EPERM would be the end of them.
pub(super) const UNKNOWN: Verdict = Verdict::Refused(libc::ENOSYS as u16);

/// All flags of clone(2) that make a namespace.
const NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

/// Linux, Linux with the 26 bits of `uname`, 32-bit Linux, both, and the question what it is (personality(2)).
const PERSONALITIES: &[u32] = &[0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// The kernel's ciphers, and the machine that a virtual machine runs on.
const FAMILIES: &[u32] = &[libc::AF_ALG as u32, libc::AF_VSOCK as u32];

/// The last word of a line of `calls.txt`.
fn verdict(word: &str) -> Verdict {
    match word {
        "" => Verdict::Allowed,
        "keeps-namespaces" => Verdict::Depends(0, Test::WithoutBits(NAMESPACES)),
        "common-personality" => Verdict::Depends(0, Test::OneOf(PERSONALITIES)),
        "harmless-family" => Verdict::Depends(0, Test::NoneOf(FAMILIES)),
        "unknown" => UNKNOWN,
        _ => panic!("calls.txt has no such word: {word}"),
    }
}

/// A line of `calls.txt`.
pub(super) struct Call {
    #[cfg_attr(not(test), allow(dead_code, reason = "tests ask by name"))]
    pub(super) name: &'static str,
    numbers: [Option<u32>; 5],
    pub(super) verdict: Verdict,
}

impl Call {
    pub(super) fn number(&self, abi: &Abi) -> Option<u32> {
        self.numbers[abi.column]
    }
}

/// The whole table.
pub(super) fn calls() -> impl Iterator<Item = Call> {
    let lines = include_str!("calls.txt").lines();
    lines.filter(|line| !line.starts_with('#')).map(|line| {
        let mut words = line.split_ascii_whitespace();
        Call {
            name: words.next().unwrap_or(""),
            // A dash is no number.
            numbers: std::array::from_fn(|_| words.next()?.parse().ok()),
            verdict: verdict(words.next().unwrap_or("")),
        }
    })
}
