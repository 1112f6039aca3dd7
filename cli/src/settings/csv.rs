//! One line of comma-separated fields, read as Go's `encoding/csv` reads it, which Docker uses.

/// Why a text is not a line of fields.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CsvError {
    /// A quoted field never ends.
    #[error("a \" is not closed")]
    Unclosed,
    /// A quote stands inside a field that does not begin with one.
    #[error("a \" stands in the middle of a field; quote the whole field, as in \"name=a,b\"")]
    Stray,
}

/// The fields: separated by commas, or in double quotes, in which `""` is one quote.
pub(super) fn fields(text: &str) -> Result<Vec<String>, CsvError> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => bare_field(rest)?,
        };
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

fn bare_field(text: &str) -> Result<(String, Option<&str>), CsvError> {
    let (field, after) = match text.split_once(',') {
        Some((field, after)) => (field, Some(after)),
        None => (text, None),
    };
    if field.contains('"') {
        return Err(CsvError::Stray);
    }
    Ok((field.to_owned(), after))
}

fn quoted_field(mut text: &str) -> Result<(String, Option<&str>), CsvError> {
    let mut field = String::new();
    loop {
        let (part, after) = text.split_once('"').ok_or(CsvError::Unclosed)?;
        field.push_str(part);
        match after.chars().next() {
            None => return Ok((field, None)),
            Some(',') => return Ok((field, Some(&after[1..]))),
            Some('"') => field.push('"'),
            Some(_) => return Err(CsvError::Stray),
        }
        text = &after[1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_go_reads_them() {
        let cases: [(&str, Result<&[&str], CsvError>); 8] = [
            ("", Ok(&[""])),
            ("type=local,dest=out", Ok(&["type=local", "dest=out"])),
            ("a,,b,", Ok(&["a", "", "b", ""])),
            ("type=image,\"name=a,b\"", Ok(&["type=image", "name=a,b"])),
            ("\"say \"\"hi\"\"\",x", Ok(&["say \"hi\"", "x"])),
            ("\"open", Err(CsvError::Unclosed)),
            ("na\"me", Err(CsvError::Stray)),
            ("\"a\"b", Err(CsvError::Stray)),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|e| e.iter().map(|f| (*f).to_owned()).collect());
            assert_eq!(fields(text), expected, "{text}");
        }
    }
}
