//! Images on their way in and out: against a real registry and real tools, and against servers,
//! layouts and disks that misbehave.
//!
//! Needs docker-registry, skopeo, umoci, openssl, gzip and zstd.

mod bad_server;
mod export;
mod layout;
mod pull;
mod registry_server;
mod support;
