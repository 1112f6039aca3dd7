//! The way from the threads that build to the one that draws.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kiln_solver::progress::{Event, EventKind, Fact, LogStream, Progress, StepId};

use super::figures::bytes;

/// How many bytes of logs may wait to be drawn. A terminal that is slower than that loses output,
/// since neither the build nor memory may depend on it; the recorded logs are whole.
const WAITING_LOG_LIMIT: usize = 8 * 1024 * 1024;

/// Draws a build. All times count from its start.
pub trait Renderer: Send {
    /// How often [`Renderer::tick`] should be called; `None` is never.
    fn interval(&self) -> Option<Duration>;
    /// Something happened.
    fn event(&mut self, at: Duration, event: &Event) -> io::Result<()>;
    /// Time went by.
    fn tick(&mut self, now: Duration) -> io::Result<()>;
    /// The build is over: shows what has not been shown.
    fn finish(&mut self, now: Duration) -> io::Result<()>;
}

/// A renderer at work on its own thread. Ends when it is dropped.
pub struct Display {
    channel: Arc<Channel>,
    thread: Option<JoinHandle<()>>,
}

impl Display {
    /// Starts to draw.
    pub fn start(renderer: impl Renderer + 'static) -> Self {
        let started = Instant::now();
        let (sender, receiver) = channel();
        let channel = Arc::new(Channel {
            sender,
            started,
            waiting_log: Arc::default(),
            left_out: Mutex::default(),
        });
        let waiting_log = Arc::clone(&channel.waiting_log);
        let drawing = Drawing {
            renderer: Box::new(renderer),
            started,
            waiting_log,
        };
        let thread = thread::Builder::new().name("progress".to_owned());
        // Without a thread nothing is shown, and the build goes on.
        let thread = thread.spawn(move || drawing.run(&receiver)).ok();
        Self { channel, thread }
    }

    /// Where the build reports to.
    pub fn progress(&self) -> Arc<dyn Progress> {
        Arc::clone(&self.channel) as Arc<dyn Progress>
    }

    /// Waits until all that was reported is shown. What is reported later is lost.
    pub fn finish(self) {
        drop(self);
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.channel.send(Message::End);
        if let Some(thread) = self.thread.take() {
            // A renderer that panicked has nothing left to show.
            let _ = thread.join();
        }
    }
}

struct Timed {
    at: Duration,
    message: Message,
}

enum Message {
    Event(Event),
    End,
}

/// Takes events from any thread without ever waiting.
struct Channel {
    sender: Sender<Timed>,
    started: Instant,
    waiting_log: Arc<AtomicUsize>,
    left_out: Mutex<HashMap<StepId, usize>>,
}

impl Channel {
    fn send(&self, message: Message) {
        let at = self.started.elapsed();
        // The receiver is gone only if drawing has failed or ended.
        let _ = self.sender.send(Timed { at, message });
    }

    fn send_log(&self, step: StepId, stream: LogStream, piece: Arc<[u8]>) {
        let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        if self.waiting_log.load(Ordering::Relaxed) > WAITING_LOG_LIMIT {
            *left_out.entry(step).or_default() += piece.len();
            return;
        }
        if let Some(missing) = left_out.remove(&step) {
            let note = format!(
                "\n[{} of output were too fast to show]\n",
                bytes(missing as u64)
            );
            self.send_piece(step, stream, note.into_bytes().into());
        }
        drop(left_out);
        self.send_piece(step, stream, piece);
    }

    fn send_piece(&self, step: StepId, stream: LogStream, bytes: Arc<[u8]>) {
        self.waiting_log.fetch_add(bytes.len(), Ordering::Relaxed);
        self.send(Message::Event(Event {
            step,
            kind: EventKind::Log { stream, bytes },
        }));
    }
}

