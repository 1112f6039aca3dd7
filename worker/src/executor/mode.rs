//! Symbolic modes of `--chmod`, as BuildKit reads them: like setmode(3) of the BSDs with a umask of 0. Where
//! that is not what chmod(1) of GNU does, it is about setuid, setgid and the sticky bit.

use kiln_solver::op::ModeChange;

use super::error::ExecutorError;

const STICKY: u32 = 0o1000;
const SET_IDS: u32 = 0o6000;
/// What `a`, or nobody in particular, stands for. The sticky bit is nobody's.
const EVERYBODY: u32 = 0o6777;
const OTHERS: u32 = 0o007;
const EXECUTE: u32 = 0o111;

/// Applies a change to permission bits.
pub(super) fn apply(
    change: &ModeChange,
    mode: u32,
    is_directory: bool,
) -> Result<u32, ExecutorError> {
    match change {
        ModeChange::Octal(bits) => Ok(bits & 0o7777),
        ModeChange::Symbolic(text) => {
            let mut changing = Changing {
                mode,
                has_x: is_directory || mode & EXECUTE != 0,
            };
            let changed = text.split(',').try_for_each(|it| changing.clause(it));
            changed.ok_or_else(|| ExecutorError::Mode(text.clone()))?;
            Ok(changing.mode)
        }
    }
}

/// A mode that clauses are applied to one after the other.
struct Changing {
    mode: u32,
    /// Whether `X` means `x`: for directories, and for files that somebody could run before any clause.
    has_x: bool,
}

impl Changing {
    /// Applies `ug+rw-x`; `None` if that is no clause.
    fn clause(&mut self, clause: &str) -> Option<()> {
        let is_who = |c: char| matches!(c, 'u' | 'g' | 'o' | 'a');
        let actions = clause.trim_start_matches(is_who);
        let who = &clause[..clause.len() - actions.len()];
        let who = who.chars().fold(0, |all, c| all | bits_of(c));
        let mut actions = actions;
        if actions.is_empty() {
            return None;
        }
        while let Some(first) = actions.chars().next() {
            let operator = Operator::of(first)?;
            let rest = &actions[1..];
            let length = rest.find(['+', '-', '=']).unwrap_or(rest.len());
            let (letters, next) = rest.split_at(length);
            self.action(operator, Who(who), letters)?;
            actions = next;
        }
        Some(())
    }

    /// Applies `=rwX` or `-u`. Letters count together, but a class that is copied cuts them: what comes
    /// before it is done before, so that `u=rg` is `u=g`.
    fn action(&mut self, operator: Operator, mut who: Who, letters: &str) -> Option<()> {
        let mut bits = 0;
        let mut x_if_any = false;
        // Even `u=` without letters sets something.
        let mut is_left = operator == Operator::Set;
        for letter in letters.chars() {
            match letter {
                'r' => bits |= 0o444,
                'w' => bits |= 0o222,
                'x' => bits |= EXECUTE,
                'X' if operator == Operator::Remove => bits |= EXECUTE,
                'X' => x_if_any = true,
                // Others have none of these.
                's' | 't' if who.is_others() => {}
                's' => bits |= SET_IDS,
                // What is done to nobody in particular is then done to this bit alone.
                't' => {
                    who.0 |= STICKY;
                    bits |= STICKY;
                }
                'u' | 'g' | 'o' => {
                    if bits != 0 {
                        self.change(operator, who, std::mem::take(&mut bits));
                    }
                    self.add_x(who, std::mem::take(&mut x_if_any));
                    self.copy(operator, who, letter);
                    is_left = false;
                }
                _ => return None,
            }
        }
        if bits != 0 || is_left {
            self.change(operator, who, bits);
        }
        self.add_x(who, x_if_any);
        Some(())
    }

    fn change(&mut self, operator: Operator, who: Who, bits: u32) {
        let bits = bits & who.bits();
        self.mode = match operator {
            Operator::Add => self.mode | bits,
            Operator::Remove => self.mode & !bits,
            Operator::Set => (self.mode & !who.bits()) | bits,
        };
    }

    fn add_x(&mut self, who: Who, is_asked: bool) {
        if is_asked && self.has_x {
            self.change(Operator::Add, who, EXECUTE);
        }
    }

    /// Gives the permissions of one class, as they are by now, to others; nothing else is copied.
    fn copy(&mut self, operator: Operator, who: Who, from: char) {
        let shift = bits_of(from).trailing_zeros() / 3 * 3;
        let permissions = (self.mode >> shift) & 7;
        let classes = Who(who.bits() & 0o777);
        if classes.0 != 0 {
            self.change(operator, classes, permissions * EXECUTE);
        }
    }
}

/// The bits of those that an action is about.
#[derive(Debug, Clone, Copy)]
struct Who(u32);

