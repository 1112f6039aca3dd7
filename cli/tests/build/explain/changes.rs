//! Of all that can change in a Dockerfile, its context and the arguments, what changed is named.

use super::{explain, plain};
use crate::bench::Bench;

/// What somebody changes between two builds, by which arguments the second one differs, and what is said.
struct Case {
    what: &'static str,
    /// Run in the context.
    change: &'static str,
    line: &'static str,
    /// What must be said, all of it.
    said: &'static str,
}

/// The Dockerfile has all that the cases change.
const CHANGING: &str = "FROM base AS made
ARG V=1
ENV MODE=release
WORKDIR /w
COPY src src
RUN --mount=type=cache,target=/c cat src/* >out
RUN echo $V >v

FROM scratch
COPY --from=made /w/out /w/v /
COPY --chmod=600 package /
";

const CASES: [Case; 19] = [
    Case {
        what: "one file of many, of which nothing else is made",
        change: "echo more >>package",
        line: "",
        said: "COPY --chmod=600 package /
  what it reads of [internal] load build context changed
    /package changed
",
    },
    Case {
        what: "a file's mode, which the result does not show",
        change: "chmod 755 src/f7",
        line: "",
        said: "COPY src src
  what it reads of [internal] load build context changed
    /w/src/f7 changed in mode, owner or attributes

RUN --mount=type=cache,target=/c cat src/* >out
  what it reads of [made 2/5] COPY src src changed

RUN echo $V >v
  what it reads of [made 3/5] RUN --mount=type=cache,target=/c cat src/* >out changed
",
    },
    Case {
        what: "a file more and a file less",
        change: "rm src/f7; touch src/new",
        line: "",
        said: "COPY src src
  what it reads of [internal] load build context changed
    /w/src/f7 is gone
    /w/src/new is new

RUN --mount=type=cache,target=/c cat src/* >out
  what it reads of [made 2/5] COPY src src changed

RUN echo $V >v
  what it reads of [made 3/5] RUN --mount=type=cache,target=/c cat src/* >out changed

COPY --from=made /w/out /w/v /
  what it reads of [made 4/5] RUN echo 1 >v changed
    /out changed

COPY --chmod=600 package /
  what it reads of [stage-1 1/2] COPY --from=made /w/out /w/v / changed
",
    },
    Case {
        what: "ignore rules",
        change: "printf '# tests\\nsrc/f1*\\n' >.dockerignore",
        line: "--target made",
        said: "COPY src src
  the ignore rules changed: now with \"src/f1*\"
  what it reads of [internal] load build context changed
    /w/src/f1 is gone
    /w/src/f10 is gone
    /w/src/f11 is gone
    /w/src/f12 is gone
    /w/src/f13 is gone
    /w/src/f14 is gone
    /w/src/f15 is gone
    /w/src/f16 is gone
    /w/src/f17 is gone
    /w/src/f18 is gone
    and 1 more

RUN --mount=type=cache,target=/c cat src/* >out
  what it reads of [made 2/5] COPY src src changed

RUN echo $V >v
  what it reads of [made 3/5] RUN --mount=type=cache,target=/c cat src/* >out changed
",
    },
    Case {
        what: "a build argument",
        change: "",
        line: "--build-arg V=2 --target made",
        said: "RUN --mount=type=cache,target=/c cat src/* >out
RUN echo $V >v
  the variable V was \"1\" and is \"2\"
",
    },
    Case {
        what: "a variable of the image",
        change: "sed -i 's/MODE=release/MODE=debug/' Dockerfile",
        line: "--target made",
        said: "RUN --mount=type=cache,target=/c cat src/* >out
RUN echo $V >v
  the variable MODE was \"release\" and is \"debug\"
",
    },
    Case {
        what: "a command",
        change: "sed -i 's/echo $V/echo V=$V/' Dockerfile",
        line: "--target made",
        said: "RUN echo V=$V >v
  the command was \"echo $V >v\" and is \"echo V=$V >v\"
",
    },
    Case {
        what: "a command that writes the same",
        change: "sed -i 's/echo $V >v/echo $V >v; true/' Dockerfile",
        line: "",
        said: "RUN echo $V >v; true
  the command was \"echo $V >v\" and is \"echo $V >v; true\"
",
    },
    Case {
        what: "how a cache is shared",
        change: "sed -i 's/target=.c /target=\\/c,sharing=locked /' Dockerfile",
        line: "--target made",
        said: "RUN --mount=type=cache,target=/c,sharing=locked cat src/* >out
  a cache mount's sharing was \"shared\" and is \"locked\"
  it yielded the same as an earlier one, times aside: the earlier result was kept
",
    },
    Case {
        what: "which cache is mounted",
        change: "sed -i 's/target=.c /target=\\/c,id=other /' Dockerfile",
        line: "--target made",
        said: "RUN --mount=type=cache,target=/c,id=other cat src/* >out
  a cache mount's id was \"/c\" and is \"other\"
  it yielded the same as an earlier one, times aside: the earlier result was kept
",
    },
    Case {
        what: "what mode a cache has, and that it is not written to",
        change: "sed -i 's/target=.c /target=\\/c,mode=700,ro /' Dockerfile",
        line: "--target made",
        said: "RUN --mount=type=cache,target=/c,mode=700,ro cat src/* >out
  a mount's read-only is set now
  a cache mount's mode was \"0755\" and is \"0700\"
  it yielded the same as an earlier one, times aside: the earlier result was kept
",
    },
    Case {
        what: "one mount more",
        change: "sed -i 's/target=.c /target=\\/c --mount=type=tmpfs,target=\\/t /' Dockerfile",
        line: "--target made",
        said: "RUN --mount=type=cache,target=/c --mount=type=tmpfs,target=/t cat src/* >out
  a mount's target is new: \"/t\"
  a mount's type is new: \"tmpfs\"
  a mount's size is new: \"0\"
  it yielded the same as an earlier one, times aside: the earlier result was kept
",
    },
    Case {
        what: "the mode of what is copied",
        change: "sed -i 's/chmod=600/chmod=640 --chown=5:6/' Dockerfile",
        line: "",
        said: "COPY --chmod=640 --chown=5:6 package /
  the owner is new: \"5\"
  the group is new: \"6\"
  the mode was \"0600\" and is \"0640\"
    /package changed in mode, owner or attributes
",
    },
    Case {
        what: "where it is copied to",
        change: "sed -i 's/package .$/package \\/elsewhere/' Dockerfile",
        line: "",
        said: "COPY --chmod=600 package /elsewhere
  the destination was \"\" and is \"elsewhere\"
  a slash behind the destination is not set any more
    /elsewhere is new
    /package is gone
",
    },
    Case {
        what: "the working directory",
        change: "sed -i 's/WORKDIR .w/WORKDIR \\/w\\/x/; s/COPY src src/COPY src \\/w\\/src/; s/cat src/cat \\/w\\/src/' Dockerfile",
        line: "--target made",
        said: "WORKDIR /w/x
  the directory was \"w\" and is \"w/x\"
    /w/x is new

COPY src /w/src
  what it reads of [made 1/5] WORKDIR /w/x changed

RUN --mount=type=cache,target=/c cat /w/src/* >out
  the cache has nothing like it

RUN echo $V >v
  the working directory was \"/w\" and is \"/w/x\"
  what it reads of [made 3/5] RUN --mount=type=cache,target=/c cat /w/src/* >ou… changed
",
    },
    Case {
        what: "the user",
        change: "sed -i 's/^RUN echo/USER 1000\\nRUN id; echo/; s/>v$/>\\/tmp\\/v/' Dockerfile",
        line: "--target made",
        said: "RUN id; echo $V >/tmp/v
  the command was \"echo $V >v\" and is \"id; echo $V >/tmp/v\"
  the user was \"\" and is \"1000\"
",
    },
    Case {
        what: "the network",
        change: "",
        line: "--network none --target made",
        said: "RUN --mount=type=cache,target=/c cat src/* >out
RUN echo $V >v
  the network was \"default\" and is \"none\"
",
    },
    Case {
        what: "without the cache",
        change: "",
        line: "--no-cache --target made",
        said: "COPY src src
RUN --mount=type=cache,target=/c cat src/* >out
RUN echo $V >v
  the cache was not to be used
",
    },
    Case {
        what: "nothing",
        change: "touch src/f7 package",
        line: "",
        said: "Nothing ran: every step of build ID was in the cache.
",
    },
];

#[test]
fn whatever_changes_is_named() {
    let mut wrong = String::new();
    for case in CASES {
        let bench = Bench::with(CHANGING);
        bench.file("package", "package");
        for number in 0..20 {
            bench.file(&format!("src/f{number}"), number.to_string());
        }
        bench.build("");
        bench.shell(case.change);
        bench.build(case.line);
        let said = plain(&explain(&bench, ""));
        if said != case.said {
            wrong += &format!("{}:\n{said}instead of\n{}\n", case.what, case.said);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
