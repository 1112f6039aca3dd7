//! The compiled filter is run here as the kernel runs it, on every number of every set of calls, and compared with
//! Docker's profile as it is published and with libseccomp's knowledge of numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;

use serde_json::Value;

use super::policy::{self, Abi};
use super::program::{
    self, ARCHITECTURE, ARGUMENTS, IF_ANY_BIT, IF_EQUAL, IF_NOT_LESS, Instruction, JUMP, LOAD,
    NUMBER, RETURN,
};

const PROCESSORS: [&str; 2] = ["x86_64", "aarch64"];
const ALLOWED: u32 = libc::SECCOMP_RET_ALLOW;
const FORBIDDEN: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const UNKNOWN: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// What the kernel would do, and how many instructions that takes.
fn run(program: &[Instruction], architecture: u32, number: u32, args: [u64; 6]) -> (u32, usize) {
    let (mut loaded, mut position) = (0, 0);
    for count in 1.. {
        let instruction = program[position];
        let operand = instruction.operand;
        let holds = match instruction.code {
            LOAD => {
                loaded = match operand {
                    NUMBER => number,
                    ARCHITECTURE => architecture,
                    _ => args[((operand - ARGUMENTS) / 8) as usize] as u32,
                };
                position += 1;
                continue;
            }
            JUMP => {
                position += 1 + operand as usize;
                continue;
            }
            RETURN => return (operand, count),
            IF_EQUAL => loaded == operand,
            IF_NOT_LESS => loaded >= operand,
            IF_ANY_BIT => loaded & operand != 0,
            other => panic!("no such instruction: {other}"),
        };
        let skipped = if holds {
            instruction.when_true
        } else {
            instruction.when_false
        };
        position += 1 + usize::from(skipped);
    }
    unreachable!()
}

fn profile() -> Value {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../testdata/seccomp/docker-default.json"
    );
    serde_json::from_slice(&std::fs::read(path).expect("a profile")).expect("JSON")
}

fn strings(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// The rules for each name that hold on a processor, for a step's capabilities and on every kernel that Kiln runs on.
fn rules<'a>(profile: &'a Value, processor: &str) -> BTreeMap<&'a str, Vec<&'a Value>> {
    // As the profile calls the architectures.
    let architecture = match processor {
        "x86_64" => "amd64",
        _ => "arm64",
    };
    let capabilities: BTreeSet<String> = super::super::capability::names_of_default()
        .map(|name| format!("CAP_{name}"))
        .collect();
    let holds = |rule: &Value| {
        let has = |conditions: &Value, name: &str| {
            strings(&conditions[name])
                .iter()
                .any(|given| *given == architecture || capabilities.contains(*given))
        };
        let demanded = |name: &str| {
            !strings(&rule["includes"][name]).is_empty() && !has(&rule["includes"], name)
        };
        !demanded("arches")
            && !demanded("caps")
            && !has(&rule["excludes"], "arches")
            && !has(&rule["excludes"], "caps")
    };
    let mut rules: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for rule in profile["syscalls"].as_array().expect("rules") {
        if holds(rule) {
            for name in strings(&rule["names"]) {
                rules.entry(name).or_default().push(rule);
            }
        }
    }
    rules
}

/// What rules of one name say to arguments.
fn answer(rules: &[&Value], args: [u64; 6]) -> u32 {
    let passes = |condition: &Value| {
        let number = |name: &str| condition[name].as_u64().unwrap_or(0);
        let (arg, value) = (args[number("index") as usize], number("value"));
        match condition["op"].as_str() {
            Some("SCMP_CMP_EQ") => arg == value,
            Some("SCMP_CMP_LT") => arg < value,
            Some("SCMP_CMP_GT") => arg > value,
            Some("SCMP_CMP_MASKED_EQ") => arg & value == number("valueTwo"),
            other => panic!("no such comparison: {other:?}"),
        }
    };
    let rule = rules.iter().find(|rule| {
        let conditions = rule["args"].as_array();
        conditions.is_none_or(|conditions| conditions.iter().all(passes))
    });
    match rule {
        None => FORBIDDEN,
        Some(rule) if rule["action"] == "SCMP_ACT_ALLOW" => ALLOWED,
        Some(rule) => libc::SECCOMP_RET_ERRNO | rule["errnoRet"].as_u64().expect("a number") as u32,
    }
}

/// First arguments that stand on either side of every comparison.
fn arguments() -> impl Iterator<Item = [u64; 6]> {
    let edges = [
        0,
        8,
        38,
        39,
        40,
        0x2_0000,
        0x2_0008,
        0x0200_0000,
        0x7e02_0000,
    ];
    let bits = (0..32).map(|bit| 1_u64 << bit);
    edges
        .into_iter()
        .chain(bits)
        .flat_map(|value| [value.saturating_sub(1), value, value + 1])
        .chain([0xffff_ffff])
        .map(|first| [first, 0, 0, 0, 0, 0])
}

