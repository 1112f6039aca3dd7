//! The targets of a Dockerfile, as `--call=targets` lists them.

use crate::source::{Span, Spanned};
use crate::stage::Stages;
use crate::syntax::Dockerfile;

/// A stage that can be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name in lower case.
    pub name: Option<String>,
    /// What a comment above FROM says about it.
    pub description: String,
    /// Whether it is built if no other is named.
    pub is_default: bool,
    /// Its base as written.
    pub base: String,
    /// Its platform as written.
    pub platform: Option<String>,
    /// Where its FROM stands.
    pub span: Span,
}

/// All stages in order.
pub fn targets(dockerfile: &Dockerfile) -> Vec<Target> {
    let stages = Stages::of(dockerfile);
    let last = stages.all.len().saturating_sub(1);
    let target = |stage: &crate::stage::Stage<'_>| Target {
        name: stage.name.clone(),
        description: stage.name.as_ref().map_or_else(String::new, |name| {
            description(&stage.instruction.comments, name)
        }),
        is_default: stage.index == last,
        base: stage.from.image.value.clone(),
        platform: stage.from.platform.as_ref().map(|word| word.value.clone()),
        span: stage.instruction.span,
    };
    stages.all.iter().map(target).collect()
}

/// What the comments above an instruction say about a name: the first that begins with it.
pub(crate) fn description(comments: &[Spanned<String>], name: &str) -> String {
    let mut texts = comments.iter().filter_map(|comment| {
        let rest = comment.value.strip_prefix(name)?;
        rest.strip_prefix(' ')
    });
    texts.next().unwrap_or_default().to_owned()
}
