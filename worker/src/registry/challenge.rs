//! What a server asks for before it answers (`WWW-Authenticate`, RFC 9110, section 11).

/// A way to prove who one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User name and password with each request.
    Basic,
    /// A token from another server.
    Bearer {
        /// That server's URL.
        realm: String,
        /// What it should be told about this one.
        service: Option<String>,
        /// What the token should allow.
        scope: Option<String>,
    },
}

/// The challenges of a header that Kiln can answer, in the server's order.
pub(super) fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    let mut rest = header.trim_start_matches([' ', ',']);
    while !rest.is_empty() {
        let end = rest.find([' ', ',']).unwrap_or(rest.len());
        let scheme = &rest[..end];
        let (parameters, after) = parameters(rest[end..].trim_start_matches(' '));
        let find = |name: &str| {
            let found = parameters
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone())
        };
        if scheme.eq_ignore_ascii_case("basic") {
            challenges.push(Challenge::Basic);
        } else if let (true, Some(realm)) = (scheme.eq_ignore_ascii_case("bearer"), find("realm")) {
            challenges.push(Challenge::Bearer {
                realm,
                service: find("service"),
                scope: find("scope"),
            });
        }
        rest = after.trim_start_matches([' ', ',']);
    }
    challenges
}

/// Reads `name=value` pairs up to what is no pair: the next scheme. Always consumes something if
/// there is something that belongs to a pair.
fn parameters(text: &str) -> (Vec<(String, String)>, &str) {
    let mut parameters = Vec::new();
    let mut rest = text;
    loop {
        let start = rest.trim_start_matches([' ', ',']);
        let name_end = start.find(|c: char| !is_token(c)).unwrap_or(start.len());
        let after_name = &start[name_end..];
        let Some(value) = after_name.strip_prefix('=').filter(|_| name_end > 0) else {
            // Skips what is neither a pair nor a scheme, so that reading always ends.
            let skip = start
                .chars()
                .next()
                .filter(|c| !is_token(*c))
                .map_or(0, char::len_utf8);
            return (parameters, &start[skip..]);
        };
        let (value, after) = value_of(value);
        parameters.push((start[..name_end].to_owned(), value));
        rest = after;
    }
}

fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((index, c)) = characters.next() {
        match c {
            '"' => return (value, &quoted[index + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => value.push(c),
        }
    }
    (value, "")
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn challenges_of_real_servers() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull""#;
        assert_eq!(
            parse(hub),
            [Challenge::Bearer {
                realm: "https://auth.docker.io/token".to_owned(),
                service: Some("registry.docker.io".to_owned()),
                scope: Some("repository:a/b:pull".to_owned()),
            }]
        );
        assert_eq!(parse(r#"Basic realm="Registry \"x\"""#), [Challenge::Basic]);
        assert_eq!(parse("basic"), [Challenge::Basic]);
        let both = parse(r#"Negotiate, Basic realm="a", Bearer realm=http://t , service="s,t""#);
        assert_eq!(both.len(), 2);
        assert_eq!(both[0], Challenge::Basic);
    }

    proptest! {
        #[test]
        fn reading_is_total(header in "\\PC{0,60}") {
            parse(&header);
        }

        #[test]
        fn reading_ends_on_fragments(header in "[Bba=\", \\\\ü]{0,40}") {
            parse(&header);
        }
    }
}
