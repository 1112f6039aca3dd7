//! By what steps reach the network, said by the first one and by whoever finds that it is otherwise.

use std::sync::Mutex;

use kiln_solver::StepReporter;
use kiln_solver::progress::Fact;

use crate::sandbox::WayOut;

/// What the steps of a build have said.
#[derive(Debug, Default)]
pub struct NetworkNotice(Mutex<Option<Option<WayOut>>>);

impl NetworkNotice {
    /// Says by what a step reaches the network, unless that was said last.
    pub(super) fn give(&self, way: Option<WayOut>, reporter: &StepReporter) {
        let mut last = self
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if last.replace(way) == Some(way) {
            return;
        }
        reporter.learned(Fact::Network(match way {
            Some(way) => format!("of the step's own, by {way}"),
            None => "the host's; one of the step's own needs root, pasta or slirp4netns".to_owned(),
        }));
    }
}
