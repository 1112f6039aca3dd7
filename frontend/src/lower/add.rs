//! What a source of ADD is: a path, a repository or a file behind an address.

use percent_encoding::percent_decode_str;

use super::Checked;
use super::remote::{HttpRequest, RemoteSource};
use crate::diagnostic::Diagnostic;
use crate::git_url::{self, GitUrlError};
use crate::source::Spanned;
use crate::syntax::Word;

/// What a file is called whose address has no last name.
const UNNAMED: &str = "__unnamed__";

/// What a source of ADD is.
pub(super) enum AddedSource {
    /// A path of the context.
    Path,
    /// Something of another machine.
    Remote(RemoteSource),
}

impl AddedSource {
    /// Tells what a source is, variables expanded, and what the flags want of it.
    pub(super) fn of(
        source: &Word,
        checksum: Option<&Word>,
        keep_git_directory: Option<&Spanned<bool>>,
    ) -> Checked<Self> {
        if let Some(url) = git_url::parse(&source.value) {
            let mut url = url.map_err(|error| invalid_url(source, &error))?;
            if let Some(keep) = keep_git_directory {
                if url
                    .keep_git_directory
                    .is_some_and(|said| said != keep.value)
                {
                    let message = "--keep-git-dir and the address say different things";
                    return Err(refused("invalid-source", keep.span, message));
                }
                url.keep_git_directory = Some(keep.value);
            }
            if let Some(checksum) = checksum {
                if url
                    .checksum
                    .as_ref()
                    .is_some_and(|said| *said != checksum.value)
                {
                    let message = "--checksum and the address expect different commits";
                    return Err(refused("invalid-checksum", checksum.span, message));
                }
                url.checksum = Some(checksum.value.clone());
            }
            return Ok(Self::Remote(RemoteSource::of_git(url)));
        }
        let is_http = ["http://", "https://"]
            .iter()
            .any(|scheme| source.value.starts_with(scheme));
        if !is_http {
            return Ok(Self::Path);
        }
        let digest = checksum.map(|checksum| {
            checksum.value.parse().map_err(|error| {
                let message = format!("{error}; other algorithms cannot be verified");
                refused("invalid-checksum", checksum.span, message)
            })
        });
        Ok(Self::Remote(RemoteSource::Http(HttpRequest {
            url: source.value.clone(),
            name: file_name(&source.value)
                .map_err(|message| refused("invalid-source", source.span, message))?,
            digest: digest.transpose()?,
            wants_time: false,
        })))
    }
}

fn refused(
    code: &'static str,
    span: crate::source::Span,
    message: impl Into<String>,
) -> Box<Diagnostic> {
    Box::new(Diagnostic::error(code, span, message))
}

fn invalid_url(source: &Word, error: &GitUrlError) -> Box<Diagnostic> {
    let finding = Diagnostic::error("invalid-source", source.span, error.to_string());
    Box::new(match error.known_words() {
        Some((word, known)) => finding.did_you_mean(word, known.iter().copied()),
        None => finding,
    })
}

/// What the file behind an address is called: the last name of the path, whatever the server says.
fn file_name(url: &str) -> Result<String, String> {
    if let Some(character) = url.chars().find(|c| c.is_control() || *c == ' ') {
        return Err(format!("an address cannot contain {character:?}"));
    }
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let place = url[..end].split_once("://").map_or("", |(_, place)| place);
    let path = place.split_once('/').map_or("", |(_, path)| path);
    let path = percent_decode_str(path)
        .decode_utf8()
        .map_err(|_| "the name of the file is not UTF-8".to_owned())?;
    let name = path
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default();
    if name.chars().any(char::is_control) {
        return Err(format!("no file can be named {name:?}"));
    }
    Ok(match name.trim() {
        "" | "." | ".." => UNNAMED.to_owned(),
        name => name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn names_come_from_the_path_alone() {
        let cases = [
            ("https://x/a/b.txt", "b.txt"),
            ("https://x/a/b.txt?c=d/e#f/g", "b.txt"),
            ("https://x/a%20b%2Fc.txt", "c.txt"),
            ("https://x/a/", "a"),
            ("https://x/", "__unnamed__"),
            ("https://x", "__unnamed__"),
            ("https://x?a/b", "__unnamed__"),
        ];
        for (url, name) in cases {
            assert_eq!(file_name(url).as_deref(), Ok(name), "{url}");
        }
        assert!(file_name("https://x/a%0Ab").is_err());
        assert!(file_name("https://x/a%ffb").is_err());
    }
}
