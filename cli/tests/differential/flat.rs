//! The tree that layers make, one laid over the other.

use std::collections::{BTreeMap, BTreeSet};

use crate::layer::{Layer, Node, What};

/// What is there in the end.
#[derive(Default)]
pub(crate) struct Tree {
    /// Nodes by path; hard links share the number.
    nodes: BTreeMap<String, (usize, Node)>,
    next: usize,
}

impl Tree {
    pub(crate) fn apply(&mut self, layer: &Layer) {
        // What a layer removes is what lower ones brought, wherever in its tar it says so.
        for change in &layer.changes {
            match &change.what {
                What::Delete => self.remove(&change.path),
                What::Clear => self.clear(&change.path),
                What::Link(_) | What::Put(_) => (),
            }
        }
        for change in &layer.changes {
            if let What::Put(node) = &change.what {
                let was = self.nodes.get(&change.path).map(|(_, node)| node.kind);
                if was.is_some() && (was, node.kind) != (Some('d'), 'd') {
                    self.remove(&change.path);
                }
                self.next += 1;
                self.nodes
                    .insert(change.path.clone(), (self.next, node.clone()));
            }
        }
        for change in &layer.changes {
            if let What::Link(target) = &change.what {
                self.remove(&change.path);
                let node = self.nodes.get(target);
                let node = node.unwrap_or_else(|| panic!("{} links to nothing", change.path));
                self.nodes.insert(change.path.clone(), node.clone());
            }
        }
    }

    fn remove(&mut self, path: &str) {
        self.nodes.remove(path);
        self.clear(path);
    }

    fn clear(&mut self, path: &str) {
        let prefix = match path {
            "" => String::new(),
            _ => format!("{path}/"),
        };
        self.nodes.retain(|path, _| !path.starts_with(&prefix));
    }

    /// Lines of those of the `wanted` paths that are there; hard links end in the first of their names.
    pub(crate) fn lines(&self, wanted: &BTreeSet<&str>) -> Vec<String> {
        let mut names: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
        for (path, (number, _)) in &self.nodes {
            names.entry(*number).or_default().push(path);
        }
        let there = self
            .nodes
            .iter()
            .filter(|(path, _)| wanted.contains(path.as_str()));
        let lines = there.map(|(path, (number, node))| {
            let mut line = String::new();
            node.write(&mut line, path).expect("text takes everything");
            if let [first, _, ..] = names[number].as_slice() {
                line.push_str(&format!(" = {first}"));
            }
            line
        });
        lines.collect()
    }
}
