//! What made an item, in the words of its record.

use kiln_solver::key::KeyPart;

use super::{Item, ItemKind};
use crate::cache_mount::shown_id;
use crate::store::Store;

/// What made an item: a command, the paths that were copied, a mount's id. `None` if that is not
/// known.
pub fn describe(store: &Store, item: &Item) -> Option<String> {
    match item.kind {
        ItemKind::Layer => {
            // Some of the records stand under definition keys, which explain nothing.
            let step = |key| store.index().step(key).ok()?;
            let step = item.records.iter().find_map(step)?;
            Some(of_parts(&step.explanation))
        }
        ItemKind::CacheMount => {
            let home = item.paths.first()?;
            let id = std::fs::read_to_string(home.join("id")).ok()?;
            Some(format!("cache mount {}", shown_id(&id)))
        }
        ItemKind::Blob if !item.images.is_empty() => Some("a document of an image".to_owned()),
        ItemKind::Context => Some("what is known of a build context's files".to_owned()),
        ItemKind::Build => Some("the record and logs of a build".to_owned()),
        ItemKind::Checkout => {
            let remote = std::fs::read_to_string(item.paths.first()?.join("remote")).ok()?;
            Some(format!("mirror of {}", crate::source::git::shown(&remote)))
        }
        ItemKind::Blob => None,
    }
}

fn of_parts(parts: &[KeyPart]) -> String {
    let all = |ends: &[&str]| {
        let is_wanted =
            |part: &&KeyPart| part.identifies() && ends.iter().any(|end| part.path.ends_with(end));
        let values = parts.iter().filter(is_wanted).map(|part| &*part.value);
        values.collect::<Vec<_>>().join(" ")
    };
    let command = all(&["exec.args.-"]);
    if !command.is_empty() {
        return format!("run {command}");
    }
    let copied = all(&["sources.-.path", "sources.-.name", "copy.destination"]);
    if !copied.is_empty() {
        return format!("copy {copied}");
    }
    format!("make directory {}", all(&["make-directory.path"]))
}
