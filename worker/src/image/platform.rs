//! Which image of an index is meant for a platform (containerd/platforms, `Only`).

use kiln_solver::Platform;

use super::manifest::{Index, IndexEntry};

/// The entries that could serve, best first: those for the platform itself, then those for lesser
/// processors that it also runs, then those that do not say what they are for.
pub(super) fn candidates<'i>(index: &'i Index, wanted: &Platform) -> Vec<&'i IndexEntry> {
    let accepted = accepted(wanted);
    let rank = |entry: &IndexEntry| match &entry.platform {
        None => Some(accepted.len()),
        Some(platform) => accepted.iter().position(|candidate| candidate == platform),
    };
    let mut ranked: Vec<(usize, &IndexEntry)> = index
        .manifests
        .iter()
        .filter_map(|entry| rank(entry).map(|rank| (rank, entry)))
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, entry)| entry).collect()
}

/// The platforms of an index for an error message; attestations are no platforms.
pub(super) fn offered(index: &Index) -> Vec<String> {
    let is_real = |platform: &&Platform| platform.os != "unknown";
    index
        .manifests
        .iter()
        .filter_map(|entry| entry.platform.as_ref())
        .filter(is_real)
        .map(ToString::to_string)
        .collect()
}

/// Whether what is made for `offered` runs on `wanted`.
pub(super) fn runs(wanted: &Platform, offered: &Platform) -> bool {
    accepted(wanted).contains(offered)
}

/// What a processor runs, best first.
fn accepted(wanted: &Platform) -> Vec<Platform> {
    let platform = |architecture: &str, variant: &str| Platform {
        os: wanted.os.clone(),
        architecture: architecture.to_owned(),
        variant: variant.to_owned(),
    };
    let mut accepted = vec![wanted.clone()];
    match wanted.architecture.as_str() {
        "amd64" => {
            let version = number(&wanted.variant).unwrap_or(1);
            accepted.extend(
                (2..version)
                    .rev()
                    .map(|v| platform("amd64", &format!("v{v}"))),
            );
            accepted.push(platform("amd64", ""));
            accepted.push(platform("386", ""));
        }
        "arm64" => {
            accepted.push(platform("arm64", ""));
            accepted.extend((5..=8).rev().map(|v| platform("arm", &format!("v{v}"))));
        }
        "arm" => {
            let version = number(&wanted.variant).unwrap_or(7);
            accepted.extend(
                (5..version)
                    .rev()
                    .map(|v| platform("arm", &format!("v{v}"))),
            );
        }
        _ => {}
    }
    accepted
}

fn number(variant: &str) -> Option<u32> {
    variant
        .strip_prefix('v')?
        .parse()
        .ok()
        .filter(|version| *version < 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::descriptor::{Descriptor, media_type};
    use kiln_solver::Sha256Digest;

    fn index(platforms: &[&str]) -> Index {
        let entry = |(number, platform): (usize, &&str)| Descriptor {
            platform: (!platform.is_empty()).then(|| platform.parse().expect("a platform")),
            ..Descriptor::new(
                media_type::OCI_MANIFEST,
                Sha256Digest::new([number as u8; 32]),
                1,
            )
        };
        Index {
            manifests: platforms.iter().enumerate().map(entry).collect(),
        }
    }

    #[test]
    fn the_nearest_platform_is_chosen() {
        let cases: [(&str, &[&str], Option<usize>); 8] = [
            ("linux/amd64", &["linux/arm64", "linux/amd64"], Some(1)),
            ("linux/amd64", &["linux/386", "linux/amd64"], Some(1)),
            ("linux/amd64", &["linux/arm64", "windows/amd64"], None),
            (
                "linux/amd64/v3",
                &["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"],
                Some(1),
            ),
            (
                "linux/arm/v7",
                &["linux/arm/v5", "linux/arm/v6", "linux/arm64"],
                Some(1),
            ),
            ("linux/arm64", &["linux/arm/v7", "linux/arm64/v8"], Some(1)),
            ("linux/riscv64", &["unknown/unknown", ""], Some(1)),
            ("linux/amd64", &["unknown/unknown"], None),
        ];
        for (wanted, offered, expected) in cases {
            let wanted: Platform = wanted.parse().expect("a platform");
            let index = index(offered);
            let chosen = candidates(&index, &wanted)
                .first()
                .map(|entry| usize::from(entry.digest.as_bytes()[0]));
            assert_eq!(chosen, expected, "{wanted} of {offered:?}");
        }
    }
}
