//! What made an item, in the words of its record.

use serde::Deserialize;

use super::{Item, ItemKind};
use crate::store::Store;

/// A part of a recorded key (see [`kiln_solver::key::KeyPart`]).
#[derive(Deserialize)]
struct Part {
    path: String,
    value: String,
}

/// What made an item: a command, the paths that were copied, a mount's id. `None` if that is not
/// known.
pub fn describe(store: &Store, item: &Item) -> Option<String> {
    match item.kind {
        ItemKind::Layer => {
            let explanation = store.index().explanation(item.records.first()?).ok()??;
            let parts: Vec<Part> = serde_json::from_slice(&explanation).ok()?;
            Some(of_parts(&parts))
        }
        ItemKind::CacheMount => {
            let id = std::fs::read_to_string(item.paths.first()?.join("id")).ok()?;
            Some(format!("cache mount {id}"))
        }
        ItemKind::Blob if !item.images.is_empty() => Some("a document of an image".to_owned()),
        ItemKind::Context => Some("what is known of a build context's files".to_owned()),
        ItemKind::Build => Some("the record and logs of a build".to_owned()),
        ItemKind::Blob | ItemKind::Checkout => None,
    }
}

fn of_parts(parts: &[Part]) -> String {
    let all = |ends: &[&str]| {
        let is_wanted = |part: &&Part| ends.iter().any(|end| part.path.ends_with(end));
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
