//! Which ports a stage exposes, kept as ranges: exposing thousands of them once more costs nothing.

use std::collections::BTreeMap;

use super::Ports;

/// The ports that are exposed already.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exposed {
    /// For each protocol, where each range begins, and the port behind its last one. Ranges neither
    /// overlap nor touch.
    ranges: BTreeMap<&'static str, BTreeMap<u32, u32>>,
}

impl Exposed {
    /// Adds ports; returns those that are new.
    pub(crate) fn add(&mut self, ports: &Ports) -> Vec<Ports> {
        let ranges = self.ranges.entry(ports.protocol).or_default();
        let (start, end) = (
            u32::from(*ports.range.start()),
            u32::from(*ports.range.end()) + 1,
        );
        let before = ranges.range(..=start).next_back();
        let first = before.map_or(start, |(from, to)| if *to < start { start } else { *from });
        let touched: Vec<(u32, u32)> = ranges
            .range(first..=end)
            .map(|(from, to)| (*from, *to))
            .collect();
        let (mut fresh, mut at, mut whole) = (Vec::new(), start, (start, end));
        for (from, to) in touched {
            ranges.remove(&from);
            fresh.extend(between(at, from.min(end), ports.protocol));
            at = at.max(to);
            whole = (whole.0.min(from), whole.1.max(to));
        }
        fresh.extend(between(at, end, ports.protocol));
        ranges.insert(whole.0, whole.1);
        fresh
    }
}

fn between(start: u32, end: u32, protocol: &'static str) -> Option<Ports> {
    let last = end.checked_sub(1).filter(|last| *last >= start)?;
    let range = u16::try_from(start).ok()?..=u16::try_from(last).ok()?;
    Some(Ports { range, protocol })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_returned() {
        let mut exposed = Exposed::default();
        let steps: [(std::ops::RangeInclusive<u16>, &'static str, &[&str]); 8] = [
            (10..=12, "tcp", &["10-12"]),
            (10..=12, "udp", &["10-12"]),
            (14..=15, "tcp", &["14-15"]),
            (11..=11, "tcp", &[]),
            (9..=16, "tcp", &["9-9", "13-13", "16-16"]),
            (0..=65535, "tcp", &["0-8", "17-65535"]),
            (65535..=65535, "tcp", &[]),
            (12..=13, "udp", &["13-13"]),
        ];
        for (range, protocol, expected) in steps {
            let fresh = exposed.add(&Ports { range, protocol });
            let fresh: Vec<String> = fresh
                .iter()
                .map(|ports| format!("{}-{}", ports.range.start(), ports.range.end()))
                .collect();
            assert_eq!(fresh, expected);
        }
        assert_eq!(exposed.ranges["tcp"].len(), 1);
    }
}
