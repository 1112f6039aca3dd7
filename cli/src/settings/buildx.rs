//! Options of `docker build` and `docker buildx build`: what is not there yet is refused, and what has no
//! effect is accepted, so that scripts need not be changed.

use super::UsageError;
use super::output::{Output, OutputKind};
use crate::args::BuildxArgs;

/// How an image gets to a registry meanwhile.
const OTHER_WAY: &str = "write it with --output type=oci,dest=FILE, and let skopeo copy \
                         oci-archive:FILE to the registry";

/// What the user should know about options that have no effect.
///
/// # Errors
/// Something is asked for that is not there yet.
pub(super) fn remarks(args: &BuildxArgs) -> Result<Vec<String>, UsageError> {
    if args.push {
        return Err(no_push("--push", "true"));
    }
    let builder = args.builder.as_deref().filter(|name| !name.is_empty());
    let remark = |name| format!("--builder {name} has no effect: Kiln itself is the builder");
    Ok(builder.map(remark).into_iter().collect())
}

/// The error for who wants an image to be pushed.
pub(super) fn no_push(option: &'static str, typed: &str) -> UsageError {
    UsageError::new(option, typed, "pushing to a registry is not supported yet").hint(OTHER_WAY)
}

/// The outputs with what `--load` asks for: the image in the store.
pub(super) fn with_loaded(args: &BuildxArgs, mut outputs: Vec<Output>) -> Vec<Output> {
    let is_image = |output: &Output| output.kind == OutputKind::Image;
    if args.load && !outputs.iter().any(is_image) {
        outputs.push(Output::image());
    }
    outputs
}
