//! One picture of a build: which steps are shown in how many rows. Draws nothing itself.

use std::time::Duration;

use console::Style;

use super::rows::Canvas;
use super::steps::{Ending, Step, Steps, TAIL};
use crate::progress::figures::seconds;
use crate::progress::transfers::Transfer;

/// How many transfers of one step are listed; more are added up.
const LISTED_TRANSFERS: usize = 4;
/// How many finished steps keep their row though the running ones could use it.
const KEPT_ENDED: usize = 2;

/// The picture of a build under way; fits the canvas.
pub(super) fn live(steps: &Steps, now: Duration, canvas: Canvas) -> Vec<String> {
    // The last row stays free for what is typed meanwhile.
    let room = canvas.height.saturating_sub(2).max(1);
    let shown: Vec<&Step> = steps.shown().collect();
    let running = shown.iter().filter(|step| step.ending().is_none()).count();
    let ended = shown.len() - running;
    let for_details = room.saturating_sub(running + ended.min(KEPT_ENDED));
    let details = share(
        &shown
            .iter()
            .map(|step| wanted_rows(step))
            .collect::<Vec<_>>(),
        for_details,
    );

    let for_ended = room.saturating_sub(running + details.iter().sum::<usize>());
    // Where not all fit, one row says how many are left out.
    let kept = if ended <= for_ended {
        ended
    } else {
        for_ended.saturating_sub(1)
    };
    let mut left_out = ended - kept;
    let mut rows = vec![header(steps, now, "", canvas)];
    if left_out > 0 && for_ended > 0 {
        rows.push(left_out_row(&shown, left_out, canvas));
    }
    for (step, limit) in shown.iter().zip(details) {
        if step.ending().is_some() && left_out > 0 {
            left_out -= 1;
            continue;
        }
        rows.push(canvas.step(step, now));
        rows.extend(detail_rows(step, limit, now, canvas));
    }
    rows.truncate(room + 1);
    rows
}

/// The picture that stays when the build is over, as high as it needs to be.
pub(super) fn last(steps: &Steps, now: Duration, canvas: Canvas) -> Vec<String> {
    let mut rows = vec![header(steps, now, verdict(steps), canvas)];
    for step in steps.shown() {
        rows.push(canvas.step(step, now));
        let transfers: Vec<&Transfer> = step.transfers.iter().collect();
        match transfers.len() {
            0..=LISTED_TRANSFERS => rows.extend(transfers.iter().map(|t| canvas.transfer(t, now))),
            _ => rows.push(canvas.transfers(&transfers, "", now)),
        }
    }
    rows
}

fn verdict(steps: &Steps) -> &'static str {
    let any = |ending| steps.shown().any(|step| step.ending() == Some(ending));
    if any(Ending::Failed) {
        " FAILED"
    } else if any(Ending::Canceled) {
        " CANCELED"
    } else {
        " FINISHED"
    }
}

fn header(steps: &Steps, now: Duration, verdict: &str, canvas: Canvas) -> String {
    let (over, all) = steps.count();
    let text = format!("[+] Building {} ({over}/{all}){verdict}", seconds(now));
    canvas.text(&text, &Style::new().bold())
}

fn left_out_row(shown: &[&Step], left_out: usize, canvas: Canvas) -> String {
    let ended = shown.iter().filter_map(|step| step.ending()).take(left_out);
    let cached = ended.filter(|ending| *ending == Ending::Cached).count();
    let steps = if left_out == 1 { "step" } else { "steps" };
    let cache = if cached > 0 {
        format!(", {cached} from the cache")
    } else {
        String::new()
    };
    let text = format!(" => {left_out} {steps} before these{cache}");
    canvas.text(&text, &Style::new().dim())
}

/// How many rows a step could use below its own.
fn wanted_rows(step: &Step) -> usize {
    if step.ending().is_some() {
        return 0;
    }
    unfinished(step).count().min(LISTED_TRANSFERS) + step.tail().count().min(TAIL)
}

