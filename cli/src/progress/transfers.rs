//! The transfers of one step, and how each reads.

use std::time::Duration;

use super::figures::{bytes, seconds};

/// Bytes on their way.
#[derive(Debug, Clone)]
pub(super) struct Transfer {
    /// What moves.
    pub(super) item: String,
    /// How many bytes so far.
    pub(super) current: u64,
    /// How many in all, if known.
    pub(super) total: Option<u64>,
    /// When it began.
    pub(super) started: Duration,
    /// When the last bytes were seen.
    pub(super) updated: Duration,
    /// Whether all is there.
    pub(super) done: bool,
}

/// The transfers of one step in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct Transfers(Vec<Transfer>);

impl Transfers {
    /// Takes note of progress; `None` if all was there before.
    pub(super) fn update(
        &mut self,
        at: Duration,
        item: &str,
        current: u64,
        total: Option<u64>,
    ) -> Option<&Transfer> {
        let known = self.0.iter().position(|transfer| transfer.item == item);
        let index = known.unwrap_or_else(|| {
            let item = item.to_owned();
            self.0.push(Transfer {
                item,
                current,
                total,
                started: at,
                updated: at,
                done: false,
            });
            self.0.len() - 1
        });
        let transfer = &mut self.0[index];
        if transfer.done {
            return None;
        }
        (transfer.current, transfer.total, transfer.updated) = (current, total, at);
        transfer.done = total == Some(current);
        Some(transfer)
    }

    /// The step ended well, and with it all that moved for it; those that had not ended yet.
    pub(super) fn end(&mut self) -> impl Iterator<Item = &Transfer> {
        let open = self.0.iter_mut().filter(|transfer| !transfer.done);
        open.map(|transfer| {
            transfer.done = true;
            &*transfer
        })
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Transfer> {
        self.0.iter()
    }
}

impl Transfer {
    /// What moves: a digest in short, or words and a colon.
    pub(super) fn label(&self) -> String {
        match self.item.split_once(':') {
            Some((algorithm, hex))
                if hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()) =>
            {
                format!("{algorithm}:{}", &hex[..12])
            }
            _ => self.item_and_colon(),
        }
    }

    /// How far it is: `12.58MB / 50.00MB`.
    pub(super) fn amount(&self) -> String {
        match self.total {
            Some(total) if !self.done => format!("{} / {}", bytes(self.current), bytes(total)),
            _ => bytes(self.current),
        }
    }

    /// The whole line of a log: `transferring context: 2.10MB 0.1s done`.
    pub(super) fn line(&self) -> String {
        let item = &self.item;
        let colon = if item.contains(' ') && !item.ends_with(':') {
            ":"
        } else {
            ""
        };
        let mut line = format!("{item}{colon} {}", self.amount());
        let took = self.updated.saturating_sub(self.started);
        if took >= Duration::from_millis(50) {
            line.push(' ');
            line.push_str(&seconds(took));
        }
        if self.done {
            line.push_str(" done");
        }
        line
    }

    fn item_and_colon(&self) -> String {
        let words = self.item.contains(' ') && !self.item.ends_with(':');
        format!("{}{}", self.item, if words { ":" } else { "" })
    }
}
