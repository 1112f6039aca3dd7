//! The history of an image while it is being made. Its texts are put together only for the image that
//! is built, because that of a RUN repeats all ARGs.

use kiln_solver::VertexId;

use super::Layer;
use super::chain::Chain;
use super::declared::{self, SeenArgument};
use crate::image_config::History;

/// What BuildKit writes into every entry.
const COMMENT: &str = "buildkit.dockerfile.v0";

/// What a stage and those that it is based on have done, as far as they are of the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Past(Chain<Event>);

#[derive(Debug)]
struct Event {
    text: Text,
    /// What made its layer, if it has one.
    vertex: Option<VertexId>,
}

/// The text of an entry.
#[derive(Debug)]
pub(super) enum Text {
    Plain(String),
    /// A command and the ARGs that it sees.
    Run {
        arguments: Chain<SeenArgument>,
        command: String,
    },
}

impl Past {
    pub(super) fn push(&mut self, text: Text, vertex: Option<VertexId>) {
        self.0.push(Event { text, vertex });
    }

    /// How many bytes the texts of all entries have, about.
    pub(super) fn size(&self) -> usize {
        self.0.values().iter().map(|event| event.text.size()).sum()
    }

    /// Appends the entries to those of the base image; returns the layers.
    pub(super) fn write(&self, created: Option<&str>, history: &mut Vec<History>) -> Vec<Layer> {
        let mut layers = Vec::new();
        for event in self.0.values() {
            if let Some(vertex) = event.vertex {
                let history = history.len();
                layers.push(Layer { history, vertex });
            }
            history.push(History {
                created: created.map(str::to_owned),
                created_by: event.text.print(),
                comment: COMMENT.to_owned(),
                empty_layer: event.vertex.is_none(),
                ..History::default()
            });
        }
        layers
    }
}

impl Text {
    fn size(&self) -> usize {
        match self {
            Text::Plain(text) => text.len(),
            Text::Run { arguments, command } => command.len() + declared::size(arguments),
        }
    }

    fn print(&self) -> String {
        let (arguments, command) = match self {
            Text::Plain(text) => return text.clone(),
            Text::Run { arguments, command } => (arguments, command),
        };
        const FRAME: usize = "RUN |100000  # buildkit".len();
        let mut text = String::with_capacity(FRAME + self.size());
        text.push_str("RUN ");
        if let Some(last) = arguments.last() {
            text.push_str(&format!("|{} ", last.count));
        }
        for SeenArgument { name, value, .. } in arguments.values() {
            text.extend([name, "=", value, " "]);
        }
        text.push_str(command);
        text.push_str(" # buildkit");
        text
    }
}
