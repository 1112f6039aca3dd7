//! `SOURCE_DATE_EPOCH`: a fixed time instead of the clock.

use super::environment::Environment;
use super::{Checked, Options};
use crate::diagnostic::Diagnostic;

const NAME: &str = "SOURCE_DATE_EPOCH";

/// The time that the build arguments or a global ARG fix, in seconds since 1970.
pub(super) fn resolve(options: &Options, global: &Environment) -> Checked<Option<i64>> {
    let given = options
        .build_args
        .get(NAME)
        .map(String::as_str)
        .or(global.value(NAME));
    match given {
        None | Some("") => Ok(None),
        Some("context") => {
            let message = "SOURCE_DATE_EPOCH=context is not supported yet";
            Err(Box::new(Diagnostic::error_nowhere("unsupported", message)))
        }
        Some(text) => text.parse().map(Some).map_err(|_| {
            let message = format!("SOURCE_DATE_EPOCH must be a number of seconds, not {text:?}");
            Box::new(Diagnostic::error_nowhere("invalid-epoch", message))
        }),
    }
}

/// A time as RFC 3339 in UTC.
pub(super) fn rfc3339(seconds: i64) -> String {
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(day);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The date of a day counted from 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date
/// algorithms"): years begin in March, so that the leap day comes last.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn dates() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ];
        for (seconds, text) in cases {
            assert_eq!(rfc3339(seconds), text);
        }
    }
}
