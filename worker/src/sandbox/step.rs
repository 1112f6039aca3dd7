//! A step's helper as the engine sees it: a process, the socket to speak with it, and the output of what it runs.

use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};

use super::enclosure::Enclosure;
use super::helper;
use super::run::Stream;
use super::wire;

/// A started helper. Dropping it closes the socket, which ends the step.
pub(super) struct Step {
    helper: Child,
    socket: UnixStream,
    /// The same socket, to close it for writing while the report is awaited.
    lifeline: std::os::unix::net::UnixStream,
    stdout: Output,
    stderr: Output,
}

impl Step {
    /// Starts a helper, which makes the enclosure at once and then waits for a job.
    pub(super) fn start(program: &Path, enclosure: &Enclosure) -> io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        let (stdout, stdout_writer) = io::pipe()?;
        let (stderr, stderr_writer) = io::pipe()?;
        // Everything else of ours closes itself on exec, so that the helper alone holds its ends.
        let helper = Command::new(program)
            .arg0(helper::NAME)
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(stdout_writer)
            .stderr(stderr_writer)
            .spawn()?;
        // It fits into the socket, where it waits until the helper is there.
        wire::send(&ours, enclosure)?;
        ours.set_nonblocking(true)?;
        Ok(Self {
            helper,
            lifeline: ours.try_clone()?,
            socket: UnixStream::from_std(ours)?,
            stdout: Output::new(Stream::Stdout, stdout.into())?,
            stderr: Output::new(Stream::Stderr, stderr.into())?,
        })
    }

    /// Whether the helper has not ended.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.helper.try_wait(), Ok(None))
    }

    /// Tells the helper what to run. It may have ended; then its report says why.
    pub(super) async fn give(&mut self, job: &[u8]) {
        let _ = self.socket.write_all(job).await;
    }

    /// Passes on what the step writes until the helper's report has come, which is returned, with whether
    /// the step was stopped since `cancelled` was ready; then waits for the helper's end.
    pub(super) async fn report(
        self,
        log: &mut impl FnMut(Stream, &[u8]),
        mut cancelled: impl Future<Output = ()> + Unpin,
    ) -> Result<(io::Result<Vec<u8>>, bool), (&'static str, io::Error)> {
        let Self {
            mut helper,
            socket,
            lifeline,
            mut stdout,
            mut stderr,
        } = self;
        let mut stopped = false;
        let mut report = std::pin::pin!(receive(socket));
        let report = loop {
            tokio::select! {
                report = &mut report => break report,
                length = stdout.read(), if stdout.open => stdout.pass_on(length, log),
                length = stderr.read(), if stderr.open => stderr.pass_on(length, log),
                () = &mut cancelled, if !stopped => {
                    stopped = true;
                    lifeline.shutdown(Shutdown::Write).map_err(|error| ("stop", error))?;
                }
            }
        };
        if report.is_err() {
            // Without a helper to wait for, the end of the output tells that the step is gone.
            let ends = async {
                while stdout.open || stderr.open {
                    tokio::select! {
                        length = stdout.read(), if stdout.open => stdout.pass_on(length, log),
                        length = stderr.read(), if stderr.open => stderr.pass_on(length, log),
                    }
                }
            };
            let _ = tokio::time::timeout(Duration::from_secs(1), ends).await;
        }
        stdout.drain(log);
        stderr.drain(log);
        helper.wait().await.map_err(|error| ("wait for", error))?;
        Ok((report, stopped))
    }
}

async fn receive(mut socket: UnixStream) -> io::Result<Vec<u8>> {
    let length = socket.read_u32_le().await?;
    let mut report = vec![0; length as usize];
    socket.read_exact(&mut report).await?;
    Ok(report)
}

/// Our end of one of the step's output pipes.
struct Output {
    stream: Stream,
    pipe: Receiver,
    open: bool,
    buffer: Vec<u8>,
}

impl Output {
    fn new(stream: Stream, pipe: OwnedFd) -> io::Result<Self> {
        let pipe = Receiver::from_owned_fd(pipe)?;
        Ok(Self {
            stream,
            pipe,
            open: true,
            buffer: vec![0; 64 << 10],
        })
    }

    /// Reads what comes next; nothing is the end.
    async fn read(&mut self) -> usize {
        self.pipe.read(&mut self.buffer).await.unwrap_or(0)
    }

    fn pass_on(&mut self, length: usize, log: &mut impl FnMut(Stream, &[u8])) {
        match length {
            0 => self.open = false,
            length => log(self.stream, &self.buffer[..length]),
        }
    }

    /// Passes on what is left, without waiting for the end: a descriptor that the step handed to some
    /// process outside could keep that from coming.
    fn drain(&mut self, log: &mut impl FnMut(Stream, &[u8])) {
        // Not by the runtime, which would not look before it has been told that there is something.
        while let Ok(length @ 1..) = rustix::io::read(&self.pipe, &mut self.buffer[..]) {
            log(self.stream, &self.buffer[..length]);
        }
    }
}