#[test]
fn every_call_is_answered_as_dockers_profile_says() {
    let profile = profile();
    for processor in PROCESSORS {
        let program = program::compile(processor);
        let rules = rules(&profile, processor);
        for abi in policy::abis(processor) {
            let names: BTreeMap<u32, &str> = policy::calls()
                .filter_map(|call| Some((call.number(abi)?, call.name)))
                .collect();
            for number in (0..1024).chain(names.keys().copied()) {
                let named = names.get(&number).and_then(|name| rules.get(name));
                for args in arguments() {
                    let expected = match named {
                        Some(rules) => answer(rules, args),
                        None if number <= abi.last => FORBIDDEN,
                        None => UNKNOWN,
                    };
                    let (answered, length) =
                        run(&program, abi.architecture, number | abi.mark, args);
                    assert_eq!(answered, expected, "{processor} {abi:?} {number} {args:?}");
                    assert!(length < 24, "{length} instructions for {number}");
                }
            }
        }
        println!("{processor}: {} instructions", program.len());
    }
}

#[test]
fn the_table_leaves_out_no_call_that_docker_allows() {
    // Of other processors.
    let foreign = ["riscv_hwprobe", "sync_file_range2"];
    let profile = profile();
    let allowed: BTreeSet<_> = PROCESSORS
        .iter()
        .flat_map(|processor| rules(&profile, processor).into_keys())
        .filter(|name| !foreign.contains(name))
        .collect();
    let table: BTreeSet<_> = policy::calls().map(|call| call.name).collect();
    assert_eq!(table, allowed);
}

/// The kernel looks at the lower half of these arguments only, so that what stands in the other must not let through
/// what is forbidden.
#[test]
fn the_upper_half_of_an_argument_hides_nothing() {
    let program = program::compile("x86_64");
    let abi = policy::abis("x86_64")[0];
    let number = |wanted: &str| {
        policy::calls()
            .find(|call| call.name == wanted)
            .and_then(|call| call.number(&abi))
            .expect("a call")
    };
    let upper = 1 << 32;
    for (name, first, expected) in [
        ("socket", upper | libc::AF_ALG as u64, FORBIDDEN),
        ("socket", upper | libc::AF_VSOCK as u64, FORBIDDEN),
        ("socket", upper | libc::AF_INET as u64, ALLOWED),
        ("clone", upper | libc::CLONE_NEWUSER as u64, FORBIDDEN),
        ("personality", upper | 0x0040_0000, FORBIDDEN),
    ] {
        let args = [first, 0, 0, 0, 0, 0];
        let (answered, _) = run(&program, abi.architecture, number(name), args);
        assert_eq!(answered, expected, "{name} {first:#x}");
    }
}

#[test]
fn an_unknown_architecture_is_the_end_of_a_process() {
    for processor in PROCESSORS {
        let program = program::compile(processor);
        // AUDIT_ARCH_MIPS.
        let (answered, _) = run(&program, 8, 0, [0; 6]);
        assert_eq!(answered, libc::SECCOMP_RET_KILL_PROCESS);
    }
    assert!(program::compile("mips").is_empty());
}

type Resolve = extern "C" fn(u32, *const libc::c_char) -> libc::c_int;

/// libseccomp's `seccomp_syscall_resolve_name_arch`, where the library is installed.
fn libseccomp() -> Option<Resolve> {
    // SAFETY: both are C strings; the library stays loaded, and its function has this type.
    unsafe {
        let library = libc::dlopen(c"libseccomp.so.2".as_ptr(), libc::RTLD_NOW);
        if library.is_null() {
            return None;
        }
        let name = c"seccomp_syscall_resolve_name_arch";
        let function = libc::dlsym(library, name.as_ptr());
        (!function.is_null()).then(|| std::mem::transmute::<*mut libc::c_void, Resolve>(function))
    }
}

#[test]
fn numbers_are_those_that_libseccomp_knows() {
    let Some(resolve) = libseccomp() else {
        println!("libseccomp.so.2 is not installed: nothing is compared");
        return;
    };
    let mut compared = 0;
    for abi in PROCESSORS.into_iter().flat_map(policy::abis) {
        for call in policy::calls() {
            compared += usize::from(agrees(resolve, abi, &call));
        }
    }
    assert!(compared > 1500, "{compared} numbers were compared");
}

/// Whether libseccomp has a number of its own for the call, which must be the table's.
fn agrees(resolve: Resolve, abi: &Abi, call: &policy::Call) -> bool {
    // SCMP_ARCH_X32 is the only one that is not the audit architecture: it lacks the 64-bit mark.
    let architecture = match abi.mark {
        0 => abi.architecture,
        _ => abi.architecture & !0x8000_0000,
    };
    let name = CString::new(call.name).expect("a name");
    let theirs = resolve(architecture, name.as_ptr());
    // Below zero are calls that it does not know there, or that it finds in the two multiplexers of x86.
    let Ok(theirs) = u32::try_from(theirs) else {
        return false;
    };
    let ours = call.number(abi).map(|number| number | abi.mark);
    assert_eq!(ours, Some(theirs), "{} in {abi:?}", call.name);
    true
}
