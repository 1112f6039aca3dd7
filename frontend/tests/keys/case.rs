//! A case: two Dockerfiles that differ in a few lines, and for each line whether a key differs.
//!
//! ```text
//! ## What differs
//! # Why it does or does not matter.
//!   FROM base
//! - USER one
//! + USER two
//! ! RUN id
//! = config: config.User history
//! ```
//!
//! The first two characters of a line say where it stands: in both (two blanks), only in the first (`-`),
//! only in the second (`+`). What has a key of its own says that, too: `!` stands in both, but the key
//! differs (`~`: only one of the keys of its steps); `<` and `>` stand in one, and the other has the same key nevertheless. Lines before the
//! Dockerfile that begin with `--` are arguments of the build, those with `image` are what the base
//! image's config says.

/// A pair of builds, without what is expected of them.
#[derive(Debug)]
pub(crate) struct Case {
    /// What differs.
    pub(crate) title: String,
    /// Why that matters or not, line by line.
    pub(crate) reasons: Vec<String>,
    /// Everything else in order.
    pub(crate) lines: Vec<Line>,
}

/// A line of a Dockerfile, or an argument or base image in front of it.
#[derive(Debug)]
pub(crate) struct Line {
    /// In which of the two builds it is.
    pub(crate) place: Place,
    pub(crate) text: String,
}

/// In which of two builds a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Both,
    First,
    Second,
}

/// One of the builds of a case.
#[derive(Debug, Default)]
pub(crate) struct Side {
    /// Arguments of the build and lines of the base image, without `--` and `image`.
    pub(crate) arguments: Vec<String>,
    pub(crate) image: Vec<String>,
    pub(crate) dockerfile: String,
    /// For each line of the case the line of the Dockerfile, counted from 1.
    pub(crate) numbers: Vec<Option<usize>>,
}

impl Case {
    /// All cases of a file.
    pub(crate) fn all(text: &str) -> Vec<Self> {
        let mut cases: Vec<Self> = Vec::new();
        for line in text.lines() {
            if let Some(title) = line.strip_prefix("## ") {
                cases.push(Self {
                    title: title.to_owned(),
                    reasons: Vec::new(),
                    lines: Vec::new(),
                });
                continue;
            }
            if line.is_empty() || line.starts_with("= ") {
                continue;
            }
            let case = cases.last_mut().expect("a file begins with a title");
            match line.strip_prefix("# ") {
                Some(reason) => case.reasons.push(reason.to_owned()),
                None => case.lines.push(Line::parse(line)),
            }
        }
        cases
    }

    /// The build that the lines of both and of one place make.
    pub(crate) fn side(&self, own: Place) -> Side {
        let mut side = Side::default();
        for line in &self.lines {
            let mut number = None;
            if line.place != Place::Both && line.place != own {
            } else if let Some(argument) = line.argument() {
                side.arguments.push(argument.to_owned());
            } else if let Some(setting) = line.image() {
                side.image.push(setting.to_owned());
            } else {
                side.dockerfile.push_str(&line.text);
                side.dockerfile.push('\n');
                number = Some(side.dockerfile.lines().count());
            }
            side.numbers.push(number);
        }
        side
    }
}

impl Line {
    fn parse(line: &str) -> Self {
        let (marker, text) = line.split_at_checked(2).unwrap_or((line, ""));
        let place = match marker.trim_end() {
            "" | "!" | "~" => Place::Both,
            "-" | "<" => Place::First,
            "+" | ">" => Place::Second,
            _ => panic!("no line of a case: {line}"),
        };
        Self {
            place,
            text: text.to_owned(),
        }
    }

    /// The argument of the build that the line is.
    pub(crate) fn argument(&self) -> Option<&str> {
        self.text.strip_prefix("--")
    }

    /// What the line says of the base image.
    pub(crate) fn image(&self) -> Option<&str> {
        self.text.strip_prefix("image ")
    }
}
