//! File systems that come from outside the Dockerfile, and how names find them: `scratch`, named
//! contexts, images.

use kiln_solver::{Platform, Reference};

use super::remote::RemoteSource;
use super::{Checked, ImageLocation, ImageRequest, NamedContext, Options};
use crate::diagnostic::{Diagnostic, Suggestions};
use crate::source::Span;
use crate::stage::Stages;

/// A file system that no stage of the file makes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Root {
    Scratch,
    /// A directory of the client's, and the context's name.
    Local {
        directory: String,
        context: String,
    },
    /// Something of another machine, and the context's name.
    Remote {
        source: RemoteSource,
        context: String,
    },
    /// An image; if a named context says so, its name.
    Image {
        request: ImageRequest,
        context: Option<String>,
    },
}

/// Finds roots by name.
pub(super) struct Roots<'a> {
    pub(super) stages: &'a Stages<'a>,
    pub(super) options: &'a Options,
    pub(super) suggestions: &'a Suggestions,
}

impl<'a> Roots<'a> {
    /// The root of that name: nothing, a named context or an image.
    pub(super) fn root(
        &self,
        name: &str,
        platform: Option<&Platform>,
        span: Span,
    ) -> Checked<Root> {
        if name == "scratch" {
            return Ok(Root::Scratch);
        }
        let reference = name.parse::<Reference>().map_err(|error| {
            let finding = Diagnostic::error("invalid-image", span, error.to_string());
            let nearest = self.suggestions.closest(name, || self.stages.names());
            Box::new(finding.did_you_mean_this(nearest))
        })?;
        let reference = reference.with_default_tag();
        if let Some(root) = self.named_context(&reference.familiar(), platform, span)? {
            return Ok(root);
        }
        let location = ImageLocation::Registry(reference.to_string());
        let platform = self.platform_or_target(platform);
        Ok(Root::Image {
            request: ImageRequest { location, platform },
            context: None,
        })
    }

    fn platform_or_target(&self, platform: Option<&Platform>) -> Platform {
        platform.unwrap_or(self.options.target_platform()).clone()
    }

    /// The named context that takes the place of a stage or an image.
    pub(super) fn named_context(
        &self,
        name: &str,
        platform: Option<&Platform>,
        span: Span,
    ) -> Checked<Option<Root>> {
        if ["scratch", "context"]
            .iter()
            .any(|reserved| name.eq_ignore_ascii_case(reserved))
        {
            return Ok(None);
        }
        let platform = self.platform_or_target(platform);
        let Some((key, context)) = self.find_context(name, &platform) else {
            return Ok(None);
        };
        let image = |location| Root::Image {
            request: ImageRequest {
                location,
                platform: platform.clone(),
            },
            context: Some(key.to_owned()),
        };
        Ok(Some(match context {
            NamedContext::Image(name) if name == "scratch" => Root::Scratch,
            NamedContext::Image(name) => match name.parse::<Reference>() {
                Ok(name) => image(ImageLocation::Registry(name.with_default_tag().to_string())),
                Err(error) => {
                    let message = format!("the context {key} is no image: {error}");
                    return Err(Box::new(Diagnostic::error(
                        "invalid-context",
                        span,
                        message,
                    )));
                }
            },
            NamedContext::Layout(place) => image(ImageLocation::Layout(place.clone())),
            NamedContext::Local(directory) => Root::Local {
                directory: directory.clone(),
                context: key.to_owned(),
            },
            NamedContext::Remote(address) => Root::Remote {
                source: remote_context(key, address, span)?,
                context: key.to_owned(),
            },
        }))
    }

    /// The named context that a text without a platform names.
    pub(super) fn find_named(&self, name: &str) -> Option<(&str, &NamedContext)> {
        self.find_context(name, self.options.target_platform())
    }

    /// The context `name::platform` or else `name`, names compared in full.
    fn find_context(&self, name: &str, platform: &Platform) -> Option<(&str, &NamedContext)> {
        if self.options.contexts.is_empty() {
            return None;
        }
        let full = |name: &str| match name.parse::<Reference>() {
            Ok(reference) => reference.with_default_tag().to_string(),
            Err(_) => name.to_owned(),
        };
        let wanted = full(name);
        let matches = |key: &str, of: Option<&str>| {
            let (context, platform) = key
                .split_once("::")
                .map_or((key, None), |(c, p)| (c, Some(p)));
            platform == of && full(context) == wanted
        };
        let platform = platform.to_string();
        let find = |of: Option<&str>| {
            self.options
                .contexts
                .iter()
                .find(|(key, _)| matches(key, of))
        };
        let (key, context) = find(Some(&platform)).or_else(|| find(None))?;
        Some((key.as_str(), context))
    }
}

fn remote_context(key: &str, address: &str, span: Span) -> Checked<RemoteSource> {
    RemoteSource::of_context(address).map_err(|error| {
        let message = format!("the context {key}: {error}");
        Box::new(Diagnostic::error("invalid-context", span, message))
    })
}
