//! `type=tar`: the root file system as one tar.

use std::io::{self, Write};

use kiln_solver::StepReporter;

use super::atomic_file::AtomicFile;
use super::flat::flatten;
use super::{BuiltImage, Destination, ExportError, blocking};
use crate::layer::{PackEntry, pack};
use crate::meter::Meter;
use crate::stop::Stop;
use crate::store::Store;

/// Writes what the image shows as a tar. Dropping the future ends the work, and leaves nothing.
pub async fn to_tar(
    store: &Store,
    image: BuiltImage,
    destination: Destination,
    reporter: &StepReporter,
) -> Result<(), ExportError> {
    let (store, reporter) = (store.clone(), reporter.clone());
    blocking(move |stop| match destination {
        Destination::File(path) => {
            let mut file = AtomicFile::create(&path)?;
            write(&store, &image, file.file(), stop, &reporter)
                .map_err(|error| error.while_writing(&path))?;
            file.finish()
        }
        Destination::Stream(mut writer) => {
            write(&store, &image, &mut *writer, stop, &reporter)?;
            writer
                .flush()
                .map_err(|error| crate::layer::PackError::Write(error).into())
        }
    })
    .await
}

fn write(
    store: &Store,
    image: &BuiltImage,
    sink: &mut dyn Write,
    stop: &Stop,
    reporter: &StepReporter,
) -> Result<(), ExportError> {
    let entries = flatten(store, image)?;
    let entries = entries.into_iter().map(|flat| PackEntry {
        digest_is_known: true,
        entry: flat.entry,
        bytes: flat.bytes,
    });
    let mut sink = Metered {
        inner: sink,
        stop,
        meter: Meter::new(reporter, "sending tarball", None),
    };
    pack(entries, &mut sink)?;
    sink.meter.finish();
    Ok(())
}

struct Metered<'s> {
    inner: &'s mut dyn Write,
    stop: &'s Stop,
    meter: Meter,
}

impl Write for Metered<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stop.check()?;
        let length = self.inner.write(bytes)?;
        self.meter.add(length as u64);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
