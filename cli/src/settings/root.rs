//! Where the store lies.

use std::path::PathBuf;

use super::{Environment, UsageError};
use crate::args::GlobalArgs;

/// The directory that holds images and cache: what was typed or set in `KILN_ROOT`, else the
/// system's for root and the user's own for everybody else (XDG base directory specification).
pub fn store_root(
    args: &GlobalArgs,
    environment: &Environment,
    is_root: bool,
) -> Result<PathBuf, UsageError> {
    if let Some(root) = &args.root {
        if root.as_os_str().is_empty() {
            return Err(UsageError::new(
                "--root",
                "",
                "the directory's name is empty",
            ));
        }
        return Ok(root.clone());
    }
    if is_root {
        return Ok(PathBuf::from("/var/lib/kiln"));
    }
    let absolute = |name: &str| {
        let path = environment.get(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")));
    data.map(|data| data.join("kiln")).ok_or_else(|| {
        UsageError::new(
            "--root",
            "",
            "neither --root nor HOME says where the store is",
        )
        .hint("set --root DIR or KILN_ROOT")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_set_wins() {
        let typed = GlobalArgs {
            root: Some("store".into()),
            ..GlobalArgs::default()
        };
        let none = GlobalArgs::default();
        let home = Environment::from([("HOME", "/home/me")]);
        let xdg = Environment::from([("HOME", "/home/me"), ("XDG_DATA_HOME", "/data")]);
        let cases = [
            (&typed, &home, true, "store"),
            (&none, &home, true, "/var/lib/kiln"),
            (&none, &home, false, "/home/me/.local/share/kiln"),
            (&none, &xdg, false, "/data/kiln"),
        ];
        for (args, environment, is_root, expected) in cases {
            let root = store_root(args, environment, is_root);
            assert_eq!(root, Ok(PathBuf::from(expected)));
        }
        assert!(store_root(&none, &Environment::default(), false).is_err());
    }
}
