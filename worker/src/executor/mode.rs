//! Symbolic modes of `--chmod`, as chmod(1) understands them with a umask of 0.

use kiln_solver::op::ModeChange;

use super::error::ExecutorError;

/// Applies a change to permission bits.
pub(super) fn apply(
    change: &ModeChange,
    mode: u32,
    is_directory: bool,
) -> Result<u32, ExecutorError> {
    match change {
        ModeChange::Octal(bits) => Ok(bits & 0o7777),
        ModeChange::Symbolic(text) => text
            .split(',')
            .try_fold(mode, |changed, clause| {
                apply_clause(clause, changed, is_directory || mode & 0o111 != 0)
            })
            .ok_or_else(|| ExecutorError::Mode(text.clone())),
    }
}

/// `X` means `x` if `has_x`: for directories, and for files that somebody could run before any clause.
fn apply_clause(clause: &str, mode: u32, has_x: bool) -> Option<u32> {
    let who_length = clause
        .find(|c| !matches!(c, 'u' | 'g' | 'o' | 'a'))
        .unwrap_or(clause.len());
    let (who, mut actions) = clause.split_at(who_length);
    if actions.is_empty() {
        return None;
    }
    let affected = affected_bits(who);
    let mut mode = mode;
    while !actions.is_empty() {
        let operator = actions
            .chars()
            .next()
            .filter(|c| matches!(c, '+' | '-' | '='))?;
        let rest = &actions[1..];
        let length = rest.find(['+', '-', '=']).unwrap_or(rest.len());
        let (permissions, next) = rest.split_at(length);
        let bits = permission_bits(permissions, mode, has_x)? & affected;
        mode = match operator {
            '+' => mode | bits,
            '-' => mode & !bits,
            _ => (mode & !affected) | bits,
        };
        actions = next;
    }
    Some(mode)
}

/// The bits that `u`, `g` and `o` stand for, with setuid, setgid and sticky.
fn affected_bits(who: &str) -> u32 {
    if who.is_empty() || who.contains('a') {
        return 0o7777;
    }
    let bits = |c| match c {
        'u' => 0o4700,
        'g' => 0o2070,
        _ => 0o1007,
    };
    who.chars().fold(0, |all, c| all | bits(c))
}

fn permission_bits(permissions: &str, mode: u32, has_x: bool) -> Option<u32> {
    let spread = |bits: u32| bits << 6 | bits << 3 | bits;
    permissions.chars().try_fold(0, |all, c| {
        Some(
            all | match c {
                'r' => 0o444,
                'w' => 0o222,
                'x' => 0o111,
                'X' if has_x => 0o111,
                'X' => 0,
                's' => 0o6000,
                't' => 0o1000,
                'u' => spread(mode >> 6 & 7),
                'g' => spread(mode >> 3 & 7),
                'o' => spread(mode & 7),
                _ => return None,
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbolic_modes() {
        let cases = [
            ("u+x", 0o644, false, 0o744),
            ("go=", 0o755, false, 0o700),
            ("a=rX", 0o700, false, 0o555),
            ("a=rX", 0o600, false, 0o444),
            ("a=rX", 0o600, true, 0o555),
            ("u=rwx,g=u,o=", 0o000, false, 0o770),
            ("+x-w", 0o644, false, 0o555),
            ("u+s,g+s,+t", 0o755, false, 0o7755),
            ("a-x,u+X", 0o741, false, 0o740),
        ];
        for (text, mode, is_directory, expected) in cases {
            let change = ModeChange::Symbolic(text.to_owned());
            let found = apply(&change, mode, is_directory).expect(text);
            assert_eq!(found, expected, "{text} on {mode:o}: {found:o}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "u", "u+q", "rwx", "u+x,"] {
            assert!(
                apply(&ModeChange::Symbolic(text.to_owned()), 0, false).is_err(),
                "{text:?}"
            );
        }
    }
}
