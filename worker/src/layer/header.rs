//! Tar headers as they stand in Kiln's layers: POSIX ustar, with PAX records (pax(1)) for what does
//! not fit. The same entry always gives the same bytes.

use crate::tree::{Entry, EntryKind};

/// The size of tar's records.
pub(super) const BLOCK: usize = 512;
/// The largest number that fits into a header's field of 7 octal digits.
const MAXIMUM_ID: u32 = 0o7_777_777;
/// The largest file size that fits into a header's field of 11 octal digits.
const MAXIMUM_SIZE: u64 = 0o77_777_777_777;
const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";
/// Before each whiteout's name (OCI image specification, "Whiteouts").
pub(super) const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// The name of the file that makes its directory opaque.
pub(super) const OPAQUE_NAME: &[u8] = b".wh..wh..opq";

/// How exactly times are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    /// In whole seconds, as BuildKit's layers have them.
    WholeSeconds,
    /// With all nanoseconds that there are.
    Exact,
}

/// Appends the header (or headers) of an entry that stands in the layer.
pub(super) fn write_entry(entry: &Entry, times: Times, out: &mut Vec<u8>) {
    let mut name = entry.path.as_bytes().to_vec();
    let (kind, size, link, device): (_, _, &[u8], _) = match &entry.kind {
        EntryKind::File { size, .. } => (tar::EntryType::Regular, *size, b"", None),
        EntryKind::Directory(_) => {
            name.push(b'/');
            (tar::EntryType::Directory, 0, b"", None)
        }
        EntryKind::Symlink { target } => (tar::EntryType::Symlink, 0, target, None),
        EntryKind::HardLink { target } => (tar::EntryType::Link, 0, target.as_bytes(), None),
        EntryKind::Fifo => (tar::EntryType::Fifo, 0, b"", None),
        EntryKind::CharDevice { major, minor } => {
            (tar::EntryType::Char, 0, b"", Some((*major, *minor)))
        }
        EntryKind::BlockDevice { major, minor } => {
            (tar::EntryType::Block, 0, b"", Some((*major, *minor)))
        }
        EntryKind::Whiteout => {
            name = whiteout_name(entry);
            (tar::EntryType::Regular, 0, b"", None)
        }
    };
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(if entry.kind == EntryKind::Whiteout {
        0
    } else {
        entry.mode
    });
    let mut records = Vec::new();
    set_text(&mut header.as_old_mut().name, &name, b"path", &mut records);
    set_text(
        &mut header.as_old_mut().linkname,
        link,
        b"linkpath",
        &mut records,
    );
    set_ids(&mut header, entry, &mut records);
    let fraction = match times {
        Times::WholeSeconds => 0,
        Times::Exact => entry.mtime.nanoseconds,
    };
    set_mtime(&mut header, entry.mtime.seconds, fraction, &mut records);
    if size > MAXIMUM_SIZE {
        record(&mut records, b"size", size.to_string().as_bytes());
    }
    header.set_size(size.min(MAXIMUM_SIZE));
    if let Some((major, minor)) = device {
        // The fields hold 7 octal digits, more than Linux' 12 and 20 bits.
        let _ = header
            .set_device_major(major)
            .and_then(|()| header.set_device_minor(minor));
    }
    for (name, value) in &entry.xattrs {
        record(&mut records, &[XATTR_PREFIX, name].concat(), value);
    }
    if !records.is_empty() {
        write_pax(&records, out);
    }
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
}

/// Appends the header of the file that makes a directory opaque.
pub(super) fn write_opaque_marker(directory: &Entry, out: &mut Vec<u8>) {
    let marker = Entry {
        path: directory.path.join_name(OPAQUE_NAME),
        kind: EntryKind::File {
            size: 0,
            digest: kiln_solver::ContentDigest::new([0; 32]),
            offset: 0,
        },
        mode: 0,
        xattrs: Vec::new(),
        ..directory.clone()
    };
    write_entry(&marker, Times::WholeSeconds, out);
}

/// Appends the zeros that fill up a record after `size` bytes.
pub(super) fn write_padding(size: u64, out: &mut Vec<u8>) {
    let rest = (size % BLOCK as u64) as usize;
    if rest != 0 {
        out.resize(out.len() + BLOCK - rest, 0);
    }
}

fn whiteout_name(entry: &Entry) -> Vec<u8> {
    let file_name = entry.path.file_name().unwrap_or_default();
    let directory = entry.path.parent().unwrap_or_default();
    directory
        .join_name(&[WHITEOUT_PREFIX, file_name].concat())
        .as_bytes()
        .to_vec()
}

fn set_text(field: &mut [u8], value: &[u8], name: &[u8], records: &mut Vec<u8>) {
    if value.len() > field.len() {
        record(records, name, value);
    }
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
}

fn set_ids(header: &mut tar::Header, entry: &Entry, records: &mut Vec<u8>) {
    for (name, id) in [(&b"uid"[..], entry.uid), (b"gid", entry.gid)] {
        if id > MAXIMUM_ID {
            record(records, name, id.to_string().as_bytes());
        }
    }
    let fitting = |id: u32| u64::from(if id > MAXIMUM_ID { 0 } else { id });
    header.set_uid(fitting(entry.uid));
    header.set_gid(fitting(entry.gid));
}

/// Sets the time: a record says it if the header's field does not take it. Of a fraction, the seconds are
/// those before it, also before 1970: the record's `-2.75` is a quarter after -3.
fn set_mtime(header: &mut tar::Header, seconds: i64, fraction: u32, records: &mut Vec<u8>) {
    let fits = u64::try_from(seconds).ok();
    let fits = fits.filter(|seconds| *seconds <= MAXIMUM_SIZE);
    header.set_mtime(fits.unwrap_or(0));
    let text = match (fits, fraction) {
        (Some(_), 0) => return,
        (None, 0) => seconds.to_string(),
        (_, _) if seconds < 0 => {
            let (whole, rest) = (-(seconds + 1), 1_000_000_000 - fraction);
            format!("-{whole}.{rest:09}")
        }
        (_, _) => format!("{seconds}.{fraction:09}"),
    };
    record(records, b"mtime", text.as_bytes());
}

/// Appends a record: its whole length in decimal, a blank, `name=value`, a newline.
fn record(records: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let rest = name.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(name);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn write_pax(records: &[u8], out: &mut Vec<u8>) {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::XHeader);
    header.as_old_mut().name[..11].copy_from_slice(b"PaxHeaders/");
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(records.len() as u64);
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(records);
    write_padding(records.len() as u64, out);
}