impl Who {
    fn bits(self) -> u32 {
        match self.0 {
            0 => EVERYBODY,
            named => named,
        }
    }

    fn is_others(self) -> bool {
        self.0 == OTHERS
    }
}

/// What `u`, `g`, `o` and `a` stand for.
fn bits_of(class: char) -> u32 {
    match class {
        'u' => 0o4700,
        'g' => 0o2070,
        'o' => OTHERS,
        _ => EVERYBODY,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Add,
    Remove,
    Set,
}

impl Operator {
    fn of(character: char) -> Option<Self> {
        match character {
            '+' => Some(Self::Add),
            '-' => Some(Self::Remove),
            '=' => Some(Self::Set),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the modes of [`CASES`] belong to: a mode, and whether it is a directory's.
    const BEFORE: [(u32, bool); 5] = [
        (0o0640, false),
        (0o6741, false),
        (0o1600, false),
        (0o3750, true),
        (0o0000, true),
    ];

    /// Changes and what BuildKit makes with them.
    const CASES: &[(&str, [u32; 5])] = &[
        ("u+x", [0o0740, 0o6741, 0o1700, 0o3750, 0o0100]),
        ("go=", [0o0600, 0o4700, 0o1600, 0o1700, 0o0000]),
        ("a=rX", [0o0444, 0o0555, 0o1444, 0o1555, 0o0555]),
        ("u=rwx,g=u,o=", [0o0770, 0o2770, 0o1770, 0o3770, 0o0770]),
        ("+x-w", [0o0551, 0o6551, 0o1511, 0o3551, 0o0111]),
        ("u+s,g+s,+t", [0o7640, 0o7741, 0o7600, 0o7750, 0o7000]),
        ("a-x,u+X", [0o0640, 0o6740, 0o1600, 0o3740, 0o0100]),
        ("o=t", [0o0640, 0o6740, 0o1600, 0o3750, 0o0000]),
        ("o+t", [0o0640, 0o6741, 0o1600, 0o3750, 0o0000]),
        ("u+t", [0o1640, 0o7741, 0o1600, 0o3750, 0o1000]),
        ("=rw", [0o0666, 0o0666, 0o1666, 0o1666, 0o0666]),
        ("o=u-w", [0o0644, 0o6745, 0o1604, 0o3755, 0o0000]),
        ("g=u,o=g", [0o0666, 0o6777, 0o1666, 0o3777, 0o0000]),
        ("u=g", [0o0440, 0o6441, 0o1000, 0o3550, 0o0000]),
        ("g=o+X", [0o0600, 0o6711, 0o1600, 0o3710, 0o0010]),
        ("o-t", [0o0640, 0o6741, 0o1600, 0o3750, 0o0000]),
        ("ug+st", [0o7640, 0o7741, 0o7600, 0o7750, 0o7000]),
        ("=", [0o0000, 0o0000, 0o1000, 0o1000, 0o0000]),
        ("a=", [0o0000, 0o0000, 0o1000, 0o1000, 0o0000]),
        ("a+t", [0o1640, 0o7741, 0o1600, 0o3750, 0o1000]),
        ("a-t", [0o0640, 0o6741, 0o0600, 0o2750, 0o0000]),
        ("-t", [0o0640, 0o6741, 0o0600, 0o2750, 0o0000]),
        ("+t", [0o1640, 0o7741, 0o1600, 0o3750, 0o1000]),
        ("+xt", [0o1640, 0o7741, 0o1600, 0o3750, 0o1000]),
        ("=t", [0o1640, 0o7741, 0o1600, 0o3750, 0o1000]),
        ("=rwxt", [0o1640, 0o7741, 0o1600, 0o3750, 0o1000]),
        ("=st", [0o1640, 0o7741, 0o1600, 0o3750, 0o1000]),
        ("-s", [0o0640, 0o0741, 0o1600, 0o1750, 0o0000]),
        ("o+s", [0o0640, 0o6741, 0o1600, 0o3750, 0o0000]),
        ("o=s", [0o0640, 0o6740, 0o1600, 0o3750, 0o0000]),
        ("o-s", [0o0640, 0o6741, 0o1600, 0o3750, 0o0000]),
        ("uo+s", [0o4640, 0o6741, 0o5600, 0o7750, 0o4000]),
        ("ug-s", [0o0640, 0o0741, 0o1600, 0o1750, 0o0000]),
        ("g-s", [0o0640, 0o4741, 0o1600, 0o1750, 0o0000]),
        ("u=s", [0o4040, 0o6041, 0o5000, 0o7050, 0o4000]),
        ("u=rwxs", [0o4740, 0o6741, 0o5700, 0o7750, 0o4700]),
        ("g=rxs", [0o2650, 0o6751, 0o3650, 0o3750, 0o2050]),
        ("go+t", [0o1640, 0o7741, 0o1600, 0o3750, 0o1000]),
        ("uo=t", [0o1040, 0o3040, 0o1000, 0o3050, 0o1000]),
        ("u=rg", [0o0440, 0o2441, 0o1000, 0o3550, 0o0000]),
        ("u=gr", [0o0440, 0o2441, 0o1400, 0o3450, 0o0400]),
        ("u=sg", [0o4440, 0o6441, 0o5000, 0o7550, 0o4000]),
        ("g=ut", [0o1600, 0o5701, 0o1600, 0o1700, 0o1000]),
        ("=u", [0o0666, 0o6777, 0o1666, 0o3777, 0o0000]),
        ("=g", [0o0444, 0o6444, 0o1000, 0o3555, 0o0000]),
        ("-u", [0o0000, 0o6000, 0o1000, 0o3000, 0o0000]),
        ("o-g", [0o0640, 0o6741, 0o1600, 0o3750, 0o0000]),
        ("+o", [0o0640, 0o6751, 0o1600, 0o3750, 0o0000]),
        ("=uX", [0o0666, 0o6777, 0o1666, 0o3777, 0o0111]),
        ("=Xu", [0o0666, 0o6777, 0o1666, 0o3777, 0o0111]),
        ("u=X", [0o0040, 0o2141, 0o1000, 0o3150, 0o0100]),
        ("-X", [0o0640, 0o6640, 0o1600, 0o3640, 0o0000]),
        ("go-X", [0o0640, 0o6740, 0o1600, 0o3740, 0o0000]),
        ("+X-x", [0o0640, 0o6640, 0o1600, 0o3640, 0o0000]),
        ("u=g+t", [0o1440, 0o7441, 0o1000, 0o3550, 0o1000]),
        ("=tu", [0o1640, 0o7741, 0o1600, 0o3750, 0o1000]),
        ("a=tu", [0o1000, 0o1000, 0o1000, 0o1000, 0o1000]),
        ("o=tr", [0o0644, 0o6744, 0o1604, 0o3754, 0o0004]),
        ("u=,g=u", [0o0000, 0o2001, 0o1000, 0o3000, 0o0000]),
        ("ugo=rwx", [0o0777, 0o0777, 0o1777, 0o1777, 0o0777]),
        ("a+rw,o-w", [0o0664, 0o6765, 0o1664, 0o3774, 0o0664]),
        ("u=ut", [0o1040, 0o3041, 0o1000, 0o3050, 0o1000]),
        ("oa=t", [0o1000, 0o1000, 0o1000, 0o1000, 0o1000]),
        ("o=g,g=o", [0o0644, 0o6744, 0o1600, 0o3755, 0o0000]),
        ("+", [0o0640, 0o6741, 0o1600, 0o3750, 0o0000]),
        ("-", [0o0640, 0o6741, 0o1600, 0o3750, 0o0000]),
        ("u+", [0o0640, 0o6741, 0o1600, 0o3750, 0o0000]),
        ("a=u-w", [0o0444, 0o6555, 0o1444, 0o3555, 0o0000]),
        ("g=u-s", [0o0660, 0o4771, 0o1660, 0o1770, 0o0000]),
        ("=rw,+X", [0o0666, 0o0777, 0o1666, 0o1777, 0o0777]),
        ("go=rX", [0o0644, 0o4755, 0o1644, 0o1755, 0o0055]),
        ("u=rwX,go=rX", [0o0644, 0o0755, 0o1644, 0o1755, 0o0755]),
        ("u+g-o", [0o0640, 0o6641, 0o1600, 0o3750, 0o0000]),
        ("=x=r", [0o0444, 0o0444, 0o1444, 0o1444, 0o0444]),
        ("=rwx-x+t", [0o1666, 0o1666, 0o1666, 0o1666, 0o1666]),
        ("o=rx+t", [0o0645, 0o6745, 0o1605, 0o3755, 0o0005]),
        ("+xts", [0o1640, 0o7741, 0o1600, 0o3750, 0o1000]),
        ("u=o=g", [0o0440, 0o6441, 0o1000, 0o3550, 0o0000]),
    ];

    fn symbolic(text: &str) -> ModeChange {
        ModeChange::Symbolic(text.to_owned())
    }

    #[test]
    fn symbolic_modes() {
        for (text, expected) in CASES {
            let change = symbolic(text);
            for ((mode, is_directory), expected) in BEFORE.into_iter().zip(*expected) {
                let found = apply(&change, mode, is_directory).expect(text);
                assert_eq!(
                    found, expected,
                    "{text} on {mode:04o}: {found:04o}, not {expected:04o}"
                );
            }
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "", "u", "u+q", "rwx", "u+x,", ",", "u=x,,g=x", "b+x", "+9", "=g,t",
        ] {
            assert!(apply(&symbolic(text), 0, false).is_err(), "{text:?}");
        }
    }
}
