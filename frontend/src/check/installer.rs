//! Programs that install packages, what they leave behind, and how that is told from their arguments.

use super::shell::{Invocation, base_name};

/// A package manager.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Manager {
    /// What people call it.
    pub(super) name: &'static str,
    programs: &'static [&'static str],
    /// Arguments that make it fill its cache.
    fills: &'static [&'static str],
    /// Arguments that keep it from doing so.
    spares: &'static [&'static str],
    /// Arguments that make it empty its cache.
    empties: &'static [&'static str],
    /// Variables that keep it from filling its cache.
    pub(super) variables: &'static [&'static str],
    /// Where its cache is, the most telling path first.
    pub(super) caches: &'static [&'static str],
    /// How to leave nothing behind.
    pub(super) remedy: &'static str,
}

/// The managers whose caches are known.
pub(super) static MANAGERS: [Manager; 6] = [
    Manager {
        name: "apt",
        programs: &["apt-get", "apt", "aptitude"],
        fills: &["update"],
        spares: &[],
        empties: &[],
        variables: &[],
        caches: &["/var/lib/apt/lists", "/var/lib/apt"],
        remedy: "end this RUN with rm -rf /var/lib/apt/lists/*",
    },
    Manager {
        name: "apk",
        programs: &["apk"],
        fills: &["add", "update", "upgrade"],
        spares: &["--no-cache"],
        empties: &[],
        variables: &[],
        caches: &["/var/cache/apk", "/etc/apk/cache"],
        remedy: "use apk add --no-cache",
    },
    Manager {
        name: "dnf",
        programs: &["dnf", "yum", "microdnf"],
        fills: &["install", "update", "upgrade", "groupinstall"],
        spares: &[],
        empties: &["clean"],
        variables: &[],
        caches: &["/var/cache/dnf", "/var/cache/yum", "/var/cache"],
        remedy: "end this RUN with dnf clean all (or yum, microdnf)",
    },
    Manager {
        name: "pip",
        programs: &["pip", "pip2", "pip3"],
        fills: &["install"],
        spares: &["--no-cache-dir", "--no-cache"],
        empties: &["purge"],
        variables: &["PIP_NO_CACHE_DIR"],
        caches: &["/root/.cache/pip", ".cache"],
        remedy: "use pip install --no-cache-dir",
    },
    Manager {
        name: "npm",
        programs: &["npm"],
        fills: &["install", "i", "ci"],
        spares: &["--cache"],
        empties: &["cache"],
        variables: &["NPM_CONFIG_CACHE", "npm_config_cache"],
        caches: &["/root/.npm", ".npm"],
        remedy: "end this RUN with npm cache clean --force",
    },
    Manager {
        name: "yarn",
        programs: &["yarn"],
        fills: &["install", "add"],
        spares: &["--cache-folder"],
        empties: &["cache"],
        variables: &["YARN_CACHE_FOLDER"],
        caches: &["/usr/local/share/.cache/yarn", ".cache", ".yarn"],
        remedy: "end this RUN with yarn cache clean",
    },
];

impl Manager {
    fn runs_in(&self, words: &Invocation) -> bool {
        let program = words.first().map_or("", String::as_str);
        let module = words.get(1..3).filter(|_| program.starts_with("python"));
        let is_module =
            module.is_some_and(|m| m[0] == "-m" && self.programs.contains(&m[1].as_str()));
        self.programs.contains(&program) || is_module
    }

    /// Whether a command leaves a cache behind.
    pub(super) fn fills(&self, words: &Invocation) -> bool {
        let has = |known: &[&str]| {
            words.iter().skip(1).any(|word| {
                let name = word.split('=').next().unwrap_or(word);
                known.contains(&name)
            })
        };
        let is_alone = self.name == "yarn" && words.len() == 1;
        self.runs_in(words)
            && (has(self.fills) || is_alone)
            && !has(self.spares)
            && !self.empties(words)
    }

    /// Whether a command empties the cache.
    pub(super) fn empties(&self, words: &Invocation) -> bool {
        let own = self.runs_in(words)
            && words
                .iter()
                .skip(1)
                .any(|word| self.empties.contains(&word.as_str()));
        let removes = words
            .first()
            .is_some_and(|program| program == "rm" || program == "find");
        let is_cache = |word: &String| self.caches.iter().any(|cache| word.contains(cache));
        own || (removes && words.iter().any(is_cache))
    }