impl Progress for Channel {
    fn report(&self, event: Event) {
        match event.kind {
            EventKind::Log { stream, bytes } => self.send_log(event.step, stream, bytes),
            EventKind::Learned(Fact::Network(_)) => self.send(Message::Event(event)),
            // Nobody draws it.
            EventKind::Learned(_) => {}
            _ => self.send(Message::Event(event)),
        }
    }
}

/// What the drawing thread owns.
struct Drawing {
    renderer: Box<dyn Renderer>,
    started: Instant,
    waiting_log: Arc<AtomicUsize>,
}

impl Drawing {
    fn run(mut self, receiver: &Receiver<Timed>) {
        // Where nobody can read, there is nobody to tell.
        let _ = self.draw(receiver);
    }

    fn draw(&mut self, receiver: &Receiver<Timed>) -> io::Result<()> {
        let interval = self.renderer.interval();
        let mut last_tick = Duration::ZERO;
        loop {
            let now = self.started.elapsed();
            if interval.is_some_and(|interval| now >= last_tick + interval) {
                last_tick = now;
                self.renderer.tick(now)?;
            }
            let due = interval.map(|interval| (last_tick + interval).saturating_sub(now));
            let Some(Timed { at, message }) = receive(receiver, due) else {
                continue;
            };
            match message {
                Message::Event(event) => self.event(at, &event)?,
                Message::End => return self.renderer.finish(at),
            }
        }
    }

    fn event(&mut self, at: Duration, event: &Event) -> io::Result<()> {
        if let EventKind::Log { bytes, .. } = &event.kind {
            self.waiting_log.fetch_sub(bytes.len(), Ordering::Relaxed);
        }
        self.renderer.event(at, event)
    }
}

/// The next message; `None` if a tick is due first.
fn receive(receiver: &Receiver<Timed>, due: Option<Duration>) -> Option<Timed> {
    let ended = || Timed {
        at: Duration::ZERO,
        message: Message::End,
    };
    match due {
        None => Some(receiver.recv().unwrap_or_else(|_| ended())),
        Some(due) => match receiver.recv_timeout(due) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(ended()),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use kiln_solver::progress::Reporter;

    use super::*;

    /// Stands still until it is let go, then counts the bytes of logs and keeps the last piece.
    struct Slow {
        gate: mpsc::Receiver<()>,
        seen: Arc<Mutex<(usize, String)>>,
    }

    impl Renderer for Slow {
        fn interval(&self) -> Option<Duration> {
            None
        }

        fn event(&mut self, _: Duration, event: &Event) -> io::Result<()> {
            if let EventKind::Log { bytes, .. } = &event.kind {
                let mut seen = self.seen.lock().expect("no other thread panicked");
                seen.0 += bytes.len();
                if bytes.len() < 100 {
                    seen.1 += &String::from_utf8_lossy(bytes);
                }
            } else {
                let _ = self.gate.recv();
            }
            Ok(())
        }

        fn tick(&mut self, _: Duration) -> io::Result<()> {
            Ok(())
        }

        fn finish(&mut self, _: Duration) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_terminal_that_stands_still_neither_stops_the_build_nor_fills_memory() {
        let (open, gate) = mpsc::channel();
        let seen = Arc::default();
        let display = Display::start(Slow {
            gate,
            seen: Arc::clone(&seen),
        });
        let waiting_log = Arc::clone(&display.channel.waiting_log);
        let step = Reporter::new(display.progress()).announce("RUN yes", None);
        let piece = vec![b'y'; 1024 * 1024];
        for _ in 0..50 {
            step.log(LogStream::Stdout, &piece);
        }
        open.send(()).expect("the renderer waits");
        while waiting_log.load(Ordering::Relaxed) > 0 {
            thread::yield_now();
        }
        step.log(LogStream::Stdout, b"end");
        display.finish();
        let (count, text) = seen.lock().expect("no other thread panicked").clone();
        assert!(count < 2 * WAITING_LOG_LIMIT, "{count}");
        assert_eq!(text, "\n[42.99MB of output were too fast to show]\nend");
    }
}
