//! Archives that nobody packs who means well, and some that old programs pack.

use kiln_solver::RelPath;
use proptest::prelude::*;

use super::super::header::BLOCK;
use super::member::{MAXIMUM_HEADER, MAXIMUM_PATH};
use super::*;
use crate::tree::{DirectoryKind, EntryKind};

/// A header of a member that is called `m`, changed.
fn header(kind: u8, size: u64, change: impl FnOnce(&mut tar::Header)) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[0] = b'm';
    header.as_old_mut().linkflag = [kind];
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    change(&mut header);
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn member(kind: u8, data: &[u8]) -> Vec<u8> {
    let mut member = header(kind, data.len() as u64, |_| {});
    member.extend_from_slice(data);
    member.resize(member.len().next_multiple_of(BLOCK), 0);
    member
}

fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in records {
        let rest = name.len() + value.len() + 3;
        let digits = (rest + 2).to_string().len();
        text.extend(format!("{} {name}={value}\n", rest + digits).bytes());
    }
    member(b'x', &text)
}

fn read(parts: &[&[u8]]) -> Result<LayerTree, IngestError> {
    let mut tar = parts.concat();
    tar.resize(tar.len() + 2 * BLOCK, 0);
    parse_tar(&mut &tar[..], Whiteouts::Deletions)
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).expect("a path")
}

#[test]
fn what_is_refused() {
    let file = member(b'0', b"abc");
    let long = "d/".repeat(MAXIMUM_PATH / 2) + "f";
    let large = |kind| {
        let data = usize::try_from(MAXIMUM_HEADER).expect("it fits") + 1;
        member(kind, &vec![b'a'; data])
    };
    let all_bits = |field: &mut [u8]| field.fill(0xff);
    let cases: &[(&str, Vec<Vec<u8>>, &str)] = &[
        (
            "a long PAX header",
            vec![large(b'x'), file.clone()],
            "1048576 are allowed",
        ),
        (
            "a long global one",
            vec![large(b'g'), file.clone()],
            "1048576 are allowed",
        ),
        (
            "a long name",
            vec![large(b'L'), file.clone()],
            "1048576 are allowed",
        ),
        (
            "a long link",
            vec![large(b'K'), file.clone()],
            "1048576 are allowed",
        ),
        (
            "one without end",
            vec![header(b'x', 1 << 40, |_| {})],
            "1048576 are allowed",
        ),
        (
            "a path without end",
            vec![pax(&[("path", &long)]), file.clone()],
            "4096 are allowed",
        ),
        (
            "a sparse file",
            vec![header(b'S', 0, |_| {})],
            "m is a sparse file",
        ),
        (
            "a newer sparse file",
            vec![
                pax(&[("GNU.sparse.major", "1"), ("GNU.sparse.name", "s")]),
                file.clone(),
            ],
            "m is a sparse file",
        ),
        (
            "nobody by PAX",
            vec![pax(&[("uid", "4294967295")]), file.clone()],
            "m belongs to 4294967295",
        ),
        (
            "no group by PAX",
            vec![pax(&[("gid", "4294967295")]), file.clone()],
            "m belongs to 4294967295",
        ),
        (
            "nobody",
            vec![header(b'0', 0, |h| h.set_uid(u32::MAX.into()))],
            "m belongs to 4294967295",
        ),
        (
            "beyond all ids",
            vec![header(b'0', 0, |h| h.set_gid(1 << 32))],
            "m belongs to 4294967296",
        ),
        (
            "minus one",
            vec![header(b'0', 0, |h| all_bits(&mut h.as_old_mut().uid))],
            "m belongs to ",
        ),
        (
            "minus one by PAX",
            vec![pax(&[("uid", "-1")]), file.clone()],
            "uid \"-1\"",
        ),
        (
            "two sizes",
            vec![pax(&[("size", "600")]), file.clone()],
            "m has 3 bytes by one header and 600 by",
        ),
        (
            "a size that hides",
            vec![pax(&[("size", "0")]), file.clone()],
            "m has 3 bytes by one header and 0 by",
        ),
        (
            "the largest size",
            vec![header(b'0', u64::MAX, |_| {})],
            "out of range",
        ),
        (
            "a header for nothing",
            vec![pax(&[("path", "x")])],
            "has no member behind it",
        ),
        (
            "two headers",
            vec![pax(&[]), pax(&[]), file.clone()],
            "two headers",
        ),
        (
            "two names",
            vec![member(b'L', b"a\0"), member(b'L', b"b\0"), file.clone()],
            "two headers",
        ),
        (
            "damaged records",
            vec![member(b'x', b"nonsense"), file.clone()],
            "makes no sense",
        ),
        ("a cut header", vec![file[..BLOCK - 1].to_vec()], "cut off"),
        (
            "another checksum",
            vec![[b"n", &file[1..]].concat()],
            "checksum",
        ),
        (
            "a link to itself",
            vec![header(b'1', 0, |h| h.as_old_mut().linkname[0] = b'm')],
            "does not come before",
        ),
        (
            "a link to nothing",
            vec![header(b'1', 0, |h| h.as_old_mut().linkname[0] = b'x')],
            "does not come before",
        ),
    ];
    for (what, parts, part) in cases {
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let error = read(&parts).expect_err(what);
        assert!(error.is_of_the_blob(), "{what}");
        let said = error.to_string();
        assert!(said.contains("archive is "), "{what}: {said}");
        assert!(said.contains(part), "{what}: {said}");
        let cache = parse_cache_tar(&mut &parts.concat()[..], 10);
        assert!(cache.is_err(), "{what}");
    }
}

