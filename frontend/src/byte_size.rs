//! Numbers of bytes as people write them, by the rules of Docker's `RAMInBytes`.

/// Reads a number of bytes such as `64m`, `1.5 GiB` or `100`; units are powers of 1024.
pub fn parse(text: &str) -> Option<u64> {
    let end = text.rfind(|c: char| c.is_ascii_digit() || matches!(c, '.' | ' '))?;
    let (number, unit) = text.split_at(end + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let unit = unit.to_ascii_lowercase();
    let is_number = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number: f64 = if is_number {
        number.parse().ok()?
    } else {
        return None;
    };
    let power = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return None,
    };
    let size = number * 1024_f64.powi(power);
    (size < 9.2e18).then_some(size as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        let cases = [
            ("64m", 64 << 20),
            ("1.5 GiB", 3 << 29),
            ("100", 100),
            ("7b", 7),
        ];
        for (text, size) in cases {
            assert_eq!(parse(text), Some(size), "{text}");
        }
        for text in ["", "m", "1x", "-1", "1bb", "inf", "nan"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
