//! The one place that picks backends.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use kiln_worker::image::Images;
use kiln_worker::registry::RegistrySettings;
use kiln_worker::sandbox::{Identity, enter_user_namespace_if_needed};
use kiln_worker::source::{NoCredentials, SourceSettings, Sources};
use kiln_worker::store::Store;

use crate::args::GlobalArgs;
use crate::build::Backends;
use crate::settings::{Environment, UsageError, store_root};

/// The least number of steps that may run at once: most of them wait for something.
const LEAST_PARALLEL_STEPS: usize = 16;

/// Becomes root of a user namespace, unless this process is root already: all that touches the store
/// comes after this. To be called while there is one thread.
pub fn become_root() -> Result<()> {
    Ok(enter_user_namespace_if_needed()?)
}

/// Whether this process is root of the whole machine, not of a user namespace only.
fn is_machine_root() -> bool {
    Identity::of_this_process() == Identity::Shifted
}

/// Where the store is.
pub fn root(global: &GlobalArgs, environment: &Environment) -> Result<PathBuf, UsageError> {
    store_root(global, environment, is_machine_root())
}

/// Opens the store for use beside others.
pub fn store(global: &GlobalArgs, environment: &Environment) -> Result<Store> {
    let root = root(global, environment)?;
    Store::open(&root).with_context(|| {
        let root = root.display();
        format!("cannot use the store at {root}; --root or KILN_ROOT choose another")
    })
}

/// What a build works with.
pub fn backends(store: Store, environment: &Environment) -> Result<Backends> {
    let images = Images::new(store.clone(), registry_settings(environment));
    let processors = std::thread::available_parallelism().context("cannot count processors")?;
    let sources = Sources::new(
        store.clone(),
        source_settings(environment),
        Arc::new(NoCredentials),
    );
    Ok(Backends {
        store,
        sources: Arc::new(sources),
        images: Arc::new(images),
        is_machine_root: is_machine_root(),
        parallel_steps: LEAST_PARALLEL_STEPS.max(2 * processors.get()),
    })
}

/// Docker's credentials, and certificates that are trusted beside the system's (`SSL_CERT_FILE`, as
/// in OpenSSL and Go).
fn registry_settings(environment: &Environment) -> RegistrySettings {
    let in_home = || Some(PathBuf::from(environment.get("HOME")?).join(".docker"));
    let docker = environment
        .get("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(in_home);
    RegistrySettings {
        docker_config: docker.map(|directory| directory.join("config.json")),
        certificates: environment
            .get("SSL_CERT_FILE")
            .map(PathBuf::from)
            .into_iter()
            .collect(),
        ..RegistrySettings::default()
    }
}

/// What sources take over from the environment. Proxies are git's; other requests find them by
/// themselves.
fn source_settings(environment: &Environment) -> SourceSettings {
    const PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "no_proxy", "all_proxy"];
    let names = PROXIES.iter().map(|name| (*name).to_owned());
    let names = names.chain(PROXIES.iter().map(|name| name.to_uppercase()));
    let proxies = names.filter_map(|name| Some((name.clone(), environment.get(&name)?.to_owned())));
    let known_hosts = environment
        .get("HOME")
        .map(|home| PathBuf::from(home).join(".ssh/known_hosts"));
    SourceSettings {
        http: registry_settings(environment),
        program_path: environment.get("PATH").unwrap_or_default().to_owned(),
        proxies: proxies.collect(),
        known_hosts: known_hosts.filter(|path| path.exists()),
    }
}
