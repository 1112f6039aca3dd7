//! Whether steps can run here: one without a program is run, which fails at the very end or says what is missing.

use std::future::pending;
use std::io;
use std::path::Path;

use rustix::io::Errno;

use super::error::{Error, Failure};
use super::run::Sandbox;
use super::spec::{Network, Overlay, Spec, Writable};

/// Sets a step up in `directory`, which must be empty and on the file system that steps would use. What is learned
/// of the machine, `sandbox` knows afterwards.
pub async fn try_step(sandbox: &Sandbox, directory: &Path, network: Network) -> Result<(), Error> {
    let root = root(directory).map_err(|source| Error::Helper {
        operation: "make directories for",
        program: directory.to_owned(),
        source,
    })?;
    let mut spec = Spec::new(root, ["/no-such-program"]);
    spec.network = network;
    match sandbox.run(&spec, |_, _| {}, pending()).await {
        Err(Error::Step(Failure::Exec { errno, .. })) if errno.0 == Errno::NOENT.raw_os_error() => {
            Ok(())
        }
        result => result.map(|_| ()),
    }
}

fn root(directory: &Path) -> io::Result<Overlay> {
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| directory.join(name));
    for path in [&lower, &upper, &work] {
        std::fs::create_dir(path)?;
    }
    Ok(Overlay {
        layers: vec![lower],
        writable: Some(Writable { upper, work }),
    })
}
