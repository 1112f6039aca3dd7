//! A case: a text file that holds what it shows, how it is built, and the files of its context.

use std::fs;
use std::path::{Path, PathBuf};

/// What starts the section of a file, whose path in the context follows.
const SECTION: &str = "\n=== ";

/// The section that is no file but is run by bash in the context, when all files are there.
const SCRIPT: &str = "script";

/// One case, as its file tells it.
pub(crate) struct Case {
    /// The path below the directory of all cases, without its extension.
    pub(crate) name: String,
    /// Why Kiln differs from BuildKit here, where it does so on purpose.
    pub(crate) differs: Option<String>,
    /// Arguments of the build.
    pub(crate) arguments: Vec<String>,
    /// Variables of the builder's environment.
    pub(crate) environment: Vec<(String, String)>,
    /// What bash runs in the context: what the whole area needs, then what the case does.
    pub(crate) scripts: Vec<String>,
    /// Files of the context.
    pub(crate) files: Vec<(String, String)>,
    path: PathBuf,
}

impl Case {
    /// All cases below a directory, in the order of their names.
    pub(crate) fn all(root: &Path) -> Vec<Self> {
        let mut cases = Vec::new();
        for area in directory(root).into_iter().filter(|path| path.is_dir()) {
            let shared = fs::read_to_string(area.join("context.sh")).ok();
            let paths = directory(&area);
            for path in paths.iter().filter(|path| has_extension(path, "case")) {
                let name = path.with_extension("");
                let name = name.strip_prefix(root).expect("it was found there");
                let text = fs::read_to_string(path)
                    .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                let mut case = Self::parse(&name.display().to_string(), path, &text);
                case.scripts.splice(..0, shared.clone());
                cases.push(case);
            }
        }
        cases
    }

    fn parse(name: &str, path: &Path, text: &str) -> Self {
        let mut case = Self {
            name: name.to_owned(),
            differs: None,
            arguments: Vec::new(),
            environment: Vec::new(),
            scripts: Vec::new(),
            files: Vec::new(),
            path: path.to_owned(),
        };
        let mut sections = text.strip_suffix('\n').unwrap_or(text).split(SECTION);
        for line in sections.next().unwrap_or_default().lines() {
            case.header(line);
        }
        for section in sections {
            let (file, content) = match section.split_once('\n') {
                Some((file, content)) => (file, format!("{content}\n")),
                None => (section, String::new()),
            };
            match file {
                SCRIPT => case.scripts.push(content),
                _ => case.files.push((file.to_owned(), content)),
            }
        }
        case
    }

    /// `about: TEXT`, `differs: TEXT`, `build: --flag VALUE` or `env: NAME=VALUE`.
    fn header(&mut self, line: &str) {
        let name = &self.name;
        let Some((key, value)) = line.split_once(": ") else {
            panic!("{name}: no header: {line}")
        };
        match key {
            "about" => (),
            "differs" => self.differs = Some(value.to_owned()),
            "build" => match value.split_once(' ') {
                Some((flag, value)) => self.arguments.extend([flag.into(), value.into()]),
                None => self.arguments.push(value.to_owned()),
            },
            "env" => {
                let (variable, value) = value.split_once('=').expect("NAME=VALUE");
                self.environment.push((variable.into(), value.into()));
            }
            _ => panic!("{name}: unknown header {key}"),
        }
    }

    /// Where BuildKit's result is recorded.
    pub(crate) fn expected(&self) -> PathBuf {
        self.path.with_extension("expected")
    }

    /// Where Kiln's is, if it differs on purpose.
    pub(crate) fn kiln(&self) -> PathBuf {
        self.path.with_extension("kiln")
    }
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|it| it == extension)
}

fn directory(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable directory").path())
        .collect();
    paths.sort();
    paths
}