/// Gives each in turn one row more, until nobody wants another or the room is used up.
fn share(wanted: &[usize], mut room: usize) -> Vec<usize> {
    let mut given = vec![0; wanted.len()];
    while room > 0 && given != wanted {
        let hungry = given
            .iter_mut()
            .zip(wanted)
            .filter(|(given, wanted)| **given < **wanted);
        for (given, _) in hungry.take(room) {
            *given += 1;
            room -= 1;
        }
    }
    given
}

/// At most `limit` rows: the transfers under way, then the end of the log.
fn detail_rows(step: &Step, limit: usize, now: Duration, canvas: Canvas) -> Vec<String> {
    if limit == 0 {
        return Vec::new();
    }
    let transfers: Vec<&Transfer> = unfinished(step).collect();
    let room = limit.min(LISTED_TRANSFERS);
    let listed = if transfers.len() <= room {
        transfers.len()
    } else {
        room - 1
    };
    let (listed, rest) = transfers.split_at(listed);
    let mut rows: Vec<String> = listed.iter().map(|t| canvas.transfer(t, now)).collect();
    if !rest.is_empty() {
        let more = if listed.is_empty() { "" } else { " more" };
        rows.push(canvas.transfers(rest, more, now));
    }
    let tail: Vec<String> = step
        .tail()
        .rev()
        .take(TAIL.min(limit - rows.len()))
        .collect();
    rows.extend(tail.iter().rev().map(|line| canvas.log(line)));
    rows
}

fn unfinished(step: &Step) -> impl Iterator<Item = &Transfer> {
    step.transfers.iter().filter(|transfer| !transfer.done)
}

#[cfg(test)]
mod tests {
    use console::measure_text_width;

    use super::*;
    use crate::progress::script;

    #[test]
    fn a_live_picture_fits_every_canvas() {
        let mut steps = Steps::default();
        for line in script::read(include_str!("../../../../testdata/progress/fails.events")) {
            if let Some(event) = &line.event {
                steps.take_note(line.at, event);
            }
            for (width, height) in [(0, 0), (1, 1), (5, 2), (7, 3), (40, 5), (80, 24), (500, 9)] {
                let canvas = Canvas {
                    width,
                    height,
                    colors: true,
                };
                let rows = live(&steps, line.at, canvas);
                assert!(
                    rows.len() <= height.max(2),
                    "{} rows of {height}",
                    rows.len()
                );
                for row in rows.iter().chain(&last(&steps, line.at, canvas)) {
                    assert!(measure_text_width(row) <= width, "{row:?} on {width}");
                }
            }
        }
    }

    #[test]
    fn many_transfers_are_added_up() {
        let mut script = "0 1 announce FROM debian\n0 1 start\n".to_owned();
        for layer in 0..7 {
            script += &format!("0.{layer} 1 transfer {layer}000/5000 sha256:{layer:064x}\n");
        }
        let mut steps = Steps::default();
        for line in script::read(&script) {
            steps.take_note(line.at, &line.event.expect("all are events"));
        }
        let canvas = Canvas {
            width: 60,
            height: 24,
            colors: false,
        };
        let now = Duration::from_secs(1);
        let mut rows = live(&steps, now, canvas);
        rows.push(String::new());
        steps.cancel_unfinished(now);
        rows.extend(last(&steps, now, canvas));
        insta::assert_snapshot!(rows.join("\n"));
    }

    #[test]
    fn rows_are_shared_evenly() {
        let cases: [(&[usize], usize, &[usize]); 4] = [
            (&[], 3, &[]),
            (&[6, 0, 6], 20, &[6, 0, 6]),
            (&[6, 0, 1, 6], 6, &[3, 0, 1, 2]),
            (&[6, 6], 0, &[0, 0]),
        ];
        for (wanted, room, expected) in cases {
            assert_eq!(share(wanted, room), expected);
        }
    }
}
