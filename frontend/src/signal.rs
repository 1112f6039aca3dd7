//! The signals that STOPSIGNAL takes, by Linux's names or by number.

use crate::diagnostic::closest;

const NAMES: [&str; 36] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];

/// Whether `text` names a signal: a number other than 0, or a name with or without `SIG`.
pub(crate) fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<i64>() {
        return number != 0;
    }
    let name = text.to_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    NAMES.contains(&name) || is_real_time(name, "RTMIN+", 15) || is_real_time(name, "RTMAX-", 14)
}

/// The signal that was probably meant, with `SIG` if that was written.
pub(crate) fn nearest(text: &str) -> Option<String> {
    let upper = text.to_uppercase();
    match upper.strip_prefix("SIG") {
        Some(name) => closest(name, NAMES).map(|name| format!("SIG{name}")),
        None => closest(&upper, NAMES).map(str::to_owned),
    }
}

fn is_real_time(name: &str, prefix: &str, most: u32) -> bool {
    let Some(digits) = name.strip_prefix(prefix) else {
        return false;
    };
    let plain = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    plain
        && digits
            .parse()
            .is_ok_and(|number: u32| (1..=most).contains(&number))
}

#[cfg(test)]
mod tests {
    use super::{is_signal, nearest};

    #[test]
    fn what_was_meant_is_found() {
        let cases = [
            ("SIGTRM", Some("SIGTERM")),
            ("SIGTREM", Some("SIGTERM")),
            ("sigkil", Some("SIGKILL")),
            ("HPU", Some("HUP")),
            ("whatever", None),
        ];
        for (text, meant) in cases {
            assert_eq!(nearest(text).as_deref(), meant, "{text}");
        }
    }

    #[test]
    fn names_and_numbers() {
        for text in ["SIGTERM", "term", "9", "RTMIN+15", "SIGRTMAX-14", "-3"] {
            assert!(is_signal(text), "{text}");
        }
        for text in [
            "", "0", "SIG", "FOO", "RTMIN+16", "RTMIN+01", "RTMAX-15", "RTMIN+",
        ] {
            assert!(!is_signal(text), "{text}");
        }
    }
}
