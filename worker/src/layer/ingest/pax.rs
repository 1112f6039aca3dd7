//! What a PAX header says of the member behind it (POSIX.1-2017, pax(1), "pax Extended Header").

use std::collections::BTreeMap;

use super::super::overlay;
use crate::tree::{Timestamp, Xattrs};

/// Before the name of an extended attribute.
const XATTR: &[u8] = b"SCHILY.xattr.";
/// Before all records with which GNU's tar tells where a file has holes.
const SPARSE: &[u8] = b"GNU.sparse.";

/// The records that matter. Of several for one thing the last counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) user: Option<u64>,
    pub(super) group: Option<u64>,
    pub(super) mtime: Option<PaxTime>,
    pub(super) xattrs: BTreeMap<Box<[u8]>, Box<[u8]>>,
    /// Whether the file has holes that are not in the tar.
    pub(super) is_sparse: bool,
}

impl Pax {
    /// Reads records (`LENGTH NAME=VALUE\n`); an error says what is wrong. Values may hold any bytes.
    pub(super) fn parse(mut records: &[u8]) -> Result<Self, String> {
        let mut pax = Self::default();
        while !records.is_empty() {
            let (name, value, rest) =
                first_record(records).ok_or("a PAX header that makes no sense")?;
            // An empty value takes back what was said before it.
            let text = || (!value.is_empty()).then(|| value.to_vec());
            match name {
                b"path" => pax.path = text(),
                b"linkpath" => pax.link = text(),
                b"size" => pax.size = number(name, value)?,
                b"uid" => pax.user = number(name, value)?,
                b"gid" => pax.group = number(name, value)?,
                b"mtime" => pax.mtime = PaxTime::parse(value),
                _ => pax.is_sparse |= name.starts_with(SPARSE),
            }
            if let Some(name) = name.strip_prefix(XATTR)
                && !overlay::is_overlay_attribute(name)
            {
                pax.xattrs.insert(name.into(), value.into());
            }
            records = rest;
        }
        Ok(pax)
    }

    /// The extended attributes.
    pub(super) fn xattrs(&mut self) -> Xattrs {
        std::mem::take(&mut self.xattrs).into_iter().collect()
    }
}

/// The name and the value of the first record, and what comes behind it.
fn first_record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = records.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&records[..blank]).ok()?.parse().ok()?;
    let record = records.get(blank + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], &records[length..]))
}

fn number(name: &[u8], value: &[u8]) -> Result<Option<u64>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(value);
    match text.parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(format!(
            "a PAX header with the {} {text:?}",
            String::from_utf8_lossy(name)
        )),
    }
}

/// A time as it is written: seconds in decimal, with a fraction or without.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PaxTime(String);

impl PaxTime {
    fn parse(value: &[u8]) -> Option<Self> {
        Some(Self(std::str::from_utf8(value).ok()?.to_owned()))
    }

    /// What stands before the point.
    pub(super) fn whole_seconds(&self) -> Option<i64> {
        self.0.split('.').next()?.parse().ok()
    }

    /// The moment with its nanoseconds; further digits are dropped.
    pub(super) fn exact(&self) -> Option<Timestamp> {
        let (is_before_1970, text) = match self.0.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, &*self.0),
        };
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
        let seconds: i64 = seconds.parse().ok()?;
        let digits: String = fraction
            .chars()
            .chain("000000000".chars())
            .take(9)
            .collect();
        let nanoseconds: u32 = digits.parse().ok()?;
        Some(match (is_before_1970, nanoseconds) {
            (false, nanoseconds) => Timestamp {
                seconds,
                nanoseconds,
            },
            (true, 0) => Timestamp::of_seconds(-seconds),
            (true, after) => Timestamp {
                seconds: -seconds - 1,
                nanoseconds: 1_000_000_000 - after,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_hold_any_bytes_and_the_last_record_counts() {
        let records = b"9 path=a\n8 uid=5\n28 SCHILY.xattr.u=\n9 uid=7\n\n9 path=b\n7 uid=\n";
        let pax = Pax::parse(records).expect("records");
        assert_eq!(pax.path.as_deref(), Some(&b"b"[..]));
        assert_eq!(pax.user, None);
        assert_eq!(pax.xattrs[&b"u"[..]][..], b"\n9 uid=7\n"[..]);
        assert!(!pax.is_sparse);
    }

    #[test]
    fn records_that_make_no_sense_are_refused() {
        for records in [
            "8 path=a\n",
            "11 path=a\n",
            "9 path a\n",
            "x path=a\n",
            "path=a\n",
            "99999999999999999999999 a=b\n",
            "0 =\n",
            "11 size=-1\n",
            "10 uid=1.5\n",
            "8 gid=x\n\n",
        ] {
            assert!(Pax::parse(records.as_bytes()).is_err(), "{records:?}");
        }
        assert_eq!(Pax::parse(b""), Ok(Pax::default()));
        assert!(Pax::parse(b"22 GNU.sparse.major=1\n").is_ok_and(|pax| pax.is_sparse));
    }

    proptest! {
        #[test]
        fn parsing_is_total(records in "[0-9]{1,2} [a-z=\n]{0,20}") {
            let _ = Pax::parse(records.as_bytes());
        }
    }
}
