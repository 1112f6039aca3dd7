//! `kiln build` end to end: the real program, real steps, other people's tools on what comes out.
//!
//! To be run as root, on a machine that `.ci/setup` has prepared. Every test has a store of its own;
//! the base images are made once, by Kiln itself.

mod annotations;
mod artifact;
mod base;
mod bench;
mod browser;
mod finished;
mod listing;
mod servers;

mod add_git;
mod add_http;
mod builds;
mod cache;
mod cache_export;
mod cache_import;
mod cache_mounts;
mod cache_to;
mod canary;
mod config;
mod contexts;
mod copy;
mod copy_cases;
mod crash;
mod crowd;
mod disks;
mod doctor;
mod entitlements;
mod errors;
mod explain;
mod fidelity;
mod hostile;
mod hostile_files;
mod hostile_layers;
mod hostile_mounts;
mod kills;
mod limits;
mod machine;
mod network;
mod outputs;
mod page;
mod peers;
mod pipelining;
mod prune;
mod reproducible;
mod root;
mod rootless;
mod secrets;
mod ssh;
mod tars;
mod timestamps;
mod two_machines;
mod verify;
mod wait;
