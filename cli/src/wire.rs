//! The one place that picks backends.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use kiln_worker::gc::Policy;
use kiln_worker::image::Images;
use kiln_worker::registry::RegistrySettings;
use kiln_worker::sandbox::{Groups, Identity, enter_user_namespace_if_needed};
use kiln_worker::secret::{LARGEST_SECRET, Secret, Secrets};
use kiln_worker::source::{SourceSettings, Sources};
use kiln_worker::ssh::{Agent, Agents};
use kiln_worker::store::Store;
use kiln_worker::verify::after_restart;

use crate::args::GlobalArgs;
use crate::build::Backends;
use crate::settings::{
    self, AgentSetting, BuildSettings, Environment, SecretSetting, SecretSource, UsageError,
    config_file, store_root,
};

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
    let store = Store::open(&root).with_context(|| {
        let root = root.display();
        format!("cannot use the store at {root}; --root or KILN_ROOT choose another")
    })?;
    after_restart(&store)
        .with_context(|| format!("cannot check the store at {}", root.display()))?;
    Ok(store)
}

/// What goes from the store after a build; `None` if nothing does.
pub fn automatic_gc(global: &GlobalArgs, environment: &Environment) -> Result<Option<Vec<Policy>>> {
    let file = config_file(global, environment, is_machine_root());
    let text = match &file {
        None => String::new(),
        Some((path, must_exist)) => match std::fs::read_to_string(path) {
            Err(error) if !must_exist && is_absent(&error) => String::new(),
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        },
    };
    let policies = settings::automatic_gc(&text);
    policies.with_context(|| {
        let path = file.map(|(path, _)| path).unwrap_or_default();
        format!("cannot use the settings in {}", path.display())
    })
}

fn is_absent(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | NotADirectory | PermissionDenied)
}

/// Where images come from.
pub fn images(store: &Store, environment: &Environment) -> Arc<Images> {
    Arc::new(Images::new(store.clone(), registry_settings(environment)))
}

/// The same for a check, which goes on without an image: whoever is offline does not wait for more than
/// a second attempt.
pub fn images_to_check(store: &Store, environment: &Environment) -> Arc<Images> {
    let settings = RegistrySettings {
        retries: 1,
        ..registry_settings(environment)
    };
    Arc::new(Images::new(store.clone(), settings))
}

/// What a build works with.
pub fn backends(
    store: Store,
    settings: &BuildSettings,
    environment: &Environment,
) -> Result<Backends> {
    let images = images(&store, environment);
    let processors = std::thread::available_parallelism().context("cannot count processors")?;
    let secrets = secrets(&settings.secrets, environment)?;
    let agents = agents(&settings.agents)?;
    let sources = Sources::new(
        store.clone(),
        source_settings(environment),
        secrets.clone(),
        agents.clone(),
    );
    let limits = &settings.limits;
    let (groups, shortfalls) = Groups::plan(&limits.resources, limits.cgroup_parent.as_deref());
    Ok(Backends {
        groups,
        bounds: limits.bounds,
        shortfalls,
        store,
        sources: Arc::new(sources),
        images,
        is_machine_root: is_machine_root(),
        secrets,
        agents,
        parallel_steps: LEAST_PARALLEL_STEPS.max(2 * processors.get()),
    })
}

/// Reads all secrets, once: a file may be a pipe, as in `--secret id=x,src=<(command)`.
fn secrets(settings: &[SecretSetting], environment: &Environment) -> Result<Secrets> {
    let mut secrets = Secrets::default();
    for SecretSetting { id, source } in settings {
        let value = match source {
            SecretSource::Variable(name) => environment.get(name).unwrap_or_default().into(),
            SecretSource::File(path) => read_secret(path).with_context(|| {
                format!("cannot read the secret {id:?} from {}", path.display())
            })?,
        };
        if value.len() > LARGEST_SECRET {
            bail!("the secret {id:?} is larger than {LARGEST_SECRET} bytes");
        }
        secrets.insert(id.clone(), Secret(value));
    }
    Ok(secrets)
}

fn read_secret(path: &Path) -> io::Result<Vec<u8>> {
    let mut value = Vec::new();
    let most = LARGEST_SECRET as u64 + 1;
    File::open(path)?.take(most).read_to_end(&mut value)?;
    Ok(value)
}

fn agents(settings: &[AgentSetting]) -> Result<Agents> {
    let mut agents = Agents::default();
    for AgentSetting { id, paths } in settings {
        let agent = Agent::open(paths).with_context(|| format!("cannot use --ssh {id}"))?;
        agents.insert(id.clone(), agent);
    }
    Ok(agents)
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
