//! What holds for every text: parsing is total, every place lies in the text, and lowering ends.

mod dockerfiles;

use std::collections::BTreeMap;

use kiln_frontend::syntax::Command;
use kiln_frontend::{LowerError, Options, Source, Span, lower, mount, parse, words};
use proptest::prelude::*;

fn lies_in(source: &Source, span: Span) -> bool {
    let text = source.text();
    span.start <= span.end && text.get(span.range()).is_some()
}

fn check(text: &str) -> Result<(), TestCaseError> {
    let source = Source::new("Dockerfile", text);
    let parsed = parse(&source);
    prop_assert_eq!(parsed.dockerfile.print(), text);
    for diagnostic in &parsed.diagnostics {
        let inside = diagnostic.span.is_none_or(|span| lies_in(&source, span));
        prop_assert!(inside, "{:?} in {:?}", diagnostic, text);
    }
    let mut end = 0;
    for instruction in &parsed.dockerfile.instructions {
        prop_assert!(lies_in(&source, instruction.span), "{:?}", instruction);
        prop_assert!(
            lies_in(&source, instruction.keyword.span),
            "{:?}",
            instruction
        );
        prop_assert!(end <= instruction.span.start, "{:?}", instruction);
        end = instruction.span.end;
        if let Command::Copy(transfer) | Command::Add(transfer) = &instruction.command {
            for word in &transfer.paths {
                prop_assert!(lies_in(&source, word.span), "{:?}", word);
            }
        }
        if instruction.command.is_unread() {
            prop_assert!(parsed.has_errors(), "invalid without a reason: {:?}", text);
        }
    }
    if !parsed.has_errors() {
        let options = Options::new("linux/amd64".parse().expect("a platform"));
        if let Err(LowerError::Invalid(findings)) =
            lower(&parsed.dockerfile, &options, &BTreeMap::new())
        {
            prop_assert!(findings.iter().any(|finding| finding.is_error()));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn parsing_is_total(text in dockerfiles::pieces()) {
        check(&text)?;
    }

    #[test]
    fn parsing_noise_is_total(text in "(?s).{0,200}") {
        check(&text)?;
    }

    #[test]
    fn mounts_never_panic(text in "[a-z=,\"$\\\\/0-9]{0,40}") {
        let expand = |value: &str| Ok(value.to_owned());
        if mount::parse(&text, expand).is_ok() {
            prop_assert!(mount::parse(&text, expand) == mount::parse(&text, expand));
        }
        let _ = mount::check_unexpanded(&text);
    }

    /// Words are in order, do not touch, and between them are only blanks or a last escape.
    #[test]
    fn words_cover_the_text(text in "[a\"' \\\\é\t]{0,30}") {
        let mut end = 0;
        for word in words::quoted_words(&text, '\\') {
            prop_assert!(text[end..word.start].chars().all(char::is_whitespace));
            prop_assert!(word.start < word.end);
            end = word.end;
        }
        prop_assert!(text[end..].chars().all(|c| c.is_whitespace() || c == '\\'));
    }
}

/// What takes time in proportion to the square of its length would not end here.
#[test]
fn large_files_are_read_in_one_go() {
    let many = |line: &str| line.repeat(50_000);
    let stages: String = (0..20_000_i32)
        .map(|i| format!("FROM s{} AS s{i}\n", i - 1))
        .collect();
    let copies: String = (0..20_000_i32)
        .map(|i| format!("FROM scratch AS c{i}\nCOPY --from=c{} a b\n", i - 1))
        .collect();
    let texts = [
        many("X\n"),
        many("RUN --x a \\\n"),
        format!("FROM a\n{}", many("RUN <<E\nE\n")),
        format!("FROM a\n{}", many("COPY --from=image a b\n")),
        format!(
            "FROM scratch AS s-1\n{}",
            stages.replace("s-1 AS", "scratch AS")
        ),
        copies.replacen("COPY --from=c-1 a b\n", "", 1),
        format!("FROM a\nENV {}", many("A=b ")),
        format!("FROM a\nRUN [{}\"\"]", many("\"a\",")),
    ];
    let options = Options::new("linux/amd64".parse().expect("a platform"));
    for text in texts {
        let parsed = parse(&Source::new("Dockerfile", &text));
        if !parsed.has_errors() {
            let _ = lower(&parsed.dockerfile, &options, &BTreeMap::new());
        }
    }
}
