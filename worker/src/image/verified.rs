//! A stream that fails before its end if it is not what its name says.

use std::io::{self, Read};

use kiln_solver::Sha256Digest;
use sha2::{Digest, Sha256};

/// Bytes of which the digest and the number are known.
pub(crate) struct Verified<R> {
    inner: R,
    hasher: Sha256,
    expected: Sha256Digest,
    left: u64,
    is_done: bool,
}

impl<R> Verified<R> {
    pub(crate) fn new(inner: R, expected: Sha256Digest, size: u64) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            expected,
            left: size,
            is_done: false,
        }
    }

    fn check(&mut self) -> io::Result<()> {
        let found = Sha256Digest::new(std::mem::take(&mut self.hasher).finalize().into());
        let expected = self.expected;
        if self.left > 0 {
            let left = self.left;
            return Err(io::Error::other(format!(
                "{expected}: the last {left} bytes are missing"
            )));
        }
        if found != expected {
            return Err(io::Error::other(format!(
                "expected digest {expected}, but the content has {found}"
            )));
        }
        self.is_done = true;
        Ok(())
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_done || buffer.is_empty() {
            return Ok(0);
        }
        let length = self.inner.read(buffer)?;
        if length == 0 {
            return self.check().map(|()| 0);
        }
        let expected = self.expected;
        let left = self.left.checked_sub(length as u64);
        self.left = left.ok_or_else(|| {
            io::Error::other(format!("{expected}: it is longer than it is said to be"))
        })?;
        self.hasher.update(&buffer[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sha256;

    #[test]
    fn only_what_it_should_be_is_read_to_its_end() {
        let cases: [(&[u8], u64, bool); 5] = [
            (b"bytes", 5, true),
            (b"bytez", 5, false),
            (b"byte", 5, false),
            (b"bytes and more", 5, false),
            (b"bytes", 4, false),
        ];
        for (bytes, size, is_right) in cases {
            let mut verified = Verified::new(bytes, sha256(b"bytes"), size);
            let read = verified.read_to_end(&mut Vec::new());
            assert_eq!(read.is_ok(), is_right, "{bytes:?} {size} {read:?}");
        }
    }
}
