//! The lines of a `.dockerignore`; what their patterns mean is [`kiln_solver::pattern`]'s concern.

/// The patterns of an ignore file, in order. `#` begins a comment in the first column only.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines().filter(|line| !line.starts_with('#')).map(str::trim).filter(|line| !line.is_empty())
}
