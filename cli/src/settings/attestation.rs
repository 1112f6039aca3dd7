//! `--attest`, `--provenance` and `--sbom`: statements about a build, which Kiln does not make yet. To ask
//! for none is understood.

use super::UsageError;
use super::csv::fields;
use crate::args::AttestationArgs;

/// Fails if a statement is asked for.
pub(super) fn refuse(args: &AttestationArgs) -> Result<(), UsageError> {
    for (option, value) in [("--provenance", &args.provenance), ("--sbom", &args.sbom)] {
        if let Some(value) = value
            && !is_false(value)
        {
            return Err(not_yet(option, value));
        }
    }
    args.attest.iter().try_for_each(|typed| {
        let fields =
            fields(typed).map_err(|error| UsageError::new("--attest", typed, error.to_string()))?;
        let is_disabled = |field: &String| match field.split_once('=') {
            Some(("disabled", value)) => !is_false(value),
            _ => field == "disabled",
        };
        match fields.iter().any(is_disabled) {
            true => Ok(()),
            false => Err(not_yet("--attest", typed)),
        }
    })
}

fn not_yet(option: &'static str, value: &str) -> UsageError {
    UsageError::new(
        option,
        value,
        "statements about a build are not supported yet",
    )
    .hint("leave the option out, or ask for none: --provenance=false --sbom=false")
}

/// What Go's `strconv.ParseBool` takes for false.
fn is_false(value: &str) -> bool {
    matches!(value, "0" | "f" | "F" | "false" | "FALSE" | "False")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_ask_for_none_is_understood() {
        let provenance = |value: &str| AttestationArgs {
            provenance: Some(value.into()),
            ..AttestationArgs::default()
        };
        let attest = |value: &str| AttestationArgs {
            attest: vec![value.into()],
            ..AttestationArgs::default()
        };
        for args in [
            AttestationArgs::default(),
            provenance("false"),
            attest("type=sbom,disabled=true"),
            attest("type=provenance,disabled"),
        ] {
            assert_eq!(refuse(&args), Ok(()), "{args:?}");
        }
        for args in [
            provenance("true"),
            provenance("mode=max"),
            attest("type=sbom"),
            attest("type=sbom,disabled=false"),
        ] {
            assert!(refuse(&args).is_err(), "{args:?}");
        }
    }
}
