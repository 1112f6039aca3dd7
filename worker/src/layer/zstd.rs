//! Zstandard in parallel.
//!
//! libzstd's own threads cut the input into jobs whose size does not depend on their number, as long
//! as there is at least one: without any, the bytes differ.

use std::io::{self, Read, Write};

use zstd::stream::raw::CParameter;

/// The compressor's version, with the way its output is cut.
pub(super) const VERSION: &str = "zstd-1.5.7-2MiB";
/// The version of the crate that brings it.
#[cfg(test)]
pub(super) const CRATE: &str = "2.1.2+zstd.1.5.7";

/// The size of a job. libzstd's default would need more memory than a build should.
const JOB: u32 = 2 << 20;
/// Each thread needs some 6 MiB at the usual levels.
const MAXIMUM_THREADS: usize = 4;

/// Compresses all that `reader` has.
pub(super) fn compress(
    reader: &mut dyn Read,
    writer: &mut dyn Write,
    level: u8,
    threads: usize,
) -> io::Result<()> {
    let mut encoder = zstd::Encoder::new(writer, i32::from(level))?;
    let threads = threads.clamp(1, MAXIMUM_THREADS);
    encoder.multithread(u32::try_from(threads).unwrap_or(1))?;
    encoder.set_parameter(CParameter::JobSize(JOB))?;
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => encoder.write_all(&buffer[..length])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    encoder.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_do_not_depend_on_the_number_of_threads() {
        let input: Vec<u8> = (0..9_000_000u32).map(|i| (i / 7 % 251) as u8).collect();
        let compressed = |threads| {
            let mut output = Vec::new();
            compress(&mut &input[..], &mut output, 3, threads).expect("compresses");
            output
        };
        let one = compressed(1);
        for threads in [0, 2, 3, 4, 9] {
            assert!(compressed(threads) == one, "{threads} threads");
        }
        assert!(zstd::decode_all(&one[..]).expect("decompresses") == input);
    }
}
