//! buildah, which has no daemon.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::args::Programs;
use crate::command;
use crate::tools::daemon::Daemon;
use crate::tools::{Build, LayerCompression, Output, Site, Tool, ToolName};

/// buildah and its runtime.
#[derive(Debug)]
pub(crate) struct Buildah {
    program: PathBuf,
    runtime: PathBuf,
}

impl Buildah {
    pub(crate) fn find(programs: &Programs) -> Result<Option<Self>> {
        let program = command::find("buildah", programs.buildah.as_deref())?;
        let runtime = command::find("runc", programs.runc.as_deref())?;
        Ok(program
            .zip(runtime)
            .map(|(program, runtime)| Self { program, runtime }))
    }

    /// The options that come before buildah's subcommand.
    fn store_options(site: &Site<'_>) -> Vec<String> {
        let state = site.state.join("buildah");
        vec![
            format!("--root={}", state.join("root").display()),
            format!("--runroot={}", state.join("run").display()),
            "--storage-driver=overlay".to_owned(),
        ]
    }

    fn build_options(&self, build: &Build<'_>) -> Vec<String> {
        let base = build.base;
        vec![
            "build".to_owned(),
            "--layers".to_owned(),
            format!("--runtime={}", self.runtime.display()),
            // Its defaults are more than a restricted machine allows.
            "--ulimit=nofile=1024:4096".to_owned(),
            "--ulimit=nproc=4096:4096".to_owned(),
            "--network=host".to_owned(),
            "--tls-verify=false".to_owned(),
            format!(
                "--build-context=base=container-image://oci:{}:{}",
                base.layout.display(),
                base.tag
            ),
            format!("--tag={}", build.name),
            format!("--file={}", build.dockerfile.display()),
            build.context.display().to_string(),
        ]
    }
}

impl Tool for Buildah {
    fn name(&self) -> ToolName {
        ToolName::Buildah
    }

    fn version(&self) -> String {
        command::version(&self.program, "--version")
    }

    fn equal_work(&self) -> &'static str {
        "stores the image under its name; an archive is pushed by a second command"
    }

    // With `--disable-compression` its archives are compressed all the same (1.43).
    fn can_write(&self, output: Output) -> bool {
        output != Output::OciArchive(LayerCompression::Uncompressed)
    }

    fn start(&self, _site: &Site<'_>) -> Result<Option<Daemon>> {
        Ok(None)
    }

    fn command(&self, build: &Build<'_>, site: &Site<'_>) -> Command {
        let build_options = self.build_options(build);
        let Output::OciArchive(compression) = build.output else {
            let mut client = Command::new(&self.program);
            client.args(Self::store_options(site)).args(build_options);
            client.env("TMPDIR", site.state);
            return client;
        };
        let mut both = Command::new("sh");
        both.env("TMPDIR", site.state).env("BUILDAH", &self.program);
        both.env("STORE", Self::store_options(site).join(" "));
        both.env("PUSH", push_options(compression));
        both.env("IMAGE", build.name).env("ARCHIVE", site.archive());
        both.arg("-c")
            .arg(BUILD_AND_PUSH)
            .arg("sh")
            .args(build_options);
        both
    }
}

/// STORE and PUSH are lists of options without blanks.
const BUILD_AND_PUSH: &str = r#"
set -e
"$BUILDAH" $STORE "$@"
"$BUILDAH" $STORE push $PUSH "$IMAGE" "oci-archive:$ARCHIVE"
"#;

fn push_options(compression: LayerCompression) -> &'static str {
    match compression {
        LayerCompression::Gzip => "--compression-format=gzip",
        LayerCompression::Zstd => "--compression-format=zstd",
        LayerCompression::Uncompressed => "--disable-compression",
    }
}
