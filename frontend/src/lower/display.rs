//! What people see of steps: `[builder 2/5] RUN make`.

use kiln_solver::Platform;

use super::environment::Environment;

/// Numbers the steps of one stage.
#[derive(Debug, Clone, Default)]
pub(super) struct Numbering {
    /// The stage's name; `None` if it is the only one.
    pub(super) stage: Option<String>,
    /// How many steps the stage shows; with none, nothing is numbered.
    pub(super) total: usize,
    /// The platform, if several are built.
    pub(super) platform: Option<Platform>,
    pub(super) next: usize,
}

impl Numbering {
    /// The name of the next step.
    pub(super) fn name(
        &mut self,
        text: &str,
        triggered: bool,
        environment: &Environment,
    ) -> String {
        if self.total == 0 {
            return text.to_owned();
        }
        self.next += 1;
        let platform = match &self.platform {
            Some(platform) => format!("{platform}{} ", cross_target(platform, environment)),
            None => String::new(),
        };
        let stage = self
            .stage
            .as_ref()
            .map(|stage| format!("{stage} "))
            .unwrap_or_default();
        let width = self.total.ilog10() as usize + 1;
        let trigger = if triggered { "ONBUILD " } else { "" };
        let (next, total) = (self.next, self.total);
        format!("[{platform}{stage}{next:>width$}/{total}] {trigger}{text}")
    }
}

/// `->arm64` if the step runs on one platform and its variables name another as the target.
fn cross_target(platform: &Platform, environment: &Environment) -> String {
    let named = environment
        .value("TARGETPLATFORM")
        .and_then(|text| text.parse::<Platform>().ok());
    let part = |name| environment.value(name).map(str::to_owned);
    let (os, architecture) = (part("TARGETOS"), part("TARGETARCH"));
    if named.is_none() && os.is_none() && architecture.is_none() {
        return String::new();
    }
    let target = named.unwrap_or_else(|| Platform {
        os: os.unwrap_or_else(|| platform.os.clone()),
        architecture: architecture.unwrap_or_else(|| platform.architecture.clone()),
        variant: part("TARGETVARIANT").unwrap_or_default(),
    });
    match (
        target.os == platform.os,
        target.architecture == platform.architecture,
    ) {
        (true, true) => String::new(),
        (true, false) if target.variant.is_empty() => format!("->{}", target.architecture),
        (true, false) => format!("->{}/{}", target.architecture, target.variant),
        (false, _) => format!("->{target}"),
    }
}

/// The text with its first word in capitals.
pub(super) fn with_keyword_in_capitals(text: &str) -> String {
    match text.split_once(' ') {
        Some((keyword, rest)) => format!("{} {rest}", keyword.to_uppercase()),
        None => text.to_uppercase(),
    }
}

/// The first line of a heredoc, with dots if there are more.
pub(super) fn heredoc_summary(content: &str) -> String {
    let mut lines = content.trim().lines();
    let first = lines.next().unwrap_or_default();
    let dots = if lines.next().is_some() { "..." } else { "" };
    format!("{first}{dots}")
}
