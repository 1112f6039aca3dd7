//! Compresses the layers of a result behind the steps that make them, so that an export finds them
//! ready.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use kiln_solver::{DiffId, StepReporter};

use super::compress::{Compression, compress_growing, layer_blob};
use super::growing::{GrowingReader, GrowingWriter, growing};
use crate::io_error::IoError;
use crate::stop::Stop;
use crate::store::{DiskFile, Store};

/// Each thread has buffers of its own.
const MAXIMUM_THREADS: usize = 4;

/// Layers that are compressed before anybody waits for them.
///
/// What fails here fails again when the layer is exported, and is reported then.
pub struct Ahead {
    store: Store,
    compression: Compression,
    threads: usize,
    stop: Stop,
    /// Set once whoever exports does the rest.
    is_over: Arc<AtomicBool>,
    worker: Mutex<Option<Worker>>,
}

struct Worker {
    jobs: mpsc::Sender<Job>,
    thread: JoinHandle<()>,
}

/// One layer to compress.
enum Job {
    /// It is in the store.
    Stored(DiffId),
    /// Its tar is being written; its name comes once that is done.
    Growing(GrowingReader, mpsc::Receiver<DiffId>),
}

/// A tar that is compressed while it is written.
pub(super) struct Followed {
    pub(super) writer: GrowingWriter,
    name: mpsc::Sender<DiffId>,
}

impl Followed {
    /// The tar is written, and is that layer's.
    pub(super) fn finish(self, diff_id: DiffId) {
        // Nobody waits for the name if compressing has failed.
        let _ = self.name.send(diff_id);
        self.writer.finish();
    }
}

impl Ahead {
    /// Compresses into `compression` what it is told of.
    pub fn new(store: &Store, compression: Compression) -> Self {
        Self {
            store: store.clone(),
            compression,
            threads: std::thread::available_parallelism()
                .map_or(1, usize::from)
                .min(MAXIMUM_THREADS),
            stop: Stop::default(),
            is_over: Arc::default(),
            worker: Mutex::default(),
        }
    }

    /// A layer is in the store.
    pub fn layer(&self, diff_id: DiffId) {
        self.take(Job::Stored(diff_id));
    }

    /// A layer's tar is about to be written into an empty file at a path.
    pub(super) fn follow(&self, file: DiskFile, path: &Path) -> Result<Followed, IoError> {
        let (writer, reader) = growing(file, path)?;
        let (name, receiver) = mpsc::channel();
        self.take(Job::Growing(reader, receiver));
        Ok(Followed { writer, name })
    }

    /// Waits for what has begun. What has not is left to whoever needs it.
    pub fn finish(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        let worker = self.worker().take();
        if let Some(Worker { jobs, thread }) = worker {
            drop(jobs);
            // A panic there has been printed, and the export does the work.
            let _ = thread.join();
        }
    }

    fn worker(&self) -> std::sync::MutexGuard<'_, Option<Worker>> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, job: Job) {
        let mut worker = self.worker();
        let worker = worker.get_or_insert_with(|| self.start());
        // The thread ends before the channel only if it panicked.
        let _ = worker.jobs.send(job);
    }

    fn start(&self) -> Worker {
        let (jobs, receiver) = mpsc::channel();
        let (store, stop) = (self.store.clone(), self.stop.clone());
        let (compression, threads) = (self.compression, self.threads);
        let is_over = Arc::clone(&self.is_over);
        let work = move || {
            for job in receiver {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                // See above.
                let _ = match job {
                    Job::Stored(diff_id) => {
                        let silent = StepReporter::silent();
                        layer_blob(&store, &diff_id, compression, threads, &stop, &silent).map(drop)
                    }
                    Job::Growing(tar, name) => {
                        compress_growing(&store, tar, &name, compression, threads, &stop)
                    }
                };
            }
        };
        Worker {
            jobs,
            thread: std::thread::spawn(work),
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.stop.stop();
    }
}
