//! Removes what is damaged, so that the next build makes it anew.

use std::io::ErrorKind;
use std::path::PathBuf;

use super::{Damage, Damaged};
use crate::gc::GcError;
use crate::io_error::AtPath;
use crate::store::Store;

/// Removes what is damaged, first what names it. Of the index nothing is repaired here: see
/// [`crate::store::salvage`].
pub fn repair(store: &Store, damage: &[Damage]) -> Result<(), GcError> {
    let (mut records, mut claims, mut paths) = (Vec::new(), Vec::new(), Vec::<PathBuf>::new());
    let root = store.root();
    let gate = store.close_gate()?;
    for Damage { what, .. } in damage {
        match what {
            Damaged::Record(key) => records.push(*key),
            Damaged::LayerBlob(diff_id, compression) => {
                claims.push((*diff_id, compression.clone()));
            }
            Damaged::Image(name) => drop(store.index().remove_image(name)?),
            Damaged::Layer(diff_id) => paths.push(root.join("layers").join(diff_id.hex())),
            Damaged::Directory(path) | Damaged::Blob(path) => paths.push(path.clone()),
            Damaged::Index => {}
        }
    }
    store.index().forget(&records, &claims)?;
    let trash = store.scratch().new_directory()?;
    for (number, path) in paths.iter().enumerate() {
        let out_of_the_way = trash.join(number.to_string());
        match store.scratch().disk().rename(path, &out_of_the_way) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            renamed => renamed.at("remove", path)?,
        }
    }
    drop(gate);
    Ok(std::fs::remove_dir_all(&trash).at("remove", &trash)?)
}
