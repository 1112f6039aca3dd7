//! Dockerfiles by chance: noise of familiar pieces, and whole files of correct instructions whose
//! blanks, line breaks, comments and letter case are anything that the language allows.

use proptest::prelude::*;

/// Texts that look enough like Dockerfiles to get past the first word.
pub(crate) fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "FROM ",
        "RUN ",
        "COPY ",
        "ADD ",
        "ENV ",
        "ARG ",
        "ONBUILD ",
        "HEALTHCHECK ",
        "CMD ",
        "SHELL ",
        "EXPOSE ",
        "LABEL ",
        "VOLUME ",
        "WORKDIR ",
        "USER ",
        "alpine",
        "scratch",
        " AS a",
        "--from=",
        "--mount=",
        "type=cache,",
        "target=/x",
        "--link ",
        "--",
        "<<EOF",
        "<<-'E F'",
        "EOF\n",
        "\n",
        "\n",
        "\n",
        "\\\n",
        "\\\n",
        "`\n",
        "# c\n",
        "#!x\n",
        "# escape=`\n",
        " # syntax=x\n",
        "# check=skip=all\n",
        "\r\n",
        "\r",
        "$A",
        "${A:-",
        "}",
        "\"",
        "'",
        "[",
        "]",
        ",",
        "\"a\"",
        "=b",
        "a",
        " ",
        "  ",
        "\t",
        "\u{b}",
        "\u{a0}",
        "é",
        "\u{feff}",
        "CMD",
        "none",
        "as",
        "1",
        "\\",
        "#",
        "\0",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Dockerfiles without mistakes, laid out by chance.
#[allow(dead_code, reason = "not every test needs both")]
pub(crate) fn whole() -> impl Strategy<Value = String> {
    let heads = vec![
        "",
        "\u{feff}",
        "# syntax=docker/dockerfile:1\n",
        "\n\n",
        "  # check=skip=all\n",
        "#!x\n \n",
    ];
    let head = prop::sample::select(heads);
    let lines = prop::collection::vec(instruction(), 0..12);
    let layout = (any::<bool>(), any::<bool>(), any::<bool>());
    (head, lines, layout).prop_map(|(head, lines, (backtick, crlf, ended))| {
        let escape = if backtick { "# escape=`\n" } else { "" };
        let mut text = format!("{head}{escape}FROM scratch AS first\n{}", lines.concat());
        if backtick {
            text = text.replace("\\\n", "`\n").replace("\\ \t\n", "` \t\n");
        }
        if crlf {
            text = text.replace('\n', "\r\n");
        }
        if !ended {
            text.truncate(text.trim_end_matches(['\r', '\n']).len());
        }
        text
    })
}

/// What may stand between two words.
fn gap() -> impl Strategy<Value = &'static str> {
    let gaps = vec![
        " ",
        " ",
        " ",
        "  ",
        "\t",
        " \\\n",
        " \\\n  ",
        " \\ \t\n\t",
        "\\\n   ",
        " \\\n # in between\n  ",
        " \\\n\n  ",
        " \\\n\\\n  ",
        " \\\n# first\n   # second\n    ",
    ];
    prop::sample::select(gaps)
}

/// What may stand at the end of an instruction, and before the next.
fn end() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "\n",
        "\n",
        "  \n",
        "\t\n\n",
        "\n\n\n\n",
        "\n# about\n",
        "\n   # about  \n\n#\n# more\n",
        " \\\n\n",
    ])
}

/// Words of one instruction; a word that begins with `~` has no gap before it.
fn words() -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::select(vec![
        vec!["from", "scratch"],
        vec!["FROM", "--platform=linux/amd64", "alpine", "aS", "second"],
        vec!["From", "first", "as", "third"],
        vec![
            "run",
            "--mount=type=cache,target=/x",
            "--network=none",
            "make",
            "a  b",
            "&&",
            "\"c  d\"",
        ],
        vec!["RUN", "echo", "'x", "y'", ";", "ls"],
        vec!["RUN", "[", "\"a\"", ",", "\"b c\"", "]"],
        vec!["RUN", "[\"a\",\"b\"]"],
        vec!["RUN", "--", "--x"],
        vec!["run", "cat", "<<E", ">f", "~\n  body \\\n# no comment\n\nE"],
        vec!["RUN", "<<-'E'", "~\n\tbody\n\tE"],
        vec!["copy", "--from=first", "--chown=1:1", "a", "b", "/c/"],
        vec!["COPY", "<<a", "<<\"b\"", "/", "~\n$x\na\n${y}\nb"],
        vec!["ADD", "[\"a b\",", "\"c\"", "]"],
        vec!["COPY", "--link", "--exclude=*.md", "a\\", "b", "c"],
        vec!["ARG", "x", "y=1", "z=\"2  3\"", "w=a\\ b"],
        vec!["env", "a=b", "c=\"d  e\"", "f='g", "h'", "i=j\\ k", "l=m~"],
        vec!["ENV", "old", "value  with", "blanks"],
        vec!["label", "a.b=c", "\"d e\"=f"],
        vec!["cmd", "[", "\"x\"", ",", "\"y\"", "]"],
        vec!["cmd", "x  y", "$z"],
        vec!["entrypoint", "[]"],
        vec!["EXPOSE", "80", "443/tcp", "$x"],
        vec!["volume", "/a", "/b"],
        vec!["VOLUME", "[\"/a\"", ",\"/b\"]"],
        vec!["user", "a b"],
        vec!["workdir", "/x y/z"],
        vec!["STOPSIGNAL", "9"],
        vec!["shell", "[\"/bin/sh\"", ",", "\"-c\"]"],
        vec![
            "healthcheck",
            "--interval=5s",
            "--retries=3",
            "cmd",
            "curl  x",
            "y",
        ],
        vec!["HEALTHCHECK", "none"],
        vec!["HEALTHCHECK", "CMD", "[\"a\"", ",\"b\"", "]"],
        vec!["onbuild", "run", "make  it", "x"],
        vec!["ONBUILD", "COPY", "a", " b"],
        vec!["ONBUILD", "run", "<<E", "~\nx\nE"],
        vec!["maintainer", "A  B", "<a@b>"],
    ])
}

fn instruction() -> impl Strategy<Value = String> {
    let indentation = prop::sample::select(vec!["", "", "  ", "\t"]);
    let gaps = prop::collection::vec(gap(), 12);
    (indentation, words(), gaps, end()).prop_map(|(indentation, words, gaps, end)| {
        let mut text = indentation.to_owned();
        for (number, word) in words.iter().enumerate() {
            match word.strip_prefix('~') {
                Some(body) => text.push_str(body),
                None if number == 0 => text.push_str(word),
                None => {
                    text.push_str(gaps[number % gaps.len()]);
                    text.push_str(word);
                }
            }
        }
        // Nothing may stand behind the end of a heredoc.
        let has_body = words.iter().any(|word| word.starts_with('~'));
        text + if has_body {
            end.trim_start_matches([' ', '\t', '\\'])
        } else {
            end
        }
    })
}
