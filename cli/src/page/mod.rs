//! A build as one page for browsers: no other file, no network, no framework.
//!
//! What the page shows may be hostile: names, logs and Dockerfiles hold whatever somebody wrote. All
//! of it stands in the page as JSON in which no `<` occurs, the script makes text nodes of it, and the
//! page's policy runs nothing but the one script and uses nothing but the one style sheet, told by
//! their hashes.

mod data;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::record::{Build, Record, RecordError};

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// What is to be shown cannot be written as JSON.
    #[error("cannot write the build as JSON")]
    Json(#[from] serde_json::Error),
}

/// The whole page.
pub fn page(record: &Record, now: Timestamp) -> Result<String, PageError> {
    let mut build = Build::read(record, now)?;
    build.measure_logs(record)?;
    let data = data::data(&build, record)?;
    // In JSON, < occurs in strings only. Without it, nothing ends the element or begins a comment.
    let data = serde_json::to_string(&data)?.replace('<', "\\u003c");
    let parts = [
        ("{{style-hash}}", hash(STYLE)),
        ("{{script-hash}}", hash(SCRIPT)),
        ("{{style}}", STYLE.to_owned()),
        ("{{build}}", data),
        ("{{script}}", SCRIPT.to_owned()),
    ];
    // One after the other, so that no part is looked for in what another one brought.
    let mut page = String::new();
    let mut rest = HTML;
    for (name, part) in parts {
        let (before, after) = rest
            .split_once(name)
            .expect("the page has a place for each part");
        page.push_str(before);
        page.push_str(&part);
        rest = after;
    }
    page.push_str(rest);
    Ok(page)
}

/// What `Content-Security-Policy` calls an inline script or style (CSP 3, section 6.7.3).
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}