#[test]
fn what_is_taken() {
    let file = member(b'0', b"abc");
    let max = usize::try_from(MAXIMUM_HEADER).expect("it fits");
    let comment = pax(&[("comment", &"c".repeat(max - 20))]);
    assert!(read(&[&comment, &file]).is_ok());
    assert!(read(&[&pax(&[("size", "3")]), &file]).is_ok());
    assert!(
        read(&[&member(b'g', b"18 path=elsewhere\n"), &file])
            .is_ok_and(|tree| tree.get(&path("m")).is_some())
    );
    // Names in both of GNU's ways and in PAX': GNU's counts, as in Go.
    let named = read(&[
        &member(b'L', b"long\0rest"),
        &pax(&[("path", "other")]),
        &file,
    ]);
    assert!(named.expect("a tar").get(&path("long")).is_some());
    // A directory without a kind, and one that says it had data.
    let old = header(0, 0, |h| h.as_old_mut().name[..2].copy_from_slice(b"d/"));
    let sized = header(b'5', 4096, |_| {});
    let tree = read(&[&old, &sized, &pax(&[("path", "f")]), &file]).expect("a tar");
    let merged = EntryKind::Directory(DirectoryKind::Merged);
    assert_eq!(tree.get(&path("d")).map(|entry| &entry.kind), Some(&merged));
    assert_eq!(tree.get(&path("m")).map(|entry| &entry.kind), Some(&merged));
    assert!(tree.get(&path("f")).is_some());
    // A file capability may have any bytes in it, and a time may be long ago.
    let attribute = pax(&[
        ("SCHILY.xattr.security.capability", "\x01\n\n\x02"),
        ("uid", "7"),
    ]);
    let tree = read(&[
        &attribute,
        &header(b'0', 0, |h| {
            h.as_old_mut().mtime.fill(0xff);
        }),
    ]);
    let entry = tree
        .expect("a tar")
        .get(&path("m"))
        .cloned()
        .expect("it is there");
    assert_eq!((entry.uid, entry.mtime.seconds), (7, -1));
    assert_eq!(&*entry.xattrs[0].1, b"\x01\n\n\x02");
}

/// A tar that cannot be read to its end, for the disk fails.
struct Failing<'t>(&'t [u8], rustix::io::Errno);

impl Read for Failing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(self.1.into()),
            length => Ok(length),
        }
    }
}

#[test]
fn a_disk_that_fails_is_no_damaged_archive() {
    use rustix::io::Errno;
    let file = member(b'0', &[7; 5000]);
    for length in [0, 100, BLOCK, 2000] {
        for (errno, is_for_want_of_room) in [(Errno::IO, false), (Errno::NOSPC, true)] {
            let mut failing = Failing(&file[..length], errno);
            let error = parse_tar(&mut failing, Whiteouts::Files).expect_err("it fails");
            assert!(!error.is_of_the_blob(), "{error}");
            assert!(
                error
                    .to_string()
                    .contains(&io::Error::from(errno).to_string())
            );
            let is_write = matches!(error, IngestError::Write { .. });
            assert_eq!(is_write, is_for_want_of_room, "{error}");
        }
    }
}

/// Whoever looked for each among all that came before would not be done today.
#[test]
fn many_links_to_what_is_no_file() {
    const LINKS: usize = 50_000;
    let mut tar = header(b'2', 0, |h| h.as_old_mut().linkname[0] = b'x');
    for number in 0..LINKS {
        tar.extend(header(b'1', 0, |h| {
            let name = format!("{number}");
            h.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            h.as_old_mut().linkname[0] = b'm';
        }));
        tar.extend(header(b'0', 0, |h| {
            let name = format!("d{number}/.wh..wh..opq");
            h.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        }));
    }
    let tree = read(&[&tar]).expect("a tar");
    assert_eq!(tree.entries().len(), 2 * LINKS + 1);
}

proptest! {
    #[test]
    fn parsing_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..3000), kinds in "[0-7xgLKSD]{1,4}", piece in 0..1200_usize) {
        let mut tar = Vec::new();
        for (kind, data) in kinds.bytes().zip(bytes.chunks(piece + 1)) {
            tar.extend(member(kind, data));
        }
        tar.extend(&bytes);
        let _ = parse_tar(&mut &tar[..], Whiteouts::Deletions);
        let _ = parse_cache_tar(&mut &tar[..], 3);
    }
}
