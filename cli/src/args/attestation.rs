//! Statements about a build, as typed.

use clap::Args;

/// What docker buildx can attach to an image. Kiln does not yet; to ask for none is understood.
#[derive(Debug, Clone, Default, Args)]
pub struct AttestationArgs {
    /// Statement about the build; only disabled=true is supported yet
    #[arg(long, value_name = "type=TYPE", help_heading = "Result", hide = true)]
    pub attest: Vec<String>,
    /// Statement about how it was built; only false is supported yet
    #[arg(long, value_name = "false", help_heading = "Result", hide = true)]
    pub provenance: Option<String>,
    /// Statement about what is in it; only false is supported yet
    #[arg(long, value_name = "false", help_heading = "Result", hide = true)]
    pub sbom: Option<String>,
}
