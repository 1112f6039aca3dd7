//! gzip in parallel: members of 1 MiB each, one after the other (RFC 1952, section 2.2).
//!
//! Cutting does not depend on the number of threads, so the bytes do not either.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use libdeflater::{CompressionLvl, Compressor};

/// The compressor's version, with the way its output is cut.
pub(super) const VERSION: &str = "libdeflate-1.26-1MiB";
/// The version of the crate that brings it.
#[cfg(test)]
pub(super) const CRATE: &str = "1.26.1";

const MEMBER: usize = 1 << 20;

/// Compresses all that `reader` has. Holds at most 4 MiB for each thread.
pub(super) fn compress(
    reader: &mut (dyn Read + Send),
    writer: &mut dyn Write,
    level: u8,
    threads: usize,
) -> io::Result<()> {
    let level = CompressionLvl::new(i32::from(level))
        .map_err(|_| io::Error::other("no such gzip level"))?;
    std::thread::scope(|scope| {
        let mut inputs = Vec::new();
        let mut outputs = Vec::new();
        for _ in 0..threads.max(1) {
            let (input, chunks) = sync_channel(1);
            let (members, output) = sync_channel(1);
            scope.spawn(move || compress_chunks(level, &chunks, &members));
            inputs.push(input);
            outputs.push(output);
        }
        let reading = scope.spawn(move || deal_out(reader, &inputs));
        let written = collect(writer, &outputs);
        // Without a receiver the other threads end, should writing have failed.
        drop(outputs);
        let read = reading
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("reading panicked")));
        // The cause comes before its consequence.
        read.and(written)
    })
}

/// Hands the chunks to the threads in turn. An empty input still makes one member.
fn deal_out(reader: &mut (dyn Read + Send), inputs: &[SyncSender<Vec<u8>>]) -> io::Result<()> {
    for turn in 0.. {
        let mut chunk = Vec::with_capacity(MEMBER);
        reader.take(MEMBER as u64).read_to_end(&mut chunk)?;
        let is_last = chunk.len() < MEMBER;
        if chunk.is_empty() && turn > 0 {
            break;
        }
        if inputs[turn % inputs.len()].send(chunk).is_err() || is_last {
            break;
        }
    }
    Ok(())
}

fn compress_chunks(
    level: CompressionLvl,
    chunks: &Receiver<Vec<u8>>,
    members: &SyncSender<io::Result<Vec<u8>>>,
) {
    let mut compressor = Compressor::new(level);
    for chunk in chunks {
        let mut member = vec![0; compressor.gzip_compress_bound(chunk.len())];
        let compressed = compressor.gzip_compress(&chunk, &mut member);
        drop(chunk);
        let result = compressed.map_err(io::Error::other).map(|length| {
            member.truncate(length);
            member
        });
        if members.send(result).is_err() {
            return;
        }
    }
}

/// Takes the members in the order in which the chunks were dealt out.
fn collect(writer: &mut dyn Write, outputs: &[Receiver<io::Result<Vec<u8>>>]) -> io::Result<()> {
    for output in outputs.iter().cycle() {
        // The first thread without a member is the one that got no chunk in this round.
        let Ok(member) = output.recv() else {
            return Ok(());
        };
        writer.write_all(&member?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compressed(input: &[u8], threads: usize) -> Vec<u8> {
        let mut output = Vec::new();
        compress(&mut &*input, &mut output, 6, threads).expect("compresses");
        output
    }

    /// Compressible, and not the same in each member.
    fn sample(length: usize) -> Vec<u8> {
        (0..length)
            .map(|i| (i / 7 % 251) as u8 ^ (i >> 18) as u8)
            .collect()
    }

    #[test]
    fn the_bytes_do_not_depend_on_the_number_of_threads() {
        for length in [0, 1, MEMBER - 1, MEMBER, MEMBER + 1, 5 * MEMBER + 3] {
            let input = sample(length);
            let one = compressed(&input, 1);
            for threads in 2..=4 {
                assert_eq!(
                    compressed(&input, threads),
                    one,
                    "{length} bytes, {threads} threads"
                );
            }
            let mut back = Vec::new();
            let mut decoder = flate2::read::MultiGzDecoder::new(&one[..]);
            decoder.read_to_end(&mut back).expect("decompresses");
            assert!(back == input, "{length} bytes");
        }
    }

    #[test]
    fn failures_end_all_threads() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                if self.0 == 0 {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                self.0 -= 1;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let input = sample(9 * MEMBER);
        let error = compress(&mut &input[..], &mut Full(2), 1, 3).expect_err("no room");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);

        struct Broken(u64);
        impl Read for Broken {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 += buffer.len() as u64;
                if self.0 > 4 << 20 {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                Ok(buffer.len())
            }
        }
        let error = compress(&mut Broken(0), &mut io::sink(), 1, 3).expect_err("broken");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
