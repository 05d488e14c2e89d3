//! A data dir without its server: verify, rebuild, export, import, and the descriptions of the command line.

mod bytes;
mod clock;
mod cut;
mod cut_copy;
mod cut_reshard;
mod export;
mod fixture;
#[path = "../../storage/tests/storage/folder.rs"]
mod folder;
mod full;
mod furnish;
mod import;
mod kill;
mod reshard;
mod verify;
mod wipe;