    /// Whether a mounted directory holds the cache.
    pub(super) fn is_kept_in(&self, directory: &str) -> bool {
        let directory = directory.trim_end_matches('/');
        self.caches
            .iter()
            .any(|cache| directory.contains(cache) || cache.starts_with(directory))
    }
}

/// Tools that install what a manifest in the context lists, and the files that they read.
const TOOLS: [(&str, &str); 11] = [
    ("npm", "package.json and package-lock.json"),
    ("yarn", "package.json and yarn.lock"),
    ("pnpm", "package.json and pnpm-lock.yaml"),
    ("pip", "requirements.txt"),
    ("pipenv", "Pipfile and Pipfile.lock"),
    ("poetry", "pyproject.toml and poetry.lock"),
    ("uv", "pyproject.toml and uv.lock"),
    ("bundle", "Gemfile and Gemfile.lock"),
    ("composer", "composer.json and composer.lock"),
    ("cargo", "Cargo.toml and Cargo.lock"),
    ("go", "go.mod and go.sum"),
];

/// The tool of a command that installs what a manifest lists, and the manifest's files.
pub(super) fn of_manifest(words: &Invocation) -> Option<(&'static str, &'static str)> {
    let program = words.first()?.as_str();
    let module = words.get(1..3).filter(|_| program.starts_with("python"));
    let (program, arguments) = match module {
        Some([flag, module]) if flag == "-m" => (base_name(module), &words[3..]),
        _ => (program, &words[1..]),
    };
    let program = match program {
        "pip3" => "pip",
        other => other,
    };
    let tool = TOOLS.iter().find(|(name, _)| *name == program)?;
    let mut plain = arguments.iter().filter(|word| !word.starts_with('-'));
    let command = plain.next().map_or("", String::as_str);
    let further = plain.next().map_or("", String::as_str);
    let has = |flags: &[&str]| arguments.iter().any(|word| flags.contains(&word.as_str()));
    let installs = match program {
        "npm" => {
            matches!(command, "ci" | "install" | "i")
                && further.is_empty()
                && !has(&["-g", "--global"])
        }
        "yarn" | "bundle" => matches!(command, "install" | "") && !has(&["--version", "-v"]),
        "pnpm" => matches!(command, "install" | "i") && further.is_empty(),
        "pip" => command == "install" && has(&["-r", "--requirement"]),
        "pipenv" => matches!(command, "install" | "sync") && further.is_empty(),
        "poetry" | "composer" => command == "install",
        "uv" => command == "sync",
        "cargo" => matches!(command, "build" | "fetch"),
        "go" => {
            (command == "mod" && further == "download")
                || (command == "build" && !has(&["-mod=vendor"]))
        }
        _ => false,
    };
    installs.then_some(*tool)
}

/// Whether a command is of a tool at all, so that what it installs may be there already.
pub(super) fn tool_of(words: &Invocation) -> Option<&'static str> {
    let program = words.first()?.as_str();
    let program = if program == "pip3" { "pip" } else { program };
    TOOLS
        .iter()
        .map(|(name, _)| *name)
        .find(|name| *name == program)
}

/// Where a tool that downloads keeps what it downloaded.
pub(super) fn download_cache(words: &Invocation) -> Option<(&'static str, &'static str)> {
    let has = |word: &str| words.iter().skip(1).any(|w| w == word);
    let program = words.first()?.as_str();
    let found = match program {
        "apt-get" | "apt" if has("install") => (
            "apt",
            "--mount=type=cache,target=/var/cache/apt,sharing=locked",
        ),
        "pip" | "pip3" if has("install") => ("pip", "--mount=type=cache,target=/root/.cache/pip"),
        "npm" if has("ci") || has("install") => ("npm", "--mount=type=cache,target=/root/.npm"),
        "yarn" if words.len() == 1 || has("install") => (
            "yarn",
            "--mount=type=cache,target=/usr/local/share/.cache/yarn",
        ),
        "go" if has("build") || has("download") => ("go", "--mount=type=cache,target=/go/pkg/mod"),
        "cargo" if has("build") || has("fetch") => (
            "cargo",
            "--mount=type=cache,target=/usr/local/cargo/registry",
        ),
        "mvn" => ("mvn", "--mount=type=cache,target=/root/.m2"),
        "composer" if has("install") => ("composer", "--mount=type=cache,target=/tmp/cache"),
        _ => return None,
    };
    Some(found)
}
