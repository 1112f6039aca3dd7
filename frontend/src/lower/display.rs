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
        const FRAME: usize = "[linux/amd64 builder 10/10] ONBUILD ".len();
        let mut name = String::with_capacity(FRAME + text.len());
        name.push('[');
        if let Some(platform) = &self.platform {
            name.push_str(&format!(
                "{platform}{} ",
                cross_target(platform, environment)
            ));
        }
        if let Some(stage) = &self.stage {
            name.extend([stage, " "]);
        }
        let width = self.total.ilog10() as usize + 1;
        name.push_str(&format!("{:>width$}/{}] ", self.next, self.total));
        if triggered {
            name.push_str("ONBUILD ");
        }
        name.push_str(text);
        name
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
pub(super) fn with_keyword_in_capitals(text: String) -> String {
    let (keyword, rest) = text.split_at(text.find(' ').unwrap_or(text.len()));
    match keyword.bytes().all(|byte| byte.is_ascii_uppercase()) {
        true => text,
        false => keyword.to_uppercase() + rest,
    }
}

/// The first line of a heredoc, with dots if there are more.
pub(super) fn heredoc_summary(content: &str) -> String {
    let mut lines = content.trim().lines();
    let first = lines.next().unwrap_or_default();
    let dots = if lines.next().is_some() { "..." } else { "" };
    format!("{first}{dots}")
}
