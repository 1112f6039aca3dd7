//! The numbers in a tar's header, as Go's archive/tar reads them.

use super::super::header::BLOCK;

/// Where the fields stand (POSIX.1-2017, pax(1), "ustar Interchange Format"; older headers have the first six).
pub(super) const MODE: std::ops::Range<usize> = 100..108;
pub(super) const UID: std::ops::Range<usize> = 108..116;
pub(super) const GID: std::ops::Range<usize> = 116..124;
pub(super) const SIZE: std::ops::Range<usize> = 124..136;
pub(super) const MTIME: std::ops::Range<usize> = 136..148;
const CHECKSUM: std::ops::Range<usize> = 148..156;
pub(super) const DEVICE_MAJOR: std::ops::Range<usize> = 329..337;
pub(super) const DEVICE_MINOR: std::ops::Range<usize> = 337..345;

/// A field in octal digits or, where its first bit is set, in GNU's binary form, which may be negative. An
/// empty field is 0. `None` is no number, or one beyond 64 bits.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => binary(field),
        _ => octal(field),
    }
}

fn octal(field: &[u8]) -> Option<i64> {
    let is_filling = |byte: &u8| matches!(byte, b' ' | 0);
    let Some(first) = field.iter().position(|byte| !is_filling(byte)) else {
        return Some(0);
    };
    let last = field.iter().rposition(|byte| !is_filling(byte))?;
    let digits = field[first..=last].split(|byte| *byte == 0).next()?;
    let text = std::str::from_utf8(digits).ok()?;
    // A sign is no digit.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| i64::from_str_radix(text, 8).ok())?
}

/// A number of two's complement, without the bit that tells this form.
fn binary(field: &[u8]) -> Option<i64> {
    let is_negative = field[0] & 0x40 != 0;
    let first = match is_negative {
        true => field[0] | 0x80,
        false => field[0] & 0x7f,
    };
    // The longest field has 12 bytes, which 16 hold.
    let start = i128::from(first.cast_signed());
    let rest = field[1..].iter();
    let value = rest.fold(start, |value, byte| value << 8 | i128::from(*byte));
    i64::try_from(value).ok()
}

/// Whether a block is a header: its checksum is right. Old programs added bytes up as signed ones.
pub(crate) fn is_header(block: &[u8; BLOCK]) -> bool {
    let bytes = || {
        let bytes = block.iter().enumerate();
        bytes.map(|(at, byte)| if CHECKSUM.contains(&at) { b' ' } else { *byte })
    };
    let unsigned: i64 = bytes().map(i64::from).sum();
    let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
    let stored = octal(&block[CHECKSUM]);
    // A block of zeros ends a tar.
    *block != [0; BLOCK] && (stored == Some(unsigned) || stored == Some(signed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        let cases: [(&[u8], Option<i64>); 16] = [
            (b"", Some(0)),
            (b"\0\0\0\0", Some(0)),
            (b"    ", Some(0)),
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"00000644", Some(0o644)),
            (b"644\x00999", Some(0o644)),
            (b"\x00644", Some(0o644)),
            (b"8", None),
            (b"-1", None),
            (b"+1", None),
            (b"6 4", None),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (
                b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
                Some(i64::MAX),
            ),
            (b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ];
        for (field, expected) in cases {
            assert_eq!(number(field), expected, "{}", field.escape_ascii());
        }
    }
}
