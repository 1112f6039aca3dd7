//! `kiln doctor`, as typed.

use clap::Args;

use super::Format;

/// What `kiln doctor` was asked for.
///
/// It ends with 0 if builds can run, also where some options have no effect, and with 1 if they cannot.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// How to print what was found
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}
