//! The live picture on a real terminal (tmux), which changes its size meanwhile.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

const EVENTS: &str = "\
0.000 0 announce [internal] load build context
0.000 0 start
0.100 0 transfer 2100000 transferring context
0.200 0 done
0.200 1 announce [builder 1/2] RUN something with a name that is too long for a narrow terminal
0.200 2 announce [builder 2/2] RUN another
0.200 1 start
0.300 1 log \"one\\ntwo\\u001b[2J\\u001b[H\\n\"
2.500 1 done
2.500 2 start
2.600 2 done
";

/// A tmux server of its own, gone with the value.
struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    fn start(directory: &Path) -> Self {
        let terminal = Self {
            socket: directory.join("tmux"),
        };
        let shell = "PS1='$ ' exec sh";
        terminal.tmux(&["new-session", "-d", "-x", "80", "-y", "24", shell]);
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command
            .args(["-f", "/dev/null", "-S"])
            .arg(&self.socket)
            .args(arguments);
        let output = command.output().expect("tmux is installed");
        assert!(output.status.success(), "tmux {arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The screen once it satisfies a condition.
    fn wait_for(&self, what: &str, condition: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let screen = self.tmux(&["capture-pane", "-p"]);
            if condition(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "no {what}:\n{screen}");
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// The example, which cargo builds beside the tests.
fn replay() -> PathBuf {
    let test = std::env::current_exe().expect("a test is a program");
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("PROFILE/deps/TEST");
    profile.join("examples/replay")
}

/// The screen with x for every digit of a time, so that it does not depend on the machine's speed.
fn without_times(screen: &str) -> String {
    let digits = |word: &str| match word.strip_suffix('s') {
        Some(number) if number.parse::<f64>().is_ok() => "x.xs".to_owned(),
        _ => word.to_owned(),
    };
    let line = |line: &str| line.split(' ').map(digits).collect::<Vec<_>>().join(" ");
    screen
        .trim_end()
        .lines()
        .map(line)
        .collect::<Vec<_>>()
        .join("\n")
}

/// The screen before and after a change of its width, and at the end.
fn screens(new_width: usize) -> String {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let events = directory.path().join("events");
    std::fs::write(&events, EVENTS).expect("writable");
    let terminal = Terminal::start(directory.path());
    let replay = format!("{} {} tty", replay().display(), events.display());
    // What is typed is on the screen, too, and must not be taken for the end, wherever it is cut.
    let line = format!("clear; echo above; {replay}; echo be''low");
    terminal.tmux(&["send-keys", &line, "Enter"]);

    let before = terminal.wait_for("log", |screen| screen.contains("# two"));
    terminal.tmux(&["resize-window", "-x", &new_width.to_string(), "-y", "24"]);
    let is_redrawn =
        |line: &str| line.starts_with(" => [builder") && line.chars().count() == new_width;
    let after = terminal.wait_for("other width", |screen| screen.lines().any(is_redrawn));
    let end = terminal.wait_for("end", |screen| screen.lines().any(|line| line == "below"));
    let screens = [before, after, end].map(|screen| without_times(&screen));
    screens.join("\n----\n")
}

#[test]
fn the_picture_survives_a_terminal_that_becomes_narrower() {
    insta::assert_snapshot!(screens(50));
}

#[test]
fn the_picture_survives_a_terminal_that_becomes_wider() {
    insta::assert_snapshot!(screens(100));
}

#[test]
fn frames_do_not_pile_up_above_the_screen() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let events = directory.path().join("events");
    std::fs::write(&events, EVENTS).expect("writable");
    let terminal = Terminal::start(directory.path());
    let replay = format!(
        "clear; {} {} tty; echo be''low",
        replay().display(),
        events.display()
    );
    terminal.tmux(&["send-keys", &replay, "Enter"]);
    terminal.wait_for("end", |screen| screen.lines().any(|line| line == "below"));
    let history = terminal.tmux(&["capture-pane", "-p", "-S", "-"]);
    assert_eq!(history.matches("[+] Building").count(), 1, "{history}");
}
