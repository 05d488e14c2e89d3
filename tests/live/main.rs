//! End to end: the real binary and its command line, on ports that the system chose and in folders of its own.
//!
//! All in one program, whose parts build and run together; what needs a process or a broker of its own is beside it.

#![allow(clippy::unwrap_used)]

mod bench;
mod cli;
mod cli_replay;
#[path = "../common/mod.rs"]
mod common;
mod connections;
mod crash;
mod cron;
mod disk;
mod durability;
mod notices;
mod offline;
mod quickstart;
mod replay;
mod serve;
mod serving;
mod stop;
mod sync_failure;
mod terminal;
mod webhooks;
mod webhooks_limits;
mod webhooks_memory;
