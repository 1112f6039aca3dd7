//! Sizes, ages and IDs as Docker prints them in its tables (docker/go-units).

use jiff::Timestamp;

/// Bytes in powers of 1000 with three digits: `7.83MB`, `117MB`, `0B`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{}", UNITS[unit])
}

/// How long ago something was: `2 hours ago`, `About a minute ago`.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(then.as_second()).max(0);
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    let days = hours / 24;
    let age = match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if days < 14 => format!("{days} days"),
        () if days < 60 => format!("{} weeks", days / 7),
        () if days < 730 => format!("{} months", days / 30),
        () => format!("{} years", days / 365),
    };
    format!("{age} ago")
}

/// A point in time as Go prints it: `2026-11-20 12:00:00 +0000 UTC`.
pub fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}

/// An ID without its algorithm, in full or by its first twelve digits.
pub fn id(digest: &str, in_full: bool) -> String {
    match digest.split_once(':') {
        Some((_, hex)) if !in_full => hex.chars().take(12).collect(),
        _ => digest.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_up_to_three_digits() {
        let cases = [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1_240, "1.24kB"),
            (7_830_000, "7.83MB"),
            (999_600, "1MB"),
            (116_900_000, "117MB"),
            (10_000_000_000, "10GB"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn ages_are_rounded_as_docker_rounds_them() {
        let now = Timestamp::from_second(2_000_000_000).expect("in range");
        let cases = [
            (-5, "Less than a second ago"),
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (60, "About a minute ago"),
            (3_500, "58 minutes ago"),
            (3_600, "About an hour ago"),
            (7_200, "2 hours ago"),
            (47 * 3600, "47 hours ago"),
            (3 * 86_400, "3 days ago"),
            (20 * 86_400, "2 weeks ago"),
            (90 * 86_400, "3 months ago"),
            (800 * 86_400, "2 years ago"),
        ];
        for (seconds, expected) in cases {
            let then = Timestamp::from_second(2_000_000_000 - seconds).expect("in range");
            assert_eq!(age(then, now), expected);
        }
    }
}
