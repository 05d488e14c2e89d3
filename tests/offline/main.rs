//! A data dir without its server: verify, rebuild, export, import, and the descriptions of the command line.

#![allow(clippy::unwrap_used)]

mod bytes;
mod clock;
#[path = "../common/mod.rs"]
mod common;
mod cut;
mod cut_copy;
mod cut_reshard;
mod export;
mod fixture;
#[path = "../../storage/tests/common/folder.rs"]
mod folder;
mod full;
mod furnish;
mod import;
mod kill;
mod reshard;
mod verify;
mod wipe;
