//! What scripts pass to `docker build` and `docker buildx build`, as typed.

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};

/// Options that have no effect here, or ask for something that is not there yet.
#[derive(Debug, Clone, Default, Args)]
pub struct BuildxArgs {
    /// Push the image to a registry; only false is supported yet
    #[arg(long, value_name = "BOOL", hide = true, action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "false", default_missing_value = "true")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub push: bool,
    /// Keep the image in the store, which is done anyway
    #[arg(long, value_name = "BOOL", hide = true, action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "false", default_missing_value = "true")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub load: bool,
    /// Builder to use; there are none to choose from
    #[arg(long, value_name = "NAME", hide = true)]
    pub builder: Option<String>,
    /// Log more; nothing is held back anyway
    #[arg(short = 'D', long, hide = true)]
    pub debug: bool,
    /// Remove the containers of steps, of which there are none
    #[arg(long, value_name = "BOOL", hide = true, action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "true", default_missing_value = "true")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub rm: bool,
    /// Remove the containers of failed steps, too, of which there are none
    #[arg(long, value_name = "BOOL", hide = true, action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "false", default_missing_value = "true")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub force_rm: bool,
    /// Compress the context on its way, which it does not have
    #[arg(long, value_name = "BOOL", hide = true, action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "false", default_missing_value = "true")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub compress: bool,
}
