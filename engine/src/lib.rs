//! The engine: decides, projects, runs jobs.
//!
//! Knows shards, decisions, projections, the queue, workflows, runs. Does not know HTTP, Kafka or cron: adding a
//! trigger type never changes this folder.
//!
//! 1. An input is acknowledged (HTTP 200, Kafka commit, cron tick done) only after its event is durable.
//! 2. The log is dense and immutable, but for content that is wiped; it is the only truth. All else can be deleted and rebuilt from it.
//! 3. A projection's rows and its watermark commit together: rows = fold(log[..watermark]).
//! 4. A shard is touched by one thread; everything reaches it through a bounded mailbox, and shards never talk to
//!    each other. Limits that span shards are permits: atomic counters brought into the turn.
//! 5. Deciding and projecting are pure: no clock, disk, network, randomness; time and ids come in with the call.
//! 6. Everything has a bound, named with its unit and reason in `storage/src/limits.rs`.

pub mod admin;
pub mod audit;
pub mod catalog;
pub mod command;
pub mod decide;
pub mod executor;
pub mod export;
pub mod follow;
pub mod intake;
pub mod keyring;
pub mod mailbox;
pub mod permit;
pub mod project;
pub mod projection;
pub mod queue;
pub mod refold;
pub mod replay;
pub mod reshard;
pub mod retention;
pub mod route;
pub mod run;
pub mod shard;
pub mod source;
pub mod state;
pub mod stats;
pub mod verify;
pub mod view;
