//! Byte progress that is told often enough for an eye and no oftener.

use std::time::{Duration, Instant};

use kiln_solver::StepReporter;

/// No more than ten reports a second for one item.
const INTERVAL: Duration = Duration::from_millis(100);

/// Counts the bytes of one item and reports them.
pub(crate) struct Meter {
    reporter: StepReporter,
    item: String,
    current: u64,
    total: Option<u64>,
    reported: Instant,
}

impl Meter {
    /// Begins at 0.
    pub(crate) fn new(
        reporter: &StepReporter,
        item: impl Into<String>,
        total: Option<u64>,
    ) -> Self {
        let meter = Self {
            reporter: reporter.clone(),
            item: item.into(),
            current: 0,
            total,
            reported: Instant::now(),
        };
        meter.report();
        meter
    }

    /// More bytes have moved.
    pub(crate) fn add(&mut self, bytes: u64) {
        self.current += bytes;
        if self.reported.elapsed() >= INTERVAL {
            self.reported = Instant::now();
            self.report();
        }
    }

    /// All bytes have moved.
    pub(crate) fn finish(mut self) {
        self.total = Some(self.current);
        self.report();
    }

    fn report(&self) {
        self.reporter
            .transferred(&self.item, self.current, self.total);
    }
}
